"""Who may pull: passwords of a file, rules, what is private."""

import base64
import json
import threading

import pytest
from clients import BIN, Failed, run
from commands import assert_pulls, tell
from servers import ENV, wait_until
from test_private import Private
from wire import Client

# Of "right", by bcrypt: at its cheapest, so that tests do not wait for it; and at costs that take a while
RIGHT = "$2y$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC"
SLOW = "$2y$12$abcdefghijklmnopqrstuu3ZNTWactmkRXVB8K.1w4IlxX.O8lI12"
SLOWER = "$2y$13$abcdefghijklmnopqrstuusy19aS/49u.Lh6x.YjA3SzaIhOEIeKG"


def basic(user, password="right"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"jo:{RIGHT}\nal:{RIGHT}\n")
    return path


@pytest.fixture
def guarded(launch, users):
    def start(rules=None, **over):
        auth = {"htpasswd": str(users), **over.pop("auth", {})}
        if rules is not None:
            auth["rules"] = rules
        return launch(server={"auth": auth}, **over)
    return start


MANIFEST = "/v2/library/alpha/manifests/1"


def test_who_has_no_account_is_told_to_log_in(guarded, image):
    m = guarded()
    client = Client(m.host_port)
    for headers in ({}, basic("jo", "wrong"), basic("nobody"), {"Authorization": "Basic !"}, {"Authorization": "Bearer x"}):
        for target in ("/v2/", MANIFEST):
            r = client.get(target, headers)
            assert r.status == 401 and r.headers["WWW-Authenticate"].startswith('Basic realm="'), (headers, target)
            assert r.json["errors"][0]["code"] == "UNAUTHORIZED"
    for target in ("/v2/", MANIFEST):
        assert client.get(target, basic("jo")).status == 200
    assert client.head(MANIFEST, basic("al")).status == 200
    assert m.wait_line(event="request", user="al", object="manifest")
    log = "\n".join(m.lines)
    assert "right" not in log and base64.b64encode(b"jo:right").decode() not in log


def test_rules_say_who_may_pull_what(guarded, hub, image):
    m = guarded([{"anonymous": True, "repositories": ["docker.io/library/alpha"]},
                 {"users": ["j*"], "repositories": ["docker.io/library/*"]}])
    client = Client(m.host_port)
    beta = "/v2/library/beta/manifests/1"
    assert client.get("/v2/").status == 401       # or clients would not learn how
    assert client.get("/v2/", basic("", "")).status == 401
    assert client.get(MANIFEST).status == 200
    assert client.get(MANIFEST, basic("", "")).status == 200, "podman says so that it has no account"
    before = hub.count()
    assert client.get(beta).status == 401
    r = client.get(beta, basic("al"))
    assert r.status == 403 and r.json["errors"][0]["code"] == "DENIED"
    assert client.get("/v2/library/alpha/manifests/1?ns=quay.example", basic("jo")).status == 403
    assert hub.count() == before, "nobody is asked for those who may not"
    assert client.get(beta, basic("jo")).status in (200, 404)
    blob = image().largest()
    assert client.get(f"/v2/library/alpha/blobs/{blob}").status == 200
    assert client.get(f"/v2/library/other/blobs/{blob}").status == 401


def test_what_is_private_is_for_those_whom_a_rule_names(guarded, hub, account):
    m = guarded([{"users": ["*"]}, {"users": ["jo"], "repositories": ["docker.io/company/*"], "private": True}],
                registries={"docker.io": {"credentials": account(hub, "hubuser")}})
    client = Client(m.host_port)
    app = Private(hub)
    for target in app.everything():
        assert client.get(target, basic("jo")).status == 200, target
        assert client.get(target, basic("al")).status == 404, target
        assert client.get(target).status == 401, target


def test_a_file_of_users_that_changes_is_read_again(guarded, users):
    m = guarded()
    client = Client(m.host_port)
    assert client.get("/v2/", basic("jo")).status == 200
    new = users.with_suffix(".new")
    new.write_text(f"al:{RIGHT}\n")
    new.rename(users)
    wait_until(lambda: client.get("/v2/", basic("jo")).status == 401, "jo is gone")
    users.write_text("jo:plain\n")
    line = m.wait_line(event="auth_reload", level="error")
    assert "plain" not in line
    assert client.get("/v2/", basic("al")).status == 200


def test_who_guesses_is_slowed_down(guarded):
    m = guarded(auth={"failures": 3})
    client = Client(m.host_port)
    assert client.get("/v2/", basic("jo")).status == 200
    assert [client.get("/v2/", basic("al", f"guess {i}")).status for i in range(5)] == [401, 401, 401, 429, 429]
    r = client.get("/v2/", basic("al"))
    assert r.status == 429 and 1 <= int(r.headers["Retry-After"]) <= 20
    assert client.get("/v2/", basic("jo")).status == 200, "who was let in before stays so"


