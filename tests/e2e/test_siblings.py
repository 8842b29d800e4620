"""Two mirrors that name each other: the upstream is asked about once, nobody in a circle, and either one is enough."""

import random
import signal

import pytest
from servers import free_port, wait_until
from test_budget import make_image
from wire import Client

MIB = 1 << 20
SIZE = 16 * MIB
CACHED = {"Cache-Control": "only-if-cached"}


@pytest.fixture
def pair(launch, hub, tmp_path):
    """pair(**over): two mirrors in front of the double, each the other's sibling."""
    def start(**over):
        ports = [free_port(), free_port()]
        mirrors = []
        for i in (0, 1):
            d = tmp_path / f"mirror{i}"
            d.mkdir()
            mirrors.append(launch(
                directory=d, **{**over, "server": {"listen": [f"127.0.0.1:{ports[i]}"], **over.get("server", {})},
                                "store": {"path": str(d / "store")}},
                registries={"docker.io": {"sources": [
                    {"name": "sibling", "url": f"http://127.0.0.1:{ports[1 - i]}", "sibling": True},
                    {"name": "hub", "url": hub.url()}]}}))
        return mirrors, [Client(m.host_port) for m in mirrors]
    return start


@pytest.fixture
def blob(hub):
    data = random.Random(44).randbytes(SIZE)
    digest = hub.put_blob(data)
    return data, digest, f"/v2/library/made/blobs/{digest}"


def whole(r, data):
    r.finish()
    assert (r.status, r.end) == (200, "complete") and bytes(r.body) == data


# --- once upstream --------------------------------------------------------------------------------------------------

def test_what_one_has_the_other_gets_from_it(pair, hub, image):
    _, (a, b) = pair()
    alpha = image()
    for client in (a, b):
        r = client.get("/v2/library/alpha/manifests/1")
        assert r.status == 200 and bytes(r.body) == alpha.bytes(alpha.digest)
        for target, d in alpha.targets():
            r = client.get(target)
            assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
    assert hub.budget().counted == 2, "the index and one platform, for both of them"
    for d in set(alpha.blobs()):
        assert hub.body_bytes(d) == alpha.path(d).stat().st_size
    assert hub.count(kind="manifest", method="HEAD", reference="1", status=200) == 2, "what a tag means each asks itself"


def test_a_cold_blob_asked_for_at_both_is_fetched_once(pair, hub, blob):
    """The second joins the flight of the first, through it, at its speed."""
    _, clients = pair()
    data, d, target = blob
    with hub.fault("stall", times=1, kind="blob", at=4 * MIB) as stall:
        first = clients[0].open(target)
        stall.wait()
        second = clients[1].open(target)
        second.read(2 * MIB)
        assert len(second.body) >= 2 * MIB, "it flows before the first has ended"
        stall.release()
        for r in (first, second):
            whole(r, data)
    assert hub.body_bytes(d) == SIZE


def test_what_is_asked_of_both_at_the_same_time_is_fetched_about_once(pair, hub):
    """At the very same moment both may find nothing at the other, and ask themselves: now and then, and never for long."""
    _, clients = pair()
    rounds = 20
    for i in range(rounds):
        digest, layer = make_image(hub, seed=f"round {i}")
        for target in (f"manifests/{digest}", f"blobs/{layer}"):
            for r in [c.ask(f"/v2/library/made/{target}") for c in clients for _ in range(3)]:
                assert r.read_head().status == 200 and r.finish().end == "complete"
    assert hub.budget().counted < 2 * rounds and hub.count(where="cdn", method="GET") < 2 * rounds
    for first, second in (clients, reversed(clients)):
        digest, _ = make_image(hub)
        before = hub.budget().counted
        for c in (first, second):
            assert c.get(f"/v2/library/made/manifests/{digest}").status == 200
        assert hub.budget().counted == before + 1, "neither is taken for dead by the other"


def test_what_a_spent_limit_refused_is_had_from_a_sibling_that_got_it_later(pair, hub):
    """That nothing is left a mirror remembers for the account, and not for the image."""
    _, (a, b) = pair()
    digest, layer = make_image(hub)
    target = f"/v2/library/made/manifests/{digest}"
    hub.budgets[None].retry_after, hub.enforce, hub.remaining = "3600", True, 0
    r = a.get(target)
    assert r.status == 503 and int(r.headers["Retry-After"]) > 60
    hub.remaining = 10
    assert b.get(target).status == 200
    wait_until(lambda: a.get(target).status == 200, "it is asked for again")
    assert hub.budget().counted == 1


