"""Who may seed and who may administer, at the admin API's address with a port."""

import json

import pytest
from commands import Cli
from servers import wait_until
from test_auth import RIGHT, SLOW, basic
from test_tls import context, connect
from test_tokens import TokenServer
from wire import Client, Response

RULES = [{"users": ["jo"], "repositories": ["docker.io/library/*"], "may": ["seed"]},
         {"users": ["ops"], "may": ["admin"]},
         {"users": ["al"]}]
SEED = json.dumps({"name": "alpha", "images": [{"image": "docker.io/library/alpha:1"}]})
FOREIGN = json.dumps({"images": [{"image": "docker.io/library/alpha:1"}, {"image": "quay.example/company/app:1"}]})


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text("".join(f"{u}:{RIGHT}\n" for u in ("jo", "ops", "al")))
    return path


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.write_text("right\n")
    return str(path)


def door(m):
    """Host and port of the admin API."""
    address = next(ln.get("listen") for ln in m.find(event="admin") if not ln.get("listen").startswith("unix:"))
    host, _, port = address.rpartition(":")
    return host, int(port)


@pytest.fixture
def governed(launch, users):
    """A mirror with rules, and nobody's token."""
    def start(rules=RULES, auth=None, admin=None, **over):
        server = {"auth": {"htpasswd": str(users), "rules": rules, **(auth or {})}, **over.pop("server", {})}
        m = launch(server=server, admin={"listen": ["unix:", "127.0.0.1:0"], **(admin or {})}, **over)
        m.admin = door(m)
        return m
    return start


def ask(m, method, target, headers=(), body=None, connection=None):
    headers = dict(headers)
    if body is not None:
        headers["Content-Length"] = str(len(body))
    r = Response(m.admin, method, target, headers, connection=connection)
    with r:
        if body:
            r.sock.sendall(body.encode())
        return r.read_head().finish()


def test_a_seed_is_let_in_by_repository(governed):
    m = governed()
    jo = basic("jo")
    assert ask(m, "GET", "/v1/status", jo).status == 200
    r = ask(m, "POST", "/v1/seeds?dry_run=1", jo, SEED)
    assert r.status == 200 and r.json["images"] == 1
    r = ask(m, "POST", "/v1/seeds", jo, SEED)
    assert r.status == 200
    seed = r.json["id"]
    line = m.wait_line(event="audit", action="seed")
    assert line.get("who") == '"user jo 127.0.0.1"' or line.get("who") == "user jo 127.0.0.1"
    for target in ("/v1/seeds", "/v1/seeds?dry_run=1"):
        r = ask(m, "POST", target, jo, FOREIGN)
        assert r.status == 403 and r.json["error"]["code"] == "forbidden"
        assert "user jo 127.0.0.1 lacks seed for quay.example/company/app:1" in r.json["error"]["message"]
    assert m.wait_line(event="audit", action="refused", what="POST /v1/seeds")
    assert [s["name"] for s in ask(m, "GET", "/v1/seeds", jo).json["seeds"]] == ["alpha"]
    wait_until(lambda: ask(m, "GET", f"/v1/seeds/{seed}", jo).json["state"] == "done", "it is seeded")
    assert ask(m, "GET", "/v1/image?image=docker.io/library/alpha:1", jo).json["stored"]
    assert ask(m, "POST", "/v1/pins", jo, '{"what": "docker.io/library/alpha:1"}').status == 200
    assert ask(m, "DELETE", "/v1/pins?what=docker.io/library/alpha:1", jo).status == 200
    assert ask(m, "DELETE", f"/v1/seeds/{seed}", jo).status == 200


def test_a_seeder_sees_his_own_and_the_administrator_everything(governed, second):
    m = governed()
    both = json.dumps({"name": "both", "images": [{"image": "library/alpha:1"}, {"image": "quay.example/library/beta:1"}]})
    seed = ask(m, "POST", "/v1/seeds", basic("ops"), both).json["id"]
    wait_until(lambda: ask(m, "GET", f"/v1/seeds/{seed}", basic("ops")).json["state"] == "done", "both are seeded")

    def images(user):
        return sorted(i["image"] for i in ask(m, "GET", "/v1/images", basic(user)).json["images"] if "@" not in i["image"])
    assert images("ops") == ["docker.io/library/alpha:1", "quay.example/library/beta:1"]
    assert images("jo") == ["docker.io/library/alpha:1"]
    assert ask(m, "GET", "/v1/tags?repository=quay.example/library/beta", basic("jo")).status == 403
    assert ask(m, "GET", "/v1/seeds", basic("jo")).json["seeds"] == []
    assert ask(m, "GET", f"/v1/seeds/{seed}", basic("jo")).status == 403
    assert ask(m, "DELETE", f"/v1/seeds/{seed}?stop=1", basic("jo")).status == 403
    spenders = ask(m, "GET", "/v1/status", basic("jo")).json["spenders"]
    assert all(s["name"].startswith("docker.io/library/") for s in spenders["repositories"]) and not spenders["clients"]
    for method, target in (("POST", "/v1/gc"), ("POST", "/v1/purge"), ("GET", "/v1/usage"), ("GET", "/v1/backup"),
                           ("DELETE", "/v1/image?image=library/alpha:1")):
        r = ask(m, method, target, basic("jo"))
        assert r.status == 403 and "lacks admin" in r.json["error"]["message"]
        if target != "/v1/backup":
            assert ask(m, method, target, basic("ops")).status == 200
    assert m.wait_line(event="audit", action="remove", who=lambda who: "user ops" in who)


