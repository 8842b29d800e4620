"""Flights: one fetch a digest, however many ask, whatever the upstream does, over restarts."""

import random
import signal

import pytest
from servers import wait_until
from wire import Client

MIB = 1 << 20
SIZE = 16 * MIB


@pytest.fixture(scope="session")
def bytes_of_blob():
    return random.Random(11).randbytes(SIZE)


@pytest.fixture
def blob(hub, bytes_of_blob):
    d = hub.put_blob(bytes_of_blob)
    return bytes_of_blob, d, f"/v2/library/x/blobs/{d}"


def gets(hub, d):
    """GETs that were answered with the blob's bytes."""
    return hub.count(method="GET", where="cdn", reference=d, status=(200, 206))


def warm(client, hub, data, target):
    """The blob is stored and right, and the upstream is not needed any more."""
    hub.forget()
    assert bytes(client.get(target).body) == data
    assert hub.count() == 0


@pytest.mark.parametrize("redirected", [True, False])
def test_256_clients_of_one_cold_blob_of_200_mib_make_one_get(mirror, hub, crowd, random_blob, redirected):
    hub.redirects = redirected
    path, d = random_blob
    hub.put_blob(path=path)
    count = 256 if redirected else 32
    out = crowd(mirror.host_port[1], count, f"/v2/library/x/blobs/{d}", path)
    assert f"right {count} wrong 0 bytes {count * 200 * MIB}" in out
    assert hub.body_bytes(d) == 200 * MIB
    assert hub.count(method="GET", reference=d, status=(200, 206)) == 1
    wait_until(lambda: len(mirror.find(event="request", reference=d)) == count, "every request has its line")
    lines = mirror.find(event="request", reference=d, status=200)
    assert len(lines) == count
    outcomes = [ln.get("outcome") for ln in lines]
    assert outcomes.count("miss") == 1 and set(outcomes) <= {"miss", "joined", "hit"}
    assert sum(int(ln.get("upstream_requests")) for ln in lines) <= 6, "ping, token, redirect, CDN, a HEAD"


