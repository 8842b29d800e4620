"""What `entrepot hosts` and `entrepot nodes` write, read by containerd: the mirror up, down, slow, hanging, returning.

Other clients are in test_engines.py."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import tomllib

import commands
import pytest
import yaml
from servers import ROOT, SANITIZER, SANITIZER_ENV, Containerd, Line, binary, free_port, wait_until

WRITTEN = "# Written by entrepot"


def entrepot(*args, status=0):
    r = commands.run(*args)
    assert r.returncode == status, (args, r.stdout, r.stderr)
    return r.stdout + r.stderr


class Nodes:
    """An `entrepot nodes` process that looks often."""

    def __init__(self, mirror, directory, registry, *args):
        # "." is what a mount is to a container: the directory itself, wherever its name leads later
        self.proc = subprocess.Popen(
            [binary(), "nodes", "--for", "containerd", "--mirror", mirror, "--registry", registry, "--write", ".",
             "--every", "50ms", "--timeout", "1s", "--gone-after", "2s", *args],
            cwd=directory, stderr=subprocess.PIPE, text=True, env={**os.environ, **SANITIZER_ENV})
        self.file = directory / registry / "hosts.toml"
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.proc.stderr:
            self.lines.append(Line(line.rstrip("\n")))

    def said(self, **want):
        return [ln for ln in list(self.lines) if all(ln.get(k) == v for k, v in want.items())]

    def wait_said(self, count=1, **want):
        wait_until(lambda: len(self.said(**want)) >= count, f"{want}, {count} times: {self.lines}", 60)

    def stop(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        status = self.proc.wait(30)
        self.reader.join(10)
        assert not [ln for ln in self.lines if SANITIZER.search(ln)], self.lines
        return status


@pytest.fixture
def certs(tmp_path):
    d = tmp_path / "certs.d"
    d.mkdir()
    return d


@pytest.fixture
def nodes(certs, second):
    """nodes(mirror, option...): running, and stopped in the end."""
    running = []

    def start(mirror, *args, directory=None):
        running.append(Nodes(f"http://{mirror}", directory or certs, f"127.0.0.1:{second.registry.port}", *args))
        return running[-1]

    yield start
    for n in running:
        assert n.stop() == 0


class Door:
    """An address in front of a mirror, behind which the mirror is near, far away, silent or gone."""

    def __init__(self, port):
        self.behind = port
        self.delay = 0.0
        self.silent = False
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def greet(self, c):
        """Whether this connection is led on."""
        return True

    def _accept(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(c)
            if not self.silent and self.greet(c):
                try:
                    up = socket.create_connection(("127.0.0.1", self.behind))
                except OSError:
                    c.close()
                    continue
                self.connections.append(up)
                for a, b in ((c, up), (up, c)):
                    threading.Thread(target=self._copy, args=(a, b), daemon=True).start()

    def _copy(self, a, b):
        try:
            while data := a.recv(1 << 20):
                time.sleep(self.delay)
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def refuse(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def close(self):
        if self.listener.fileno() >= 0:
            self.refuse()
        for c in self.connections:
            c.close()


@pytest.fixture
def door():
    made = []

    def make(mirror):
        made.append(Door(mirror.host_port[1]))
        return made[-1]

    yield make
    for d in made:
        d.close()


@pytest.fixture(scope="module")
def daemons():
    if os.geteuid() != 0:
        pytest.skip("containerd needs root")
    running = {}

    def get(version):
        if version not in running:
            running[version] = Containerd(version)
        return running[version]

    yield get
    for d in running.values():
        d.stop()


@pytest.fixture
def local(launch, second):
    """A mirror of the registry that the double is, under the name by which clients reach it themselves."""
    name = f"127.0.0.1:{second.registry.port}"
    return launch(registries={name: {"url": second.url()}})


def came_by_itself(second):
    """Whether containerd asked the registry; what the mirror asks bears another name."""
    return any(r.headers.get("user-agent", "").startswith("containerd") for r in second.select())


# --- hosts ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["1.6", "2.4"])
@pytest.mark.parametrize("named", ["docker.io", "_default"])
def test_containerd_pulls_by_what_is_written(daemons, mirror, image, certs, version, named):
    daemon, alpha = daemons(version), image()
    entrepot("hosts", "--for", "containerd", "--mirror", f"http://{mirror.address}", "--registry", named,
             "--write", certs)
    daemon.forget()
    skip = ["--skip-metadata"] if version != "1.6" else []
    r = daemon.ctr("images", "pull", "--hosts-dir", certs, "--snapshotter", "native", *skip, "--platform", "linux/amd64",
                   "docker.io/library/alpha:1")
    assert r.returncode == 0, r.stdout + r.stderr
    for d in alpha.everything():
        assert daemon.content(d) == alpha.bytes(d)


@pytest.mark.parametrize("tls", [False, True])
def test_what_is_printed_is_toml_yaml_and_json(tls):
    authority = ROOT / "config/example-ca.pem"
    mirror = ["--mirror", "https://mirror.example:5443", "--ca", os.path.relpath(authority)] if tls else []
    def printed(client, *args):
        return entrepot("hosts", "--for", client, *mirror, *args)
    def is_authority(path):
        return os.path.isabs(path) and os.path.samefile(path, authority)
    def body(text, path):
        return text.split(f"{path} <==\n", 1)[1] if "<==" in text else text

    hosts = tomllib.loads(body(printed("containerd", "--registry", "quay.io"), "quay.io/hosts.toml"))
    (url, host), = hosts["host"].items()
    assert url == ("https://mirror.example:5443" if tls else "http://127.0.0.1:5000")
    assert host["capabilities"] == ["pull", "resolve"] and host["dial_timeout"] == "2s" and ("ca" in host) == tls
    conf = tomllib.loads(body(printed("crio"), "50-entrepot.conf"))
    assert {r["location"] for r in conf["registry"]} >= {"docker.io", "ghcr.io", "registry.k8s.io"}
    assert all(m.get("insecure", False) != tls for r in conf["registry"] for m in r["mirror"])
    k3s = yaml.safe_load(printed("k3s", "--registry", "_default"))
    assert list(k3s["mirrors"]) == ["*"] and ("configs" in k3s) == tls
    assert not tls or is_authority(k3s["configs"]["mirror.example:5443"]["tls"]["ca_file"])
    assert json.loads(body(printed("docker"), "daemon.json"))["registry-mirrors"]
    buildkit = tomllib.loads(printed("buildkit", "--registry", "docker.io"))
    name = url.split("://")[1]
    assert buildkit["registry"]["docker.io"]["mirrors"] == [name]
    assert buildkit["registry"][name]["http"] is not tls and (not tls or is_authority(*buildkit["registry"][name]["ca"]))


@pytest.mark.parametrize("version", ["1.6", "2.4"])
def test_containerd_goes_on_to_the_registry_when_the_mirror_is_down(daemons, local, second, image, version):
    daemon, alpha, name = daemons(version), image(), f"127.0.0.1:{second.registry.port}"
    daemon.certs.mkdir(exist_ok=True)
    entrepot("hosts", "--for", "containerd", "--mirror", f"http://{local.address}", "--registry", name, "--write", daemon.certs)
    commands.assert_pulls(daemon, alpha, name)
    assert not came_by_itself(second)
    local.stop()
    commands.assert_pulls(daemon, alpha, name)
    assert came_by_itself(second)


def test_files_of_others_stay_and_that_is_said(certs):
    theirs = certs / "docker.io/hosts.toml"
    theirs.parent.mkdir()
    theirs.write_text("server = 'https://registry-1.docker.io'\n")
    said = entrepot("hosts", "--for", "containerd", "--write", certs, status=1)
    assert "docker.io/hosts.toml: is somebody else's" in said
    assert theirs.read_text().startswith("server") and (certs / "quay.io/hosts.toml").read_text().startswith(WRITTEN)
    again = entrepot("hosts", "--for", "containerd", "--write", certs, status=1)
    assert "quay.io/hosts.toml: is there already" in again


@pytest.mark.parametrize("args, says", [
    ([], "--for says which"), (["--for", "rkt"], "not one of"), (["--for", "crio", "--registry", "_default"], "each registry"),
    (["--for", "docker", "--mirror", "m:5000"], "http://"), (["--for", "docker", "rest"], "by options"),
    (["--for", "docker", "--dial-timeout", "1h"], "at most 1m"), (["--for"], "needs a value")])
def test_what_is_meant_wrongly_is_said(args, says):
    assert says in entrepot("hosts", *args, status=2)


# --- nodes ----------------------------------------------------------------------------------------------------------

def test_files_come_with_the_first_answer_and_go_in_the_end(nodes, mirror, door):
    d = door(mirror)
    d.silent = True
    n = nodes(d.address)
    n.wait_said(mirror="silent")
    assert not n.file.exists()
    d.silent = False
    n.wait_said(action="written")
    assert n.file.read_text().startswith(WRITTEN) and d.address in n.file.read_text()
    assert n.stop() == 0
    assert not n.file.parent.exists()


def test_files_stay_in_the_end_where_that_is_wanted(nodes, mirror):
    n = nodes(mirror.address, "--keep")
    n.wait_said(action="written")
    assert n.stop() == 0 and n.file.exists()
    entrepot("nodes", "--for", "containerd", "--write", n.file.parents[1], "--remove")
    assert not n.file.exists()


def test_what_others_wrote_is_never_touched(nodes, mirror, certs, second):
    theirs = certs / f"127.0.0.1:{second.registry.port}" / "hosts.toml"
    theirs.parent.mkdir()
    theirs.write_text("# mine\n")
    before = theirs.stat()
    n = nodes(mirror.address)
    n.wait_said(error="is somebody else's, and stays as it is")
    assert n.stop() == 0
    assert theirs.read_text() == "# mine\n" and theirs.stat().st_mtime_ns == before.st_mtime_ns
    assert len(n.said(error="is somebody else's, and stays as it is")) == 1, "said once, though looked at often"


def test_what_was_removed_or_changed_meanwhile_is_put_right(nodes, mirror, certs):
    old = certs / "old.example/hosts.toml"
    old.parent.mkdir()
    old.write_text(WRITTEN + " of an earlier release\n")
    n = nodes(mirror.address)
    n.wait_said(action="written")
    n.wait_said(why="not mirrored any more")
    assert not old.parent.exists()
    good = n.file.read_text()
    n.file.unlink()
    n.wait_said(count=2, action="written")
    n.file.write_text(good + "# and more\n")
    n.wait_said(count=3, action="written")
    assert n.file.read_text() == good


def test_it_ends_where_its_directory_was_made_anew(mirror, certs):
    """k3s did so at each start of its own. The kubelet starts the container again, with the new one."""
    n = Nodes(f"http://{mirror.address}", certs, "docker.io")
    try:
        n.wait_said(action="written")
        n.proc.send_signal(signal.SIGSTOP)
        shutil.rmtree(certs)
        certs.mkdir()
        n.proc.send_signal(signal.SIGCONT)
        assert n.proc.wait(30) == 1
    finally:
        n.stop()
    assert [ln for ln in n.said(level="error") if "was removed" in ln.get("error")], n.lines
    assert not list(certs.iterdir())


def test_a_service_of_kubernetes_is_found_in_the_environment(mirror, certs):
    host, port = mirror.host_port
    env = {**os.environ, **SANITIZER_ENV, "MY_MIRROR_SERVICE_HOST": host, "MY_MIRROR_SERVICE_PORT": str(port)}
    args = [binary(), "nodes", "--for", "containerd", "--write", certs, "--registry", "docker.io", "--every", "50ms"]
    p = subprocess.Popen([*args, "--service", "my-mirror"], env=env, stderr=subprocess.DEVNULL)
    try:
        wait_until((certs / "docker.io/hosts.toml").exists, "the file is written")
        assert f"http://{host}:{port}" in (certs / "docker.io/hosts.toml").read_text()
    finally:
        p.terminate()
        assert p.wait(30) == 0
    r = subprocess.run([*args, "--service", "other"], env=env, capture_output=True, text=True)
    assert r.returncode == 1 and "does not know the service other" in r.stderr


def test_a_pull_goes_on_whatever_the_mirror_does(daemons, nodes, door, local, second, image):
    """By the kubelet's own call, with one daemon and one node: the mirror up, slow, down, hanging, returning."""
    daemon, alpha = daemons("2.4"), image()
    daemon.certs.mkdir(exist_ok=True)
    d = door(local)
    n = nodes(d.address, directory=daemon.certs)
    n.wait_said(action="written")

    def pull():
        """True where the mirror gave it all."""
        second.forget()
        commands.assert_pulls(daemon, alpha, f"127.0.0.1:{second.registry.port}")
        return not came_by_itself(second)

    assert pull(), "up: through the mirror"
    d.delay = 0.2
    assert pull(), "slow: all the same"
    assert n.file.exists()
    d.delay = 0
    d.refuse()
    assert n.file.exists() and not pull(), "down: containerd goes on to the registry, before anybody has noticed"
    n.wait_said(why="the mirror is gone")
    assert not n.file.exists() and not pull()

    h = door(local)
    h.silent = True
    assert n.stop() == 0
    n = nodes(h.address, directory=daemon.certs)
    n.wait_said(mirror="silent")
    assert not n.file.exists() and not pull(), "hanging from the start: never written"
    h.silent = False
    n.wait_said(action="written")
    assert pull(), "returned"
    h.silent = True
    n.wait_said(why="the mirror is gone")
    assert not pull(), "hanging later: taken away"
    h.silent = False
    n.wait_said(count=2, action="written")
    assert pull(), "returned again"
    assert n.stop() == 0
    assert not n.file.exists()


