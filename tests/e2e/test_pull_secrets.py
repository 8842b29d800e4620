"""imagePullSecrets: a client's own account at the upstream opens what is private there, here too."""

import base64
import pathlib

import pytest
from servers import Containerd
from test_private import Private, assert_hidden, assert_served
from test_tls import context, get
from wire import Client


def basic(user, password=None):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password or 'word-of-' + user}".encode()).decode()}


class Known(Client):
    """A client that sends its account with everything."""

    def __init__(self, host_port, user, password=None):
        super().__init__(host_port)
        self.account = basic(user, password)

    def request(self, method, target, headers=()):
        return super().request(method, target, {**self.account, **dict(headers)})


@pytest.fixture
def shared(launch, hub, account):
    """A mirror with an account of its own, in plain text; the upstream knows the pod as well."""
    file = account(hub, "mirror")
    hub.add_account("pod", "word-of-pod")

    def start(secrets="always", **over):
        auth = {"pull_secrets": secrets, **over.pop("auth", {})}
        return launch(server={"auth": auth}, registries={"docker.io": {"credentials": file}}, **over)
    return start


def test_whom_the_upstream_lets_see_it_may_have_it_from_here(shared, hub):
    m, app = shared(), Private(hub)
    nobody, pod = Client(m.host_port), Known(m.host_port, "pod")
    assert nobody.get("/v2/").status == 200, "a ping is never challenged"
    for target in app.everything():
        r = nobody.get(target)
        assert r.status == 401 and r.headers["WWW-Authenticate"].startswith("Basic realm="), target
    assert_served(pod, app.everything())
    for target in app.everything():
        assert nobody.get(target).status == 401, "what is stored by now is as private"
    asked = [r for r in hub.select(where="auth") if r.user == "pod"]
    assert len(asked) == 1, "the answer is remembered"
    counted = [r for r in hub.select(where="registry", kind="manifest", method="GET")]
    assert counted and all(r.user == "mirror" for r in counted), "the content comes by the mirror's account"
    log = "\n".join(m.lines)
    secret = basic("pod")["Authorization"].split()[1]
    assert "word-of-pod" not in log and secret not in log


def test_public_content_is_never_challenged(shared, hub, image):
    m = shared()
    for client in (Client(m.host_port), Known(m.host_port, "pod"), Known(m.host_port, "pod", "wrong")):
        assert client.get("/v2/library/alpha/manifests/1").status == 200
        assert client.request("GET", f"/v2/library/alpha/blobs/{image().largest()}").status == 200
    assert not [r for r in hub.select(where="auth") if r.user == "pod"], "public: nobody's account is shown"


def test_a_wrong_account_is_refused_and_guesses_are_slowed(shared, hub):
    m, app = shared(auth={"failures": 3}), Private(hub)
    target = app.by_name()[0]
    pod = Known(m.host_port, "pod")
    assert pod.request("GET", target).status == 200
    for _ in range(8):       # a pod that has it wrong is no guess
        assert Known(m.host_port, "pod", "wrong").request("GET", target).status == 401
    statuses = [Known(m.host_port, "pod", f"guess {i}").request("GET", target).status for i in range(5)]
    assert statuses == [401, 401, 429, 429, 429]
    r = Known(m.host_port, "pod", "guess").request("GET", target)
    assert r.status == 429 and int(r.headers["Retry-After"]) >= 1


def test_an_account_counts_for_the_repository_that_was_asked_for(shared, hub):
    m, app = shared(), Private(hub)
    other = Private(hub, repo="company/other")
    pod = Known(m.host_port, "pod")
    assert_served(pod, app.by_digest())
    assert_served(pod, other.by_digest())
    for target in other.by_digest(app.repo):
        assert pod.request("GET", target).status == 404, target
    assert len([r for r in hub.select(where="auth") if r.user == "pod"]) == 2


