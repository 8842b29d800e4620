"""Backups: made of a running mirror, held against their digests, restored into nothing; and an index that is lost."""

import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
import servers
from commands import Cli
from servers import file_of
from test_ops import Ops
from test_private import APP, Private, assert_served
from test_scrub import flip
from test_store import NAMES, check
from wire import Client

MIB = 1 << 20


def get_one(m, target):
    """As a kubelet does: again, where the upstream took longer than a second."""
    servers.wait_until(lambda: Client(m.host_port).get(target).status == 200, f"{target} is pulled")


def pull(m, *images):
    for img in images:
        for target in (f"/v2/{img.repo}/manifests/{img.tag}", *(target for target, _ in img.targets())):
            get_one(m, target)
        check(m, img)


def stored(cli, count):
    """A backup has what is stored: files that have their names and their records."""
    servers.wait_until(lambda: cli.blobs() >= count, f"{count} blobs are stored")


def distinct(*images):
    return len({d for img in images for d in img.everything()})


@pytest.fixture
def filled(launch, image, store):
    """A mirror that has several images, its commands, and the images."""
    m = launch(server={"answer_timeout": "1s"})
    cli, images = Cli(m), [image(name) for name in NAMES]
    pull(m, *images)
    stored(cli, distinct(*images))
    return m, cli, images


@pytest.fixture
def put(hub):
    """put(m, cli, count, size): so many blobs that do not compress, stored beside the others: their bytes by digest."""
    def make(m, cli, count, size):
        blobs = {hub.put_blob(data): data for data in (os.urandom(size) for _ in range(count))}
        before = cli.blobs()
        for d in blobs:
            get_one(m, f"/v2/library/x/blobs/{d}")
        stored(cli, before + count)
        return blobs
    return make


def destroy(m, store):
    m.stop()
    shutil.rmtree(store)


def is_without_upstream(m, hub, images):
    hub.refuse()
    hub.forget()
    m.start()
    for img in images:
        check(m, img)
        assert Client(m.host_port).get(f"/v2/{img.repo}/manifests/{img.tag}").status == 200
    assert not hub.select(method="GET")


# --- the drill ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["crane", "skopeo"])
def test_the_drill(launch, hub, image, store, tmp_path, tool, name):
    """Back up, destroy, restore, pull everything with the upstream off."""
    m, t = launch(), tool(name)
    cli, images = Cli(m), [image(n) for n in NAMES[:3]]
    wanted = {}
    for img in images:
        for arch in ("amd64", "arm64") if "manifests" in img.manifest else ("amd64",):
            t.pull(m.address, img.repo, img.tag, arch)
            wanted[img, arch] = [img.child(arch), *img.blobs(arch)]
    stored(cli, len({d for digests in wanted.values() for d in digests} | {img.digest for img in images}))
    file = tmp_path / "all.tar.zst"
    assert re.search(r"all\.tar\.zst: .* blobs, backup [0-9a-f]{32}\n", cli("backup", file))
    assert file.stat().st_mode & 0o777 == 0o600 and not list(tmp_path.glob("*.partial"))
    names = subprocess.run(["tar", "--zstd", "-tf", file], capture_output=True, text=True, check=True).stdout.split()
    assert names[0] == "entrepot-backup.json" and names[-1] == "end.json"
    assert {f"blobs/{d.replace(':', '/')}" for digests in wanted.values() for d in digests} <= set(names)
    assert cli.run("verify", file).returncode == 0
    destroy(m, store)
    assert "restored: backup" in cli("restore", file)
    hub.refuse()
    hub.forget()
    m.start()
    for (img, arch), digests in wanted.items():
        for reference in (img.tag, img.digest):
            got = t.pull(m.address, img.repo, reference, arch)
            for d in digests:
                assert got(d) == img.bytes(d), f"{d} of {img.repo}"
    assert not hub.select(method="GET")


def test_a_restored_store_is_like_the_first(filled, hub, store, tmp_path):
    m, cli, images = filled
    first = cli.json("status")["store"]
    cli("backup", tmp_path / "a")
    destroy(m, store)
    cli("restore", tmp_path / "a")
    is_without_upstream(m, hub, images)
    second = cli.json("status")["store"]
    assert (first["blobs"], first["content_bytes"]) == (second["blobs"], second["content_bytes"])
    m.restart()
    assert m.find(event="store")[-1].get("adopted") == "0"
    cli("backup", tmp_path / "b")
    assert cli.run("verify", tmp_path / "b").returncode == 0