def test_who_waits_for_a_slow_upstream_is_not_taken_for_dead(pair, hub):
    """What is slow at both is fetched by both: what the sibling has is not."""
    _, (a, b) = pair(upstream={"header_timeout": "60s"}, server={"answer_timeout": "60s"})
    slow, stored = ([f"/v2/library/made/manifests/{make_image(hub)[0]}" for _ in range(n)] for n in (3, 2))
    for target in stored:
        assert a.get(target).status == 200
    with hub.fault("hang", kind="manifest", method="GET") as hang:
        waiting = []
        for client in (a, b):   # the second asks the first, which has nothing to tell; one after the other
            for target in slow:
                waiting.append(client.ask(target))
                hub.wait_for(lambda: hang.hits == len(waiting))
        for target in stored:
            assert b.get(target).status == 200
        hang.release()
        for r in waiting:
            assert r.read_head().status == 200 and r.finish().end == "complete"
    assert hub.budget().counted == len(stored) + len(waiting)


def test_a_tag_that_has_moved_is_fetched_once_by_both(pair, hub):
    """Each asks for itself what the tag means; what it means now is asked for by its digest, while the other fetches it."""
    _, (a, b) = pair(tags={"ttl": "0s"})
    target = "/v2/library/made/manifests/1"
    make_image(hub)
    for client in (a, b):
        assert client.get(target).status == 200
    digest, _ = make_image(hub)
    hub.forget()
    before = hub.budget().counted
    with hub.fault("hang", kind="manifest", method="GET", reference=digest, times=1) as hang:
        first = a.ask(target)
        hang.wait()
        second = b.ask(target)
        hub.wait_for(lambda: hub.count(kind="manifest", method="HEAD", status=200) == 2)
        hang.release()
        for r in (first, second):
            assert r.read_head().status == 200 and r.headers["Docker-Content-Digest"] == digest
            r.finish()
    assert hub.budget().counted == before + 1


# --- no circles -----------------------------------------------------------------------------------------------------

def test_nobody_asks_in_circles(pair, hub):
    """What nobody has: one question to the sibling, one upstream; the sibling asks nobody."""
    mirrors, clients = pair(server={"answer_timeout": "2s"})
    digest = "sha256:" + "8" * 64
    for what in ("manifests", "blobs"):
        for c in clients:
            assert c.get(f"/v2/library/made/{what}/{digest}").status == 404
    for m in mirrors:
        m.signal(signal.SIGTERM)
        m.wait()
        asked = [ln for ln in m.lines if digest in ln]
        assert len(asked) <= 2 * (1 + 2 * 2), "each of ours, and at most a HEAD and a GET of the other's for each of its"
    assert hub.count(status=404) <= 8


def test_a_mirror_that_names_itself_still_answers(launch, hub, blob):
    port = free_port()
    m = launch(server={"listen": [f"127.0.0.1:{port}"]}, registries={"docker.io": {"sources": [
        {"name": "myself", "url": f"http://127.0.0.1:{port}", "sibling": True}, {"name": "hub", "url": hub.url()}]}})
    data, d, target = blob
    client = Client(m.host_port)
    whole(client.open(target, timeout=30), data)
    assert hub.body_bytes(d) == SIZE
    digest, _ = make_image(hub)
    assert client.get(f"/v2/library/made/manifests/{digest}").status == 200
    assert hub.budget().counted == 1


def test_a_sibling_is_told_that_it_must_not_ask(launch, hub, another, image):
    """A double stands for the sibling: what reaches it has the headers, the registry's name, and no credentials."""
    sibling = another(challenge="none", redirects=False, takes_ns=True)
    m = launch(registries={"docker.io": {"sources": [
        {"name": "hub", "url": hub.url()}, {"name": "sibling", "url": sibling.url(), "sibling": True}]}})
    alpha, client = image(), Client(m.host_port)
    assert client.get(f"/v2/library/alpha/manifests/{alpha.digest}").status == 200
    assert client.get(f"/v2/library/alpha/blobs/{alpha.largest()}").status == 200
    asked = sibling.select(kind=("manifest", "blob"))
    assert asked and all("only-if-cached" in r.headers["cache-control"] for r in asked)
    assert all(r.headers["entrepot-hop"] and "authorization" not in r.headers for r in asked)
    assert all(r.query["ns"] == ["docker.io"] for r in asked)
    assert hub.count() == 0, "it is asked first, wherever it stands in the list"
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert not sibling.select(reference="1"), "what a tag means is not its to say"


# --- who waits for whom ---------------------------------------------------------------------------------------------

LESSER, GREATER = "0", "g"   # than any name, which is hexadecimal


def hop(name):
    return {"Entrepot-Hop": name}


