"""The store over restarts and damage: what is right is served without the upstream, what is wrong never to its end."""

import contextlib
import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

import pytest
import servers
from servers import file_of, wait_until
from wire import Client

MIB = 1 << 20
NAMES = ("library/alpha", "library/beta", "library/docker2", "tools/artifact")


def check(m, img):
    for target, d in img.targets():
        r = Client(m.host_port).get(target)
        assert r.status == 200 and bytes(r.body) == img.bytes(d), target
        assert r.headers["Docker-Content-Digest"] == d
        if "manifests" in target:
            assert r.headers["Content-Type"] == img.type_of(d)


@pytest.fixture
def filled(launch, hub, image, store):
    """A mirror that has pulled several images, by tag, and was stopped; the images."""
    m = launch()
    found = [image(name) for name in NAMES]
    for img in found:
        assert Client(m.host_port).get(f"/v2/{img.repo}/manifests/{img.tag}").status == 200
        check(m, img)
    m.stop()
    return m, found


def served_without_upstream(m, hub, images):
    hub.refuse()
    hub.forget()
    m.start()
    for img in images:
        check(m, img)


def test_files_are_where_the_format_has_them_and_cannot_be_written(filled, store):
    m, images = filled
    for img in images:
        for d in img.everything():
            path = file_of(store, d)
            assert path.read_bytes() == img.bytes(d)
            assert path.stat().st_mode & 0o7777 == 0o444
    assert not list((store / "partial").iterdir())


def test_a_restart_serves_everything_by_tag_too(filled, hub):
    m, images = filled
    served_without_upstream(m, hub, images)
    for img in images:
        assert Client(m.host_port).get(f"/v2/{img.repo}/manifests/1").status == 200


# --- the index --------------------------------------------------------------------------------------------------------

def lose(index):
    shutil.rmtree(index)


def lose_data(index):
    (index / "data.mdb").unlink()


def garbage(index):
    size = (index / "data.mdb").stat().st_size
    (index / "data.mdb").write_bytes(random.Random(1).randbytes(size))


def zeroes(index):
    size = (index / "data.mdb").stat().st_size
    (index / "data.mdb").write_bytes(bytes(size))


def head_damaged(index):
    with open(index / "data.mdb", "r+b") as f:
        f.write(random.Random(2).randbytes(8192))


def emptied(index):
    (index / "data.mdb").write_bytes(b"")