def test_private_stays_private(launch, hub, account, store, tmp_path):
    app, other = Private(hub), Private(hub, repo="company/other")
    m = launch(registries={"docker.io": {"credentials": account(hub, "jo"), "open": [APP, "company/other"]}},
               server={"answer_timeout": "1s"})
    cli, client = Cli(m), Client(m.host_port)
    assert_served(client, app.everything() + other.everything())
    stored(cli, 8)
    cli("backup", tmp_path / "a")
    assert "word-of-jo" not in subprocess.run(["zstd", "-dc", tmp_path / "a"], capture_output=True,
                                              check=True).stdout.decode("latin-1")
    destroy(m, store)
    cli("restore", tmp_path / "a")
    hub.refuse()
    m.start()
    client = Client(m.host_port)
    assert_served(client, app.everything() + other.everything())
    for repo in ("library/made", "company/other", "quay.example/library/alpha"):
        for target in app.by_digest(repo):
            assert client.get(target).status != 200, target


def test_the_last_good_backup_is_written_down(launch, image, tmp_path):
    m = launch(ops={"listen": ["127.0.0.1:0"]})
    cli = Cli(m)

    def gauges():
        page = Ops(m).page()
        return page.get("backup_last_success_timestamp_seconds"), page.get("backup_last_size_bytes")

    assert gauges() == (0, 0), "there was none"
    pull(m, image())
    began = time.time()
    cli("backup", tmp_path / "a")
    when, size = gauges()
    assert began - 1 <= when <= time.time() and size == (tmp_path / "a").stat().st_size
    m.restart()
    assert gauges() == (when, size)
    with open(tmp_path / "b", "wb") as out:
        subprocess.run([servers.binary(), "backup", "-", "--config", m.config_path], stdout=out, check=True)
    assert gauges()[0] >= when and gauges()[1] == (tmp_path / "b").stat().st_size
    assert cli.run("verify", tmp_path / "b").returncode == 0


# --- beside pulls ---------------------------------------------------------------------------------------------------

def test_backups_beside_pulls_are_good_and_pulls_are_not_disturbed(launch, hub, tmp_path):
    m = launch()
    cli, errors, stop = Cli(m), [], threading.Event()

    def work():
        client = Client(m.host_port)
        try:
            while not stop.is_set():
                data = os.urandom(random.randrange(1, 4 * MIB))
                d = hub.put_blob(data)
                r = client.get(f"/v2/library/x/blobs/{d}")
                assert r.status == 200 and bytes(r.body) == data
        except AssertionError as e:
            errors.append(e)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        for i in range(5):
            file = tmp_path / f"{i}.tar.zst"
            assert "rotted" not in cli("backup", file)
            out = cli.run("verify", file)
            assert out.returncode == 0 and "left the store" not in out.stdout, out.stdout + out.stderr
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors, errors[0]
    assert not m.find(level="error")


