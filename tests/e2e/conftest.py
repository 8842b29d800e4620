"""Fixtures: the real registry with its images, the double in front of it, the mirror in front of both."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import clients  # noqa: E402
import images  # noqa: E402
import pki  # noqa: E402
import servers  # noqa: E402
from commands import Cli  # noqa: E402
from hub import Budget, Hub  # noqa: E402
from wire import Client  # noqa: E402

MIB = 1 << 20


class Image:
    """What the real registry holds under a name."""

    def __init__(self, storage, repo, tag):
        self.repo, self.tag = repo, tag
        self.base = pathlib.Path(storage) / "docker/registry/v2"
        link = self.base / "repositories" / repo / "_manifests/tags" / tag / "current/link"
        self.digest = link.read_text()
        self.manifest = self.json(self.digest)

    def path(self, digest):
        alg, hex_ = digest.split(":")
        return self.base / "blobs" / alg / hex_[:2] / hex_ / "data"

    def bytes(self, digest):
        return self.path(digest).read_bytes()

    def json(self, digest):
        return json.loads(self.bytes(digest))

    def type_of(self, digest):
        """Manifests of umoci and Helm do not name their own type; all of them are OCI manifests."""
        return self.json(digest).get("mediaType", "application/vnd.oci.image.manifest.v1+json")

    @property
    def media_type(self):
        return self.type_of(self.digest)

    def child(self, arch="amd64"):
        """The digest of the platform's manifest."""
        for m in self.manifest.get("manifests", []):
            if m.get("platform", {}).get("architecture") == arch:
                return m["digest"]
        assert "manifests" not in self.manifest
        return self.digest

    def blobs(self, arch="amd64"):
        """Digests of configuration and layers."""
        m = self.json(self.child(arch))
        return [m["config"]["digest"]] + [x["digest"] for x in m["layers"]]

    def layers(self, arch="amd64"):
        return [x["digest"] for x in self.json(self.child(arch))["layers"]]

    def everything(self, arch="amd64"):
        """Every digest that a pull of that platform needs."""
        return list(dict.fromkeys([self.digest, self.child(arch), *self.blobs(arch)]))

    def targets(self, arch="amd64"):
        """The same as (path, digest)."""
        kinds = {self.digest: "manifests", self.child(arch): "manifests"}
        return [(f"/v2/{self.repo}/{kinds.get(d, 'blobs')}/{d}", d) for d in self.everything(arch)]

    def largest(self, arch="amd64"):
        return max(self.layers(arch), key=lambda d: self.path(d).stat().st_size)


@pytest.fixture(scope="session")
def storage():
    return images.storage()


@pytest.fixture(scope="session")
def registry(storage):
    r = servers.DockerRegistry(storage)
    yield r
    r.stop()


@pytest.fixture(scope="session")
def image(storage):
    return lambda repo="library/alpha", tag="1": Image(storage, repo, tag)


@pytest.fixture
def hub(storage, registry):
    """docker.io: tokens, redirects, limits."""
    h = Hub(str(storage), registry.host_port)
    yield h
    h.close()
    assert not h.leaks, f"Authorization reached the CDN: {h.leaks}"
    assert not h.violations, h.violations


@pytest.fixture
def second(storage, registry):
    """quay.example: no tokens, blobs from the registry itself."""
    h = Hub(str(storage), registry.host_port)
    h.challenge = "none"
    h.redirects = False
    h.budgets[None] = Budget(form="absent", source=None)
    yield h
    h.close()
    assert not h.leaks and not h.violations


@pytest.fixture
def another(storage, registry):
    """another(): a hub more, as `hub`; another(tls=CONTEXT). Keywords are set on it."""
    made = []

    def make(tls=None, **over):
        h = Hub(str(storage), registry.host_port, tls)
        made.append(h)
        for k, v in over.items():
            assert hasattr(h, k), k
            setattr(h, k, v)
        return h

    make.made = made
    yield make
    for h in made:
        h.close()
        assert not h.leaks and not h.violations, (h.leaks, h.violations)


@pytest.fixture
def account(tmp_path):
    """account(hub, "jo", limit=10): the double knows the account; the name of a file that has its password."""
    def make(hub, user, **budget):
        hub.add_account(user, "word-of-" + user, **budget)
        path = tmp_path / f"{user}.json"
        names = ("docker.io", f"127.0.0.1:{hub.registry.port}")
        path.write_text(json.dumps({"auths": {n: {"username": user, "password": "word-of-" + user} for n in names}}))
        return str(path)
    return make


@pytest.fixture
def store(tmp_path):
    """The store of `config`."""
    return tmp_path / "store"