def test_it_counts_while_the_upstream_is_down_and_not_for_ever(shared, hub):
    m, app = shared(auth={"pull_secrets_ttl": "0s", "pull_secrets_stale_for": "1h"}), Private(hub)
    pod = Known(m.host_port, "pod")
    assert_served(pod, app.everything())
    hub.refuse()
    assert_served(pod, app.by_digest())
    for client in (Client(m.host_port), Known(m.host_port, "other")):
        assert client.request("GET", app.by_digest()[0]).status in (401, 503)
    hub.listen()


def test_who_is_not_let_in_any_more_is_not_let_in_here(shared, hub):
    m, app = shared(auth={"pull_secrets_ttl": "0s"}), Private(hub)
    pod = Known(m.host_port, "pod")
    assert_served(pod, app.by_digest())
    hub.accounts["pod"] = "another word"
    assert pod.request("GET", app.by_digest()[0]).status == 401
    hub.refuse()
    assert pod.request("GET", app.by_digest()[0]).status in (401, 503), "the refusal was the last word"
    hub.listen()


@pytest.mark.parametrize("secrets", ["tls", "off"])
def test_in_plain_text_nobody_is_asked_for_an_account_by_default(shared, hub, secrets):
    m, app = shared(secrets), Private(hub)
    assert_hidden(Client(m.host_port), app.everything())
    assert_hidden(Known(m.host_port, "pod"), app.everything())
    assert not [r for r in hub.select(where="auth") if r.user == "pod"]


def test_over_tls_it_is_taken_by_default(secure, authority, hub, account):
    hub.add_account("pod", "word-of-pod")
    m = secure(registries={"docker.io": {"credentials": account(hub, "mirror")}})
    app, c = Private(hub), context(authority)
    for target in app.by_digest():
        assert get(m, c, target).status == 401
        assert get(m, c, target, basic("pod")).status == 200
        assert Client(m.host_port).get(target, basic("pod")).status == 404


def test_the_account_goes_to_the_registry_itself_alone(launch, hub, another, account):
    """Another source of the same content is another host: it is not told what is meant for the registry."""
    copy = another()
    for h in (hub, copy):
        h.add_account("pod", "word-of-pod")
    app = Private(copy)
    hub.private.add(app.repo)
    file = account(copy, "mirror")
    m = launch(server={"auth": {"pull_secrets": "always"}}, registries={"docker.io": {
        "sources": [{"url": copy.url(), "credentials": file}, {"url": hub.url()}]}})
    Known(m.host_port, "pod").request("GET", app.by_digest()[0])
    assert not [r for r in copy.select(where="auth") if r.user == "pod"]
    assert not [r for r in copy.select(where="registry") if r.user == "pod"]


@pytest.mark.parametrize("version", ["1.6", "2.4"])
def test_containerd_pulls_with_the_pod_s_secret(shared, hub, image, version):
    """As the kubelet asks it: user and password, and no server_address."""
    m, alpha = shared(), image()
    hub.private.add("library/alpha")
    daemon = Containerd(version)
    try:
        daemon.hosts(m.address)
        ask = {"image": {"image": "docker.io/library/alpha:1"}}
        for auth in ({}, {"auth": {"username": "pod", "password": "wrong"}}):
            assert daemon.cri("PullImage", {**ask, **auth}).returncode != 0, auth
        r = daemon.cri("PullImage", {**ask, "auth": {"username": "pod", "password": "word-of-pod"}})
        assert r.returncode == 0, r.stderr
        for digest in alpha.everything():
            assert daemon.content(digest) == alpha.bytes(digest)
    finally:
        daemon.stop()


def test_nothing_of_it_is_on_the_disk(shared, hub):
    m, app = shared(), Private(hub)
    assert_served(Known(m.host_port, "pod"), app.everything())
    m.stop()
    secret = basic("pod")["Authorization"].split()[1].encode()
    for path in pathlib.Path(m.config["store"]["path"]).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"word-of-pod" not in data and secret not in data, path
