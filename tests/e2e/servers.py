"""Programs the tests start: docker-registry, containerd, and the mirror itself."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("ENTREPOT_TOOLS", ROOT / ".tools"))
BIN = TOOLS / "bin"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, timeout=30):
    """Poll a condition that has nothing to wait on; a deadline, never an oracle."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.02)


def scratch(prefix):
    """A new directory for what clients store, in memory where there is room: their fsync is not what is tested."""
    shm = "/dev/shm"
    room = os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 4 << 30
    return pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=shm if room else None))


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def later(by):
    """Environment of a program for which it is later by that much ("2h", "31d"): its wall clock, not its timers."""
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    assert library, "Debian's libfaketime is not installed: tests/tools/install"
    return {**preloaded(library), "FAKETIME": "+" + by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def preloaded(library):
    """Environment of a program into which this is loaded first."""
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": SANITIZER_ENV["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}


class DockerRegistry:
    """Debian's docker-registry, or registry v3 (`binary`), over a storage directory; a proxy of `remote`, a URL."""

    def __init__(self, storage, binary=None, delete=False, remote=None):
        binary = binary or TOOLS / "deb/docker-registry/usr/bin/docker-registry"
        self.storage = str(storage)
        os.makedirs(self.storage, exist_ok=True)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        config = {"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}},
                  "storage": {"filesystem": {"rootdirectory": self.storage}, "delete": {"enabled": delete},
                              "maintenance": {"uploadpurging": {"enabled": False}}},
                  "http": {"addr": self.address, "secret": "of the test"}}
        if remote:
            config["proxy"] = {"remoteurl": remote}
        # not beside the storage, which two runs of the tests may share
        with tempfile.NamedTemporaryFile("w", suffix=".yml", delete=False) as f:
            yaml.safe_dump(config, f)
        env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        env["OTEL_TRACES_EXPORTER"] = "none"
        self.proc = subprocess.Popen([binary, "serve", f.name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                     env=env)
        wait_until(lambda: answers(port) or self.proc.poll() is not None, "docker-registry listens")
        os.unlink(f.name)
        assert self.proc.poll() is None, self.proc.stderr.read().decode()
        threading.Thread(target=self.proc.stderr.read, daemon=True).start()

    @property
    def host_port(self):
        host, port = self.address.split(":")
        return host, int(port)

    def stop(self):
        self.proc.kill()
        self.proc.wait()


# Without the proxies of this machine: everything that is asked is on it.
ENV = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}


def binary():
    given = os.environ.get("ENTREPOT")
    if given:
        return pathlib.Path(given)
    for d in ("build-asan", "build"):
        if (ROOT / d / "entrepot").exists():
            return ROOT / d / "entrepot"
    return None


SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer")

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=99:second_deadlock_stack=1",
}


def merge(base, over):
    """`over` on top of `base`, map by map; None removes a key."""
    out = dict(base)
    for k, v in over.items():
        if v is None:
            out.pop(k, None)
        elif isinstance(v, dict) and isinstance(out.get(k), dict):
            out[k] = merge(out[k], v)
        else:
            out[k] = v
    return out


class Line(str):
    """A log line; keys of key=value or of JSON by get()."""

    PAIR = re.compile(r'([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S*)')

    @property
    def fields(self):
        if self.startswith("{"):
            try:
                return json.loads(self)
            except ValueError:
                return {}
        return {k: v[1:-1] if v.startswith('"') else v for k, v in self.PAIR.findall(self)}

    def get(self, key):
        v = self.fields.get(key)
        return None if v is None else str(v)


def file_of(store, digest):
    """Where a store has a blob that is not packed."""
    algorithm, hex_ = digest.split(":")
    return store / "blobs" / algorithm / hex_[:2] / hex_


