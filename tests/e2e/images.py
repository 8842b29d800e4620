"""Real images for the tests, made from Debian packages and pushed into a docker-registry by the tools of the field.

The registry's storage is kept under .tools/images, named after this file's own digest: a second run finds it there.

    library/alpha:1     index: linux/amd64 and linux/arm64, three layers each, and an attestation manifest
    library/beta:1      one platform, three layers, made by umoci
    library/big:1       a layer of more than 200 MiB
    library/docker2:1   Docker's schema 2 media types
    library/empty:1     a layer that is an empty archive
    tools/artifact:1    an artifact that is no image, with a referrer attached (and the fallback tag)
    charts/harbour:1.2.3  a Helm chart, two versions
    library/alpha:sha256-HEX.sig   as cosign signs
"""

import fcntl
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import servers

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("ENTREPOT_TOOLS", ROOT / ".tools"))
BIN = TOOLS / "bin"
KEEP = TOOLS / "images"

OCI = "application/vnd.oci.image."
EPOCH = 1700000000


def run(*args, **kw):
    args = [str(a) for a in args]
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if r.returncode:
        raise RuntimeError(f"{' '.join(args)}: {r.returncode}\n{r.stdout}\n{r.stderr}")
    return r.stdout


class Apt:
    """apt with lists and a cache of its own for one architecture; needs no root."""

    def __init__(self, arch):
        self.arch = arch
        self.dir = KEEP / "apt" / arch
        for d in ("lists/partial", "archives/partial", "debs"):
            (self.dir / d).mkdir(parents=True, exist_ok=True)
        (self.dir / "status").touch()
        self.options = ["-q", "-o", f"APT::Architecture={arch}", "-o", f"APT::Architectures={arch}",
                        "-o", f"Dir::State::lists={self.dir}/lists", "-o", f"Dir::State::status={self.dir}/status",
                        "-o", f"Dir::Cache={self.dir}", "-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]
        self.updated = False

    def unpack(self, packages, target):
        for p in packages:
            debs = list((self.dir / "debs").glob(f"{p}_*.deb"))
            if not debs:
                if not self.updated:
                    run("apt-get", *self.options, "update")
                    self.updated = True
                with tempfile.TemporaryDirectory(dir=self.dir) as tmp:
                    run("apt-get", *self.options, "download", p, cwd=tmp)
                    for d in pathlib.Path(tmp).glob("*.deb"):
                        shutil.move(str(d), str(self.dir / "debs" / d.name))
                debs = list((self.dir / "debs").glob(f"{p}_*.deb"))
            run("dpkg", "-x", debs[0], target)


def plain(info):
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mtime = EPOCH
    return info


def tar_of(directory, out):
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(pathlib.Path(directory).rglob("*")):
            tar.add(path, str(path.relative_to(directory)), recursive=False, filter=plain)


class Layout:
    """An OCI image layout in a directory."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.entries = []

    def blob(self, data, media_type, **extra):
        if not isinstance(data, bytes):
            data = json.dumps(data, sort_keys=True).encode()
        hex_ = hashlib.sha256(data).hexdigest()
        (self.path / "blobs/sha256" / hex_).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + hex_, "size": len(data), **extra}

    def layer(self, directory, level=6):
        """A descriptor and the digest of the uncompressed archive."""
        with tempfile.TemporaryFile(dir=self.path) as raw:
            tar_of(directory, raw)
            raw.seek(0)
            diff = hashlib.sha256()
            packed = io.BytesIO()
            with gzip.GzipFile("", "wb", level, packed, mtime=0) as z:
                while piece := raw.read(1 << 20):
                    diff.update(piece)
                    z.write(piece)
        return (self.blob(packed.getvalue(), OCI + "layer.v1.tar+gzip"), "sha256:" + diff.hexdigest())

    def image(self, arch, layers, **extra):
        config = self.blob({"architecture": arch, "os": "linux", "created": "2023-11-14T22:13:20Z",
                            "config": {"Cmd": ["/bin/busybox", "sh"]},
                            "rootfs": {"type": "layers", "diff_ids": [d for _, d in layers]}},
                           OCI + "config.v1+json")
        return self.blob({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
                          "layers": [d for d, _ in layers]}, OCI + "manifest.v1+json", **extra)

    def finish(self, descriptor, tag):
        descriptor = dict(descriptor, annotations={"org.opencontainers.image.ref.name": tag})
        self.entries.append(descriptor)
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.entries}))


def layer_of(layout, apt, packages, work, level=6):
    with tempfile.TemporaryDirectory(dir=work) as tmp:
        os.chmod(tmp, 0o755)
        apt.unpack(packages, tmp)
        return layout.layer(tmp, level)


def build(work, apts):
    """Image layouts under `work`."""
    lay = Layout(work / "alpha")
    children = []
    for arch in ("amd64", "arm64"):
        layers = [layer_of(lay, apts[arch], p, work) for p in (["base-files"], ["busybox-static"],
                                                               ["netbase", "media-types", "tzdata"])]
        children.append(lay.image(arch, layers, platform={"os": "linux", "architecture": arch}))
    statement = lay.blob({"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/"
                          "v0.2", "subject": []}, "application/vnd.in-toto+json",
                         annotations={"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"})
    config = lay.blob({"architecture": "unknown", "os": "unknown", "config": {},
                       "rootfs": {"type": "layers", "diff_ids": [statement["digest"]]}}, OCI + "config.v1+json")
    children.append(lay.blob({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
                              "layers": [statement]}, OCI + "manifest.v1+json",
                             platform={"os": "unknown", "architecture": "unknown"},
                             annotations={"vnd.docker.reference.type": "attestation-manifest",
                                          "vnd.docker.reference.digest": children[0]["digest"]}))
    lay.finish(lay.blob({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": children},
                        OCI + "index.v1+json"), "1")

    lay = Layout(work / "big")
    lay.finish(lay.image("amd64", [layer_of(lay, apts["amd64"], ["base-files", "busybox-static"], work),
                                   layer_of(lay, apts["amd64"], ["fonts-noto-cjk", "fonts-noto-cjk-extra"], work, 1)]),
               "1")

    lay = Layout(work / "empty")
    with tempfile.TemporaryDirectory() as nothing:
        lay.finish(lay.image("amd64", [layer_of(lay, apts["amd64"], ["base-files"], work), lay.layer(nothing)]), "1")

    beta = work / "beta"
    run("umoci", "init", "--layout", beta)
    run("umoci", "new", "--image", f"{beta}:1")
    for packages in (["base-files"], ["busybox-static"], ["hello", "zlib1g"]):
        with tempfile.TemporaryDirectory(dir=work) as tmp:
            apts["amd64"].unpack(packages, tmp)
            archive = work / "layer.tar"
            with open(archive, "wb") as out:
                tar_of(tmp, out)
            run("umoci", "raw", "add-layer", "--image", f"{beta}:1", archive)
    run("umoci", "config", "--image", f"{beta}:1", "--architecture", "amd64", "--os", "linux")


def skopeo(layout, to, *options):
    run("skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", *options, f"oci:{layout}:1",
        f"docker://{to}")


def push(work, registry):
    """Push everything to the registry at `registry` (HOST:PORT)."""
    env = dict(os.environ, HOME=str(work), HELM_CACHE_HOME=str(work), HELM_CONFIG_HOME=str(work),
               HELM_DATA_HOME=str(work))
    skopeo(work / "alpha", f"{registry}/library/alpha:1", "--all")
    skopeo(work / "beta", f"{registry}/library/beta:1")
    skopeo(work / "big", f"{registry}/library/big:1")
    skopeo(work / "empty", f"{registry}/library/empty:1")
    skopeo(work / "beta", f"{registry}/library/docker2:1", "--format", "v2s2")

    here = work / "artifact"
    here.mkdir()
    (here / "cargo.json").write_text(json.dumps({"cargo": list(range(2000))}))
    (here / "manifest.txt").write_text("timber, grain, amber\n" * 500)
    (here / "sbom.json").write_text(json.dumps({"spdxVersion": "SPDX-2.3", "packages": []}))
    name = f"{registry}/tools/artifact:1"
    run(BIN / "oras", "push", "--plain-http", "--artifact-type", "application/vnd.example.cargo", name,
        "cargo.json:application/json", "manifest.txt:text/plain", cwd=here, env=env)
    run(BIN / "oras", "attach", "--plain-http", "--artifact-type", "application/spdx+json", name,
        "sbom.json:application/spdx+json", cwd=here, env=env)

    chart = work / "harbour"
    (chart / "templates").mkdir(parents=True)
    (chart / "templates/quay.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: quay\ndata:\n  berth: {{ .Values.berth | quote }}\n")
    (chart / "values.yaml").write_text("berth: 7\n")
    for version in ("1.2.2", "1.2.3"):
        (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: harbour\nversion: {version}\nappVersion: \"1\"\n")
        run(BIN / "helm", "package", chart, "-d", work, env=env)
        run(BIN / "helm", "push", work / f"harbour-{version}.tgz", f"oci://{registry}/charts", "--plain-http", env=env)

    digest = run(BIN / "crane", "digest", "--insecure", f"{registry}/library/alpha:1", env=env).strip()
    sig = Layout(work / "sig")
    layer = sig.blob({"critical": {"identity": {"docker-reference": "library/alpha"},
                                   "image": {"docker-manifest-digest": digest}, "type": "cosign container image "
                                   "signature"}, "optional": None},
                     "application/vnd.dev.cosign.simplesigning.v1+json",
                     annotations={"dev.cosignproject.cosign/signature": "MEUCIQDexample=="})
    config = sig.blob({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers",
                                                                             "diff_ids": [layer["digest"]]}},
                      OCI + "config.v1+json")
    sig.finish(sig.blob({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
                         "layers": [layer]}, OCI + "manifest.v1+json"), "1")
    run(BIN / "oras", "copy", "--from-oci-layout", f"{work}/sig:1", "--to-plain-http",
        f"{registry}/library/alpha:{digest.replace(':', '-')}.sig", env=env)


def storage():
    """The storage directory of a docker-registry that has every image; built if it is not there yet."""
    version = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:12]
    KEEP.mkdir(parents=True, exist_ok=True)
    done = KEEP / f"storage-{version}"
    with open(KEEP / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return done
        for old in KEEP.glob("storage-*"):
            if old.is_dir():
                shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=KEEP, prefix="work-") as tmp:
            work = pathlib.Path(tmp)
            build(work, {a: Apt(a) for a in ("amd64", "arm64")})
            registry = servers.DockerRegistry(work / "storage")
            try:
                push(work, registry.address)
            finally:
                registry.stop()
            os.rename(work / "storage", done)
    return done


if __name__ == "__main__":
    print(storage())
