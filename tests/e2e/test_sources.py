"""Several sources of one registry: who is asked, who is left in peace, and who goes on where another broke off.

The sources are doubles in front of the same content, so that their counters say who served what.
"""

import itertools
import os
import random
import re
import signal

import pytest
from servers import wait_until
from test_budget import make_image
from wire import Client

MIB = 1 << 20
SIZE = 16 * MIB
SEEDS = itertools.count(100)


@pytest.fixture
def one(hub):
    hub.challenge, hub.redirects = "none", False
    return hub


@pytest.fixture
def two(another):
    return another(challenge="none", redirects=False)


@pytest.fixture
def both(launch, one, two):
    """both(**over): a mirror that has `one` first and `two` second; keywords are the configuration's."""
    def start(first=None, other=None, **over):
        sources = [{"name": "one", "url": one.url(), **(first or {})}, {"name": "two", "url": two.url(), **(other or {})}]
        m = launch(registries={"docker.io": {"sources": sources}}, **over)
        return m, Client(m.host_port)
    return start


def put(size, *hubs):
    data = random.Random(next(SEEDS)).randbytes(size)
    return data, [h.put_blob(data) for h in hubs][0]


def right(client, data, digest):
    r = client.get(f"/v2/library/made/blobs/{digest}")
    assert (r.status, r.end) == (200, "complete") and bytes(r.body) == data
    return r


# --- who is asked ---------------------------------------------------------------------------------------------------

def test_the_first_that_can_serves_and_the_others_are_not_asked(both, one, two, image):
    _, client = both()
    alpha = image()
    for target, _ in alpha.targets():
        assert client.get(target).status == 200
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert one.count() > 0 and two.count() == 0


FAILURES = {
    "gone": lambda h: h.refuse(),
    "broken": lambda h: h.fault("status", code=503),
    "reset": lambda h: h.fault("drop"),
    "a page": lambda h: h.fault("html"),
    "abuse limit": lambda h: h.fault("limit", kind_of="abuse", retry_after="600"),
    "hangs": lambda h: h.fault("hang"),
    "not allowed": lambda h: h.fault("status", code=403),
    "not there": lambda h: h.fault("status", code=404),
}


@pytest.mark.parametrize("how", FAILURES)
def test_what_has_a_digest_comes_from_the_second_when_the_first_fails(both, one, two, image, how):
    _, client = both(upstream={"header_timeout": "1s"}, server={"answer_timeout": "8s"})
    alpha = image()
    FAILURES[how](one)
    for target, d in alpha.targets():
        r = client.get(target)
        assert r.status == 200 and bytes(r.body) == alpha.bytes(d), (d, bytes(r.body[:300]))
    assert two.count(status=200) >= len(alpha.everything())


@pytest.mark.parametrize("how", ["gone", "broken", "abuse limit"])
def test_a_tag_comes_from_the_second_when_the_first_fails(both, one, two, image, how):
    _, client = both()
    FAILURES[how](one)
    r = client.get("/v2/library/alpha/manifests/1")
    assert r.status == 200 and bytes(r.body) == image().bytes(image().digest)


def test_a_tag_that_the_first_does_not_have_is_not_looked_for_elsewhere(both, one, two):
    """Another that has it may be behind, or somebody else's."""
    _, client = both()
    make_image(two, tag="only-there")
    assert client.get("/v2/library/made/manifests/only-there").status == 404
    assert two.count() == 0


def test_tags_and_lists_come_from_sources_that_are_believed_only(launch, one, two, image):
    """The second is asked first for what has a digest, and never what a tag means."""
    m = launch(server={"answer_timeout": "1s"}, registries={"docker.io": {"sources": [
        {"name": "two", "url": two.url(), "tags": False}, {"name": "one", "url": one.url()}]}})
    client, alpha = Client(m.host_port), image()
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert client.get("/v2/library/alpha/tags/list").status == 200
    assert client.get(f"/v2/library/alpha/referrers/{alpha.digest}").status == 200
    for d in alpha.blobs():
        assert client.get(f"/v2/library/alpha/blobs/{d}").status == 200
    def by_name(h):
        return h.select(kind=("tags", "referrers")) + h.select(kind="manifest", reference=lambda r: ":" not in r)
    assert by_name(one) and not by_name(two)
    assert two.count(kind="blob", method="GET") == len(set(alpha.blobs())) and one.count(kind="blob") == 0
    assert one.budget().counted == 0, "the manifest itself came from the other"
    one.refuse()
    assert client.get("/v2/library/beta/manifests/1").status == 503
    assert client.get(f"/v2/library/beta/manifests/{image('library/beta').digest}").status == 200
    assert not by_name(two)