def test_who_is_nobody_is_told_how_and_who_has_nothing_what_he_lacks(governed):
    m = governed()
    for headers in ({}, basic("jo", "wrong"), basic("nobody"), {"Authorization": "Bearer x"}):
        r = ask(m, "GET", "/v1/status", headers)
        assert r.status == 401 and r.json["error"]["code"] == "unauthorized"
        assert r.headers.all("WWW-Authenticate") == ['Basic realm="entrepot", charset="UTF-8"']
    r = ask(m, "GET", "/v1/status", basic("al"))
    assert r.status == 403 and "user al 127.0.0.1 lacks seed" in r.json["error"]["message"]
    assert ask(m, "GET", "/v1/nothing", basic("ops")).status == 404
    assert Cli(m)("status"), "the socket's owner may everything"
    assert Client(m.host_port).get("/v2/library/alpha/manifests/1", basic("al")).status == 200
    assert Client(m.host_port).get("/v2/library/alpha/manifests/1", basic("ops")).status == 403, "that is not pulling"
    assert "right" not in "\n".join(m.lines)


def test_failed_logins_are_slowed_at_both_doors_together(governed):
    m = governed(auth={"failures": 3})
    assert ask(m, "GET", "/v1/status", basic("jo")).status == 200
    for n in range(2):
        assert ask(m, "GET", "/v1/status", basic("ops", f"guess {n}")).status == 401
    assert Client(m.host_port).get("/v2/", basic("ops", "guess 2")).status == 401
    r = ask(m, "GET", "/v1/status", basic("ops", "guess 3"))
    assert r.status == 429 and r.json["error"]["code"] == "too_many_failures" and int(r.headers["Retry-After"]) > 0
    assert Client(m.host_port).get("/v2/", basic("ops", "guess 3")).status == 429
    assert ask(m, "GET", "/v1/status", basic("jo")).status == 200, "was let in before"


def test_a_stop_does_not_wait_for_a_password(governed, users):
    users.write_text("".join(f"u{n}:{SLOW}\n" for n in range(8)))
    m = governed()
    waiting = [Response(m.admin, "GET", "/v1/status", basic(f"u{n}", "wrong")) for n in range(8)]
    m.stop(timeout=20)
    for r in waiting:
        r.leave()


# --- tokens ---------------------------------------------------------------------------------------------------------

def access(*actions):
    return {"access": [{"type": "registry", "name": "admin", "actions": list(actions)}]}


def test_a_token_opens_what_it_was_made_for_and_the_rules_give(governed, tmp_path):
    directory = tmp_path / "tokens"
    directory.mkdir()
    tokens = TokenServer(directory)
    m = governed(auth={**tokens.config(), "htpasswd": None})
    r = ask(m, "GET", "/v1/status")
    assert r.status == 401 and r.headers.all("WWW-Authenticate") == [
        f'Bearer realm="{tokens.realm}",service="the mirror",scope="registry:admin:seed,admin"']
    jo, ops = tokens.bearer(**access("seed")), tokens.bearer(sub="ops", **access("*"))
    assert ask(m, "POST", "/v1/seeds", jo, SEED).status == 200
    assert ask(m, "POST", "/v1/seeds", jo, FOREIGN).status == 403
    assert ask(m, "POST", "/v1/gc", jo).status == 403
    assert ask(m, "POST", "/v1/gc", ops).status == 200
    assert m.wait_line(event="audit", action="gc", who=lambda who: "user ops 127.0.0.1" in who)
    for lacking in (tokens.bearer("library/alpha"), tokens.bearer(sub="ops", **access("seed"))):
        r = ask(m, "POST", "/v1/gc", lacking)
        assert r.status == 403 and "the token is not for it" in r.json["error"]["message"]
    assert ask(m, "GET", "/v1/status", tokens.bearer("library/alpha")).status == 403, "made for pulls"
    assert ask(m, "GET", "/v1/status", tokens.bearer(sub="al", **access("*"))).status == 403
    r = ask(m, "GET", "/v1/status", tokens.bearer(exp=1, **access("*")))
    assert r.status == 401 and 'error="invalid_token"' in r.headers["WWW-Authenticate"]
    file = tmp_path / "token"
    file.write_text(jo["Authorization"].split()[1] + "\n")
    assert Cli(m).run("seeds", "--admin", "%s:%d" % m.admin, "--token-file", str(file)).returncode == 0
    tokens.server.shutdown()
    tokens.server.server_close()