def truncated(index):
    os.truncate(index / "data.mdb", (index / "data.mdb").stat().st_size // 2 // 4096 * 4096)


def cut_short(index):
    os.truncate(index / "data.mdb", 100)


def lock_garbage(index):
    (index / "lock.mdb").write_bytes(random.Random(3).randbytes(8192))


INDEX_DAMAGE = [lose, lose_data, garbage, zeroes, head_damaged, emptied, truncated, cut_short, lock_garbage]


@pytest.mark.parametrize("damage", INDEX_DAMAGE, ids=lambda f: f.__name__)
def test_an_index_that_is_lost_or_damaged_is_rebuilt_from_the_files(filled, hub, store, damage):
    """By digest everything is there. Tags may be lost: then the answer is an error, and right when the upstream is back."""
    m, images = filled
    damage(store / "index")
    served_without_upstream(m, hub, images)
    alpha = images[0]
    client = Client(m.host_port)
    r = client.get("/v2/library/alpha/manifests/1")
    if r.status == 200:
        assert bytes(r.body) == alpha.bytes(alpha.digest)
    else:
        assert r.status >= 404 and r.json["errors"]
    m.stop()
    hub.listen()
    m.start()
    r = Client(m.host_port).get("/v2/library/alpha/manifests/1")
    assert r.status == 200 and bytes(r.body) == alpha.bytes(alpha.digest)
    assert hub.count(method="GET", status=200, kind="manifest") == 0 and hub.count(kind="blob") == 0


def test_a_rebuild_is_told_in_the_log(filled, store):
    m, _ = filled
    lose(store / "index")
    m.start()
    (line,) = m.find(since=m.first_line, event="store")
    assert line.get("level") == "warn" and line.get("rebuilt")
    assert int(line.get("blobs")) == len([p for p in (store / "blobs").rglob("*") if p.is_file()])


# --- files ------------------------------------------------------------------------------------------------------------

def other_bytes(path):
    """Another byte in the middle; size and mtime as they were."""
    st = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def swapped(path):
    """Another file of the same size in its place."""
    st = path.stat()
    new = path.with_name("new")
    new.write_bytes(os.urandom(st.st_size))
    new.chmod(0o444)
    os.utime(new, ns=(st.st_atime_ns, st.st_mtime_ns))
    new.rename(path)


def half(path):
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def nothing(path):
    path.chmod(0o644)
    os.truncate(path, 0)


def longer(path):
    path.chmod(0o644)
    with open(path, "ab") as f:
        f.write(b"more")


def deleted(path):
    path.unlink()


def directory(path):
    path.unlink()
    path.mkdir()


def link(path):
    path.unlink()
    path.symlink_to("/etc/passwd")


DAMAGE = [other_bytes, swapped, half, nothing, longer, deleted, directory, link]


def never_wrong_then_right(m, hub, img, d, target):
    """Whatever the first answer is, it is no whole wrong body; the one after it is right, at the cost of one fetch."""
    client = Client(m.host_port)
    first = client.get(target)
    if first.status == 200 and first.end == "complete":
        assert bytes(first.body) == img.bytes(d)
    else:
        assert first.status >= 500 or first.end == "fin"
    for _ in range(2):
        r = client.get(target)
        assert r.status == 200 and r.end == "complete" and bytes(r.body) == img.bytes(d)
    fetched = hub.select(method="GET", reference=d, status=(200, 206), kind=lambda k: k in ("blob", "manifest"))
    assert len(fetched) == 1 and hub.body_bytes() <= len(r.body)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("what", ["layer", "manifest"])
def test_a_damaged_file_is_never_served_to_its_end_and_fetched_again(filled, hub, store, damage, what, running):
    m, (alpha, *others) = filled
    d = alpha.largest() if what == "layer" else alpha.child()
    target = f"/v2/library/alpha/{'blobs' if what == 'layer' else 'manifests'}/{d}"
    if not running:
        damage(file_of(store, d))
    m.start()
    if running:
        for t, _ in others[0].targets():
            Client(m.host_port).get(t)
        damage(file_of(store, d))
    hub.forget()
    if what == "manifest" and running:      # it may have it in memory
        r = Client(m.host_port).get(target)
        assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
    else:
        never_wrong_then_right(m, hub, alpha, d, target)
    m.restart()
    hub.refuse()
    for img in (alpha, *others):
        if not (what == "manifest" and running and img is alpha):
            check(m, img)


@pytest.mark.parametrize("damage", [other_bytes, swapped, half, nothing, longer], ids=lambda f: f.__name__)
def test_a_damaged_file_is_not_believed_by_a_rebuild_either(filled, hub, store, damage):
    """With the index gone nothing but the name says what the bytes should be."""
    m, (alpha, *_) = filled
    d = alpha.largest()
    damage(file_of(store, d))
    lose(store / "index")
    m.start()
    hub.forget()
    never_wrong_then_right(m, hub, alpha, d, f"/v2/library/alpha/blobs/{d}")


def test_a_file_that_is_deleted_while_it_is_sent_is_sent_to_its_end(launch, hub, store):
    m = launch()
    data = os.urandom(64 * MIB)
    d = hub.put_blob(data)
    client = Client(m.host_port)
    client.get(f"/v2/library/x/blobs/{d}")
    servers.wait_until(file_of(store, d).exists, "it is published")
    r = client.open(f"/v2/library/x/blobs/{d}").read(MIB)
    file_of(store, d).unlink()
    assert bytes(r.finish().body) == data and r.end == "complete"


PARTIAL = {  # what an earlier life left of a blob, from its bytes
    "a good beginning": lambda data: data[:len(data) // 3],
    "all of it": lambda data: data,
    "nothing": lambda data: b"",
    "wrong bytes": lambda data: os.urandom(len(data) // 3),
    "a wrong whole": lambda data: os.urandom(len(data)),
    "more than all": lambda data: data + b"more",
}


@pytest.mark.parametrize("what", PARTIAL)
def test_a_partial_file_is_used_where_it_is_good(filled, hub, store, what):
    m, _ = filled
    data = random.Random(5).randbytes(3 * MIB)
    d = hub.put_blob(data)
    left = PARTIAL[what](data)
    (store / "partial" / d.replace(":", "-")).write_bytes(left)
    m.start()
    client = Client(m.host_port)
    first = client.get(f"/v2/library/x/blobs/{d}")
    if first.status == 200 and first.end == "complete":
        assert bytes(first.body) == data
    r = client.get(f"/v2/library/x/blobs/{d}")
    assert r.status == 200 and bytes(r.body) == data
    if what in ("a good beginning", "all of it"):
        assert bytes(first.body) == data and hub.body_bytes(d) <= len(data) - len(left) + MIB
    m.stop()
    assert not list((store / "partial").iterdir())


def test_files_of_others_do_no_harm_and_are_not_lost(filled, hub, store):
    m, images = filled
    d = images[0].largest()
    foreign = [store / "README", store / "lost+found/x", store / "blobs/notes", store / "blobs/sha256/zz/x",
               file_of(store, d).with_name("core"), file_of(store, d).with_suffix(".bak"),
               store / "blobs/md5/aa/x", file_of(store, d).with_name("0" * 64)]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine: " + path.name)
    (store / "partial/what").write_text("rubbish")
    (store / "partial/sha256-short").write_text("rubbish")
    served_without_upstream(m, hub, images)
    m.stop()
    kept = [p.read_text() for p in store.rglob("*") if p.is_file() and p.stat().st_size < 100
            and p.read_bytes().startswith(b"mine: ")]
    assert sorted(kept) == sorted("mine: " + p.name for p in foreign)


def test_a_file_without_a_record_is_served_if_it_is_right(filled, hub, image, store):
    """As a crash leaves it between the file and the index; or a wrong one, as nothing of ours would."""
    m, _ = filled
    m.start()
    m.kill()
    empty = image("library/empty")
    right, wrong = empty.layers()[1], empty.blobs()[0]
    for d, data in ((right, empty.bytes(right)), (wrong, os.urandom(empty.path(wrong).stat().st_size))):
        file_of(store, d).parent.mkdir(exist_ok=True)
        file_of(store, d).write_bytes(data)
    m.start()
    client = Client(m.host_port)
    hub.forget()
    assert bytes(client.get(f"/v2/library/empty/blobs/{right}").body) == empty.bytes(right)
    never_wrong_then_right(m, hub, empty, wrong, f"/v2/library/empty/blobs/{wrong}")


def test_a_copy_of_a_store_is_as_good(filled, launch, hub, store, tmp_path):
    """Other inodes, other times: as after a restore from a backup."""
    m, images = filled
    shutil.copytree(store, tmp_path / "copy", copy_function=shutil.copy)
    m.write_config(store={"path": str(tmp_path / "copy")})
    served_without_upstream(m, hub, images)
    assert Client(m.host_port).get("/v2/library/alpha/manifests/1").status == 200


# --- where a store can be ---------------------------------------------------------------------------------------------

def test_a_store_on_another_file_system(launch, hub, image, tmp_path):
    shm = pathlib.Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    directory = tempfile.mkdtemp(dir=shm)
    try:
        m = launch(store={"path": directory + "/deep"})
        check(m, image())
        m.stop()
        served_without_upstream(m, hub, [image()])
        m.stop()
    finally:
        shutil.rmtree(directory)


def refused(m, *words):
    m.spawn()
    assert m.wait() == 1
    assert not m.find(since=m.first_line, event="ready")
    said = "\n".join(m.lines[m.first_line:])
    assert all(w in said for w in words), said
    m.proc = None


def test_a_store_that_cannot_be_is_refused_with_its_name(launch, tmp_path):
    (tmp_path / "file").write_text("x")
    m = launch(started=False)
    for path in (tmp_path / "file", tmp_path / "file/below", pathlib.Path("/proc/entrepot")):
        m.write_config(store={"path": str(path)})
        refused(m, str(path))


@pytest.fixture
def mount():
    """mount(options): a tmpfs of its own, as a directory."""
    made = []

    def make(options):
        d = tempfile.mkdtemp()
        os.chmod(d, 0o755)
        r = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", d], capture_output=True, text=True)
        if r.returncode:
            os.rmdir(d)
            pytest.skip(f"a file system cannot be mounted here: {r.stderr.strip()}")
        made.append(d)
        return pathlib.Path(d)

    yield make
    for d in made:
        subprocess.run(["umount", "-l", d], check=True)
        os.rmdir(d)


def test_a_read_only_file_system_is_refused_in_plain_words(launch, mount):
    where = mount("ro")
    m = launch(started=False, store={"path": str(where)})
    refused(m, str(where), "ead-only file system")


def test_a_store_of_somebody_else_is_refused_in_plain_words(launch, mount):
    where = mount("mode=0755")
    binary = shutil.copy(servers.binary(), where)
    m = launch(directory=where, started=False, user=65534, command=binary, store={"path": str(where / "store")})
    refused(m, str(where / "store"), "ermission denied")


@pytest.mark.parametrize("bounds", [{}, {"max_size": "100%", "min_free": 0}], ids=["bounded", "really full"])
def test_a_full_disk_is_passed_by_and_nothing_is_damaged(launch, hub, image, mount, bounds):
    where = mount("size=16m,mode=0755")
    m = launch(store={"path": str(where / "store"), **bounds}, server={"answer_timeout": "20s"})
    client = Client(m.host_port)
    check(m, image())
    data = os.urandom(32 * MIB)
    large = f"/v2/library/x/blobs/{hub.put_blob(data)}"
    for _ in range(3):
        r = client.get(large)
        assert r.status == 200 and r.end == "complete" and bytes(r.body) == data
        r = client.get(large, headers={"Range": f"bytes={20 * MIB}-{21 * MIB - 1}"})
        assert r.status == 206 and bytes(r.body) == data[20 * MIB:21 * MIB]
        check(m, image())
    assert m.find(event="passing_by", level="warn")
    small = os.urandom(MIB)
    r = client.get(f"/v2/library/x/blobs/{hub.put_blob(small)}")
    assert r.status == 200 and bytes(r.body) == small, "the room was given back"
    m.restart()
    check(m, image())
    m.stop()
    for path in (where / "store/blobs/sha256").rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


@pytest.mark.parametrize("headers", [{"Cache-Control": "only-if-cached"}, {"Entrepot-Hop": "f"}])
def test_who_wants_only_what_is_cached_is_not_passed_by(launch, hub, mount, headers):
    """It would be fetched for him."""
    where = mount("size=16m,mode=0755")
    m = launch(store={"path": str(where / "store")}, upstream={"header_timeout": "20s"}, server={"answer_timeout": "20s"})
    client, data = Client(m.host_port), os.urandom(32 * MIB)
    large = f"/v2/library/x/blobs/{hub.put_blob(data)}"
    with hub.fault("hang", times=1, kind="blob", method="GET") as hang:
        first = client.ask(large)
        hang.wait()
        second = client.ask(large, headers=headers)
        wait_until(lambda: not second.readable(0.2), "it waits for the flight")
        hang.release()
        assert second.read_head().status == 504
        r = first.read_head().finish()
        assert (r.status, r.end) == (200, "complete") and bytes(r.body) == data
    assert len(m.find(event="passing_by")) == 1


def test_a_disk_that_somebody_else_has_filled_is_passed_by(launch, hub, image, mount):
    """Not a byte is left. What would fit takes the place of what is older; what would not goes by, and nothing goes for it."""
    where = mount("size=24m,mode=0755")
    m = launch(store={"path": str(where / "store"), "min_free": 0, "max_size": "100%"},
               server={"answer_timeout": "20s"})
    client = Client(m.host_port)
    check(m, image("library/beta"))
    stored = {p for p in (where / "store/blobs").rglob("*") if p.is_file()}
    with open(where / "other", "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(bytes(4096))
    data = os.urandom(20 * MIB)
    large = f"/v2/library/x/blobs/{hub.put_blob(data)}"
    for _ in range(2):
        r = client.get(large)
        assert r.status == 200 and r.end == "complete" and bytes(r.body) == data
        assert all(p.exists() for p in stored)
        check(m, image("library/beta"))
    assert m.find(event="passing_by", level="warn")
    check(m, image())
    check(m, image("library/beta"))
    (where / "other").unlink()
    m.restart()
    for _ in range(2):
        check(m, image())
        hub.refuse()
    m.stop()


def test_digests_of_all_files_are_right_after_all_this(filled, store):
    for path in (store / "blobs/sha256").rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
