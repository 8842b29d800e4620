"""What the chart renders, run: the image that ./dev image makes, by runc, as each pod's specification says."""

import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import tarfile
import threading

import commands
import pki
import pods
import pytest
import yaml
from clients import Skopeo
from conftest import CHART, Rendered
from hub import Hub
from servers import Containerd, Process, scratch, wait_until
from test_budget import make_image
from wire import Client

ROOT = CHART.parents[1]
CLONE_NEWNET = 0x40000000
TOKEN = {"admin-token": {"token": "word-of-the-administrator"}}
ADMIN = {"admin": {"tokenSecret": {"name": "admin-token"}}}
REPLICAS = {"r-entrepot-0": "127.0.0.2", "r-entrepot-1": "127.0.0.3"}


@pytest.fixture(scope="session")
def archive():
    """Of ./dev image, or the one that ENTREPOT_IMAGE names."""
    if os.geteuid() != 0:
        pytest.skip("runc, with users and mounts as a kubelet makes them, needs root")
    archive = os.environ.get("ENTREPOT_IMAGE")
    if not archive:
        r = subprocess.run([ROOT / "dev", "image", "localhost/entrepot:tested"], capture_output=True, text=True)
        assert r.returncode == 0, r.stderr[-4000:]
        pods.run("buildah", "rmi", "localhost/entrepot:tested")
        archive = ROOT / "results/image/entrepot.oci.tar"
    assert pathlib.Path(archive).stat().st_size < 30 << 20, "layers are compressed in it"
    return archive