@pytest.fixture
def watched(launch, hub, another):
    """A mirror, and the double that stands for its sibling."""
    sibling = another(challenge="none", redirects=False, takes_ns=True)
    m = launch(registries={"docker.io": {"sources": [
        {"name": "sibling", "url": sibling.url(), "sibling": True}, {"name": "hub", "url": hub.url()}]}},
        upstream={"header_timeout": "60s", "stall_timeout": "60s"}, server={"answer_timeout": "60s"})
    return Client(m.host_port), sibling


@pytest.mark.parametrize("kind", ["blob", "manifest"])
def test_of_two_that_ask_each_other_one_waits(watched, hub, kind):
    client, sibling = watched
    digest, layer = make_image(hub)
    target = f"/v2/library/made/{kind}s/{digest if kind == 'manifest' else layer}"
    with sibling.fault("hang", kind=kind, method="GET", times=1) as hang:
        first = client.ask(target)
        hang.wait()
        lesser = client.ask(target, headers=hop(LESSER))
        assert client.get(target, hop(GREATER)).status == 504, "is told at once, and goes upstream"
        assert not lesser.readable() and not first.readable()
        hang.release()
        for r in (first, lesser):
            assert r.read_head().status == 200 and r.finish().end == "complete"
    assert hub.count(kind=kind, method="GET", status=200, where="registry" if kind == "manifest" else "cdn") == 1
    assert client.get(target, hop(GREATER)).status == 200, "stored"


def test_what_a_sibling_gives_no_sibling_waits_for(watched, hub):
    client, sibling = watched
    data = random.Random(46).randbytes(SIZE)
    d = sibling.put_blob(data)
    target = f"/v2/library/made/blobs/{d}"
    with sibling.fault("stall", times=1, kind="blob", at=4 * MIB) as stall:
        first = client.open(target)
        stall.wait()
        second = client.open(target).read(2 * MIB)
        for name in (LESSER, GREATER):
            assert client.get(target, hop(name)).status == 504
            assert client.get(target, {**hop(name), "Range": f"bytes={4 * MIB}-"}).status == 504
        stall.release()
        for r in (first, second):
            whole(r, data)
    for name in (LESSER, GREATER):
        whole(client.open(target, headers=hop(name)), data)
    assert hub.count() == 0


def test_an_upstream_that_breaks_off_is_not_looked_for_at_who_reads_from_us(pair, hub, blob):
    """Nobody waits for the other's stall_timeout, which no client would live to see."""
    mirrors, clients = pair(upstream={"stall_timeout": "10m"})
    data, d, target = blob
    with hub.fault("cut", times=1, kind="blob", at=6 * MIB, hold=True) as cut:
        first = clients[0].open(target)
        cut.wait()
        second = clients[1].open(target).read(4 * MIB)
        cut.release()
        for r in (first, second):
            whole(r, data)
    assert hub.body_bytes(d) == SIZE
    mirrors[1].wait_line(event="request", status="504", method="GET")


