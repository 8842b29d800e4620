"""Docker Engine and BuildKit: daemons of the test's own, that pull by what `entrepot hosts` writes."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile

import commands
from clients import Failed
from servers import BIN, ENV, TOOLS, scratch, wait_until

# What the daemon sees as /etc is a directory of the test's, and its /run is empty: it meets neither settings nor sockets
# of this machine. Its PATH has no program by which it could change the network.
ALONE = 'mount --bind "$1/etc" /etc && mount -t tmpfs tmpfs /run && shift && exec "$@"'


class CannotStart(Exception):
    """Its last words."""


class Daemon:
    """Started with the files for `mirror` where `entrepot hosts` says that they belong, in an /etc of its own."""

    def __init__(self, mirror, *args, env=None):
        self.dir = scratch(self.client)
        self.socket = self.dir / "socket"
        self.etc = self.dir / "etc"
        (self.etc / self.client).mkdir(parents=True)
        (self.etc / "hosts").write_text("127.0.0.1 localhost\n")
        (self.etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.etc / "group").write_text("root:x:0:\n")
        r = commands.run("hosts", "--for", self.client, "--mirror", mirror, "--registry", "docker.io", "--write",
                         self.etc / self.client, *args)
        assert r.returncode == 0, r.stderr
        self.env = {**ENV, "PATH": f"{TOOLS}/deb/containerd/usr/bin:/usr/bin:/bin", "HOME": str(self.dir),
                    "DOCKER_CONFIG": str(self.dir), **(env or {})}
        self.pulls = 0
        self.log = self.dir / "log"
        with open(self.log, "wb") as log:
            self.proc = subprocess.Popen(["unshare", "--mount", "sh", "-c", ALONE, "sh", self.dir, *self.command()],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        wait_until(lambda: self.proc.poll() is not None or self.ready(), f"{self.client} answers", 60)
        if self.proc.poll() is not None:
            words = self.log.read_text()[-1000:]
            shutil.rmtree(self.dir)
            raise CannotStart(words)

    def ask(self, *args):
        return subprocess.run([str(a) for a in args], text=True, capture_output=True, timeout=120, env=self.env)

    def must(self, *args):
        r = self.ask(*args)
        if r.returncode:
            raise Failed(r.stdout + r.stderr)
        return r.stdout

    def log_in(self, user, password):
        """At Docker Hub, as `docker login` keeps it."""
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        (self.dir / "config.json").write_text(json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": auth}}}))

    def stop(self):
        self.proc.terminate()
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        shutil.rmtree(self.dir)


class Docker(Daemon):
    """dockerd, with a containerd of its own. It changes no network, and stores by copying."""

    client = "docker"
    docker = TOOLS / "deb/docker.io/usr/bin/docker"

    def command(self):
        return [TOOLS / "deb/docker.io/usr/sbin/dockerd", "--host", f"unix://{self.socket}", "--data-root",
                self.dir / "root", "--exec-root", self.dir / "exec", "--pidfile", self.dir / "pid", "--iptables=false",
                "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none", "--userland-proxy=false",
                "--storage-driver=vfs"]

    def ready(self):
        return self.socket.exists() and self.ask(self.docker, "-H", f"unix://{self.socket}", "version").returncode == 0

    def run(self, *args):
        return self.must(self.docker, "-H", f"unix://{self.socket}", *args)

    def pull(self, img):
        """A whole pull; what it has then is held against what the registry has."""
        ids = self.run("image", "ls", "-aq").split()
        if ids:
            self.run("image", "rm", "-f", *ids)
        name = f"{img.repo}:{img.tag}"
        self.run("pull", "-q", f"docker.io/{name}")
        (info,) = json.loads(self.run("image", "inspect", name))
        config = img.blobs()[0]
        assert [d.partition("@")[2] for d in info["RepoDigests"]] == [img.digest] and info["Id"] == config
        self.pulls += 1
        out = self.dir / f"saved{self.pulls}.tar"
        self.run("save", "-o", out, name)
        with tarfile.open(out) as tar:
            (saved,) = json.load(tar.extractfile("manifest.json"))
            assert tar.extractfile(saved["Config"]).read() == img.bytes(config)
            layers = ["sha256:" + hashlib.sha256(tar.extractfile(f).read()).hexdigest() for f in saved["Layers"]]
        assert layers == img.json(config)["rootfs"]["diff_ids"]


class BuildKit(Daemon):
    """buildkitd, with the worker that it has built in. It runs nothing, so it needs no runc."""

    client = "buildkit"
    buildctl = BIN / "buildctl"

    def command(self):
        return [BIN / "buildkitd", "--config", "/etc/buildkit/buildkitd.toml", "--addr", f"unix://{self.socket}", "--root",
                self.dir / "root", "--oci-worker-snapshotter=native", "--oci-worker-net=host", "--containerd-worker=false"]

    def ready(self):
        return self.socket.exists() and self.run_quietly("debug", "workers").returncode == 0

    def run_quietly(self, *args):
        return self.ask(self.buildctl, "--addr", f"unix://{self.socket}", *args)

    def pull(self, img):
        """An image that has another as its base and adds nothing: its layers are the other's."""
        self.must(self.buildctl, "--addr", f"unix://{self.socket}", "prune", "--all")
        self.pulls += 1
        context, out = self.dir / f"context{self.pulls}", self.dir / f"built{self.pulls}.tar"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM {img.repo}:{img.tag}\n")
        self.must(self.buildctl, "--addr", f"unix://{self.socket}", "build", "--progress", "plain", "--no-cache", "--frontend",
                  "dockerfile.v0", "--local", f"context={context}", "--local", f"dockerfile={context}", "--output",
                  f"type=oci,dest={out}")
        with tarfile.open(out) as tar:
            def blob(digest):
                return tar.extractfile("blobs/" + digest.replace(":", "/")).read()
            (entry,) = json.load(tar.extractfile("index.json"))["manifests"]
            built = json.loads(blob(entry["digest"]))
            if "manifests" in built:
                built = json.loads(blob(built["manifests"][0]["digest"]))
            assert [x["digest"] for x in built["layers"]] == img.layers()
            for digest in img.layers():
                assert blob(digest) == img.bytes(digest)