class Process:
    """A process and its log, line by line."""

    def __init__(self):
        self.proc = None
        self.lines = []
        self.first_line = 0
        self.changed = threading.Condition()

    def run(self, args, stdout=subprocess.DEVNULL, **kw):
        self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
                                     errors="replace", **kw)
        self.first_line = len(self.lines)
        self.reader = threading.Thread(target=self._read, args=(self.proc,), daemon=True)
        self.reader.start()

    def _read(self, proc):
        for line in proc.stderr:
            with self.changed:
                self.lines.append(Line(line.rstrip("\n")))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def find(self, since=0, **want):
        """Log lines since that number, or of that client, that have these fields."""
        with self.changed:
            lines = self.lines[since:]
        return [ln for ln in lines if all(
            v(ln.get(k)) if callable(v) else ln.get(k) == str(v) for k, v in want.items())]

    def wait_line(self, since=0, timeout=30, **want):
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                found = self.find(since, **want)
                if found:
                    return found[-1]
                dead = self.proc.poll() is not None and not self.reader.is_alive()
                left = end - time.monotonic()
                assert not dead and left > 0, (
                    f"no log line {want} ({'exit ' + str(self.proc.returncode) if dead else str(timeout) + ' s'}):\n"
                    + "\n".join(self.lines[-40:]))
                self.changed.wait(min(left, 0.2))

    def mark(self):
        with self.changed:
            return len(self.lines)

    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def signal(self, number):
        self.proc.send_signal(number)

    def wait(self, timeout=60):
        """Exit status, once the log has been read to its end."""
        try:
            self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError(f"it did not end in {timeout} s\n" + "\n".join(self.lines[-40:])) from None
        self.reader.join(10)
        return self.proc.returncode

    def stop(self, timeout=60):
        """SIGTERM; it must end with 0."""
        if not self.proc:
            return
        if self.running():
            self.signal(signal.SIGTERM)
        status = self.wait(timeout)
        self.proc = None
        self.check_sanitizers()
        assert status == 0, f"exit status {status}\n" + "\n".join(self.lines[-40:])

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()
        self.proc = None
        self.check_sanitizers()

    def check_sanitizers(self):
        for i, line in enumerate(self.lines):
            if SANITIZER.search(line):
                raise AssertionError("\n".join(self.lines[max(0, i - 2):i + 60]))


class Mirror(Process):
    """An entrepot serve process, its configuration and its log."""

    def __init__(self, directory, config, env=None, user=None, command=None):
        super().__init__()
        self.dir = pathlib.Path(directory)
        self.config = config
        self.env = env or {}
        self.user = user
        self.command = command or binary()
        self.address = None
        self.addresses = []
        self.config_path = self.dir / "entrepot.yaml"
        self.write_config()

    def write_config(self, **over):
        self.config = merge(self.config, over)
        new = self.config_path.with_suffix(".new")      # a mirror that reads it meanwhile meets no half of it
        new.write_text(yaml.safe_dump(self.config, sort_keys=False))
        new.rename(self.config_path)

    def spawn(self):
        kw = {"user": self.user, "group": self.user, "extra_groups": []} if self.user is not None else {}
        self.run([self.command, "serve", "--config", self.config_path], cwd=self.dir,
                 env={**SANITIZER_ENV, **ENV, **self.env}, **kw)

    def start(self, timeout=60):
        self.spawn()
        ready = self.wait_line(event="ready", since=self.first_line, timeout=timeout)
        with self.changed:
            self.addresses = [ln.get("listen") for ln in self.lines[self.first_line:] if ln.get("event") == "ready"]
        self.address = ready.get("listen")
        return self

    @property
    def host_port(self):
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)

    def restart(self):
        self.stop()
        return self.start()


def end(proc):
    """SIGTERM, and where that does not help, SIGKILL."""
    proc.terminate()
    try:
        proc.wait(20)
    except subprocess.TimeoutExpired:
        proc.kill()
        proc.wait()


