"""Large blobs over several connections: who is slow by the connection is asked for several parts at once."""

import random
import re

import pytest
from servers import wait_until
from test_ops import Ops
from wire import Client

MIB = 1 << 20
SIZE = 32 * MIB
PIECE = MIB     # an eighth of segments.min_size


@pytest.fixture(scope="session")
def bytes_of_blob():
    return random.Random(12).randbytes(SIZE)


@pytest.fixture
def blob(hub, bytes_of_blob):
    """A manifest that was pulled before has told how large it is, as it is when clients pull."""
    d = hub.put_blob(bytes_of_blob)
    return bytes_of_blob, d, f"/v2/library/x/blobs/{d}"


@pytest.fixture
def config(config):
    return config | {"segments": {"count": 4, "min_size": "8MiB"}}


def gets(hub, d):
    return hub.select(method="GET", where="cdn", reference=d, status=(200, 206))


def at_once(hub, d):
    """GETs of the blob that have been answered and have not ended."""
    return sum(1 for r in gets(hub, d) if r.sent < length(r))


def length(record):
    first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", record.range).groups()
    return (int(last) + 1 if last else SIZE) - int(first)


def test_four_parts_are_fetched_at_once_and_the_client_has_the_first_meanwhile(client, hub, blob):
    data, d, target = blob
    stalls = [hub.fault("stall", kind="blob", at=i * PIECE + PIECE // 2) for i in range(4)]
    r = client.open(target)
    for s in stalls:
        s.wait()
    assert at_once(hub, d) == 4
    r.read(PIECE // 2 - 300000)     # what comes at a tick, and a hold-back, lie behind it
    assert bytes(r.body) == data[:len(r.body)]
    stalls[0].remove()
    r.read(PIECE)                   # those ahead are still held
    assert len(r.body) >= PIECE and at_once(hub, d) >= 3
    for s in reversed(stalls):
        s.remove()
    assert r.finish().end == "complete" and bytes(r.body) == data
    assert hub.body_bytes(d) == SIZE, "each byte once"
    assert len(gets(hub, d)) == SIZE // PIECE
    hub.forget()
    assert bytes(client.get(target).body) == data
    assert hub.count() == 0


def test_a_range_far_ahead_comes_when_everything_before_it_has(client, hub, blob):
    data, d, target = blob
    with hub.fault("stall", kind="blob", at=PIECE // 2) as stall:
        r = client.ask(target, headers={"Range": f"bytes={3 * PIECE}-{3 * PIECE + 999}"})
        stall.wait()
        hub.wait_for(lambda: len(gets(hub, d)) >= 8)    # as far ahead as may be
        stall.release()
        assert bytes(r.read_head().finish().body) == data[3 * PIECE:3 * PIECE + 1000]
    assert bytes(client.get(target).body) == data
    assert hub.body_bytes(d) == SIZE


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_a_part_that_breaks_off_is_resumed(client, hub, blob, how):
    data, d, target = blob
    faults = [hub.fault(how, times=1, kind="blob", at=i * PIECE + 123456) for i in (0, 2, 5)]
    assert bytes(client.get(target).body) == data
    assert [f.hits for f in faults] == [1, 1, 1]
    assert hub.body_bytes(d) <= SIZE * 1.01


def test_a_source_that_gives_no_parts_is_asked_once(client, hub, blob):
    data, d, target = blob
    with hub.fault("no_range", kind="blob"):
        assert bytes(client.get(target).body) == data
    assert [r.status for r in gets(hub, d)] == [200] and hub.body_bytes(d) == SIZE


def test_a_part_that_is_refused_leaves_the_others_at_work(client, hub, blob):
    data, d, target = blob
    ahead = hub.fault("status", times=1, status=503, where="cdn", kind="blob", at=2 * PIECE + 5)
    assert bytes(client.get(target).body) == data
    assert ahead.hits == 1 and hub.body_bytes(d) == SIZE


def test_wrong_bytes_in_one_part_are_never_whole(client, hub, blob):
    data, d, target = blob
    with hub.fault("wrong", times=1, kind="blob", at=5 * PIECE + 7):
        r = client.get(target)
    assert r.end != "complete" and len(r.body) < SIZE
    wait_until(lambda: bytes(client.get(target).body) == data, "the next pull is right, after the back-off")


@pytest.mark.parametrize("most", [1, 2, 6])
def test_there_are_never_more_connections_than_may_be(launch, hub, blob, most):
    data, d, target = blob
    m = launch(upstream={"max_connections_per_host": most})
    other = hub.put_blob(b"small" * 1000)
    seen = []
    with hub.fault("stall", kind="blob", at=PIECE // 2, reference=d) as stall:
        r = Client(m.host_port).ask(target)
        stall.wait()
        seen.append(at_once(hub, d))
        if most > 1:    # another's only connection comes before the fourth of this one
            small = Client(m.host_port).get(f"/v2/library/x/blobs/{other}")
            assert bytes(small.body) == b"small" * 1000
        stall.release()
    assert bytes(r.read_head().finish().body) == data
    assert max(seen) <= max(1, most // 2)


def test_a_killed_process_leaves_what_can_be_gone_on_with(launch, hub, blob):
    data, d, target = blob
    m = launch()
    with hub.fault("stall", kind="blob", at=10 * PIECE + PIECE // 2) as stall:
        r = Client(m.host_port).open(target)
        stall.wait()
        ahead = range(11, 18)
        hub.wait_for(lambda: all(any(g.sent == PIECE and g.range.startswith(f"bytes={i * PIECE}-")
                                     for g in gets(hub, d)) for i in ahead))
        r.read(10 * PIECE)
        m.kill()
    hub.forget()
    m.start()
    assert bytes(Client(m.host_port).get(target).body) == data
    first = min(int(re.match(r"bytes=(\d+)", g.range).group(1)) for g in gets(hub, d))
    assert 10 * PIECE <= first <= 10 * PIECE + PIECE // 2, "what is whole from the start is not fetched again"
    assert sum(g.sent for g in gets(hub, d)) == SIZE - first, "and what is ahead of the gap is"


def test_a_stop_in_the_middle_resumes(launch, hub, blob):
    data, d, target = blob
    m = launch(server={"drain_timeout": "0s"})
    with hub.fault("stall", kind="blob", at=10 * PIECE + PIECE // 2) as stall:
        r = Client(m.host_port).open(target)
        stall.wait()
        r.read(10 * PIECE)      # the piece that is held may have come to it before those in front of it
        m.stop()
    hub.forget()
    m.start()
    assert bytes(Client(m.host_port).get(target).body) == data
    assert sum(g.sent for g in gets(hub, d)) <= SIZE - 10 * PIECE


def test_it_is_counted(launch, hub, blob):
    data, d, target = blob
    m = launch(ops={"listen": ["127.0.0.1:0"]})
    assert bytes(Client(m.host_port).get(target).body) == data
    assert Ops(m).page().get("flights_segments_total", registry="docker.io") >= 3