def test_of_two_mirrors_one_that_says_nothing_is_not_named_for_ever(nodes, mirror, door):
    """Clients pass over one that refuses; for one that takes their connection they wait, 30 s or longer, each time."""
    d = door(mirror)
    n = nodes(d.address, "--mirror", f"http://{mirror.address}")
    n.wait_said(action="written")
    both = n.file.read_text()
    assert both.index(d.address) < both.index(mirror.address)
    d.silent = True
    n.wait_said(action="left out", mirror=f"http://{d.address}")
    n.wait_said(count=2, action="written")
    alone = n.file.read_text()
    assert d.address not in alone and mirror.address in alone
    d.silent = False
    n.wait_said(count=3, action="written")
    assert n.file.read_text() == both and not n.said(mirror="silent")


# --- two replicas ---------------------------------------------------------------------------------------------------

def test_one_of_two_replicas_is_killed_during_pulls_and_every_client_has_its_image(daemons, launch, second, image, tmp_path,
                                                                                   certs):
    """Siblings, as the chart makes them, in one hosts.toml: two pulls go on when the first mirror dies under them."""
    name, ports, replicas = f"127.0.0.1:{second.registry.port}", [free_port(), free_port()], []
    for i in (0, 1):
        d = tmp_path / f"replica{i}"
        d.mkdir()
        replicas.append(launch(directory=d, server={"listen": [f"127.0.0.1:{ports[i]}"]}, store={"path": str(d / "store")},
                               registries={name: {"url": second.url(), "sources": [
                                   {"name": "replica", "url": f"http://127.0.0.1:{ports[1 - i]}", "sibling": True},
                                   {"name": "upstream"}]}}))
    entrepot("hosts", "--for", "containerd", "--registry", name, "--write", certs,
             *[a for m in replicas for a in ("--mirror", f"http://{m.address}")])
    # Nobody gets anything past the mirrors: what containerd would ask last refuses.
    hosts = certs / name / "hosts.toml"
    hosts.write_text('server = "http://127.0.0.1:9"\n' + hosts.read_text())

    daemon, big, alpha = daemons("2.4"), image("library/big"), image()
    daemon.forget()
    layer = big.largest()
    results = {}

    def pull(img):
        results[img.repo] = daemon.ctr("images", "pull", "--hosts-dir", certs, "--snapshotter", "native", "--skip-metadata",
                                       "--platform", "linux/amd64", f"{name}/{img.repo}:1")

    with second.fault("stall", times=1, kind="blob", reference=layer, at=16 << 20) as stall:
        pulls = [threading.Thread(target=pull, args=(big,))]
        pulls[0].start()
        stall.wait()        # in the middle of the layer, through the first replica
        replicas[0].kill()
        pulls.append(threading.Thread(target=pull, args=(alpha,)))
        pulls[1].start()
        stall.release()
        for p in pulls:
            p.join(120)
    for img in (big, alpha):
        r = results[img.repo]
        assert r.returncode == 0, r.stdout + r.stderr
        for d in img.everything():
            assert daemon.content(d) == img.bytes(d)
    replicas[1].wait_line(event="request", reference=layer)     # the rest came from the other replica