# --- the commands ---------------------------------------------------------------------------------------------------

def test_the_commands_log_in(governed, password, tmp_path):
    m = governed()
    cli, at = Cli(m), ["--admin", "%s:%d" % m.admin]
    images = tmp_path / "list"
    images.write_text("docker.io/library/alpha:1\n")
    assert cli.run("seed", str(images), *at, "--user", "jo", "--password-file", password).returncode == 0
    env = {"ENTREPOT_ADMIN": at[1], "ENTREPOT_USER": "jo", "ENTREPOT_PASSWORD_FILE": password}
    r = cli.run("ls", env=env)
    assert r.returncode == 0 and "docker.io/library/alpha:1" in r.stdout
    r = cli.run("gc", env=env)
    assert r.returncode == 1 and "user jo 127.0.0.1 lacks admin" in r.stderr
    assert cli.run("gc", env={**env, "ENTREPOT_USER": "ops"}).returncode == 0
    images.write_text("quay.example/company/app:1\n")
    r = cli.run("seed", str(images), env=env)
    assert r.returncode == 1 and "lacks seed for quay.example/company/app:1" in r.stderr
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    r = cli.run("status", *at, "--user", "jo", "--password-file", str(wrong))
    assert r.returncode == 1 and "the login is not right" in r.stderr
    r = cli.run("status", *at, "--user", "jo")
    assert r.returncode == 1 and "--password-file" in r.stderr
    r = cli.run("status", *at)
    assert r.returncode == 1 and "--user" in r.stderr


# --- what is for everybody ------------------------------------------------------------------------------------------

def test_accounts_for_the_admin_api_alone_ask_no_pull_for_a_login(governed, image):
    m = governed(rules=[{"anonymous": True}, {"users": ["ops"], "may": ["admin"]}])
    client = Client(m.host_port)
    assert client.get("/v2/").status == 200
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert client.get("/v2/library/alpha/manifests/1", basic("ops", "of another place")).status == 200
    assert ask(m, "GET", "/v1/status", basic("ops")).status == 200
    assert ask(m, "GET", "/v1/status").status == 401


def test_a_configuration_that_opens_the_admin_api_to_everybody_is_none(governed, launch):
    m = launch(started=False, server={"auth": {"rules": [{"anonymous": True, "may": ["pull", "seed"]}]}})
    r = Cli(m).run("check-config", str(m.config_path))
    assert r.returncode == 1 and "server.auth.rules[0].may: nobody may seed" in r.stderr


# --- TLS ------------------------------------------------------------------------------------------------------------

def test_the_admin_api_speaks_tls(governed, secret, authority, password):
    m = governed(server={"tls": secret.config}, admin={"tls": True})
    c = context(authority)
    assert ask(m, "GET", "/v1/status", basic("jo"), connection=connect(m.admin, c)).status == 200
    assert Cli(m)("status"), "the socket has none"
    cli, at = Cli(m), ["--admin", "https://%s:%d" % m.admin]
    who = ["--user", "jo", "--password-file", password]
    assert cli.run("status", *at, *who, "--ca-file", str(authority.ca)).returncode == 0
    assert cli.run("status", *at, *who, env={"ENTREPOT_CA_FILE": str(authority.ca)}).returncode == 0
    r = cli.run("status", *at, *who)
    assert r.returncode == 1 and "certificate" in r.stderr
    r = cli.run("status", "--admin", "%s:%d" % m.admin, *who)
    assert r.returncode == 1, "no plain HTTP there"
    secret.swap("two")

    def name():
        with connect(m.admin, c) as s:
            return dict(x[0] for x in s.getpeercert()["subject"])["commonName"]
    wait_until(lambda: name() == "two", "the new certificate is shown")


def test_a_certificate_is_an_account(governed, secret, authority, tmp_path):
    ci = authority.issue(tmp_path / "ci", "ci")
    node = authority.issue(tmp_path / "node", "node")
    tls = {**secret.config, "client_ca": str(authority.ca), "client_certificates": "optional"}
    m = governed(rules=[{"certificates": ["ci"], "repositories": ["docker.io/library/*"], "may": ["seed"]}],
                 auth={"htpasswd": None}, server={"tls": tls}, admin={"tls": True})

    def status(client, *request):
        return ask(m, *request, connection=connect(m.admin, context(authority, client))).status
    assert status(ci, "GET", "/v1/status") == 200
    assert status(node, "GET", "/v1/status") == 403
    assert status(None, "GET", "/v1/status") == 401
    assert status(ci, "POST", "/v1/gc") == 403
    assert m.wait_line(event="audit", action="refused", who=lambda who: "certificate ci 127.0.0.1" in who)
    at = ["--admin", "https://%s:%d" % m.admin, "--ca-file", str(authority.ca)]
    shown = ["--certificate", str(ci / "tls.crt"), "--key", str(ci / "tls.key")]
    assert Cli(m).run("status", *at, *shown).returncode == 0