def test_a_second_source_under_a_path_and_a_prefix(both, one, two, image):
    two.path, two.prefix = "/mirror", "docker/"
    two.challenge, two.redirects = "docker", True
    _, client = both(other={"url": two.url(), "prefix": "docker"})
    alpha = image()
    one.refuse()
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    for d in alpha.blobs():
        assert bytes(client.get(f"/v2/library/alpha/blobs/{d}").body) == alpha.bytes(d)
    assert {r.reference for r in two.token_requests()} == {"repository:docker/library/alpha:pull"}
    r = client.get("/v2/library/alpha/tags/list")
    assert r.status == 200 and r.json["name"] == "library/alpha"


# --- breakers -------------------------------------------------------------------------------------------------------

def test_a_source_that_fails_is_left_in_peace_and_then_probed_once(both, one, two):
    """Open: nobody asks. Half open: one asks, and while he waits the others are served elsewhere. Closed again."""
    _, client = both(upstream={"header_timeout": "20s"}, server={"answer_timeout": "20s"})
    with one.fault("status", code=500) as broken:
        for _ in range(20):
            right(client, *put(1000, one, two))
        hits = broken.hits
        assert hits <= 12, "twenty pulls, but not twenty failures"
    one.forget()
    with one.fault("hang") as hang:
        waiting = []

        def probed():
            data, d = put(1000, one, two)
            r = client.ask(f"/v2/library/made/blobs/{d}")
            waiting.append((r, data))
            return hang.reached.wait(0.1)

        wait_until(probed, "somebody probes")
        for _ in range(10):
            right(client, *put(1000, one, two))
        assert hang.hits == 1, "one probe, however many ask"
        hang.release()
        for r, data in waiting:
            assert bytes(r.read_head().finish().body) == data
            r.leave()
    two.forget()
    one.forget()
    right(client, *put(1000, one, two))
    assert one.count(status=200) >= 1 and two.count() == 0, "closed"


def test_a_probe_that_fails_keeps_it_open_for_longer(both, one, two):
    _, client = both()
    with one.fault("status", code=500) as broken:
        right(client, *put(1000, one, two))
        wait_until(lambda: right(client, *put(1000, one, two)) and broken.hits >= 8, "several probes", 90)
        times = [r.at for r in one.select(fault="status")]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert max(gaps) > 0.4, gaps


# --- flights that change their source -------------------------------------------------------------------------------

@pytest.mark.parametrize("redirected", [False, True])
def test_a_flight_goes_on_at_the_other_where_the_first_broke_off(both, one, two, redirected):
    one.redirects = two.redirects = redirected
    _, client = both()
    data, d = put(SIZE, one, two)
    at = 6 * MIB
    with one.fault("cut", times=1, kind="blob", at=at, hold=True) as cut:
        waiting = [client.ask(f"/v2/library/made/blobs/{d}") for _ in range(4)]
        cut.wait()
        broken = one.fault("status", code=503)
        cut.release()
        for r in waiting:
            r.read_head().finish()
            assert (r.status, r.end) == (200, "complete") and bytes(r.body) == data
            r.leave()
        broken.remove()
    assert one.body_bytes(d) == at
    assert two.body_bytes(d) == SIZE - at, "only what was missing"
    assert [r.range for r in two.select(kind="blob", method="GET", status=206)] == [f"bytes={at}-"]


def test_a_flight_changes_its_source_when_the_first_stalls(both, one, two):
    _, client = both(upstream={"stall_timeout": "1s"})
    data, d = put(SIZE, one, two)
    at = 3 * MIB
    with one.fault("stall", times=1, kind="blob", at=at) as stall:
        r = client.open(f"/v2/library/made/blobs/{d}")
        stall.wait()
        with one.fault("status", code=503):
            r.finish()
    assert r.end == "complete" and bytes(r.body) == data
    assert (one.body_bytes(d), two.body_bytes(d)) == (at, SIZE - at)


def test_a_flight_that_breaks_again_and_again_changes_back_and_forth(both, one, two):
    _, client = both()
    data, d = put(SIZE, one, two)
    cuts = [h.fault("cut", times=1, kind="blob", at=n * MIB) for n in (2, 5, 9, 12) for h in (one, two)]
    right(client, data, d)
    assert one.body_bytes(d) + two.body_bytes(d) == SIZE, "no byte twice"
    for c in cuts:
        c.remove()


WRONG = {"another byte": ("wrong", {"at": 100_000}), "the last byte": ("wrong", {"at": MIB - 1}), "a page": ("html", {}),
         "longer": ("longer", {"by": 10}), "shorter": ("shorter", {"by": 10})}


@pytest.mark.parametrize("how", WRONG)
def test_wrong_bytes_from_one_are_fetched_from_the_other(both, one, two, how):
    """Whoever had wrong bytes already is cut short; the next pull is right, although the first still lies."""
    _, client = both()
    data, d = put(MIB, one, two)
    what, args = WRONG[how]
    with one.fault(what, kind="blob", method="GET", **args):
        r = client.get(f"/v2/library/made/blobs/{d}")
        assert r.end == "fin" or (r.status == 200 and bytes(r.body) == data) or r.status in (502, 503)
        right(client, data, d)
    assert two.body_bytes(d) >= MIB - 10
    one.forget(), two.forget()
    right(client, data, d)
    assert one.count() == two.count() == 0, "stored"


