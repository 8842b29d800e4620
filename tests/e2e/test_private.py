"""Private stays private: an account makes the budget larger, and shows nobody what only the account may see."""

import json
import signal

import pytest
from commands import Cli
from hub import OCI_INDEX
from servers import later
from test_budget import NUMBERS, make_image
from test_ops import Ops
from wire import Client

MIB = 1 << 20
APP = "company/app"
OTHER = "company/other"


class Private:
    """An image that only company/app has, which only accounts may see."""

    def __init__(self, hub, layer_size=1000, repo=APP):
        hub.private.add(repo)
        n = next(NUMBERS)
        self.repo = repo
        self.layer_data = (f"private {n} ".encode() * layer_size)[:layer_size]
        self.layer = hub.put_blob(self.layer_data)
        self.config = hub.put_blob(json.dumps({"secret": n}).encode())
        for d in (self.layer, self.config):
            hub.only_in[d] = {repo}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": self.config,
                               "size": hub.blobs[self.config].size},
                    "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": self.layer,
                                "size": layer_size}]}
        self.manifest = hub.put_manifest(repo, manifest, tag="1")
        self.index = hub.put_manifest(repo, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": self.manifest,
             "size": len(hub.manifests[repo, self.manifest][1]), "platform": {"os": "linux", "architecture": "amd64"}}]},
            OCI_INDEX, tag="all")

    def by_digest(self, repo=None):
        repo = repo or self.repo
        return [f"/v2/{repo}/manifests/{self.index}", f"/v2/{repo}/manifests/{self.manifest}",
                f"/v2/{repo}/blobs/{self.config}", f"/v2/{repo}/blobs/{self.layer}"]

    def by_name(self):
        return [f"/v2/{self.repo}/manifests/1", f"/v2/{self.repo}/manifests/all", f"/v2/{self.repo}/tags/list",
                f"/v2/{self.repo}/referrers/{self.manifest}"]

    def everything(self):
        return self.by_digest() + self.by_name()


def assert_hidden(client, targets):
    for t in targets:
        for method in ("GET", "HEAD"):
            r = client.request(method, t)
            assert r.status == 404, (method, t, r.status)
            assert b"private " not in r.body and b"secret" not in r.body


def assert_served(client, targets):
    for t in targets:
        for method in ("HEAD", "GET"):
            assert client.request(method, t).status == 200, (method, t)


@pytest.fixture
def shared(launch, hub, account):
    """shared(open=[…]): a mirror with an account, and everybody behind it."""
    file = account(hub, "jo")

    def start(open=(), **over):
        return launch(registries={"docker.io": {"credentials": file, "open": list(open)}}, **over)
    return start


# --- not open -------------------------------------------------------------------------------------------------------

def test_what_only_the_account_may_see_is_not_there_for_anybody(shared, hub):
    app = Private(hub)
    client = Client(shared().host_port)
    for _ in range(2):
        assert_hidden(client, app.everything())
    assert_hidden(client, app.by_digest("library/made"))
    assert hub.budget("jo").counted == 0 and hub.body_bytes() == 0, "nothing of it was even fetched"


def test_what_the_public_has_left_is_shown_beside_the_accounts_budget(shared, hub, image):
    hub.budgets[None].remaining = 77
    m = shared(ops={"listen": ["127.0.0.1:0"]})
    assert Ops(m).page().get("budget_public_remaining") == 0, "nobody has asked yet"
    image()
    assert_served(Client(m.host_port), ["/v2/library/alpha/manifests/1"])
    assert Ops(m).page().get("budget_public_remaining") == 77
    assert Ops(m).page().get("budget_remaining") == hub.budget("jo").remaining
    source = Cli(m).json("status")["sources"][0]
    assert source["public_budget"]["remaining"] == 77 and source["budget"]["remaining"] == hub.budget("jo").remaining
    assert "(without one)" in Cli(m)("status")