def test_what_is_fetched_ahead_no_sibling_is_asked_for(launch, hub, another):
    """Two that fetch a blob at once would wait for each other: each has promised bytes that it waits for itself."""
    sibling = another(challenge="none", redirects=False, takes_ns=True)
    m = launch(segments={"count": 4, "min_size": "8MiB"}, registries={"docker.io": {"sources": [
        {"name": "sibling", "url": sibling.url(), "sibling": True}, {"name": "hub", "url": hub.url()}]}})
    data = random.Random(47).randbytes(SIZE)
    d = hub.put_blob(data)
    with hub.fault("stall", times=1, kind="blob", at=MIB // 2) as stall:
        r = Client(m.host_port).open(f"/v2/library/made/blobs/{d}")
        stall.wait()
        hub.wait_for(lambda: hub.count(where="cdn", method="GET") >= 4)
        assert sibling.count(kind="blob", method="GET") == 1
        stall.release()
        whole(r, data)
    assert hub.body_bytes(d) == SIZE


# --- only-if-cached -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("headers", [CACHED, {"Cache-Control": "max-age=0, Only-If-Cached"}, {"Entrepot-Hop": "x"}])
def test_only_if_cached_is_answered_from_what_is_there_or_504(client, hub, image, headers):
    alpha = image()
    targets = ["manifests/1", f"manifests/{alpha.digest}", f"blobs/{alpha.largest()}", "tags/list",
               f"referrers/{alpha.digest}"]
    for t in targets:
        for method in ("GET", "HEAD"):
            assert client.request(method, f"/v2/library/alpha/{t}", headers).status == 504, (method, t)
    assert hub.count() == 0
    for t in targets:
        assert client.get(f"/v2/library/alpha/{t}").status == 200
    hub.forget()
    for t in targets:
        for method in ("GET", "HEAD"):
            assert client.request(method, f"/v2/library/alpha/{t}", headers).status == 200, (method, t)
    assert hub.count() == 0


def test_only_if_cached_of_a_tag_past_its_ttl_asks_nobody(launch, hub, image):
    m = launch(tags={"ttl": "0s"})
    client = Client(m.host_port)
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    hub.forget()
    r = client.get("/v2/library/alpha/manifests/1", CACHED)
    assert (r.status == 200 and r.headers["Warning"].startswith("299 - ")) or r.status == 504
    assert hub.count() == 0


def test_only_if_cached_joins_a_flight(client, hub, blob):
    data, d, target = blob
    with hub.fault("stall", times=1, kind="blob", at=4 * MIB) as stall:
        first = client.open(target)
        stall.wait()
        joined = client.open(target, headers=CACHED)
        assert joined.status == 200
        joined.read(MIB)
        part = client.open(target, headers={**CACHED, "Range": f"bytes={8 * MIB}-"})
        stall.release()
        whole(first, data)
        whole(joined, data)
        assert bytes(part.finish().body) == data[8 * MIB:]
    assert hub.body_bytes(d) == SIZE


def test_only_if_cached_joins_a_question(client, hub, image):
    alpha = image()
    with hub.fault("hang", kind="manifest", method="GET") as hang:
        first = client.ask(f"/v2/library/alpha/manifests/{alpha.digest}")
        hang.wait()
        second = client.ask(f"/v2/library/alpha/manifests/{alpha.digest}", headers=CACHED)
        wait_until(lambda: not second.readable(0.2), "it waits")
        hang.release()
        for r in (first, second):
            assert r.read_head().status == 200 and bytes(r.finish().body) == alpha.bytes(alpha.digest)
    assert hub.budget().counted == 1


# --- one of them dies, or lies --------------------------------------------------------------------------------------

def test_one_is_killed_during_pulls_and_the_others_clients_get_everything(pair, hub, blob):
    mirrors, (a, b) = pair(upstream={"stall_timeout": "10s"})
    data, d, target = blob
    with hub.fault("stall", times=1, kind="blob", at=6 * MIB) as stall:
        doomed = a.open(target)
        stall.wait()
        waiting = [b.open(target) for _ in range(4)]
        for r in waiting:
            r.read(4 * MIB)
        mirrors[0].kill()
        stall.release()
        for r in waiting:
            whole(r, data)
        assert doomed.finish().end != "complete"
    assert hub.body_bytes(d) <= 2 * SIZE
    cdn = hub.select(where="cdn", method="GET", status=206)
    assert cdn and cdn[-1].range, "the other went on where it was"
    for _ in range(5):
        digest, layer = make_image(hub)
        assert b.get(f"/v2/library/made/manifests/{digest}").status == 200
        assert b.get(f"/v2/library/made/blobs/{layer}").status == 200


def test_with_the_upstream_gone_each_serves_what_the_other_has(pair, hub, image):
    _, (a, b) = pair(server={"answer_timeout": "2s"})
    alpha, beta = image(), image("library/beta")
    for client, img in ((a, alpha), (b, beta)):
        for target, _ in img.targets():
            assert client.get(target).status == 200
    hub.refuse()
    for client, img in ((b, alpha), (a, beta)):
        for target, d in img.targets():
            r = client.get(target)
            assert r.status == 200 and bytes(r.body) == img.bytes(d)


@pytest.mark.parametrize("what,args", [("wrong", {"at": 1000}), ("longer", {"by": 5}), ("shorter", {"by": 5}), ("html", {}),
                                       ("status", {"code": 500}), ("drop", {})])
def test_a_sibling_that_lies_is_caught(launch, hub, another, what, args):
    """A double stands for it. Nobody completes wrong bytes, nothing is poisoned, and the hub is asked instead."""
    sibling = another(challenge="none", redirects=False, takes_ns=True)
    data = random.Random(45).randbytes(MIB)
    d = hub.put_blob(data)
    sibling.put_blob(data)
    m = launch(registries={"docker.io": {"sources": [
        {"name": "sibling", "url": sibling.url(), "sibling": True}, {"name": "hub", "url": hub.url()}]}})
    client, target = Client(m.host_port), f"/v2/library/made/blobs/{d}"
    with sibling.fault(what, kind="blob", method="GET", **args):
        r = client.get(target)
        assert r.end == "fin" or r.status in (502, 503) or bytes(r.body) == data
        whole(client.open(target), data)
    sibling.forget(), hub.forget()
    whole(client.open(target), data)
    assert sibling.count() == hub.count() == 0, "stored"
    with sibling.fault("wrong" if what == "wrong" else what, kind="manifest", method="GET", **args):
        digest, _ = make_image(hub, seed=f"lie {what}")
        sibling.manifests.update(hub.manifests)
        assert client.get(f"/v2/library/made/manifests/{digest}").status == 200