def test_a_crowd_logs_in_while_others_are_served(guarded, users, image):
    """Checks are slow (bcrypt at cost 12) and hold up nobody who is known."""
    users.write_text(f"jo:{RIGHT}\n" + "".join(f"u{i}:{SLOW}\n" for i in range(16)))
    m = guarded(auth={"failures": 100})
    client = Client(m.host_port)
    assert client.get(MANIFEST, basic("jo")).status == 200
    results = []

    def log_in(i):
        results.append(client.get("/v2/", basic(f"u{i}")).status)

    threads = [threading.Thread(target=log_in, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    served = 0
    while len(results) < 16:
        served += client.get(MANIFEST, basic("jo")).status == 200
    for t in threads:
        t.join()
    assert results == [200] * 16
    assert served > 16, "they are not served one for each login"


def test_a_stop_while_passwords_are_checked_is_orderly(guarded, users):
    users.write_text("".join(f"u{i}:{SLOWER}\n" for i in range(20)))
    m = guarded()
    m.write_config(server={"drain_timeout": "0s"})
    m.restart()
    waiting = [Client(m.host_port).ask("/v2/", headers=basic(f"u{i}")) for i in range(20)]
    m.stop()
    for r in waiting:
        r.leave()


@pytest.mark.parametrize("tool", ["curl", "crane", "skopeo"])
def test_clients_of_the_field_log_in_over_tls(secure, users, authority, image, tmp_path, tool):
    m, alpha = secure(server={"auth": {"htpasswd": str(users)}}), image()
    at = "localhost:%d" % m.tls[1]
    auths = {"auths": {at: {"auth": base64.b64encode(b"jo:right").decode()}}}
    (tmp_path / "config.json").write_text(json.dumps(auths))
    env = {**ENV, "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path), "SSL_CERT_FILE": str(authority.ca)}
    nobody = {**env, "DOCKER_CONFIG": str(tmp_path / "none")}
    if tool == "curl":
        url = f"https://{at}{MANIFEST}"
        run("curl", "-sSf", "-u", "jo:right", "--cacert", authority.ca, url, env=env)
        with pytest.raises(Failed):
            run("curl", "-sSf", "--cacert", authority.ca, url, env=env)
    elif tool == "crane":
        assert run(BIN / "crane", "digest", f"{at}/library/alpha:1", env=env).strip() == alpha.digest
        run(BIN / "crane", "pull", "--platform", "linux/amd64", f"{at}/library/alpha:1", tmp_path / "out.tar", env=env)
        with pytest.raises(Failed):
            run(BIN / "crane", "digest", f"{at}/library/alpha:1", env=nobody)
    else:
        def skopeo(*how):
            run("skopeo", "--insecure-policy", "copy", "-q", *how, "--src-cert-dir", authority.trusted,
                f"docker://{at}/library/alpha:1", f"dir:{tmp_path}/out", env=env)
        skopeo("--src-creds", "jo:right")
        assert (tmp_path / "out/manifest.json").exists()
        with pytest.raises(Failed):
            skopeo("--src-creds", "jo:wrong")


@pytest.mark.parametrize("version", ["1.6", "2.4"])
def test_containerd_logs_in_with_the_pod_s_secret_or_by_its_file(secure, users, authority, hub, image, daemons, version):
    """As the kubelet asks it, over TLS; and by `[host.header]` of hosts.toml, which is for the whole node."""
    m, alpha, daemon = secure(server={"auth": {"htpasswd": str(users)}}), image(), daemons(version)
    url, name = f"https://localhost:{m.tls[1]}", "docker.io/library/alpha:1"

    tell(daemon, url, "--ca", authority.ca)
    for auth in ({}, {"username": "jo", "password": "wrong"}):
        assert daemon.pull(name, **auth).returncode != 0, auth
    assert not hub.count()
    assert_pulls(daemon, alpha, username="jo", password="right")
    assert_pulls(daemon, alpha, auth=base64.b64encode(b"al:right").decode())
    for user in ("jo", "al"):
        assert m.wait_line(event="request", user=user, object="manifest", status=200)

    hosts = daemon.certs / "docker.io/hosts.toml"
    written = hosts.read_text()
    hosts.write_text(f'{written}[host."{url}".header]\nAuthorization = "{basic("al")["Authorization"]}"\n')
    assert_pulls(daemon, alpha)
    assert_pulls(daemon, alpha, username="pod", password="of another registry")
    hosts.write_text(f'{written}[host."{url}".header]\nAuthorization = "{basic("al", "wrong")["Authorization"]}"\n')
    assert daemon.pull(name).returncode != 0
    assert not [w for w in ("right", "wrong", "of another registry") if w in "\n".join(m.lines)]