def test_the_account_goes_on_with_what_is_public(shared, hub, image):
    Private(hub)
    client, alpha = Client(shared().host_port), image()
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert client.get(f"/v2/library/alpha/manifests/{alpha.child()}").status == 200
    for d in alpha.blobs():
        assert client.get(f"/v2/library/alpha/blobs/{d}").status == 200
    assert hub.budget("jo").counted == 2 and hub.budget().counted == 0


# --- open -----------------------------------------------------------------------------------------------------------

def test_a_repository_that_is_open_is_served_and_no_other_is(shared, hub):
    app, other = Private(hub), Private(hub, repo=OTHER)
    client = Client(shared(open=[APP]).host_port)
    assert_served(client, app.everything())
    assert_hidden(client, other.everything())
    hub.forget()
    assert_served(client, app.by_digest())
    assert not hub.select(kind="manifest", method="GET") and hub.body_bytes() == 0


def test_by_digest_it_is_under_no_other_name(shared, hub, second):
    """Neither in a public repository of the same registry, nor in a private one, nor in another registry."""
    app, other = Private(hub), Private(hub, repo=OTHER)
    make_image(hub)
    client = Client(shared(open=["company/*"]).host_port)
    assert_served(client, app.everything() + other.everything())
    for repo in ("library/made", "library/alpha", OTHER, "quay.example/library/alpha", f"quay.example/{APP}"):
        assert_hidden(client, app.by_digest(repo))
    assert_served(client, app.everything())


