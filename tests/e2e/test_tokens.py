"""Tokens of a token server, as the distribution project specifies them."""

import base64
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.parse

import pytest
from clients import BIN, Failed, run
from commands import assert_pulls
from servers import ENV, wait_until
from test_auth import MANIFEST, RIGHT, basic
from wire import Client

BETA = "/v2/library/beta/manifests/1"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """Gives jo, whose password is "right", what `granted` says; everybody else nothing.

    By GET, and by POST as OAuth 2 has it, where `oauth` is not off: containerd tries that first.
    """

    def __init__(self, directory):
        self.key, self.public = directory / "key.pem", directory / "public.pem"
        self.asked, self.granted, self.lifetime, self.oauth = [], {"library/alpha"}, 300, True
        self.new_key()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                self.answer(query, self.headers.get("Authorization") == basic("jo")["Authorization"])

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if not outer.oauth:
                    self.reply(405)
                    return
                self.answer(form, [form.get(k) for k in ("grant_type", "username", "password")] == [
                    ["password"], ["jo"], ["right"]])

            def answer(self, query, known):
                outer.asked.append({**query, "method": self.command})
                if not known:
                    self.reply(401)
                    return
                names = [s.split(":")[1] for scopes in query.get("scope", []) for s in scopes.split(" ")]
                token = outer.token(*(n for n in names if n in outer.granted))
                self.reply(200, json.dumps({"token": token, "access_token": token}).encode())

            def reply(self, status, body=b""):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # By name: crane refuses a realm at a private address, and oras one that leads there
        self.realm = "http://localhost:%d/token" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def new_key(self):
        for args in (["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.key],
                     ["pkey", "-in", self.key, "-pubout", "-out", str(self.public) + ".new"]):
            subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)
        os.rename(str(self.public) + ".new", self.public)

    def token(self, *names, **over):
        now = int(time.time())
        claims = {"iss": "the token server", "aud": "the mirror", "sub": "jo", "iat": now, "nbf": now,
                  "exp": now + self.lifetime,
                  "access": [{"type": "repository", "name": n, "actions": ["pull"]} for n in names], **over}
        text = b64(json.dumps({"alg": "RS256", "typ": "JWT"}).encode()) + "." + b64(json.dumps(claims).encode())
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=text.encode(),
                                   check=True, capture_output=True).stdout
        return text + "." + b64(signature)

    def bearer(self, *names, **over):
        return {"Authorization": "Bearer " + self.token(*names, **over)}

    def config(self, **more):
        return {"token": {"keys": str(self.public), "realm": self.realm, "service": "the mirror",
                          "issuer": "the token server", "leeway": "0s"}, **more}


@pytest.fixture
def tokens(tmp_path):
    directory = tmp_path / "tokens"
    directory.mkdir()
    server = TokenServer(directory)
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def guarded(launch, tokens):
    return lambda **auth: launch(server={"auth": tokens.config(**auth)})


def test_who_has_no_token_is_told_where_to_get_it(guarded, tokens, image):
    client = Client(guarded().host_port)
    where = f'Bearer realm="{tokens.realm}",service="the mirror"'
    assert client.get("/v2/").headers["WWW-Authenticate"] == where
    r = client.get(MANIFEST)
    assert r.status == 401 and r.json["errors"][0]["code"] == "UNAUTHORIZED"
    assert r.headers["WWW-Authenticate"] == where + ',scope="repository:library/alpha:pull"'
    r = client.get("/v2/a/b/manifests/1?ns=quay.example")
    assert r.headers["WWW-Authenticate"] == where + ',scope="repository:quay.example/a/b:pull"'
    r = client.get(MANIFEST, basic("jo"))
    assert r.status == 401, "passwords are the token server's"


def test_access_says_what_may_be_pulled(guarded, tokens, hub, image):
    m, alpha = guarded(), image()
    client = Client(m.host_port)
    token = tokens.bearer("library/alpha")
    assert client.get("/v2/", token).status == 200
    assert client.get(MANIFEST, token).status == 200
    assert client.get(f"/v2/library/alpha/blobs/{alpha.largest()}", token).status == 200
    assert client.get(MANIFEST, tokens.bearer("docker.io/library/alpha", sub="")).status == 200
    before = hub.count()
    for target, with_ in ((BETA, token), (MANIFEST + "?ns=quay.example", token), (MANIFEST, tokens.bearer())):
        r = client.get(target, with_)
        assert r.status == 401 and 'error="insufficient_scope"' in r.headers["WWW-Authenticate"], target
    assert hub.count() == before, "nobody is asked for those who may not"
    assert m.wait_line(event="request", user="jo", object="manifest", status=200)
    assert token["Authorization"][7:60] not in "\n".join(m.lines)


def test_a_token_that_is_not_right_is_none(guarded, tokens, image):
    m = guarded(failures=1)
    client = Client(m.host_port)
    good, now = tokens.token("library/alpha"), int(time.time())
    head, claims, signature = good.split(".")
    none = b64(b'{"alg":"none"}')
    bad = {"rubbish": "this is no token", head + "." + claims: "this is no token", none + "." + claims + ".": "",
           f"{none}.{claims}.{signature}": "not signed", f"{head}.{claims}.AAAA": "not signed",
           tokens.token("library/alpha", exp=now - 1): "expired", tokens.token("library/alpha", nbf=now + 60): "not good",
           tokens.token("library/alpha", aud="another"): "audience", tokens.token("library/alpha", iss="x"): "issuer",
           tokens.token("library/alpha", sub="a\nb"): "subject", good + "A" * 20000: ""}
    for token, why in bad.items():
        r = client.get(MANIFEST, {"Authorization": "Bearer " + token})
        assert r.status == 401 and r.headers["WWW-Authenticate"].startswith("Bearer "), why
        if why:
            assert 'error="invalid_token"' in r.headers["WWW-Authenticate"], why
            assert why in r.json["errors"][0]["message"]
    assert client.get(MANIFEST, {"Authorization": "Bearer " + good}).status == 200, "nobody was slowed down"


