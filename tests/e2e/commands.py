"""The commands that talk to a running mirror."""

import http.client
import json
import os
import shutil
import socket
import subprocess

from servers import ENV, SANITIZER, SANITIZER_ENV, binary
from wire import Client


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("entrepot", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def run(*args, text=None, env=None, cwd=None, timeout=60):
    """The program, to its end, with `text` on its input. No run may bring a sanitizer's report; 99 is theirs."""
    r = subprocess.run([binary(), *map(str, args)], cwd=cwd, env={**SANITIZER_ENV, **ENV, "NO_COLOR": "1", **(env or {})},
                       input=text or "", text=True, capture_output=True, timeout=timeout)
    assert r.returncode >= 0 and r.returncode != 99 and not SANITIZER.search(r.stderr), r.stderr
    return r


def tell(daemon, mirror, *args, registry="docker.io"):
    """A containerd pulls by what `entrepot hosts` writes, and nothing past the mirror: what it would ask last refuses."""
    shutil.rmtree(daemon.certs, ignore_errors=True)
    daemon.certs.mkdir()
    r = run("hosts", "--for", "containerd", "--mirror", mirror, "--registry", registry, "--write", daemon.certs, *args)
    assert r.returncode == 0, r.stderr
    written = daemon.certs / registry / "hosts.toml"
    written.write_text('server = "http://127.0.0.1:9"\n' + written.read_text())


def assert_pulls(daemon, img, registry="docker.io", **auth):
    """The kubelet's call gives a containerd all of the image."""
    r = daemon.pull(f"{registry}/{img.repo}:{img.tag}", **auth)
    assert r.returncode == 0, r.stdout + r.stderr
    for digest in img.everything():
        assert daemon.content(digest) == img.bytes(digest)


class Cli:
    """The commands, asked of one mirror as a person would, through its configuration."""

    def __init__(self, mirror):
        self.mirror = mirror

    def run(self, *args, **kw):
        return run(*args, cwd=self.mirror.dir, **kw)

    def __call__(self, command, *args, status=0, **kw):
        r = self.run(command, *args, "--config", str(self.mirror.config_path), **kw)
        assert r.returncode == status, f"{r.returncode}\n{r.stdout}{r.stderr}"
        return r.stdout if status in (0, 3) else r.stderr

    def api(self, socket_path, target, method="GET", body=None, status=200):
        """The API itself."""
        with UnixConnection(os.path.join(self.mirror.dir, socket_path)) as c:
            c.request(method, target, body=body)
            r = c.getresponse()
            answer = json.loads(r.read())
            assert r.status == status, answer
            return answer

    def blobs(self):
        """How many are stored."""
        return self.json("status")["store"]["blobs"]

    def json(self, command, *args, **kw):
        return json.loads(self(command, *args, "--json", **kw))


def pull(m, img, arch="amd64"):
    """What containerd asks for."""
    client = Client(m.host_port)
    for kind, reference in [("manifests", img.tag), ("manifests", img.digest), ("manifests", img.child(arch))] + [
            ("blobs", d) for d in img.blobs(arch)]:
        assert client.get(f"/v2/{img.repo}/{kind}/{reference}").status == 200
