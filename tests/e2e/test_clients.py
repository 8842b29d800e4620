"""Clients of the field pull through the mirror, and what they have afterwards is compared with the upstream's bytes.

Docker Engine and BuildKit are imitated by their request sequences here, as current versions have them; test_engines.py runs
those that can be had.
"""

import threading

import clients
import pytest
from wire import Client, Response

DOCKER_TYPES = [
    "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json",
]

IMAGES = ["containerd 1.6", "containerd 2.4", "cri 1.6", "cri 2.4", "skopeo", "podman", "crane", "oras", "regctl"]
COPIERS = ["skopeo", "crane", "oras", "regctl"]


@pytest.fixture
def address(mirror):
    return mirror.address


def reference(img, how):
    return img.tag if how == "tag" else img.digest


def check(tool, got, img, arch="amd64"):
    """What the client has is what the upstream has."""
    wanted = [img.child(arch), *img.blobs(arch)]
    if tool.index:
        wanted.append(img.digest)
    if isinstance(tool, clients.Podman):
        tool.check_layers([img.path(d) for d in img.layers(arch)])
        wanted = [d for d in wanted if d not in img.layers(arch)]
    for d in wanted:
        assert got(d) == img.bytes(d), f"{d} of {img.repo}"


def upstream_gets(hub):
    """Counted requests and the blobs that were sent, each by its digest."""
    return (sorted(r.reference for r in hub.select(kind="manifest", method="GET", status=200)),
            sorted(r.reference for r in hub.select(where="cdn", method="GET")))


@pytest.mark.parametrize("how", ["tag", "digest"])
@pytest.mark.parametrize("name", IMAGES)
def test_a_cold_pull_costs_one_get_an_object(tool, address, hub, image, name, how):
    t, alpha = tool(name), image()
    check(t, t.pull(address, alpha.repo, reference(alpha, how)), alpha)
    assert hub.remaining == 100 - 2, "the index, and the manifest of one platform"
    assert upstream_gets(hub)[1] == sorted(set(alpha.blobs()))


@pytest.mark.parametrize("name", [n for n in IMAGES if "cri" not in n])
def test_another_platform_costs_one_manifest_more(tool, address, hub, image, name):
    t, alpha = tool(name), image()
    check(t, t.pull(address, alpha.repo, "1", "amd64"), alpha, "amd64")
    hub.forget()
    check(t, t.pull(address, alpha.repo, "1", "arm64"), alpha, "arm64")
    assert upstream_gets(hub) == ([alpha.child("arm64")], sorted(set(alpha.blobs("arm64")) - set(alpha.blobs())))
    assert hub.remaining == 100 - 3


@pytest.mark.parametrize("name", IMAGES)
def test_a_warm_pull_inside_the_ttl_asks_the_upstream_nothing(tool, address, hub, image, name):
    t, alpha = tool(name), image()
    t.pull(address, alpha.repo, "1")
    hub.forget()
    check(t, t.pull(address, alpha.repo, "1"), alpha)
    check(t, t.pull(address, alpha.repo, alpha.digest), alpha)
    assert hub.count() == 0


@pytest.mark.parametrize("upstream", ["gone", "hanging"])
@pytest.mark.parametrize("how", ["tag", "digest"])
@pytest.mark.parametrize("name", IMAGES)
def test_a_warm_pull_is_whole_when_the_upstream_is(tool, launch, hub, image, name, how, upstream):
    """The tag is past its time, so that the mirror has to ask, and gets no answer."""
    m = launch(tags={"ttl": "0s"}, upstream={"header_timeout": "1s", "connect_timeout": "1s"})
    t, alpha = tool(name), image()
    t.pull(m.address, alpha.repo, reference(alpha, how))
    hub.refuse() if upstream == "gone" else hub.hang()
    hub.forget()
    check(t, t.pull(m.address, alpha.repo, reference(alpha, how)), alpha)
    assert hub.count(method="GET") == 0
    if how == "digest":
        assert hub.count() == 0


@pytest.mark.parametrize("name", COPIERS)
def test_an_index_is_copied_with_everything_in_it(tool, address, hub, image, name):
    """Attestation manifests too, whose platform is unknown."""
    t, alpha = tool(name), image()
    wanted = {alpha.digest}
    for arch in ("amd64", "arm64", "unknown"):
        wanted |= {alpha.child(arch), *alpha.blobs(arch)}
    for n in range(2):
        got = t.pull(address, alpha.repo, "1", None)
        for d in wanted:
            assert got(d) == alpha.bytes(d), d
        assert hub.remaining == 100 - 4
        if n == 0:
            hub.refuse()