@pytest.mark.parametrize("joins", ["library/made", OTHER])
def test_nobody_joins_a_flight_of_it_under_another_name(shared, hub, joins):
    app = Private(hub, layer_size=4 * MIB)
    Private(hub, repo=OTHER)
    make_image(hub)
    client = Client(shared(open=["company/*"]).host_port)
    target = f"/v2/{APP}/blobs/{app.layer}"
    assert client.get(f"/v2/{APP}/manifests/1").status == 200
    with hub.fault("stall", times=1, kind="blob", at=MIB) as stall:
        friend = client.open(target)
        stall.wait()
        friend.read(MIB // 2)
        assert_hidden(client, [f"/v2/{joins}/blobs/{app.layer}"])
        second = client.open(target)
        assert second.status == 200, "who may see it joins"
        stall.release()
        for r in (friend, second):
            assert bytes(r.finish().body) == app.layer_data
    assert_hidden(client, [f"/v2/{joins}/blobs/{app.layer}"])
    assert hub.body_bytes(app.layer) == len(app.layer_data)


def test_a_layer_of_two_private_images_is_fetched_once_for_both(shared, hub):
    """Whom the registry shows it under his own name joins, and does not wait until the other has all of it."""
    app, other = Private(hub, layer_size=4 * MIB), Private(hub, repo=OTHER)
    hub.only_in[app.layer] = {APP, OTHER}
    client = Client(shared(open=["company/*"], prefetch={"enabled": False}).host_port)
    with hub.fault("stall", times=1, kind="blob", at=2 * MIB) as stall:
        first = client.open(f"/v2/{APP}/blobs/{app.layer}")
        stall.wait()
        second = client.open(f"/v2/{OTHER}/blobs/{app.layer}")
        assert second.status == 200
        second.read(MIB)
        assert len(second.body) >= MIB, "it flows before the first has ended"
        stall.release()
        for r in (first, second):
            assert bytes(r.finish().body) == app.layer_data
    assert hub.body_bytes(app.layer) == len(app.layer_data)
    assert_hidden(client, [f"/v2/{repo}/blobs/{other.layer}" for repo in (APP, "library/made")])


def test_nobody_joins_a_question_for_it_under_another_name(shared, hub):
    app = Private(hub)
    make_image(hub)
    client = Client(shared(open=[APP]).host_port)
    with hub.fault("hang", kind="manifest", method="GET", repo=APP) as hang:
        friend = client.ask(f"/v2/{APP}/manifests/{app.manifest}")
        hang.wait()
        assert_hidden(client, [f"/v2/library/made/manifests/{app.manifest}"])
        hang.release()
        assert friend.read_head().status == 200


# --- the same in both -----------------------------------------------------------------------------------------------

def test_a_digest_that_is_public_somewhere_is_public_there(shared, hub):
    """The base layer of a private image is everybody's, by its public name, whichever was pulled first."""
    app = Private(hub)
    digest, layer = make_image(hub)
    hub.only_in[app.layer] = {APP, "library/made"}
    hub.only_in[layer] = {APP, "library/made"}
    hub.manifests[APP, digest] = hub.manifests["library/made", digest]
    client = Client(shared(open=[APP]).host_port)
    assert_served(client, app.everything())
    assert_served(client, [f"/v2/library/made/blobs/{app.layer}"])
    assert_hidden(client, [f"/v2/library/made/blobs/{app.config}", f"/v2/library/made/manifests/{app.manifest}"])
    assert_served(client, [f"/v2/library/made/manifests/{digest}", f"/v2/library/made/blobs/{layer}",
                           f"/v2/{APP}/manifests/{digest}", f"/v2/{APP}/blobs/{layer}"])


def test_what_a_sibling_has_does_not_open_a_private_name(launch, hub, account, tmp_path):
    """One without an account gives what it has under any name: that says nothing about who may see a repository."""
    app = Private(hub)
    _, layer = make_image(hub)
    hub.only_in[layer] = {APP, "library/made"}

    def start(name, sources):
        d = tmp_path / name
        d.mkdir()
        return launch(directory=d, store={"path": str(d / "store")}, registries={"docker.io": {"sources": sources}})

    sibling = start("sibling", [{"name": "hub", "url": hub.url()}])
    assert_served(Client(sibling.host_port), [f"/v2/library/made/blobs/{layer}"])
    m = start("ours", [{"name": "hub", "url": hub.url(), "credentials": account(hub, "jo")},
                       {"name": "sibling", "url": "http://%s:%d" % sibling.host_port, "sibling": True}])
    client = Client(m.host_port)
    assert_hidden(client, [f"/v2/{APP}/blobs/{layer}", *app.everything()])
    assert_served(client, [f"/v2/library/made/blobs/{layer}"])


def test_what_is_public_elsewhere_does_not_open_a_private_name(shared, hub):
    """Stored, and everybody's by its public name; the private repository does not say whether it has it."""
    Private(hub)
    digest, layer = make_image(hub)
    hub.manifests[APP, digest] = hub.manifests["library/made", digest]
    client = Client(shared().host_port)
    assert_served(client, [f"/v2/library/made/manifests/{digest}", f"/v2/library/made/blobs/{layer}"])
    assert_hidden(client, [f"/v2/{APP}/manifests/{digest}", f"/v2/{APP}/blobs/{layer}"])


@pytest.mark.parametrize("ours_first", [True, False])
def test_who_takes_the_name_at_another_host_does_not_open_it(launch, hub, second, account, ours_first):
    app = Private(hub)
    digest, layer = make_image(hub)
    for name in (digest, "1", "all"):
        second.manifests[APP, name] = hub.manifests["library/made", digest]
    hub.only_in[layer] = {"library/made", APP}  # the layer is no secret, and may be anywhere
    sources = [{"name": "ours", "url": hub.url(), "credentials": account(hub, "jo")},
               {"name": "other", "url": second.url(), "tags": True}]
    m = launch(registries={"docker.io": {"sources": sources if ours_first else sources[::-1]}})
    client = Client(m.host_port)
    assert_hidden(client, [f"/v2/{APP}/manifests/{digest}", f"/v2/{APP}/blobs/{layer}", *app.everything()])
    assert_served(client, [f"/v2/library/made/manifests/{digest}", f"/v2/library/made/blobs/{layer}"])


def test_while_its_host_does_not_say_others_show_what_everybody_may_see(launch, hub, second, account):
    """Nobody knows who may see it. So no account is shown for it, and it is looked at again."""
    app = Private(hub)
    digest, layer = make_image(second)
    second.manifests[APP, digest] = second.manifests["library/made", digest]
    m = launch(registries={"docker.io": {"sources": [
        {"name": "ours", "url": hub.url(), "credentials": account(hub, "jo")}, {"name": "other", "url": second.url()}]}})
    client = Client(m.host_port)
    with hub.fault("status", code=404, where="registry", method="HEAD"):
        assert_served(client, [f"/v2/{APP}/manifests/{digest}"])
        assert_hidden(client, [f"/v2/{APP}/manifests/{app.manifest}", f"/v2/{APP}/blobs/{app.layer}"])
    assert "jo" not in {rec.user for rec in hub.requests}
    assert client.get(f"/v2/{APP}/manifests/{digest}").status == 404


# --- as time goes by ------------------------------------------------------------------------------------------------

def test_it_stays_private_over_restarts_and_with_the_upstream_gone(shared, hub):
    app = Private(hub)
    make_image(hub)
    m = shared(open=[APP], server={"answer_timeout": "1s"})
    assert_served(Client(m.host_port), app.everything())
    m.restart()
    assert_hidden(Client(m.host_port), app.by_digest("library/made"))
    m.kill()
    m.start()
    assert_hidden(Client(m.host_port), app.by_digest("library/made"))
    hub.refuse()
    m.restart()
    client = Client(m.host_port)
    assert_served(client, app.by_digest())
    for t in app.by_digest("library/made") + app.by_digest("library/never"):
        assert client.get(t).status in (404, 503), "nobody can say that it is public"
    hub.listen()
    m.stop()
    m.write_config(registries={"docker.io": {"open": []}})
    m.start()
    assert_hidden(Client(m.host_port), app.everything())


def test_a_reload_closes_what_was_open(shared, hub):
    app = Private(hub)
    m = shared(open=[APP])
    client = Client(m.host_port)
    assert_served(client, app.everything())
    m.write_config(registries={"docker.io": {"open": []}})
    mark = m.mark()
    m.signal(signal.SIGHUP)
    assert m.wait_line(since=mark, event="reload").get("result") == "done"
    assert_hidden(client, app.everything())


def anonymous_looks(hub, repo):
    return hub.select(where="registry", repo=repo, user=None, status=200)


def test_what_is_public_is_asked_once_an_hour(shared, hub, image):
    """One anonymous HEAD a repository, however much is pulled; kept over a restart; again when the hour is over."""
    m = shared(tags={"ttl": "0s"})
    alpha = image()

    def pull():
        client = Client(m.host_port)
        for t in ("manifests/1", f"manifests/{alpha.digest}", f"manifests/{alpha.child()}", "tags/list",
                  *(f"blobs/{d}" for d in alpha.blobs())):
            assert client.get(f"/v2/library/alpha/{t}").status == 200

    for _ in range(3):
        pull()
    assert [(r.method, r.kind) for r in anonymous_looks(hub, "library/alpha")] == [("HEAD", "manifest")]
    m.restart()
    pull()
    assert len(anonymous_looks(hub, "library/alpha")) == 1
    m.stop()
    m.env.update(later("61m"))
    m.start()
    pull()
    assert len(anonymous_looks(hub, "library/alpha")) == 2
    assert hub.budget().counted == 0
    assert Client(m.host_port).get("/v2/library/beta/manifests/1").status == 200
    assert len(anonymous_looks(hub, "library/beta")) == 1


def test_a_repository_that_becomes_private_is_hidden_within_the_hour(shared, hub):
    m = shared()
    digest, layer = make_image(hub, repo=APP)
    targets = [f"/v2/{APP}/manifests/1", f"/v2/{APP}/manifests/{digest}", f"/v2/{APP}/blobs/{layer}"]
    assert_served(Client(m.host_port), targets)
    hub.private.add(APP)
    m.stop()
    m.env.update(later("61m"))
    m.start()
    assert_hidden(Client(m.host_port), targets)


def test_without_an_account_nothing_is_asked_twice(client, hub, image):
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert [(r.method, r.status) for r in hub.select(kind="manifest")] == [("HEAD", 401), ("HEAD", 200), ("GET", 200)]
