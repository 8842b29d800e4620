"""A store with bounds: what was used last stays whole, what goes comes again, and no client notices."""

import os
import random
import threading

import servers
from servers import file_of
from wire import Client

MIB = 1 << 20


def stored_bytes(store):
    """Of what has a name now; what goes meanwhile counts for nothing."""
    total = 0
    for path in (store / "blobs").rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            pass
    return total


def size_of(img):
    return sum(img.path(d).stat().st_size for d in img.everything())


def pull(m, img):
    client = Client(m.host_port)
    assert bytes(client.get(f"/v2/{img.repo}/manifests/{img.tag}").body) == img.bytes(img.digest)
    for target, d in img.targets():
        r = client.get(target)
        assert r.status == 200 and r.end == "complete" and bytes(r.body) == img.bytes(d), d


def bounded(bytes_, low=90):
    return {"max_size": int(bytes_), "min_free": 0, "low_watermark": low}


def test_the_least_recently_used_image_goes_as_a_whole(launch, hub, image, store):
    """Three images fit, of which one is pulled again; with the fourth the one that was not used for the longest goes."""
    alpha, beta, docker2 = image("library/alpha"), image("library/beta"), image("library/docker2")
    others = {d for img in (alpha, docker2) for d in img.everything()}
    m = launch(store=bounded(1 << 40))
    for img in (alpha, beta, docker2, alpha):
        pull(m, img)
    files = {d: file_of(store, d) for img in (alpha, beta, docker2) for d in img.everything()}
    servers.wait_until(lambda: all(p.exists() for p in files.values()), "everything is published")
    before = stored_bytes(store)
    m.write_config(store=bounded(before - 1, low=100))
    m.signal(1)
    line = m.wait_line(event="evicted")
    assert int(line.get("images")) == 1
    gone = {d for d, p in files.items() if not p.exists()}
    assert gone == set(beta.everything()) - others
    assert int(line.get("blobs")) == len(gone) and stored_bytes(store) < before
    hub.refuse()
    for img in (alpha, docker2):
        pull(m, img)
    hub.listen()
    pull(m, beta)


def test_blobs_go_to_the_low_watermark_while_they_are_fetched(launch, hub, store):
    m = launch(store=bounded(20 * MIB, low=50))
    client = Client(m.host_port)
    blobs = []
    for _ in range(24):
        data = os.urandom(2 * MIB)
        blobs.append((hub.put_blob(data), data))
        r = client.get(f"/v2/library/x/blobs/{blobs[-1][0]}")
        assert bytes(r.body) == data
    m.wait_line(event="evicted")
    servers.wait_until(lambda: stored_bytes(store) <= 20 * MIB, "the bound is kept")
    assert file_of(store, blobs[-1][0]).exists() and not file_of(store, blobs[0][0]).exists()
    for d, data in blobs[:3]:
        assert bytes(client.get(f"/v2/library/x/blobs/{d}").body) == data


def test_a_blob_that_is_being_read_is_read_to_its_end(launch, hub, store):
    m = launch(store=bounded(1 << 40))
    data, other = os.urandom(64 * MIB), os.urandom(MIB)
    d, second = hub.put_blob(data), hub.put_blob(other)
    client = Client(m.host_port)
    client.get(f"/v2/library/x/blobs/{d}")
    servers.wait_until(file_of(store, d).exists, "it is published")
    slow = client.open(f"/v2/library/x/blobs/{d}").read(MIB)
    client.get(f"/v2/library/x/blobs/{second}")
    servers.wait_until(file_of(store, second).exists, "it is published")
    m.write_config(store=bounded(1, low=100))
    m.signal(1)
    servers.wait_until(lambda: not file_of(store, second).exists(), "what nobody reads has gone")
    assert file_of(store, d).exists()
    m.wait_line(event="store_full", level="warn")
    assert bytes(slow.finish().body) == data and slow.end == "complete"
    slow.leave()
    servers.wait_until(lambda: not file_of(store, d).exists(), "it goes when its reader has gone", 60)
    assert bytes(client.get(f"/v2/library/x/blobs/{d}").body) == data


def test_pulls_are_right_while_everything_is_being_evicted(launch, hub, image):
    """Room for about one image, six clients that pull four: each byte that they get is right."""
    images = [image(name) for name in ("library/alpha", "library/beta", "library/docker2", "tools/artifact")]
    m = launch(store=bounded(max(size_of(img) for img in images), low=30))
    errors = []

    def work(seed):
        rng = random.Random(seed)
        try:
            for _ in range(6):
                pull(m, rng.choice(images))
        except AssertionError as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors[0]
    m.wait_line(event="evicted")
    assert not m.find(level="error")
    m.restart()
    for img in images:
        pull(m, img)