@pytest.mark.parametrize("name,repo", [
    *((n, r) for r in ("library/beta", "library/docker2", "library/empty")
      for n in ("cri 1.6", "cri 2.4", "skopeo", "podman", "crane")), ("cri 2.4", "library/big"), ("skopeo", "library/big")])
def test_images_of_other_kinds(tool, address, hub, image, name, repo):
    """No index; Docker's media types; a layer with nothing in it; a layer of more than 200 MiB."""
    t, img = tool(name), image(repo)
    check(t, t.pull(address, img.repo, "1"), img)
    assert upstream_gets(hub) == ([img.digest], sorted(set(img.blobs())))


@pytest.mark.parametrize("how", ["tag", "digest", "newest"])
def test_helm_pulls_a_chart(tool, launch, hub, image, how):
    """Without a version Helm lists the tags and takes the highest."""
    m = launch(upstream={"header_timeout": "1s"})
    helm, chart = tool("helm"), image("charts/harbour", "1.2.3")
    which = {"tag": "1.2.3", "digest": chart.digest, "newest": None}[how]
    (layer,) = chart.layers()
    assert helm.pull(m.address, "charts/harbour", which)(layer) == chart.bytes(layer)
    assert upstream_gets(hub) == ([chart.digest], sorted(chart.blobs()))
    if how == "newest":
        assert hub.count(kind="tags") >= 1
        which = "1.2.3"
    for upstream in ("gone", "hanging"):
        hub.refuse() if upstream == "gone" else (hub.listen(), hub.hang())
        assert helm.pull(m.address, "charts/harbour", which)(layer) == chart.bytes(layer)


def test_oras_pulls_an_artifact_and_discovers_what_refers_to_it(tool, address, image):
    oras, artifact = tool("oras"), image("tools/artifact")
    out = oras.fresh()
    oras.run(clients.BIN / "oras", "pull", "--no-tty", "--plain-http", f"{address}/tools/artifact:1", "-o", out)
    for layer in artifact.manifest["layers"]:
        assert (out / layer["annotations"]["org.opencontainers.image.title"]).read_bytes() == artifact.bytes(layer["digest"])
    for name in (f"{address}/tools/artifact:1", f"{address}/tools/artifact@{artifact.digest}"):
        assert "application/spdx+json" in oras.run(clients.BIN / "oras", "discover", "--plain-http", name)
    listed = oras.run(clients.BIN / "regctl", "--host", f"reg={address},tls=disabled", "artifact", "list",
                      f"{address}/tools/artifact:1")
    assert "application/spdx+json" in listed


def test_crane_finds_a_signature_by_its_tag(tool, address, image):
    """As cosign looks for it."""
    crane = tool("crane")
    tag = image().digest.replace(":", "-") + ".sig"
    out = crane.run(clients.BIN / "crane", "manifest", "--insecure", f"{address}/library/alpha:{tag}")
    assert out.strip().encode() == image("library/alpha", tag).bytes(image("library/alpha", tag).digest).strip()
    with pytest.raises(clients.Failed, match="MANIFEST_UNKNOWN"):
        crane.run(clients.BIN / "crane", "manifest", "--insecure", f"{address}/library/beta:{tag}")


@pytest.mark.parametrize("name", ["crane", "oras", "regctl", "skopeo"])
def test_what_is_not_there_is_reported_as_not_found(tool, address, name):
    with pytest.raises(clients.Failed, match="(?i)not found|manifest.unknown"):
        tool(name).pull(address, "library/alpha", "none")


