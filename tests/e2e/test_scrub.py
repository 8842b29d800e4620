"""Rot: whatever happens to the files of a running mirror, no client comes to the end of wrong bytes, and it heals."""

import os
import time

import pytest
import servers
from wire import Client

MIB = 1 << 20


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def file_of(store, digest):
    algorithm, hex_ = digest.split(":")
    return store / "blobs" / algorithm / hex_[:2] / hex_


def flip(path):
    """One bit, as a disk would: through the file, with size and times as they were, but for the ctime."""
    st = path.stat()
    with open(path, "r+b") as f:
        f.seek(st.st_size // 2)
        byte = f.read(1)[0]
        f.seek(st.st_size // 2)
        f.write(bytes([byte ^ 4]))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def truncate(path):
    os.truncate(path, path.stat().st_size - 1)


def swap(path):
    st = path.stat()
    other = path.with_name("other")
    other.write_bytes(os.urandom(st.st_size))
    os.utime(other, ns=(st.st_atime_ns, st.st_mtime_ns))
    other.rename(path)


def delete(path):
    path.unlink()


@pytest.fixture
def blobs(hub):
    """What is small, and what is not: digest and bytes."""
    datas = [os.urandom(n) for n in (10, 60_000, 200_000, 5 * MIB)]
    return [(hub.put_blob(d), d) for d in datas]


def filled(m, blobs, store):
    client = Client(m.host_port)
    for d, data in blobs:
        assert bytes(client.get(f"/v2/library/x/blobs/{d}").body) == data
    servers.wait_until(lambda: all(file_of(store, d).exists() for d, _ in blobs), "everything is published")
    return client


@pytest.mark.parametrize("damage", [flip, truncate, swap, delete], ids=lambda f: f.__name__)
def test_no_client_comes_to_the_end_of_wrong_bytes_and_the_next_pull_is_right(launch, hub, store, blobs, damage):
    m = launch(store={"verify_every": "0s"})
    client = filled(m, blobs, store)
    for d, _ in blobs:
        damage(file_of(store, d))
    for d, data in blobs:
        end = time.monotonic() + 20
        r = client.get(f"/v2/library/x/blobs/{d}")
        assert not (r.status == 200 and r.end == "complete") or bytes(r.body) == data
        while not (r.status == 200 and r.end == "complete"):
            assert time.monotonic() < end
            r = client.get(f"/v2/library/x/blobs/{d}")
        assert bytes(r.body) == data


@pytest.mark.parametrize("damage", [flip, truncate, swap, delete], ids=lambda f: f.__name__)
def test_the_scrub_finds_damage_by_itself(launch, hub, store, blobs, damage):
    m = launch(store={"scrub_interval": "1ms", "scrub_rate": "1GiB"})
    filled(m, blobs, store)
    for d, _ in blobs:
        damage(file_of(store, d))
    m.signal(1)     # a round begins
    line = m.wait_line(event="scrubbed", level="warn")
    assert int(line.get("damaged")) == len(blobs)
    assert not any(file_of(store, d).exists() for d, _ in blobs)
    if damage is not delete:
        assert len(list((store / "quarantine").iterdir())) == len(blobs)
    client = Client(m.host_port)
    for d, data in blobs:
        r = client.get(f"/v2/library/x/blobs/{d}")
        assert r.status == 200 and r.end == "complete" and bytes(r.body) == data


def test_after_a_kill_everything_is_looked_at_before_it_is_sent_to_its_end(launch, hub, store, blobs):
    m = launch(store={"scrub_interval": 0})
    filled(m, blobs, store)
    m.kill()
    m.start()
    hub.refuse()
    client = Client(m.host_port)
    for _ in range(2):
        for d, data in blobs:
            r = client.get(f"/v2/library/x/blobs/{d}")
            assert r.status == 200 and r.end == "complete" and bytes(r.body) == data
            r = client.get(f"/v2/library/x/blobs/{d}", headers={"Range": "bytes=5-"})
            assert r.status == 206 and bytes(r.body) == data[5:]


def test_a_round_of_the_scrub_goes_over_everything_and_harms_nothing(launch, hub, image, store):
    m = launch(store={"scrub_interval": "1ms", "scrub_rate": "1GiB"})
    img = image()
    client = Client(m.host_port)
    targets = [f"/v2/{img.repo}/{'manifests' if d in (img.digest, img.child()) else 'blobs'}/{d}"
               for d in img.everything()]
    for t in targets:
        assert client.get(t).status == 200
    servers.wait_until(lambda: all(file_of(store, d).exists() for d in img.everything()), "everything is published")
    m.signal(1)
    line = m.wait_line(event="scrubbed", blobs=lambda v: v and int(v) >= len(img.everything()))
    assert line.get("damaged") == "0"
    hub.refuse()
    for t, d in zip(targets, img.everything()):
        assert bytes(client.get(t).body) == img.bytes(d)