class Containerd:
    """A containerd, 1.6 of Debian or 2.4, with its root in a directory of its own and hosts.toml for the mirror."""

    def __init__(self, version):
        self.version = version
        self.dir = scratch("containerd")
        self.certs = self.dir / "certs.d"
        self.socket = self.dir / "c.sock"
        if version.startswith("1."):
            base = TOOLS / "deb/containerd/usr/bin"
            section = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]'
            snapshotter = '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "native"\n'
        else:
            base = BIN
            section = 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]'
            snapshotter = '[plugins."io.containerd.cri.v1.images"]\nsnapshotter = "native"\n' + "".join(
                '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\n'
                f'platform = "linux/{arch}"\nsnapshotter = "native"\ndiffer = "walking"\n' for arch in ("amd64", "arm64"))
        self.base = base
        head, registry = section.split("\n")
        (self.dir / "config.toml").write_text(
            f'{head}\nroot = "{self.dir}/root"\nstate = "{self.dir}/state"\n[grpc]\naddress = "{self.socket}"\n'
            f'[ttrpc]\naddress = "{self.dir}/t.sock"\n{snapshotter}{registry}\nconfig_path = "{self.certs}"\n')
        self.log = open(self.dir / "log", "wb")
        env = {**ENV, "PATH": f"{base}:{os.environ['PATH']}"}
        self.proc = subprocess.Popen([base / "containerd", "-c", self.dir / "config.toml"], stdout=self.log,
                                     stderr=self.log, env=env)
        wait_until(lambda: self.proc.poll() is not None or self._ready(), "containerd answers", 60)
        assert self.proc.poll() is None, (self.dir / "log").read_text()[-4000:]

    def _ready(self):
        return self.socket.exists() and subprocess.run(
            [self.base / "ctr", "-a", self.socket, "version"], capture_output=True).returncode == 0

    def hosts(self, mirror, registries=("docker.io",), headers=()):
        """Send these registries' pulls to the mirror only, with headers; the registry itself is a port that refuses."""
        shutil.rmtree(self.certs, ignore_errors=True)
        for name in registries:
            d = self.certs / name
            d.mkdir(parents=True)
            (d / "hosts.toml").write_text(
                f'server = "http://127.0.0.1:9"\n[host."http://{mirror}"]\ncapabilities = ["pull", "resolve"]\n'
                f'[host."http://{mirror}".header]\n' + "".join(f'{k} = "{v}"\n' for k, v in dict(headers).items()))

    def ctr(self, *args, timeout=120):
        return subprocess.run([self.base / "ctr", "-a", self.socket, "-n", "test", *args], text=True,
                              capture_output=True, timeout=timeout)

    def cri(self, method, request, timeout=120):
        proto = next((TOOLS / "proto").glob("*/api.proto")).parent
        return subprocess.run([BIN / "grpcurl", "-plaintext", "-unix", "-import-path", proto, "-proto", "api.proto",
                               "-max-time", str(timeout), "-d", json.dumps(request), self.socket,
                               f"runtime.v1.ImageService/{method}"], text=True, capture_output=True,
                              timeout=timeout + 10)

    def pull(self, name, **auth):
        """A whole pull, as the kubelet asks for it; `auth` is what the pod's secret has for the registry."""
        self.forget()
        return self.cri("PullImage", {"image": {"image": name}, **({"auth": auth} if auth else {})})

    def content(self, digest):
        path = self.dir / "root/io.containerd.content.v1.content/blobs" / digest.replace(":", "/")
        return path.read_bytes() if path.exists() else None

    def forget(self):
        """Remove every image and its content, so that the next pull is a whole one."""
        for ns in ("test", "k8s.io"):
            c = [self.base / "ctr", "-a", self.socket, "-n", ns]
            names = subprocess.run(c + ["images", "ls", "-q"], text=True, capture_output=True).stdout.split()
            if names:
                subprocess.run(c + ["images", "rm", "--sync", *names], capture_output=True)
            left = subprocess.run(c + ["content", "ls", "-q"], text=True, capture_output=True).stdout.split()
            if left:
                subprocess.run(c + ["content", "rm", *left], capture_output=True)

    def stop(self):
        end(self.proc)
        self.log.close()
        for mount in [ln.split()[1] for ln in open("/proc/mounts") if str(self.dir) in ln]:
            subprocess.run(["umount", "-l", mount], capture_output=True)
        shutil.rmtree(self.dir)