def test_the_first_client_gets_bytes_as_they_arrive(client, hub, blob):
    data, d, target = blob
    with hub.fault("stall", kind="blob", at=SIZE // 2) as stall:
        r = client.open(target)
        r.read(SIZE // 4)
        assert len(r.body) >= SIZE // 4 and bytes(r.body) == data[:len(r.body)]
        stall.wait()
        stall.release()
        assert bytes(r.finish().body) == data
    assert gets(hub, d) == 1


def test_a_client_that_joins_in_the_middle_gets_everything(client, hub, blob):
    data, d, target = blob
    with hub.fault("stall", kind="blob", at=SIZE // 2) as stall:
        first = client.open(target)
        stall.wait()
        joined = client.open(target)
        joined.read(SIZE // 4)
        assert bytes(joined.body) == data[:len(joined.body)]
        tail = client.ask(target, headers={"Range": f"bytes={SIZE - 1000}-"})
        stall.release()
        assert bytes(first.finish().body) == data and bytes(joined.finish().body) == data
        assert bytes(tail.read_head().finish().body) == data[-1000:]
    assert gets(hub, d) == 1 and hub.body_bytes(d) == SIZE
    warm(client, hub, data, target)


@pytest.mark.parametrize("rst", [False, True])
def test_a_client_that_leaves_does_not_end_the_flight(mirror, client, hub, blob, rst):
    data, d, target = blob
    with hub.fault("stall", kind="blob", at=SIZE // 2) as stall:
        leaver = client.open(target).read(MIB)
        stays = client.open(target)
        stall.wait()
        leaver.leave(rst)
        stall.release()
        assert bytes(stays.finish().body) == data
    assert gets(hub, d) == 1 and hub.body_bytes(d) == SIZE


def test_a_flight_outlives_every_client(client, hub, blob):
    data, d, target = blob
    with hub.fault("stall", kind="blob", at=SIZE // 2) as stall:
        leaver = client.open(target).read(MIB)
        stall.wait()
        leaver.leave()
        stall.release()
        hub.wait_for(lambda: hub.body_bytes(d) == SIZE)
    assert bytes(client.get(target).body) == data
    assert gets(hub, d) == 1 and hub.body_bytes(d) == SIZE


def test_a_client_that_leaves_before_the_upstream_answers_does_no_harm(client, hub, blob):
    data, d, target = blob
    with hub.fault("hang", kind="blob") as hang:
        for _ in range(4):
            client.ask(target).leave()
        early = client.ask(target)
        hang.wait()
        early.leave(rst=True)
        hang.release()
    assert bytes(client.get(target).body) == data
    assert gets(hub, d) == 1


def test_aborted_chunks_of_a_parallel_client_are_normal(client, hub, blob):
    """containerd's parallel fetch: open-ended ranges, each closed after one chunk."""
    data, d, target = blob
    for start in range(0, SIZE, MIB):
        r = client.open(target, headers={"Range": f"bytes={start}-"})
        assert r.status == 206 and int(r.headers["Content-Length"]) == SIZE - start
        assert bytes(r.read(MIB).body[:MIB]) == data[start:start + MIB]
        r.leave()
    assert gets(hub, d) == 1 and hub.body_bytes(d) == SIZE


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_an_upstream_that_breaks_off_is_resumed_and_no_client_notices(client, hub, blob, how):
    data, d, target = blob
    at = 5 * MIB + 12345
    with hub.fault(how, times=1, kind="blob", at=at) as f:
        others = [client.ask(target) for _ in range(3)]
        r = client.get(target)
        assert f.hits == 1
    assert r.end == "complete" and bytes(r.body) == data
    assert all(bytes(o.read_head().finish().body) == data for o in others)
    assert [x.range for x in hub.select(where="cdn", status=206)] == [f"bytes={at}-"]
    assert hub.body_bytes(d) == SIZE, "only what was missing was sent again"
    warm(client, hub, data, target)


def test_an_upstream_that_breaks_off_twice_in_two_ways_is_resumed_twice(client, hub, blob):
    data, d, target = blob
    with hub.fault("cut", times=1, kind="blob", at=3 * MIB), hub.fault("reset", times=1, kind="blob", at=9 * MIB):
        r = client.get(target)
    assert r.end == "complete" and bytes(r.body) == data
    assert [x.range for x in hub.select(where="cdn", status=206)] == [f"bytes={3 * MIB}-", f"bytes={9 * MIB}-"]
    assert hub.body_bytes(d) == SIZE


def test_an_upstream_that_stalls_is_broken_off_and_resumed(launch, hub, blob):
    m = launch(upstream={"stall_timeout": "1s"})
    data, d, target = blob
    with hub.fault("stall", times=1, kind="blob", at=4 * MIB):
        r = Client(m.host_port).get(target)
    assert r.end == "complete" and bytes(r.body) == data
    assert [x.range for x in hub.select(where="cdn", status=206)] == [f"bytes={4 * MIB}-"]
    assert hub.body_bytes(d) == SIZE


def test_an_upstream_that_cannot_resume_is_read_again_from_the_start(client, hub, blob):
    data, d, target = blob
    with hub.fault("cut", times=1, kind="blob", at=4 * MIB):
        with hub.fault("no_range", kind="blob"):
            r = client.get(target)
    assert r.end == "complete" and bytes(r.body) == data


def test_a_flight_that_makes_no_progress_fails_and_the_clients_get_a_short_body(launch, hub, blob):
    m = launch(upstream={"stall_timeout": "1s", "flight_timeout": "3s", "header_timeout": "1s"})
    data, d, target = blob
    client = Client(m.host_port)
    with hub.fault("stall", times=1, kind="blob", at=4 * MIB), hub.fault("hang", kind="blob", where="registry") as hang:
        hang.match["method"] = lambda method: bool(hub.count(where="cdn"))
        r = client.open(target).finish()
        assert r.status == 200 and r.end == "fin", "short, and by FIN"
        assert bytes(r.body) == data[:len(r.body)] and len(r.body) <= 4 * MIB
    hub.forget()
    r = client.get(target, {"Range": f"bytes={len(r.body)}-"})
    assert r.status == 206 and r.end == "complete" and data.endswith(bytes(r.body))
    assert hub.body_bytes(d) <= SIZE - 4 * MIB, "the partial file was used"


def test_a_restart_in_the_middle_continues_where_it_was(launch, hub, blob):
    """SIGTERM with a flight in the air: the client is cut cleanly, the next start fetches what is missing."""
    m = launch(server={"drain_timeout": "1s"}, upstream={"stall_timeout": "60s"})
    data, d, target = blob
    at = 10 * MIB
    with hub.fault("stall", times=1, kind="blob", at=at) as stall:
        r = Client(m.host_port).open(target)
        stall.wait()
        assert bytes(r.read(at).body) == data[:at], "what a client has is in the partial file"
        m.stop()
        assert r.finish().end == "fin" and len(r.body) == at
    before = hub.body_bytes(d)
    assert before == at
    m.start()
    r = Client(m.host_port).get(target)
    assert r.end == "complete" and bytes(r.body) == data
    assert hub.body_bytes(d) - before == SIZE - at, "only the missing bytes"
    assert [x.range for x in hub.select(where="cdn", status=206)] == [f"bytes={at}-"]
    warm(Client(m.host_port), hub, data, target)


def test_kill_9_in_the_middle_loses_at_most_what_was_in_memory(launch, hub, blob):
    m = launch(upstream={"stall_timeout": "60s"})
    data, d, target = blob
    at = 10 * MIB
    with hub.fault("stall", times=1, kind="blob", at=at) as stall:
        r = Client(m.host_port).open(target)
        stall.wait()
        r.read(at - MIB)
        m.kill()
    before = hub.body_bytes(d)
    m.start()
    r = Client(m.host_port).get(target)
    assert r.end == "complete" and bytes(r.body) == data
    again = hub.body_bytes(d) - before
    assert SIZE - at <= again <= SIZE - at + MIB, f"{again} bytes were sent again"
    ranges = hub.select(where="cdn", status=206)
    assert len(ranges) == 1 and ranges[0].range.startswith("bytes=")
    warm(Client(m.host_port), hub, data, target)


def test_kill_9_again_and_again_ends_with_the_right_bytes(launch, hub, blob):
    m = launch(upstream={"stall_timeout": "60s"})
    data, d, target = blob
    for at in (2 * MIB, 5 * MIB, 9 * MIB, 14 * MIB):
        with hub.fault("stall", times=1, kind="blob", at=at) as stall:
            r = Client(m.host_port).open(target)
            stall.wait()
            r.read(at - MIB)
            m.kill()
            r.leave()
        m.start()
    r = Client(m.host_port).get(target)
    assert r.end == "complete" and bytes(r.body) == data
    assert hub.body_bytes(d) <= SIZE + 4 * MIB


def test_what_was_stored_survives_kill_9(launch, hub, blob):
    m = launch()
    data, d, target = blob
    assert bytes(Client(m.host_port).get(target).body) == data
    m.kill()
    hub.forget()
    m.start()
    assert bytes(Client(m.host_port).get(target).body) == data
    assert hub.body_bytes(d) in (0, SIZE), "published, or fetched again; never half"


def test_wrong_bytes_after_a_restart_complete_no_client(launch, hub, blob):
    """The first half is right, the second is not: what was kept must not be trusted for ever."""
    m = launch(upstream={"stall_timeout": "60s"})
    data, d, target = blob
    with hub.fault("stall", times=1, kind="blob", at=8 * MIB) as stall:
        r = Client(m.host_port).open(target)
        stall.wait()
        r.read(7 * MIB)
        m.kill()
    m.start()
    client = Client(m.host_port)
    with hub.fault("wrong", times=1, kind="blob", at=12 * MIB):
        r = client.get(target)      # the flight begins anew; who has had some of the wrong ones is cut off
        assert r.status >= 400 or r.end == "fin"
    r = client.get(target)
    assert r.end == "complete" and bytes(r.body) == data


def test_the_last_bytes_wait_for_the_digest(client, hub, blob):
    """Every byte but the last has been sent, and one of them is wrong: no client may ever have all of it."""
    data, d, target = blob
    with hub.fault("wrong", kind="blob", at=SIZE - 1):
        waiting = [client.ask(target) for _ in range(8)]
        for r in waiting:
            r.read_head()
            r.finish()
            assert r.status >= 400 or (r.end == "fin" and len(r.body) < SIZE)
    assert bytes(client.get(target).body) == data


def test_many_flights_at_once(mirror, client, hub, image):
    """Every blob of several images at once, each asked for three times."""
    wanted = []
    for name in ("library/alpha", "library/beta", "library/empty", "library/docker2", "tools/artifact"):
        img = image(name)
        wanted += [(img, d) for d in set(img.blobs())]
    waiting = [(img, d, client.ask(f"/v2/{img.repo}/blobs/{d}")) for img, d in wanted * 3]
    for img, d, r in waiting:
        assert r.read_head().status == 200
        assert bytes(r.finish().body) == img.bytes(d)
        r.leave()
    for d in {d for _, d in wanted}:
        assert hub.count(where="cdn", method="GET", reference=d) == 1, d


def test_a_slow_client_does_not_hold_the_others(client, hub, blob):
    """One reads nothing: the flight ends, others are served, and the slow one gets the rest later."""
    data, d, target = blob
    slow = client.open(target)
    assert bytes(client.get(target).body) == data
    hub.refuse()
    assert bytes(slow.finish().body) == data and slow.end == "complete"


def test_head_joins_a_flight_and_moves_nothing(client, hub, blob):
    data, d, target = blob
    with hub.fault("stall", kind="blob", at=MIB) as stall:
        r = client.open(target)
        stall.wait()
        before = hub.count(kind="blob", method="GET")
        h = client.head(target)
        assert h.status == 200 and int(h.headers["Content-Length"]) == SIZE
        assert hub.count(kind="blob", method="GET") == before
        stall.release()
        assert bytes(r.finish().body) == data


def test_sigterm_while_clients_wait_for_headers(launch, hub, blob):
    m = launch(server={"drain_timeout": "1s"})
    data, d, target = blob
    with hub.fault("hang", kind="blob") as hang:
        waiting = [Client(m.host_port).ask(target) for _ in range(4)]
        hang.wait()
        m.signal(signal.SIGTERM)
        for r in waiting:
            r.read_head()
            assert r.end in ("fin", "complete", None, "rst")
            r.leave()
        assert m.wait() == 0
    wait_until(lambda: not m.running(), "it ended")