@pytest.fixture
def config(hub, second, store):
    return {
        "version": 1,
        "server": {"listen": ["127.0.0.1:0"], "drain_timeout": "5s"},
        "store": {"path": str(store)},
        "log": {"level": "info", "format": "text"},
        "upstream": {"connect_timeout": "2s", "header_timeout": "4s", "stall_timeout": "4s", "flight_timeout": "60s"},
        "prefetch": {"enabled": False},     # so that what is fetched is what the test asked for
        "segments": {"count": 1},           # so that a blob is one GET, which counters hold; test_segments.py has more
        "default_registry": "docker.io",
        "registries": {
            "docker.io": {"url": hub.url(), "aliases": ["index.docker.io", "registry-1.docker.io"]},
            "quay.example": {"url": second.url()},
        },
    }


@pytest.fixture
def launch(hub, second, another, config, tmp_path):
    """launch(**over): a mirror with the configuration changed so; stopped and checked at the end."""
    if servers.binary() is None:
        pytest.skip("no entrepot binary: build first, or set ENTREPOT")
    running = []

    def start(directory=None, env=None, user=None, command=None, started=True, **over):
        d = pathlib.Path(directory or tmp_path)
        m = servers.Mirror(d, servers.merge(config, over), env, user, command)
        running.append(m)
        return m.start() if started else m

    yield start
    for h in (hub, second, *another.made):
        for f in list(h.faults):
            f.remove()
    errors = []
    for m in running:
        try:
            m.stop()
            m.check_sanitizers()
        except AssertionError as e:
            errors.append(e)
            if m.running():
                m.proc.kill()
                m.proc.wait()
    if errors:
        raise errors[0]


@pytest.fixture
def mirror(launch):
    return launch()


@pytest.fixture
def client(mirror):
    return Client(mirror.host_port)


@pytest.fixture(scope="session")
def daemons():
    """Containerds by version, started when first asked for."""
    running = {}

    def get(version):
        if os.geteuid() != 0:
            pytest.skip("containerd needs root")
        if version not in running:
            running[version] = servers.Containerd(version)
        return running[version]

    yield get
    for d in running.values():
        d.stop()


@pytest.fixture
def tool(daemons):
    """tool(name): the client of that name, with nothing in its store."""
    made = []

    def make(name):
        kind, _, version = name.partition(" ")
        if version:
            return {"containerd": clients.Containerd, "cri": clients.Cri}[kind](daemons(version))
        if name == "podman" and os.geteuid() != 0:
            pytest.skip("podman mounts images as root only")
        made.append(getattr(clients, kind.capitalize())(servers.scratch(name)))
        return made[-1]

    yield make
    for t in made:
        t.close()


@pytest.fixture(scope="session")
def random_blob(tmp_path_factory):
    """A file of 200 MiB that does not compress, and its digest."""
    path = tmp_path_factory.mktemp("blob") / "200m"
    h = hashlib.sha256()
    with open(path, "wb") as f:
        for _ in range(200):
            piece = os.urandom(MIB)
            h.update(piece)
            f.write(piece)
    return path, "sha256:" + h.hexdigest()


@pytest.fixture(scope="session")
def crowd(tmp_path_factory):
    """crowd(port, count, target, file): many clients at once; all must be right."""
    binary = tmp_path_factory.mktemp("crowd") / "crowd"
    source = pathlib.Path(__file__).with_name("crowd.c")
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", binary, source], check=True)

    def start(port, count, target, path, first_last=None):
        args = [binary, str(port), str(count), target, str(path)]
        if first_last:
            args.append("%d:%d" % first_last)
        return subprocess.Popen([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(*args, timeout=240):
        p = start(*args)
        out, err = p.communicate(timeout=timeout)
        assert p.returncode == 0, (out, err[-3000:])
        return out

    run.start = start
    return run


@pytest.fixture
def authority(tmp_path):
    return pki.Authority(tmp_path / "authority")


@pytest.fixture
def secret(tmp_path, authority):
    return pki.Secret(tmp_path / "secret", authority, "one")


@pytest.fixture
def secure(launch, secret):
    """secure(**over): a mirror over TLS as well; with the address of it."""
    def start(tls=None, **over):
        port = servers.free_port()
        server = {"tls": {"listen": [f"127.0.0.1:{port}"], **secret.config, **(tls or {})}, **over.pop("server", {})}
        m = launch(server=server, ops={"listen": ["127.0.0.1:0"]}, **over)
        m.tls = ("127.0.0.1", port)
        return m
    return start


@pytest.fixture
def served(launch):
    """A mirror that runs, and its commands."""
    m = launch()
    return m, Cli(m)
