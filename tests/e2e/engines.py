"""Docker Engine, BuildKit, Podman and Skopeo as they are installed, pulling by what `entrepot hosts` writes."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile

import commands
from clients import Failed
from servers import BIN, ENV, TOOLS, end, scratch, wait_until

# What a client sees as /etc is a directory of the test's, and its /run is empty: it meets neither settings nor sockets of
# this machine. Its PATH has no program by which it could change the network.
ALONE = 'mount --bind "$1/etc" /etc && mount -t tmpfs tmpfs /run && shift && exec "$@"'


class CannotStart(Exception):
    """Its last words."""


class Alone:
    """A client with the files for `mirror` where they belong, in an /etc of its own."""

    directory = None    # below /etc; the client's own name where there is none

    def __init__(self, client, mirror, *args, env=None):
        self.client = client
        self.dir = scratch(client)
        self.etc = self.dir / "etc"
        own = self.etc / (self.directory or client)
        own.mkdir(parents=True)
        (self.etc / "hosts").write_text("127.0.0.1 localhost\n")
        (self.etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.etc / "group").write_text("root:x:0:\n")
        self.env = {**ENV, "PATH": f"{TOOLS}/deb/containerd/usr/bin:/usr/bin:/bin", "HOME": str(self.dir),
                    "DOCKER_CONFIG": str(self.dir), "REGISTRY_AUTH_FILE": str(self.dir / "config.json"), **(env or {})}
        (self.dir / "config.json").write_text("{}")
        self.pulls = 0
        r = commands.run("hosts", "--for", client, "--mirror", mirror, "--registry", "docker.io", "--write", own, *args)
        assert r.returncode == 0, r.stderr

    def alone(self, *args):
        return ["unshare", "--mount", "sh", "-c", ALONE, "sh", self.dir, *args]

    def ask(self, *args):
        return subprocess.run([str(a) for a in args], text=True, capture_output=True, timeout=120, env=self.env)

    def must(self, *args):
        r = self.ask(*args)
        if r.returncode:
            raise Failed(r.stdout + r.stderr)
        return r.stdout

    def fresh(self, name):
        """A path where nothing is yet."""
        self.pulls += 1
        return self.dir / f"{name}{self.pulls}"

    def log_in(self, user, password, at):
        """As `docker login` keeps it."""
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        (self.dir / "config.json").write_text(json.dumps({"auths": {at: {"auth": auth}}}))

    def stop(self):
        shutil.rmtree(self.dir)


class Daemon(Alone):
    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.socket = self.dir / "socket"
        self.log = self.dir / "log"
        with open(self.log, "wb") as log:
            self.proc = subprocess.Popen(self.alone(*self.command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env=self.env)
        wait_until(lambda: self.proc.poll() is not None or self.ready(), f"{self.client} answers", 60)
        if self.proc.poll() is not None:
            words = self.log.read_text()[-1000:]
            super().stop()
            raise CannotStart(words)

    def stop(self):
        end(self.proc)
        super().stop()


class Docker(Daemon):
    """dockerd, with a containerd of its own. It changes no network, and stores by copying."""

    agent = "docker/"
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
        out = self.fresh("saved")
        self.run("save", "-o", out, name)
        with tarfile.open(out) as tar:
            (saved,) = json.load(tar.extractfile("manifest.json"))
            assert tar.extractfile(saved["Config"]).read() == img.bytes(config)
            layers = ["sha256:" + hashlib.sha256(tar.extractfile(f).read()).hexdigest() for f in saved["Layers"]]
        assert layers == img.json(config)["rootfs"]["diff_ids"]


class BuildKit(Daemon):
    """buildkitd, with the worker that it has built in. It runs nothing, so it needs no runc."""

    agent = "buildkit/"
    buildctl = BIN / "buildctl"

    def command(self):
        return [BIN / "buildkitd", "--config", "/etc/buildkit/buildkitd.toml", "--addr", f"unix://{self.socket}", "--root",
                self.dir / "root", "--oci-worker-snapshotter=native", "--oci-worker-net=host", "--containerd-worker=false"]

    def ready(self):
        return self.socket.exists() and self.ask(*self.ctl, "debug", "workers").returncode == 0

    @property
    def ctl(self):
        return [self.buildctl, "--addr", f"unix://{self.socket}"]

    def pull(self, img):
        """An image that has another as its base and adds nothing: its layers are the other's."""
        self.must(*self.ctl, "prune", "--all")
        context, out = self.fresh("context"), self.fresh("built")
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM {img.repo}:{img.tag}\n")
        self.must(*self.ctl, "build", "--progress", "plain", "--no-cache", "--frontend", "dockerfile.v0", "--local",
                  f"context={context}", "--local", f"dockerfile={context}", "--output", f"type=oci,dest={out}")
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


class Containers(Alone):
    """What Podman, Skopeo and CRI-O share."""

    directory = "containers"

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        (self.etc / "containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')


class Skopeo(Containers):
    agent = "skopeo/"

    def pull(self, img):
        out = self.fresh("copied")
        self.must(*self.alone("skopeo", "copy", "-q", f"docker://docker.io/{img.repo}:{img.tag}", f"dir:{out}"))
        assert (out / "manifest.json").read_bytes() == img.bytes(img.child())
        for digest in img.blobs():
            assert (out / digest.split(":")[1]).read_bytes() == img.bytes(digest)


class Podman(Containers):
    agent = "containers/"

    def run(self, *args):
        return self.must(*self.alone("podman", "--root", self.dir / "root", "--runroot", self.dir / "runroot", "--tmpdir",
                                     self.dir / "tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
                                     "--events-backend", "none", "--runtime", "/usr/sbin/runc", *args))

    def pull(self, img):
        """Its store keeps the manifest and the configuration as they are; layers are checked when they are unpacked."""
        self.run("rmi", "--all", "--force")
        name = f"docker.io/{img.repo}:{img.tag}"
        self.run("pull", "-q", name)
        (info,) = json.loads(self.run("image", "inspect", name))
        config = img.blobs()[0]
        assert "sha256:" + info["Id"] == config and info["Digest"] in (img.digest, img.child())
        assert info["RootFS"]["Layers"] == img.json(config)["rootfs"]["diff_ids"]
