"""Rot: whatever happens to the files of a running mirror, no client comes to the end of wrong bytes, and it heals."""

import hashlib
import json
import os
import time

import pytest
import servers
from commands import Cli
from servers import file_of
from test_budget import make_image
from wire import Client

MIB = 1 << 20


def flip(path):
    """One bit, as a disk would: through the file, with size and times as they were, but for the ctime."""
    st = path.stat()
    with open(path, "r+b") as f:
        f.seek(st.st_size // 2)
        byte = f.read(1)[0]
        f.seek(st.st_size // 2)
        f.write(bytes([byte ^ 4]))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def is_right(path, digest):
    return path.exists() and "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() == digest


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


@pytest.mark.parametrize("damage", [flip, delete], ids=lambda f: f.__name__)
def test_what_a_pinned_image_has_lost_is_fetched_again_without_anybody_asking(launch, hub, store, damage):
    m = launch(store={"scrub_interval": "1ms", "scrub_rate": "1GiB"})
    cli = Cli(m)
    lost = {}
    for tag, pin in (("kept", ["--pin", "--name", "keep"]), ("left", [])):
        digest, layer = make_image(hub, tag=tag)
        config = json.loads(hub.manifests["library/made", digest][1])["config"]["digest"]
        lost[tag] = [digest, config, layer]
        cli("seed", *pin, "--image", f"made:{tag}")
    for d in lost["kept"] + lost["left"]:
        damage(file_of(store, d))
    hub.forget()
    m.signal(1)     # a round begins
    servers.wait_until(lambda: not any(file_of(store, d).exists() for d in lost["left"]), "all of it is found", 30)
    servers.wait_until(lambda: all(is_right(file_of(store, d), d) for d in lost["kept"]), "it is whole again", 30)
    asked = [r.target for r in hub.select(where="registry") if r.method == "GET"]
    assert all(any(d in t for t in asked) for d in lost["kept"]), asked
    assert not any(d in t for t in asked for d in lost["left"]), asked
    hub.refuse()
    client = Client(m.host_port)
    manifest = client.get("/v2/library/made/manifests/kept")
    assert manifest.status == 200 and manifest.headers["docker-content-digest"] == lost["kept"][0]
    for d in lost["kept"][1:]:
        r = client.get(f"/v2/library/made/blobs/{d}")
        assert r.status == 200 and r.end == "complete" and hub.blobs[d].data == bytes(r.body)


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


def test_a_file_system_that_cannot_seal_is_told_of_once_and_does_no_harm(launch, hub, blobs, store):
    m = launch(store={"scrub_interval": "1ms", "scrub_rate": "1GiB", "fs_verity": True})
    client = Client(m.host_port)
    for d, data in blobs:
        assert bytes(client.get(f"/v2/library/x/blobs/{d}").body) == data
    servers.wait_until(lambda: all(file_of(store, d).exists() for d, _ in blobs), "everything is published")
    m.signal(1)
    m.wait_line(event="scrubbed", blobs=lambda v: v and int(v) >= len(blobs))
    m.restart()
    hub.refuse()
    client = Client(m.host_port)
    for d, data in blobs:
        assert bytes(client.get(f"/v2/library/x/blobs/{d}").body) == data
    assert len(m.find(event="fs_verity")) <= 2, "once a start; none where the file system can"
    assert not m.find(event="damaged")