@pytest.fixture(scope="session")
def image(archive, tmp_path_factory):
    return pods.Image(archive, tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def network(image):
    """A network of this module's own, where the chart's ports are nobody else's."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        pytest.skip(f"no network namespace here: {os.strerror(ctypes.get_errno())}")
    pods.run("ip", "link", "set", "lo", "up")
    yield
    assert libc.setns(before, CLONE_NEWNET) == 0
    os.close(before)


@pytest.fixture
def hub(network):
    h = Hub()
    yield h
    h.close()
    assert not h.leaks and not h.violations


@pytest.fixture
def node(image, hub, render, tmp_path):
    """node(values, secrets): a node for what the chart makes of them; docker.io is the double."""
    made = []

    def make(values=None, secrets=None):
        values = {"registries": {"docker.io": {"url": hub.url()}}, **(values or {})}
        made.append(pods.Node(tmp_path / f"node{len(made)}", image, render(values), {**TOKEN, **(secrets or {})}))
        return made[-1]

    yield make
    for n in made:
        n.close()


def start_mirror(node, pod="r-entrepot-0"):
    spec = node.of("StatefulSet", "r-entrepot")
    c = node.start(pod, spec, claims=["store"])
    c.wait_line(event=lambda e: e in ("ready", "ready_tls"))
    container, = spec["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    client = Client((node.addresses.get(pod, pods.SERVICE_ADDRESS), ports["ops"]))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = container[probe]["httpGet"]
        assert get["port"] == "ops"
        wait_until(lambda path=get["path"]: client.get(path).status == 200, f"{probe} is content")
    return c


def in_time(node, container):
    """SIGTERM as the kubelet sends it: it ends with 0 before it would be killed."""
    container.stop(node.of("StatefulSet", "r-entrepot")["terminationGracePeriodSeconds"])


def end_of(node, kind, name, pod, status=0):
    """A pod that ends by itself; what it has said."""
    c = node.start(pod, node.of(kind, name))
    assert c.wait() == status, "\n".join(c.lines) + c.stdout
    return c.stdout + "\n".join(c.lines)


def is_here(*names, at="127.0.0.1"):
    for name in names:
        repo, _, tag = name.rpartition(":")
        client = Client((at, 5000))
        r = client.get(f"/v2/{repo}/manifests/{tag}?ns=docker.io")
        assert r.status == 200, (name, r.status)
        for d in [r.json["config"], *r.json["layers"]]:
            assert client.get(f"/v2/{repo}/blobs/{d['digest']}?ns=docker.io").status == 200


# --- the mirror -----------------------------------------------------------------------------------------------------

def test_a_mirror_that_may_do_nothing_serves_a_pull(node, hub):
    n = node()
    digest, layer = make_image(hub, "library/made", "1")
    c = start_mirror(n)
    got = Skopeo(scratch("skopeo"))
    try:
        content = got.pull("127.0.0.1:5000", "library/made", "1", arch=None)
        assert content(digest) == hub.manifests["library/made", digest][1] and content(layer) == hub.blobs[layer].data
    finally:
        got.close()
    may = c.rights()
    assert may["Uid"] == may["Gid"] == ["65532"] * 4 and may["Groups"] == ["65532"]
    assert {k: int(may[k][0], 16) for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
    assert may["NoNewPrivs"] == ["1"] and may["Seccomp"] == ["2"], "a filter"
    assert {k: v for k, v in c.mounts().items() if not k.startswith(("/proc", "/sys", "/dev"))} == {
        "/": False, "/etc/hosts": False, "/etc/resolv.conf": False, "/etc/entrepot/config": False, "/var/lib/entrepot": True}
    in_time(n, c)


def test_a_shell_is_not_there_and_commands_are(node, hub):
    """kubectl exec"""
    n = node()
    make_image(hub, "library/made", "1")
    c = start_mirror(n)
    is_here("library/made:1")
    r = c.execute("/usr/bin/entrepot", "ls")
    assert r.returncode == 0 and "library/made" in r.stdout, r.stdout + r.stderr
    assert c.execute("/bin/sh", "-c", "true").returncode != 0
    in_time(n, c)


def test_what_is_stored_is_there_for_the_next_pod(node, hub):
    n = node()
    make_image(hub, "library/made", "1")
    c = start_mirror(n)
    is_here("library/made:1")
    in_time(n, c)
    c.remove()
    hub.refuse()
    for p in (n.dir / "pods").iterdir():
        p.rename(n.dir / f"old-{p.name}")
    c = start_mirror(n)
    is_here("library/made:1")
    in_time(n, c)


def test_a_download_that_runs_is_ended_before_the_pod_ends(node, hub):
    n = node({"drainSeconds": 20, "config": {"prefetch": {"enabled": False}}})
    _, layer = make_image(hub, "library/made", "1")
    c = start_mirror(n)
    client = Client(("127.0.0.1", 5000))
    assert client.get("/v2/library/made/manifests/1?ns=docker.io").status == 200
    with hub.fault("stall", times=1, kind="blob", reference=layer, at=100) as stall:
        got = {}
        pull = threading.Thread(target=lambda: got.update(r=client.get(f"/v2/library/made/blobs/{layer}?ns=docker.io")))
        pull.start()
        stall.wait()
        c.signal(signal.SIGTERM)
        c.wait_line(event="stopping")
        stall.release()
        pull.join(30)
    assert got["r"].body == hub.blobs[layer].data
    assert c.wait(45) == 0


def test_an_account_is_read_from_its_secret(node, hub):
    hub.add_account("jo", "word-of-jo")
    hub.private.add("library/made")
    make_image(hub, "library/made", "1")
    names = ("docker.io", f"127.0.0.1:{hub.registry.port}")
    accounts = json.dumps({"auths": {name: {"username": "jo", "password": "word-of-jo"} for name in names}})
    n = node({"registries": {"docker.io": {"url": hub.url(), "secret": "docker-account", "open": ["*"]}}},
             {"docker-account": {".dockerconfigjson": accounts}})
    c = start_mirror(n)
    is_here("library/made:1")
    assert hub.budget("jo").counted == 1
    in_time(n, c)


def test_a_pod_starts_without_the_secret_of_an_account_and_says_so(node, hub):
    make_image(hub, "library/made", "1")
    n = node({"registries": {"docker.io": {"url": hub.url(), "secret": "docker-account"}}})
    c = start_mirror(n)
    said, = c.find(event="credentials")
    assert "/etc/entrepot/accounts/docker-account/.dockerconfigjson" in said, said
    is_here("library/made:1")
    in_time(n, c)


def test_a_volume_that_is_made_from_the_image_belongs_to_its_user(image):
    """As podman and docker make one: with owner and mode of the directory, which is the last layer's that has it."""
    found = {}
    for layer in image.layers:
        with tarfile.open(layer) as t:
            found |= {m.name.removeprefix("./").rstrip("/"): (m.uid, m.gid, m.mode & 0o7777) for m in t if m.isdir()}
    assert found["var/lib/entrepot"] == (65532, 65532, 0o755)
    assert {d for d, (uid, gid, _) in found.items() if (uid, gid) != (0, 0)} == {"var/lib/entrepot"}


def test_the_image_says_how_it_is_run(node, hub, image):
    """Without the chart: its own user, command and directory."""
    said = image.config
    assert said["User"] == "65532:65532" and list(said["Volumes"]) == ["/var/lib/entrepot"]
    assert {"5000/tcp", "5443/tcp", "5001/tcp"} <= set(said["ExposedPorts"])
    config = {"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"entrepot.yaml": json.dumps({
        "version": 1, "server": {"listen": ["127.0.0.1:5000"]}, "store": {"path": said["WorkingDir"]},
        "registries": {"docker.io": {"url": hub.url()}}})}}
    n = node()
    n.objects = Rendered([config])
    c = n.start("by-hand", {
        "securityContext": {"fsGroup": 65532},
        "containers": [{"securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}, "volumeMounts": [
            {"name": "config", "mountPath": "/etc/entrepot", "readOnly": True}, {"name": "store", "mountPath": "/var/lib/entrepot"}]}],
        "volumes": [{"name": "config", "configMap": {"name": "config"}},
                    {"name": "store", "persistentVolumeClaim": {"claimName": "store"}}]})
    make_image(hub, "library/made", "1")
    c.wait_line(event="ready")
    is_here("library/made:1")
    c.stop()


