"""The clients of the field, each pulling through a mirror into a directory of its own.

pull(mirror, repo, reference, arch) pulls and returns a function from a digest to the bytes that the client now has of
it, None where it has none. A client whose store keeps no bytes compares what it has instead (Podman).
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import tarfile

from servers import BIN, ENV


class Failed(Exception):
    """The client's own words."""


def run(*args, env=None, timeout=120):
    r = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=timeout, env=env)
    if r.returncode:
        raise Failed(f"{' '.join(map(str, args))}: {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout


def suffix(reference):
    return ("@" if ":" in reference else ":") + reference


def layout(directory):
    """The blobs of an OCI image layout."""
    def bytes_of(digest):
        path = directory / "blobs" / digest.replace(":", "/")
        return path.read_bytes() if path.exists() else None
    return bytes_of


class Client:
    platforms = ("amd64", "arm64")
    index = False       # keeps the index that a platform was picked from

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.pulls = 0
        self.env = dict(ENV, HOME=str(self.dir), DOCKER_CONFIG=str(self.dir), XDG_CONFIG_HOME=str(self.dir))

    def run(self, *args):
        return run(*args, env=self.env)

    def fresh(self):
        """A directory that is not there yet."""
        self.pulls += 1
        return self.dir / f"pull{self.pulls}"

    def close(self):
        shutil.rmtree(self.dir)


class Containerd(Client):
    """`ctr images pull --hosts-dir`."""

    index = True

    def __init__(self, daemon):
        self.daemon = daemon

    def pull(self, mirror, repo, reference, arch="amd64", registry="docker.io"):
        self.daemon.forget()
        self.daemon.hosts(mirror, (registry,))
        args = ["--skip-metadata"] if self.daemon.version != "1.6" else []
        if arch:
            args += ["--platform", f"linux/{arch}"]
        r = self.daemon.ctr("images", "pull", "--hosts-dir", self.daemon.certs, "--snapshotter", "native", *args,
                            f"{registry}/{repo}{suffix(reference)}")
        if r.returncode:
            raise Failed(r.stdout + r.stderr)
        return self.daemon.content


class Cri(Containerd):
    """The kubelet's call. The platform is the node's."""

    platforms = ("amd64",)

    def pull(self, mirror, repo, reference, arch="amd64", registry="docker.io"):
        self.daemon.forget()
        self.daemon.hosts(mirror, (registry,))
        r = self.daemon.cri("PullImage", {"image": {"image": f"{registry}/{repo}{suffix(reference)}"}})
        if r.returncode:
            raise Failed(r.stdout + r.stderr)
        assert json.loads(r.stdout)["imageRef"]
        return self.daemon.content


class Containers(Client):
    """What Skopeo, Podman and CRI-O share: registries.conf."""

    def configure(self, mirror):
        (self.dir / "registries.conf").write_text(
            'unqualified-search-registries = []\n[[registry]]\nprefix = "docker.io"\nlocation = "127.0.0.1:9"\n'
            f'insecure = true\n[[registry.mirror]]\nlocation = "{mirror}/docker.io"\ninsecure = true\n')
        (self.dir / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (self.dir / "auth.json").write_text("{}")
        self.env.update(CONTAINERS_REGISTRIES_CONF=str(self.dir / "registries.conf"),
                        REGISTRY_AUTH_FILE=str(self.dir / "auth.json"), XDG_RUNTIME_DIR=str(self.dir))


class Skopeo(Containers):
    def pull(self, mirror, repo, reference, arch="amd64"):
        self.configure(mirror)
        out = self.fresh()
        which = ["--override-arch", arch] if arch else []
        self.run("skopeo", "--policy", self.dir / "policy.json", "--registries-conf", self.dir / "registries.conf", *which,
                 "copy", "-q", *([] if arch else ["--all"]), f"docker://docker.io/{repo}{suffix(reference)}", f"dir:{out}")

        def bytes_of(digest):
            hex_ = digest.split(":")[1]
            for path in (out / hex_, out / f"{hex_}.manifest.json"):
                if path.exists():
                    return path.read_bytes()
            data = (out / "manifest.json").read_bytes()
            return data if hashlib.sha256(data).hexdigest() == hex_ else None
        return bytes_of


class Podman(Containers):
    """Its store keeps layers unpacked: manifest and configuration are there as bytes, layers as a tree of files."""

    index = True

    def podman(self, *args):
        return self.run("podman", "--root", self.dir / "root", "--runroot", self.dir / "run", "--tmpdir", self.dir / "tmp",
                        "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none", *args)

    def pull(self, mirror, repo, reference, arch="amd64"):
        self.configure(mirror)
        self.forget()
        name = f"docker.io/{repo}{suffix(reference)}"
        self.podman("pull", "-q", "--signature-policy", self.dir / "policy.json", "--arch", arch, name)
        found = {}
        for path in (self.dir / "root/vfs-images").rglob("=*"):
            data = path.read_bytes()
            found["sha256:" + hashlib.sha256(data).hexdigest()] = data
        (info,) = json.loads(self.podman("image", "inspect", name))
        for path in (self.dir / "root/vfs-images").glob(info["Id"] + "/manifest"):
            data = path.read_bytes()
            found["sha256:" + hashlib.sha256(data).hexdigest()] = data
        self.tree = pathlib.Path(self.podman("image", "mount", name).strip())
        return found.get

    def forget(self):
        self.podman("image", "umount", "--all")
        self.podman("rmi", "--all", "--force")

    def check_layers(self, layers):
        """The tree is what the archives have: names, kinds and bytes."""
        want = {}
        for path in layers:
            with tarfile.open(path) as tar:
                for m in tar:
                    want[m.name.rstrip("/")] = hashlib.sha256(tar.extractfile(m).read()).hexdigest() if m.isreg() else m.type
        for name, what in want.items():
            path = self.tree / name
            if isinstance(what, str):
                assert hashlib.sha256(path.read_bytes()).hexdigest() == what, name
            elif what == tarfile.SYMTYPE:
                assert path.is_symlink(), name
            else:
                assert path.is_dir() == (what == tarfile.DIRTYPE), name
        have = {str(p.relative_to(self.tree)) for p in self.tree.rglob("*")}
        assert have == set(want)

    def close(self):
        self.forget()
        super().close()


class Crane(Client):
    def pull(self, mirror, repo, reference, arch="amd64"):
        out = self.fresh()
        which = ["--platform", f"linux/{arch}"] if arch else []
        self.run(BIN / "crane", "pull", "--insecure", *which, "--format", "oci", f"{mirror}/{repo}{suffix(reference)}", out)
        return layout(out)


class Oras(Client):
    def pull(self, mirror, repo, reference, arch="amd64"):
        out = self.fresh()
        which = ["--platform", f"linux/{arch}"] if arch else []
        self.run(BIN / "oras", "copy", "--no-tty", "--from-plain-http", *which, f"{mirror}/{repo}{suffix(reference)}",
                 "--to-oci-layout", f"{out}:1")
        return layout(out)


class Regctl(Client):
    def pull(self, mirror, repo, reference, arch="amd64"):
        out = self.fresh()
        which = ["--platform", f"linux/{arch}"] if arch else []
        self.run(BIN / "regctl", "--host", f"reg={mirror},tls=disabled", "image", "copy", *which,
                 f"{mirror}/{repo}{suffix(reference)}", f"ocidir://{out}:1")
        return layout(out)


class Helm(Client):
    """Charts: an archive in a layer."""

    def __init__(self, directory):
        super().__init__(directory)
        self.env.update({f"HELM_{k}_HOME": str(self.dir) for k in ("CACHE", "CONFIG", "DATA")})

    def pull(self, mirror, repo, reference=None):
        out = self.fresh()
        out.mkdir()
        name = f"oci://{mirror}/{repo}"
        if reference and ":" in reference:
            name += "@" + reference
        elif reference:
            name = [name, "--version", reference]
        self.run(BIN / "helm", "pull", *([name] if isinstance(name, str) else name), "--plain-http", "-d", out)
        found = {}
        for path in out.iterdir():
            data = path.read_bytes()
            found["sha256:" + hashlib.sha256(data).hexdigest()] = data
        return found.get