@pytest.mark.parametrize("name", ["containerd 1.6", "containerd 2.4", "skopeo", "crane", "oras", "regctl"])
def test_an_upstream_that_breaks_off_is_not_noticed(tool, address, hub, image, name):
    """Every blob is cut at half, once."""
    t, alpha = tool(name), image()
    for d in set(alpha.blobs()):
        hub.fault("cut", times=1, kind="blob", reference=d, at=alpha.path(d).stat().st_size // 2)
    check(t, t.pull(address, alpha.repo, "1"), alpha)
    assert hub.body_bytes() == sum(alpha.path(d).stat().st_size for d in set(alpha.blobs()))


@pytest.mark.parametrize("name", ["containerd 1.6", "containerd 2.4", "cri 1.6", "cri 2.4"])
def test_ns_of_containerd_names_another_registry(tool, address, hub, second, image, name):
    t, alpha = tool(name), image()
    check(t, t.pull(address, alpha.repo, "1", registry="quay.example"), alpha)
    assert hub.count() == 0 and second.count(kind="blob", method="GET") == len(set(alpha.blobs()))


# --- clients that cannot be had ---------------------------------------------------------------------------------------

def keep_alive(host_port):
    """ask(method, target, headers) on one connection."""
    state = {}

    def ask(method, target, headers):
        r = Response(host_port, method, target, headers, connection=state.get("sock")).read_head().finish()
        assert r.end == "complete"
        if r.method == "HEAD":
            assert not r.buf
        state["sock"] = r.sock
        return r

    ask.close = lambda: state["sock"].close()
    return ask


def docker_pull(host_port, img):
    """Docker Engine: ping; HEAD of the tag with a line for each type; GET by digest; three layers at a time. No ns."""
    agent = ("User-Agent", "docker/28.0.1 go/go1.23.6 git-commit/bbd0a17 kernel/6.1.0 os/linux arch/amd64 "
                           "UpstreamClient(Docker-Client/28.0.1 \\(linux\\))")
    accepts = [agent, *(("Accept", t) for t in DOCKER_TYPES), ("Accept-Encoding", "gzip")]
    ask = keep_alive(host_port)
    r = ask("GET", "/v2/", [agent])
    assert r.status == 200 and "WWW-Authenticate" not in r.headers
    r = ask("HEAD", f"/v2/{img.repo}/manifests/{img.tag}", accepts)
    assert r.status == 200 and r.headers["Content-Type"] == img.media_type
    got = {}
    for d in dict.fromkeys([r.headers["Docker-Content-Digest"], img.child()]):
        r = ask("GET", f"/v2/{img.repo}/manifests/{d}", accepts)
        assert r.status == 200 and r.headers["Docker-Content-Digest"] == d
        got[d] = bytes(r.body)
    ask.close()

    def fetch(d):
        got[d] = bytes(Client(host_port).get(f"/v2/{img.repo}/blobs/{d}", [agent, ("Accept-Encoding", "identity")]).body)

    fetch(img.blobs()[0])
    threads = [threading.Thread(target=fetch, args=(d,)) for d in img.layers()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


def buildkit_pull(host_port, img):
    """BuildKit: containerd's resolver. HEAD with one Accept of many types, then by digest; ns on everything."""
    agent = ("User-Agent", "buildkit/v0.20")
    ask = keep_alive(host_port)
    types = ("application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json,"
             " application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*")
    r = ask("HEAD", f"/v2/{img.repo}/manifests/{img.tag}?ns=docker.io", [agent, ("Accept", types)])
    assert r.status == 200 and int(r.headers["Content-Length"]) > 0
    got = {}
    for d in dict.fromkeys([r.headers["Docker-Content-Digest"], img.child()]):
        accept = ("Accept", f"{r.headers['Content-Type']}, */*")
        r = ask("GET", f"/v2/{img.repo}/manifests/{d}?ns=docker.io",
                [agent, accept, ("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")])
        assert r.status == 200 and "Content-Encoding" not in r.headers
        got[d] = bytes(r.body)
    for d in img.blobs():
        r = ask("GET", f"/v2/{img.repo}/blobs/{d}?ns=docker.io",
                [agent, ("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")])
        assert r.status == 200 and r.headers["OCI-Namespace"] == "docker.io"
        got[d] = bytes(r.body)
    ask.close()
    return got


@pytest.mark.parametrize("repo", ["library/alpha", "library/docker2"])
@pytest.mark.parametrize("pull", [docker_pull, buildkit_pull])
def test_the_requests_of_docker_and_buildkit(launch, hub, image, pull, repo):
    m = launch(tags={"ttl": "0s"}, upstream={"header_timeout": "1s"})
    img = image(repo)
    wanted = {d: img.bytes(d) for d in img.everything()}
    assert pull(m.host_port, img) == wanted
    assert upstream_gets(hub) == (sorted({img.digest, img.child()}), sorted(set(img.blobs())))
    for upstream in ("gone", "hanging"):
        hub.refuse() if upstream == "gone" else (hub.listen(), hub.hang())
        hub.forget()
        assert pull(m.host_port, img) == wanted
        assert hub.count(method="GET") == 0