@pytest.mark.parametrize("version", ["1.6", "2.4"])
def test_containerd_takes_the_archive_and_runs_it(archive, hub, tmp_path, version):
    """As `kind load image-archive` hands it over; by containerd's own seccomp profile."""
    store, config = tmp_path / "store", tmp_path / "entrepot.yaml"
    store.mkdir()
    os.chown(store, 65532, 65532)
    config.write_text(yaml.safe_dump({"version": 1, "server": {"listen": ["127.0.0.1:5000"]}, "store": {"path": "/var/lib/entrepot"},
                                      "registries": {"docker.io": {"url": hub.url()}}}))
    make_image(hub, "library/made", "1")
    daemon, c = Containerd(version), Process()
    try:
        r = daemon.ctr("images", "import", "--snapshotter", "native", archive)
        assert r.returncode == 0, r.stdout + r.stderr
        name = daemon.ctr("images", "ls", "-q").stdout.strip()
        c.run([daemon.base / "ctr", "-a", daemon.socket, "-n", "test", "run", "--rm", "--snapshotter", "native", "--read-only",
               "--seccomp", "--net-host", "--mount", f"type=bind,src={store},dst=/var/lib/entrepot,options=rbind:rw",
               "--mount", f"type=bind,src={config},dst=/etc/entrepot/entrepot.yaml,options=rbind:ro", name, "it"])
        c.wait_line(event="ready")
        is_here("library/made:1")
        c.stop()
    finally:
        if c.running():
            daemon.ctr("tasks", "kill", "-s", "SIGKILL", "it")
            c.wait()
        daemon.stop()


# --- jobs -----------------------------------------------------------------------------------------------------------

def seed_of(mirror, name):
    """What `entrepot seeds` in the mirror's pod says of it, once it is done."""
    seeds = {}

    def is_done():
        r = mirror.execute("/usr/bin/entrepot", "seeds", "--json")
        assert r.returncode == 0, r.stderr
        seeds.update({s["name"]: s for s in json.loads(r.stdout)["seeds"]})
        return seeds[name]["state"] == "done"

    wait_until(is_done, f"seed {name}: {seeds}")
    return seeds[name]


@pytest.mark.parametrize("schedule", ["", "0 2 * * *"])
def test_a_seed_brings_its_images(node, hub, schedule):
    """The repeated one until its end; the one of an installation only has it begun, for Helm waits for that."""
    names = [f"library/made:{i}" for i in range(3)]
    for name in names:
        make_image(hub, *name.split(":"))
    n = node({**ADMIN, "seeds": {"base": {"images": "".join(f"docker.io/{name}\n" for name in names), "pin": True, "schedule": schedule}}})
    kind = "CronJob" if schedule else "Job"
    said = end_of(n, kind, "r-entrepot-seed-base-0", "before", status=4)
    assert "no server" in said, said     # and the Job tries again
    c = start_mirror(n)
    if schedule:
        assert "base: 3 of 3 images are here" in end_of(n, kind, "r-entrepot-seed-base-0", "seed")
    else:
        with hub.fault("stall", kind="blob", at=0):
            end_of(n, kind, "r-entrepot-seed-base-0", "seed")
    assert seed_of(c, "base")["images"]["done"] == 3
    hub.refuse()
    is_here(*names)
    pins = c.execute("/usr/bin/entrepot", "pins").stdout
    assert all(name.split("/")[1] in pins for name in names), pins
    in_time(n, c)