def test_rules_are_about_the_subject(guarded, tokens, image):
    client = Client(guarded(rules=[{"users": ["jo"], "repositories": ["docker.io/library/*"]}]).host_port)
    assert client.get(MANIFEST, tokens.bearer("library/alpha")).status == 200
    assert client.get(MANIFEST, tokens.bearer("library/alpha", sub="al")).status == 403
    assert client.get(MANIFEST, tokens.bearer("library/beta")).status == 401


def test_passwords_may_be_taken_as_well(guarded, tokens, image, tmp_path):
    (tmp_path / "users").write_text(f"al:{RIGHT}\n")
    client = Client(guarded(htpasswd=str(tmp_path / "users")).host_port)
    challenges = client.get("/v2/").headers.all("WWW-Authenticate")
    assert [c.split()[0] for c in challenges] == ["Bearer", "Basic"]
    assert client.get(MANIFEST, basic("al")).status == 200
    assert client.get(MANIFEST, tokens.bearer("library/alpha")).status == 200


def test_keys_that_change_are_read_again(guarded, tokens, image):
    m = guarded()
    client = Client(m.host_port)
    old = tokens.bearer("library/alpha")
    assert client.get(MANIFEST, old).status == 200
    tokens.new_key()
    new = tokens.bearer("library/alpha")
    wait_until(lambda: client.get(MANIFEST, new).status == 200, "the new key is known")
    assert client.get(MANIFEST, old).status == 401
    tokens.public.write_text("no key\n")
    m.wait_line(event="auth_reload", level="error")
    assert client.get(MANIFEST, new).status == 200


@pytest.mark.parametrize("tool", ["crane", "skopeo"])
def test_clients_of_the_field_get_a_token_and_pull(guarded, tokens, image, tmp_path, tool):
    m = guarded()
    at = "%s:%d" % m.host_port
    auths = {"auths": {at: {"auth": base64.b64encode(b"jo:right").decode()}}}
    (tmp_path / "config.json").write_text(json.dumps(auths))
    env = {**ENV, "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    pulls = {
        "crane": lambda name: [BIN / "crane", "pull", "--insecure", "--platform", "linux/amd64", f"{at}/library/{name}",
                               tmp_path / "out.tar"],
        "skopeo": lambda name: ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--authfile",
                                tmp_path / "config.json", f"docker://{at}/library/{name}", f"dir:{tmp_path}/out"],
    }
    run(*pulls[tool]("alpha:1"), env=env)
    assert any("repository:library/alpha:pull" in s for q in tokens.asked for s in q["scope"])
    assert all(q["service"] == ["the mirror"] for q in tokens.asked)
    with pytest.raises(Failed):
        run(*pulls[tool]("beta:1"), env=env)
    assert m.wait_line(event="request", user="jo", object="manifest", status=200)


@pytest.mark.parametrize("how", ["POST", "GET"])
@pytest.mark.parametrize("version", ["1.6", "2.4"])
def test_containerd_gets_a_token_with_the_pod_s_secret_and_pulls(guarded, tokens, daemons, hub, image, version, how):
    """As the kubelet asks it; containerd goes to the realm by itself."""
    m, daemon, alpha = guarded(), daemons(version), image()
    tokens.oauth = how == "POST"
    daemon.hosts(m.address)
    for auth in ({}, {"username": "jo", "password": "wrong"}, {"username": "al", "password": "right"}):
        assert daemon.pull("docker.io/library/alpha:1", **auth).returncode != 0, auth
    assert not hub.count(), "nobody is asked for those who may not"
    tokens.asked.clear()
    jo = {"username": "jo", "password": "right"}
    assert_pulls(daemon, alpha, **jo)
    assert tokens.asked and all(q["method"] == how and q["service"] == ["the mirror"] for q in tokens.asked)
    assert any("repository:library/alpha:pull" in s for q in tokens.asked for s in q["scope"])
    assert m.wait_line(event="request", user="jo", object="manifest", status=200)
    assert daemon.pull("docker.io/library/beta:1", **jo).returncode != 0


@pytest.mark.parametrize("version", ["1.6", "2.4"])
def test_the_scope_that_containerd_asks_for_names_the_registry(guarded, tokens, daemons, image, version):
    """containerd's own name for it does not; the challenge's does."""
    m, daemon, jo = guarded(), daemons(version), {"username": "jo", "password": "right"}
    daemon.hosts(m.address, ("docker.io", "quay.example"))
    assert daemon.pull("quay.example/library/alpha:1", **jo).returncode != 0, "library/alpha is docker.io's"
    tokens.granted = {"quay.example/library/alpha"}
    assert_pulls(daemon, image(), "quay.example", **jo)
    assert daemon.pull("docker.io/library/alpha:1", **jo).returncode != 0


@pytest.mark.parametrize("version", ["1.6", "2.4"])
def test_containerd_shows_the_token_that_its_file_has(guarded, tokens, daemons, image, version):
    """`[host.header]` of hosts.toml: no token server is asked for it, whatever the pod's secret is."""
    m, daemon = guarded(), daemons(version)
    daemon.hosts(m.address, headers=tokens.bearer("library/alpha"))
    assert_pulls(daemon, image())
    assert_pulls(daemon, image(), username="pod", password="of another registry")
    assert not tokens.asked
    daemon.hosts(m.address, headers=tokens.bearer("library/beta"))
    assert daemon.pull("docker.io/library/alpha:1").returncode != 0
