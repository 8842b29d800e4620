"""imagePullSecrets: a client's own account at the upstream opens what is private there, here too."""

import base64
import pathlib

import pytest
from commands import assert_pulls, tell
from servers import wait_until
from test_ops import Ops
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


def assert_nowhere(m, *accounts):
    """No word of these accounts is in the log, the metrics, or a file of the store."""
    words = []
    for a in accounts:
        value = basic(*a)["Authorization"].split()[1]
        words += [value, base64.b64decode(value).decode().partition(":")[2]]
    assert len(words) >= 2
    texts = {"the log": "\n".join(m.lines)}
    if m.running() and m.find(event="ops"):
        texts["the metrics"] = bytes(Ops(m).client.get("/metrics").body).decode()
    for name, text in texts.items():
        assert not [w for w in words if w in text], name
    files = [p for p in pathlib.Path(m.config["store"]["path"]).rglob("*") if p.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        assert not [w for w in words if w.encode() in data], path


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
    assert_nowhere(m, ("pod",))


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
def test_containerd_pulls_with_the_pod_s_secret(shared, hub, daemons, image, version):
    """As the kubelet asks it: user and password, and no server_address."""
    m, alpha = shared(), image()
    hub.private.add("library/alpha")
    daemon = daemons(version)
    daemon.hosts(m.address)
    for auth in ({}, {"username": "pod", "password": "wrong"}):
        assert daemon.pull("docker.io/library/alpha:1", **auth).returncode != 0, auth
    assert_pulls(daemon, alpha, username="pod", password="word-of-pod")


@pytest.mark.parametrize("form", ["password", "base64"])
@pytest.mark.parametrize("version", ["1.6", "2.4"])
def test_containerd_pulls_with_the_pod_s_secret_over_tls(secure, authority, hub, account, daemons, image, version, form):
    """By the defaults, and by what `entrepot hosts` writes. The registry's word counts for this once, then while it is
    down; the tag has to be asked about each time, too."""
    hub.add_account("pod", "word-of-pod")
    m = secure(registries={"docker.io": {"credentials": account(hub, "mirror")}}, tags={"ttl": "0s"},
               server={"auth": {"pull_secrets_ttl": "0s", "pull_secrets_stale_for": "1h"}})
    alpha, daemon, name = image(), daemons(version), "docker.io/library/alpha:1"
    hub.private.add(alpha.repo)
    if form == "password":
        right, wrong = {"username": "pod", "password": "word-of-pod"}, {"username": "pod", "password": "wrong-word"}
    else:
        right, wrong = ({"auth": basic("pod", p)["Authorization"].split()[1]} for p in (None, "wrong-word"))

    def assert_refused(*auths):
        for auth in auths:
            r = daemon.pull(name, **auth)
            assert r.returncode != 0
            assert "401 Unauthorized" in r.stderr or "no basic auth credentials" in r.stderr, r.stderr
            assert not daemon.content(alpha.digest)

    tell(daemon, f"http://{m.address}")
    assert daemon.pull(name, **right).returncode != 0
    assert not hub.select(where="auth", user="pod"), "in plain text nobody is asked for it"

    tell(daemon, f"https://localhost:{m.tls[1]}", "--ca", authority.ca)
    assert_refused({}, wrong, {**right, "server_address": "https://index.docker.io/v1/"})   # the kubelet names none
    assert not hub.count(kind="manifest", method="GET"), "nothing is fetched for them"
    assert_pulls(daemon, alpha, **right)
    assert {r.user for r in hub.select(kind="manifest", method="GET", status=200)} == {"mirror"}
    assert_refused({}, wrong)
    hub.refuse()
    assert_pulls(daemon, alpha, **right)
    assert_refused({}, wrong)
    assert_nowhere(m, ("pod",), ("pod", "wrong-word"), ("mirror",))


def test_the_last_word_of_the_upstream_counts_for_a_bounded_time(shared, hub):
    m, app = shared(auth={"pull_secrets_ttl": "0s", "pull_secrets_stale_for": "2s"}), Private(hub)
    pod = Known(m.host_port, "pod")
    assert_served(pod, app.by_digest())
    hub.refuse()
    for target in app.by_digest():
        wait_until(lambda: pod.request("GET", target).status in (401, 503), "the time is over")
    hub.listen()
    wait_until(lambda: pod.request("GET", app.by_digest()[0]).status == 200, "it is asked again")


def test_nothing_of_it_is_on_the_disk(shared, hub):
    m, app = shared(), Private(hub)
    assert_served(Known(m.host_port, "pod"), app.everything())
    assert_nowhere(m, ("pod",))
    m.stop()
    assert_nowhere(m, ("pod",))