@pytest.mark.parametrize("metadata", [False, True])
def test_a_backup_is_good_and_the_next_one_takes_its_place(node, hub, metadata):
    n = node({**ADMIN, "backup": {"enabled": True, "existingClaim": "backups", "metadataOnly": metadata}})
    make_image(hub, "library/made", "1")
    c = start_mirror(n)
    is_here("library/made:1")
    digests = []
    for night in ("first", "second"):
        end_of(n, "CronJob", "r-entrepot-backup-0", night)
        file, = n.path("claims/backups").iterdir()
        digests.append(file.read_bytes())
        assert file.name == "r-entrepot-0.tar.zst" and file.stat().st_mode & 0o7777 == 0o600
        said = commands.run("verify", file)
        assert said.returncode == 0, said.stdout + said.stderr
        make_image(hub, "library/made", "2")
        is_here("library/made:2")
    assert digests[0] != digests[1]
    in_time(n, c)


def test_the_test_of_the_release_says_whether_the_mirror_answers(node):
    n = node()
    assert "mirror=silent" in end_of(n, "Pod", "r-entrepot-test", "before", status=1)
    c = start_mirror(n)
    assert "mirror=answers" in end_of(n, "Pod", "r-entrepot-test", "test")
    in_time(n, c)


# --- two replicas ---------------------------------------------------------------------------------------------------

def test_two_replicas_seed_for_one_price_and_one_is_enough(node, hub):
    """Each at an address of its own, where its sibling finds it by the headless Service's name."""
    names = [f"library/made:{i}" for i in range(3)]
    for name in names:
        make_image(hub, *name.split(":"))
    values = {**ADMIN, "replicas": 2, "seeds": {"base": {"images": "".join(f"docker.io/{name}\n" for name in names)}}}
    mirrors = {}
    for pod, address in REPLICAS.items():
        n = node({**values, "addresses": [address]})
        n.addresses = REPLICAS
        mirrors[pod] = n, start_mirror(n, pod)
    for i, (n, c) in enumerate(mirrors.values()):
        end_of(n, "Job", f"r-entrepot-seed-base-{i}", f"seed-{i}")
        assert seed_of(c, "base")["images"]["done"] == 3
    assert hub.budget().counted == 3
    hub.refuse()
    first, second = mirrors.values()
    in_time(*first)
    is_here(*names, at=REPLICAS["r-entrepot-1"])
    in_time(*second)


# --- nodes ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("client, directory, files", [
    ("containerd", "/etc/containerd/certs.d", ["docker.io/hosts.toml", "quay.io/hosts.toml"]),
    ("crio", "/etc/containers", ["registries.conf.d/50-entrepot.conf"])])
def test_a_node_is_told_while_the_mirror_is_there(node, client, directory, files):
    n = node({"nodes": {"enabled": True, "client": client, "directory": directory}})
    c = start_mirror(n)
    nodes = n.start("nodes", n.of("DaemonSet", "r-entrepot-nodes"))
    nodes.wait_line(action="written")
    here = n.path("node", directory)
    wait_until(lambda: all((here / f).exists() for f in files), "the files are written")
    assert all("127.0.0.1:5000" in (here / f).read_text() for f in files)
    may = nodes.rights()
    assert may["Uid"] == ["0"] * 4 and int(may["CapEff"][0], 16) == 0 and may["Seccomp"] == ["2"]
    nodes.stop(n.of("DaemonSet", "r-entrepot-nodes")["terminationGracePeriodSeconds"])
    assert not [p for p in here.rglob("*") if p.is_file()], "they go with the pod"
    in_time(n, c)


# --- TLS ------------------------------------------------------------------------------------------------------------

def test_over_tls_alone(node, hub, tmp_path):
    authority = pki.Authority(tmp_path / "authority")
    issued = authority.issue(tmp_path / "issued", "mirror", "DNS:r-entrepot.ns.svc.cluster.local,IP:127.0.0.1")
    secret = {"tls.crt": (issued / "tls.crt").read_text(), "tls.key": (issued / "tls.key").read_text(),
              "ca.crt": authority.ca.read_text()}
    n = node({"tls": {"enabled": True, "secretName": "the-certificate"}, "http": {"enabled": False},
              "nodes": {"enabled": True, "mirrors": ["https://127.0.0.1:5443"], "caSecret": "the-certificate"}},
             {"the-certificate": secret})
    c = start_mirror(n)
    assert "mirror=answers" in end_of(n, "Pod", "r-entrepot-test", "test")
    nodes = n.start("nodes", n.of("DaemonSet", "r-entrepot-nodes"))
    nodes.wait_line(action="written")
    nodes.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 5000), 5)
    in_time(n, c)
