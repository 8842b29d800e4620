"""Content that is compressed at rest: clients get the bytes that they have always got, whatever happens to the files."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import time

import pytest
import servers
from commands import Cli
from servers import file_of
from test_scrub import delete, flip, swap, truncate
from wire import Client, multipart

MIB = 1 << 20
ZSTD = {"Accept-Encoding": "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5"}  # as containerd says it


def text(size, seed=1):
    lines, n = [], 0
    while n < size:
        h = hashlib.sha256(f"{seed}/{len(lines)}".encode()).hexdigest()
        lines.append(f"{len(lines)}: {h} the same words again and again\n".encode())
        n += len(lines[-1])
    return b"".join(lines)[:size]


def packed(store, digest):
    path = file_of(store, digest)
    return path.with_name(path.name + ".zst")


def unpack(data):
    return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def is_packed(store, digest):
    return packed(store, digest).exists() and not file_of(store, digest).exists()


@pytest.fixture
def blobs(hub):
    """Layers that are not compressed, a config, and what looks like neither: digest and bytes."""
    datas = [text(n, n) for n in (9_000, 131_072, 131_073, 3 * MIB + 7)]
    return [(hub.put_blob(d), d) for d in datas]


def filled(m, blobs, store):
    client = Client(m.host_port)
    for d, data in blobs:
        assert bytes(client.get(f"/v2/library/x/blobs/{d}").body) == data
    servers.wait_until(lambda: all(is_packed(store, d) for d, _ in blobs), "everything is packed")
    return client


def check_blob(client, d, data):
    target, size = f"/v2/library/x/blobs/{d}", len(data)
    r = client.get(target)
    assert r.status == 200 and r.end == "complete" and bytes(r.body) == data
    assert r.headers["Content-Length"] == str(size) and r.headers["ETag"] == f'"{d}"'
    assert r.headers["Docker-Content-Digest"] == d and r.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in r.headers
    r = client.head(target, headers=ZSTD)
    assert r.status == 200 and r.headers["Content-Length"] == str(size) and r.headers["ETag"] == f'"{d}"'
    for first, last in ((0, 0), (size - 1, size - 1), (0, size - 1), (size // 3, size // 2), (max(size - 9, 0), size - 1)):
        r = client.get(target, headers={"Range": f"bytes={first}-{last}", **ZSTD})
        assert r.status == 206 and bytes(r.body) == data[first:last + 1]
        assert r.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    wanted = [(0, 4), (size // 2, size // 2 + 1000), (size - 3, size - 1)]
    r = client.get(target, headers={"Range": "bytes=" + ",".join(f"{a}-{b}" for a, b in wanted)})
    assert [bytes(p[-1]) for p in multipart(r)] == [data[a:b + 1] for a, b in wanted]


def test_packed_blobs_are_served_byte_for_byte_and_in_parts(launch, hub, store, blobs):
    m = launch()
    client = filled(m, blobs, store)
    for d, data in blobs:
        check_blob(client, d, data)
        assert packed(store, d).stat().st_size < len(data) * 7 // 8
        assert unpack(packed(store, d).read_bytes()) == data
    m.restart()
    hub.refuse()
    for d, data in blobs:
        check_blob(Client(m.host_port), d, data)


def test_who_asks_for_zstd_gets_the_file_as_it_is(launch, hub, store, blobs):
    m = launch()
    client = filled(m, blobs, store)
    for d, data in blobs:
        target = f"/v2/library/x/blobs/{d}"
        r = client.get(target, headers=ZSTD)
        assert r.status == 200 and r.end == "complete" and r.headers["Content-Encoding"] == "zstd"
        assert r.headers["ETag"] == f'"{d}-zstd"' and r.headers["Docker-Content-Digest"] == d
        assert r.headers["Vary"] == "Accept-Encoding" and "Content-Length" not in r.headers
        assert unpack(bytes(r.body)) == data and len(r.body) < len(data)
        for refused in ("gzip", "zstd;q=0", "identity", "*", "zstd;q=0.000, gzip"):
            r = client.get(target, headers={"Accept-Encoding": refused})
            assert "Content-Encoding" not in r.headers and bytes(r.body) == data
        for tag in (f'"{d}"', f'"{d}-zstd"'):
            r = client.get(target, headers={"If-None-Match": tag, **ZSTD})
            assert r.status == 304 and r.headers["ETag"] == tag
        # part of the encoded bytes is not on offer: the whole content, then
        r = client.get(target, headers={"Range": "bytes=0-9", "If-Range": f'"{d}-zstd"', **ZSTD})
        assert r.status == 200 and bytes(r.body) == data
    got = subprocess.run(["curl", "-sS", "--compressed", f"http://{m.address}/v2/library/x/blobs/{blobs[3][0]}"],
                         stdout=subprocess.PIPE, check=True).stdout
    assert got == blobs[3][1]


def test_large_documents_are_packed_and_served_as_they_were(launch, hub, store):
    config = hub.put_blob(text(6000))
    layers = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 5,
               "digest": "sha256:" + hashlib.sha256(str(n).encode()).hexdigest()} for n in range(60)]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 6000}, "layers": layers})
    d = hub.put_manifest("library/x", manifest.encode(), tag="many")
    m = launch()
    assert bytes(Client(m.host_port).get("/v2/library/x/manifests/many").body) == manifest.encode()
    servers.wait_until(lambda: is_packed(store, d), "the manifest is packed")
    m.restart()
    hub.refuse()
    r = Client(m.host_port).get(f"/v2/library/x/manifests/{d}", headers=ZSTD)
    assert r.status == 200 and bytes(r.body) == manifest.encode() and "Content-Encoding" not in r.headers
    assert bytes(Client(m.host_port).get(f"/v2/library/x/blobs/{d}").body) == manifest.encode()


def test_what_does_not_shrink_and_what_must_not_stays_as_it_is(launch, hub, store, image):
    noise = os.urandom(300_000)
    d = hub.put_blob(noise)
    off = hub.put_blob(text(300_000))
    img = image()
    m = launch(store={"compression": "off"})
    client = Client(m.host_port)
    assert client.get(f"/v2/library/x/blobs/{off}").status == 200
    servers.wait_until(lambda: file_of(store, off).exists(), "it is published")
    m.stop()
    m.write_config(store={"compression": "zstd"})
    m.start()
    client = Client(m.host_port)
    assert bytes(client.get(f"/v2/library/x/blobs/{d}").body) == noise
    for layer in img.layers():
        assert client.get(f"/v2/{img.repo}/blobs/{layer}").status == 200
    servers.wait_until(lambda: is_packed(store, off), "what was there before is packed")
    end = text(200_000, 9)     # stored last, so that all others have been looked at when it is packed
    last = hub.put_blob(end)
    assert bytes(client.get(f"/v2/library/x/blobs/{last}").body) == end
    servers.wait_until(lambda: is_packed(store, last), "the last one is packed")
    assert {p.name for p in store.glob("blobs/*/*/*.zst")} >= {packed(store, off).name, packed(store, last).name}
    assert file_of(store, d).exists() and all(file_of(store, layer).exists() for layer in img.layers())


@pytest.mark.parametrize("damage", [flip, truncate, swap, delete], ids=lambda f: f.__name__)
@pytest.mark.parametrize("verify_every", ["0s", "24h"])
def test_no_client_comes_to_the_end_of_wrong_bytes(launch, hub, store, blobs, damage, verify_every):
    m = launch(store={"verify_every": verify_every})
    client = filled(m, blobs, store)
    for d, _ in blobs:
        damage(packed(store, d))
    for d, data in blobs:
        end = time.monotonic() + 20
        while True:
            r = client.get(f"/v2/library/x/blobs/{d}")
            if r.status == 200 and r.end == "complete":
                break
            assert time.monotonic() < end
        assert bytes(r.body) == data


def test_rot_behind_the_back_of_the_store_is_met_by_the_reader_of_a_part(launch, hub, store):
    """In the middle of a transfer: what sendfile would not notice, a frame does."""
    data = text(MIB) * 48
    d = hub.put_blob(data)
    m = launch()
    client = filled(m, [(d, data)], store)
    with client.open(f"/v2/library/x/blobs/{d}", headers={"Range": f"bytes=1-{len(data) - 1}"}) as r:
        assert r.status == 206
        flip(packed(store, d))
        r.finish()
    assert r.end != "complete" and bytes(r.body) == data[1:1 + len(r.body)]
    m.wait_line(event="damaged", found="request")
    r = client.get(f"/v2/library/x/blobs/{d}")
    assert r.end == "complete" and bytes(r.body) == data


def test_the_scrub_reads_packed_blobs(launch, hub, store, blobs):
    m = launch(store={"scrub_interval": "1ms", "scrub_rate": "1GiB"})
    client = filled(m, blobs, store)
    m.signal(1)
    line = m.wait_line(event="scrubbed", blobs=lambda v: v and int(v) >= len(blobs))
    assert line.get("damaged") == "0"
    mark = m.mark()
    flip(packed(store, blobs[3][0]))
    m.signal(1)
    line = m.wait_line(since=mark, event="scrubbed", level="warn")
    assert line.get("damaged") == "1"
    assert not packed(store, blobs[3][0]).exists() and len(list((store / "quarantine").iterdir())) == 1
    assert bytes(client.get(f"/v2/library/x/blobs/{blobs[3][0]}").body) == blobs[3][1]


def test_what_is_told_of_room_is_what_the_files_take(launch, hub, store):
    data, alone = text(300_000), text(200_000, 2)
    layer, other = hub.put_blob(data), hub.put_blob(alone)
    config = hub.put_blob(b"{}")
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": len(data)}],
    }).encode()
    hub.put_manifest("library/x", manifest, tag="1")
    m = launch()
    cli, client = Cli(m), Client(m.host_port)
    assert client.get("/v2/library/x/manifests/1").status == 200
    for d in (config, layer, other):
        assert client.get(f"/v2/library/x/blobs/{d}").status == 200
    servers.wait_until(lambda: is_packed(store, layer) and is_packed(store, other), "the layers are packed")
    named = len(manifest) + 2 + packed(store, layer).stat().st_size
    unnamed = packed(store, other).stat().st_size
    usage = cli.json("du")
    assert (usage["bytes"], usage["unnamed_bytes"]) == (named + unnamed, unnamed)
    assert cli.json("status")["store"]["content_bytes"] == len(manifest) + 2 + len(data) + len(alone)
    cli("rm", "library/x:1")
    assert cli.json("du")["bytes"] == unnamed


def test_a_backup_has_the_content_and_a_lost_index_comes_back(launch, hub, store, tmp_path, blobs):
    m = launch()
    cli = Cli(m)
    filled(m, blobs, store)
    cli("backup", tmp_path / "kept")
    assert cli.run("verify", tmp_path / "kept").returncode == 0
    hub.refuse()
    m.stop()
    cli("rebuild")      # from packed files
    m.start()
    for d, data in blobs:
        assert is_packed(store, d)
        check_blob(Client(m.host_port), d, data)
    m.stop()
    shutil.rmtree(store)
    cli("restore", tmp_path / "kept")
    m.start()
    for d, data in blobs:
        assert bytes(Client(m.host_port).get(f"/v2/library/x/blobs/{d}").body) == data
    servers.wait_until(lambda: all(is_packed(store, d) for d, _ in blobs), "everything is packed again")


def test_kill_9_while_packing_loses_nothing(launch, hub, store):
    data = text(MIB) * 48
    d = hub.put_blob(data)
    m = launch()
    assert Client(m.host_port).get(f"/v2/library/x/blobs/{d}").end == "complete"
    hub.refuse()
    for _ in range(6):
        servers.wait_until(lambda: list((store / "partial").glob("*.zst")) or is_packed(store, d), "it is being packed")
        m.kill()
        m.start()
        r = Client(m.host_port).get(f"/v2/library/x/blobs/{d}")
        assert r.status == 200 and r.end == "complete" and bytes(r.body) == data
    servers.wait_until(lambda: is_packed(store, d), "it is packed in the end", timeout=60)
    m.kill()
    m.start()
    assert bytes(Client(m.host_port).get(f"/v2/library/x/blobs/{d}").body) == data
    assert len(list(store.glob("blobs/*/*/*"))) == 1 and not list((store / "partial").iterdir())


def tar_layer(path, size):
    (path / "words").write_bytes(text(size))
    with tarfile.open(path / "layer.tar", "w") as tar:
        tar.add(path / "words", "words")
    return (path / "layer.tar").read_bytes()


@pytest.mark.parametrize("name", ["containerd 1.6", "containerd 2.4", "cri 2.4", "skopeo", "crane"])
def test_clients_of_the_field_pull_layers_that_are_packed(launch, hub, store, tmp_path, tool, name):
    layer = tar_layer(tmp_path, 5 * MIB)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    ld, cd = hub.put_blob(layer), hub.put_blob(config)
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": cd, "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": ld, "size": len(layer)}],
    }).encode()
    d = hub.put_manifest("library/plain", manifest, tag="1")
    m = launch()
    assert Client(m.host_port).get(f"/v2/library/plain/blobs/{ld}").end == "complete"
    servers.wait_until(lambda: is_packed(store, ld), "the layer is packed")
    got = tool(name).pull(m.address, "library/plain", "1")
    assert got(d) == manifest and got(cd) == config and got(ld) == layer
    line = m.wait_line(event="request", object="blob", reference=ld, outcome="hit")
    if name.endswith("2.4"):    # it asks for zstd
        assert int(line.get("bytes")) == packed(store, ld).stat().st_size