@pytest.mark.parametrize("how", ["wrong", "html", "longer", "shorter"])
def test_a_wrong_manifest_from_one_is_fetched_from_the_other(both, one, two, image, how):
    _, client = both()
    alpha = image()
    with one.fault(how, kind="manifest", method="GET"):
        for d in (alpha.digest, alpha.child()):
            r = client.get(f"/v2/library/alpha/manifests/{d}")
            assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
        r = client.get("/v2/library/alpha/manifests/1")
        assert r.status == 200 and r.headers["Docker-Content-Digest"] == alpha.digest


# --- reload ---------------------------------------------------------------------------------------------------------

def reload(m):
    mark = m.mark()
    m.signal(signal.SIGHUP)
    line = m.wait_line(since=mark, event="reload")
    assert line.get("result") == "done", line


def test_a_reload_changes_sources_and_drops_no_flight(both, one, two):
    m, client = both()
    data, d = put(SIZE, one, two)
    at = 4 * MIB
    with one.fault("stall", times=1, kind="blob", at=at) as stall:
        r = client.open(f"/v2/library/made/blobs/{d}")
        stall.wait()
        m.write_config(registries={"docker.io": {"sources": [{"name": "two", "url": two.url()}]}})
        reload(m)
        hits = one.count()
        right(client, *put(1000, one, two))
        assert one.count() == hits and two.count(kind="blob", method="GET") == 1, "new ones go to the new source"
        late = client.open(f"/v2/library/made/blobs/{d}")
        stall.release()
        for x in (r, late):
            assert bytes(x.finish().body) == data and x.end == "complete"
    assert (one.body_bytes(d), two.body_bytes(d)) == (SIZE, 0), "the flight ended as it began"


def test_a_flight_whose_source_a_reload_took_away_goes_on_at_the_new_one(both, one, two):
    m, client = both()
    data, d = put(SIZE, one, two)
    at = 4 * MIB
    with one.fault("cut", times=1, kind="blob", at=at, hold=True) as cut:
        r = client.open(f"/v2/library/made/blobs/{d}")
        cut.wait()
        m.write_config(registries={"docker.io": {"sources": [{"name": "two", "url": two.url()}]}})
        reload(m)
        cut.release()
        assert bytes(r.finish().body) == data and r.end == "complete"
    assert (one.body_bytes(d), two.body_bytes(d)) == (at, SIZE - at)


def test_a_reload_changes_accounts_and_keeps_what_is_known_of_their_budgets(launch, hub, account):
    """The password changes, an account comes, another goes. Nothing is fetched twice, nobody's secret is logged."""
    files = {user: account(hub, user, limit=2) for user in ("ann", "bob")}
    hub.budgets[None].remaining = 0
    hub.enforce = True
    m = launch(server={"answer_timeout": "1s"},
               registries={"docker.io": {"sources": [{"name": "ann", "credentials": files["ann"]}]}})
    client = Client(m.host_port)
    for _ in range(2):
        assert client.get(f"/v2/library/made/manifests/{make_image(hub)[0]}").status == 200
    wanted = make_image(hub)[0]
    assert client.get(f"/v2/library/made/manifests/{wanted}").status == 503
    m.write_config(registries={"docker.io": {"sources": [
        {"name": "ann", "credentials": files["ann"]}, {"name": "bob", "credentials": files["bob"]}]}})
    reload(m)
    refused = hub.budgets["ann"].refused
    assert client.get(f"/v2/library/made/manifests/{wanted}").status == 200
    assert hub.budgets["bob"].counted == 1 and hub.budgets["ann"].refused == refused
    hub.accounts["bob"] = "word-of-spring"
    hub.expire_tokens()
    text = open(files["bob"]).read()
    with open(files["bob"] + ".new", "w") as f:
        f.write(text.replace("word-of-bob", "word-of-spring"))
    os.rename(files["bob"] + ".new", files["bob"])
    reload(m)
    assert client.get(f"/v2/library/made/manifests/{make_image(hub)[0]}").status == 200
    assert hub.budgets["bob"].counted == 2
    assert not any(re.search("word-of-(ann|bob|spring)", line) for line in m.lines)


def test_a_reload_that_is_wrong_changes_nothing(both, one, two):
    m, client = both()
    m.write_config(registries={"docker.io": {"sources": [{"name": "x", "url": "gopher://nowhere"}]}})
    mark = m.mark()
    m.signal(signal.SIGHUP)
    assert "failed" in m.wait_line(since=mark, event="reload").get("result")
    right(client, *put(1000, one, two))
    assert one.count(kind="blob", method="GET") == 1