class SlowBackup:
    """Asks for a backup as the command does, and reads as little of it as it is told."""

    def __init__(self, m, target="/v1/backup"):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.s.connect(m.find(event="admin")[-1].get("listen").removeprefix("unix:"))
        self.s.sendall(f"GET {target} HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        self.f = self.s.makefile("rb")
        assert b" 200 " in self.f.readline()
        while self.f.readline().strip():
            pass

    def finish(self, file):
        with open(file, "wb") as out:
            shutil.copyfileobj(self.f, out)
        self.leave()

    def leave(self):
        self.f.close()
        self.s.close()


def test_eviction_waits_for_a_backup_as_long_as_the_disk_has_room(launch, store, tmp_path, put):
    m = launch(store={"max_size": 40 * MIB, "min_free": 0, "low_watermark": 50})
    cli = Cli(m)
    old = list(put(m, cli, 8, 4 * MIB))
    slow = SlowBackup(m)
    put(m, cli, 8, 4 * MIB)
    assert cli.json("status")["store"]["bytes"] > 40 * MIB
    slow.finish(tmp_path / "a")
    r = cli.run("verify", tmp_path / "a")
    assert r.returncode == 0 and "8 blobs" in r.stdout and "left the store" not in r.stdout
    m.wait_line(event="evicted")
    assert not any(file_of(store, d).exists() for d in old[:4])


def test_what_a_full_disk_has_evicted_meanwhile_is_left_out(launch, store, tmp_path, put):
    """The floor of free space is kept whatever is being backed up."""
    m = launch(store={"max_size": 1 << 40, "min_free": 0})
    cli = Cli(m)
    blobs = put(m, cli, 8, 4 * MIB)
    slow = SlowBackup(m)
    m.write_config(store={"min_free": "100%"})
    m.signal(signal.SIGHUP)
    m.wait_line(event="evicted")
    m.write_config(store={"min_free": 0})
    m.signal(signal.SIGHUP)
    slow.finish(tmp_path / "a")
    line = m.wait_line(event="backup", result="sent")
    assert int(line.get("missing")) > 0 and int(line.get("missing")) + int(line.get("blobs")) == 8
    r = cli.run("verify", tmp_path / "a")
    assert r.returncode == 0 and "left the store while the backup was made" in r.stdout
    destroy(m, store)
    cli("restore", tmp_path / "a")
    m.start()
    for d in blobs:
        assert Client(m.host_port).get(f"/v2/library/x/blobs/{d}").status == 200


def test_one_backup_at_a_time_and_who_leaves_makes_room_for_the_next(filled, tmp_path, put):
    m, cli, _ = filled
    put(m, cli, 1, 32 * MIB)
    slow = SlowBackup(m)
    assert "another backup is being made" in cli("backup", tmp_path / "a", status=1)
    assert not list(tmp_path.glob("a*"))
    slow.leave()
    assert m.wait_line(event="backup", result="failed").get("error") == "its reader has left"
    cli("backup", tmp_path / "a")


def test_a_backup_that_is_cut_off_leaves_no_file_with_its_name(filled, tmp_path, put):
    m, cli, _ = filled
    put(m, cli, 1, 32 * MIB)
    file = tmp_path / "a"
    for how in ("the server", "the command"):
        fifo = tmp_path / "a.partial"
        p = subprocess.Popen([servers.binary(), "backup", "--config", m.config_path, "-"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE) if how == "the server" else \
            subprocess.Popen([servers.binary(), "backup", "--config", m.config_path, file], stderr=subprocess.PIPE)
        if how == "the server":
            p.stdout.read(MIB)
            m.kill()
            p.stdout.read()
            assert p.wait() == 1 and b"the answer broke off" in p.stderr.read()
            m.start()
        else:
            servers.wait_until(lambda: fifo.exists() and fifo.stat().st_size > 0 or p.poll() is not None, "it begins")
            p.kill()
            p.wait()
        p.stderr.close()
    if not file.exists():       # it was killed before its end
        cli("backup", file)
    assert cli.run("verify", file).returncode == 0


def test_the_server_stops_while_a_backup_is_being_made(filled, put):
    m, cli, _ = filled
    put(m, cli, 1, 32 * MIB)
    slow = SlowBackup(m)
    m.stop()
    slow.leave()


# --- incremental, and metadata --------------------------------------------------------------------------------------

def test_an_incremental_backup_is_small_and_restores_with_its_base(launch, hub, image, store, tmp_path):
    alpha, beta = image("library/alpha"), image("library/beta")
    base, first, second = tmp_path / "base", tmp_path / "first", tmp_path / "second"
    old = launch()
    pull(old, beta)
    stored(Cli(old), distinct(beta))
    old.stop()
    old = launch(env=servers.later("3h"))
    Cli(old)("backup", base)
    old.stop()
    m = launch(env=servers.later("6h"), server={"answer_timeout": "1s"})
    cli = Cli(m)
    pull(m, alpha)
    stored(cli, distinct(alpha, beta))
    cli("backup", first, "--since", base)
    cli("backup", second, "--since", first)
    names = subprocess.run(["tar", "--zstd", "-tf", first], capture_output=True, text=True, check=True).stdout
    only_beta = set(beta.everything()) - set(alpha.everything())
    assert only_beta and not any(d.split(":")[1] in names for d in only_beta)
    assert all(d.split(":")[1] in names for d in set(alpha.everything()) - set(beta.everything()))
    assert cli.run("verify", base, first, second).returncode == 0
    assert "in its base, which was not named" in cli.run("verify", first).stdout
    destroy(m, store)
    message = cli("restore", first, status=1)
    assert "incremental backup; its base, the backup" in message and "is missing before it" in message
    assert "its base is the backup" in cli("restore", base, second, status=1)
    assert "is missing before it" in cli("restore", first, base, status=1)
    cli("restore", base, first, second)
    is_without_upstream(m, hub, [alpha, beta])


def test_a_base_that_does_not_fit_is_told(filled, tmp_path):
    m, cli, images = filled
    cli("backup", tmp_path / "a")
    assert "would take the place of its own base" in cli("backup", "--since", tmp_path / "a", tmp_path / "a", status=2)
    cli("backup", "--metadata", tmp_path / "m")
    assert "has no contents" in cli("backup", "--since", tmp_path / "m", tmp_path / "b", status=1)
    (tmp_path / "x").write_text("nothing of the sort")
    assert "x: cut short, or damaged" in cli("backup", "--since", tmp_path / "x", tmp_path / "b", status=1)
    assert not (tmp_path / "b").exists()


def test_metadata_brings_tags_and_links_back_and_contents_come_from_the_upstream(filled, hub, store, tmp_path):
    m, cli, images = filled
    cli("backup", "--metadata", tmp_path / "m")
    assert (tmp_path / "m").stat().st_size < 100_000
    assert "metadata only" in cli.run("verify", tmp_path / "m").stdout
    destroy(m, store)
    cli("restore", tmp_path / "m")
    m.start()
    assert cli.blobs() == 0
    hub.forget()
    pull(m, *images)
    assert not hub.select(kind="manifest", method="HEAD"), "what the tags stand for is known"


# --- restoring ------------------------------------------------------------------------------------------------------

def test_a_restore_that_is_killed_again_and_again_comes_to_its_end(launch, hub, store, tmp_path, put):
    m = launch(server={"answer_timeout": "1s"})
    cli = Cli(m)
    blobs = put(m, cli, 150, MIB // 2)
    cli("backup", tmp_path / "a")
    destroy(m, store)

    def files():
        return sum(1 for _ in (store / "blobs").rglob("*")) if store.exists() else 0

    for i in range(6):
        p = subprocess.Popen([servers.binary(), "restore", "--config", m.config_path, tmp_path / "a"],
                             stdout=subprocess.DEVNULL)
        enough = files() + 8
        servers.wait_until(lambda: p.poll() is not None or files() > enough, "it goes on")  # noqa: B023
        p.kill()
        assert p.wait() == -signal.SIGKILL
        if i == 2:
            m.spawn()
            assert "a restore has begun" in m.wait_line(event="store", level="error").get("error")
            assert m.wait() == 1
            m.proc = None
    out = cli("restore", tmp_path / "a")
    assert "150 blobs" in out and "were there already" in out
    hub.refuse()
    m.start()
    for d, x in blobs.items():
        assert bytes(Client(m.host_port).get(f"/v2/library/x/blobs/{d}").body) == x


def test_a_store_that_is_not_empty_or_not_free_is_refused(filled, tmp_path):
    m, cli, images = filled
    cli("backup", tmp_path / "a")
    assert "another process has this store; stop the server first" in cli("restore", tmp_path / "a", status=1)
    m.stop()
    assert "the store is not empty" in cli("restore", tmp_path / "a", status=1)
    m.start()
    for img in images:
        check(m, img)


@pytest.fixture
def large(filled, tmp_path, put):
    """A backup with a blob of 8 MiB that zstd leaves as it is; the blob, and its place in the file."""
    m, cli, images = filled
    (d, data), = put(m, cli, 1, 8 * MIB).items()
    file = tmp_path / "a"
    cli("backup", file)
    middle = data[4 * MIB:4 * MIB + 64]
    at = file.read_bytes().find(middle)
    assert at > 0
    return d, file, at


def test_a_bit_that_flips_is_found_and_the_rest_is_restored(filled, large, hub, store):
    m, cli, images = filled
    d, file, at = large
    with open(file, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))
    r = cli.run("verify", file)
    assert r.returncode == 3 and f"blobs/{d.replace(':', '/')}: its bytes do not have this digest" in r.stderr
    destroy(m, store)
    assert "1 content is wrong" in cli("restore", file, status=3)
    is_without_upstream(m, hub, images)
    assert not file_of(store, d).exists()
    hub.listen()
    servers.wait_until(lambda: Client(m.host_port).get(f"/v2/library/x/blobs/{d}").status == 200, "it is fetched again")


def test_a_file_that_was_cut_is_found_and_the_whole_one_goes_on(filled, large, hub, store, tmp_path):
    m, cli, images = filled
    d, file, at = large
    whole = file.read_bytes()
    cut = tmp_path / "cut"
    for size in (0, 10, len(whole) // 100, at, len(whole) - 1):
        cut.write_bytes(whole[:size])
        r = cli.run("verify", cut)
        assert r.returncode == 3 and "cut" in r.stderr, (size, r.stderr)
    destroy(m, store)
    cut.write_bytes(whole[:at])
    assert "cut short" in cli("restore", cut, status=1)
    cli("restore", file)
    is_without_upstream(m, hub, images)


def test_what_is_no_backup_is_told_by_its_entry(filled, store, tmp_path):
    m, cli, _ = filled
    destroy(m, store)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root")
    evil = tmp_path / "evil.tar"
    subprocess.run(["tar", "-C", tmp_path, "-cPf", evil, "--transform", "s,^,../../../,", "etc/passwd"], check=True)
    r = cli.run("verify", evil)
    assert r.returncode == 3 and '"../../../etc/passwd": no entry of a backup' in r.stderr
    assert "no entry of a backup" in cli("restore", evil, status=1)
    assert cli.run("verify").returncode == 2 and cli.run("verify", tmp_path / "nothing").returncode == 1


def test_a_file_that_somebody_has_changed_is_not_in_it(filled, store, tmp_path):
    m, cli, images = filled
    digest = images[0].largest()
    flip(file_of(store, digest))
    assert "1 blob left the store meanwhile" in cli("backup", tmp_path / "a")
    assert cli.run("verify", tmp_path / "a").returncode == 0
    m.wait_line(event="damaged", digest=digest, found="backup")


# --- an index that is lost ------------------------------------------------------------------------------------------

def lose(store):
    shutil.rmtree(store / "index")


def fill_with_garbage(store):
    (store / "index/data.mdb").write_bytes(random.randbytes(1 << 16))


def make_of_another_format(store):
    """As the next LMDB has it: the version in both meta pages (mdb.c, MDB_meta: magic, version)."""
    with open(store / "index/data.mdb", "r+b") as f:
        for page in (0, 4096):
            f.seek(page + 16)
            magic, version = struct.unpack("=II", f.read(8))
            assert (magic, version) == (0xBEEFC0DE, 1)
            f.seek(page + 20)
            f.write(struct.pack("=I", 2))


@pytest.mark.parametrize("how", [lose, fill_with_garbage, make_of_another_format])
@pytest.mark.parametrize("by", ["the command", "the start"])
def test_an_index_is_made_anew_from_the_files(filled, hub, store, how, by):
    m, cli, images = filled
    count = cli.blobs()
    m.stop()
    how(store)
    if by == "the command":
        assert re.search(rf"^{count} blobs, ", cli("rebuild"))
    hub.refuse()
    hub.forget()
    m.start()
    line = m.find(event="store")[-1]
    assert int(line.get("blobs")) == count
    assert bool(line.get("rebuilt")) == (by == "the start")
    if by == "the start" and how == make_of_another_format:
        assert "version" in line.get("rebuilt").lower()
    for img in images:
        for target, d in img.targets():
            r = Client(m.host_port).get(target)
            assert r.status == 200 and bytes(r.body) == img.bytes(d), target
    hub.listen()
    pull(m, *images)


def test_rebuild_leaves_a_store_alone_that_a_server_has(filled, tmp_path):
    m, cli, images = filled
    assert "another process has this store; stop the server first" in cli("rebuild", status=1)
    for img in images:
        check(m, img)
    m.stop()
    m.write_config(store={"path": str(tmp_path / "nowhere")})
    assert "No such file" in cli("rebuild", status=1)
    assert not (tmp_path / "nowhere").exists()
