"""The API's pull side, line by line."""

import json
import os
import random

import pytest
from hub import OCI_INDEX
from wire import multipart

MIB = 1 << 20


def errors(r):
    """The codes of an OCI error body, whose form is checked."""
    assert r.headers["Content-Type"].split(";")[0] == "application/json"
    found = r.json["errors"]
    assert found and all(isinstance(e["code"], str) and isinstance(e["message"], str) for e in found)
    return [e["code"] for e in found]


# --- the ping, names, registries ------------------------------------------------------------------------------------

@pytest.mark.parametrize("target", ["/v2/", "/v2"])
def test_the_ping_is_200_without_a_challenge(client, hub, target):
    for r in (client.get(target), client.head(target)):
        assert r.status == 200
        assert "WWW-Authenticate" not in r.headers
    assert hub.count() == 0, "a ping needs no upstream"


@pytest.mark.parametrize("reference", ["tag", "digest"])
def test_head_and_get_of_a_manifest_have_the_same_headers(client, image, reference):
    alpha = image()
    target = f"/v2/library/alpha/manifests/{'1' if reference == 'tag' else alpha.digest}"
    head = client.head(target, [("Accept", OCI_INDEX), ("Accept", "application/vnd.oci.image.manifest.v1+json")])
    get = client.get(target, [("Accept", OCI_INDEX), ("Accept", "application/vnd.oci.image.manifest.v1+json")])
    assert (head.status, get.status) == (200, 200)
    assert bytes(get.body) == alpha.bytes(alpha.digest)
    for r in (head, get):
        assert r.headers["Docker-Content-Digest"] == alpha.digest
        assert r.headers["Content-Type"] == OCI_INDEX
        assert int(r.headers["Content-Length"]) == len(get.body)
        assert r.headers["ETag"] == f'"{alpha.digest}"'
        assert "Transfer-Encoding" not in r.headers


def test_head_and_get_of_a_blob_have_the_same_headers(client, image):
    alpha = image()
    d = alpha.largest()
    head = client.head(f"/v2/library/alpha/blobs/{d}")
    get = client.get(f"/v2/library/alpha/blobs/{d}")
    again = client.head(f"/v2/library/alpha/blobs/{d}")
    assert bytes(get.body) == alpha.bytes(d)
    for r in (head, get, again):
        assert r.status == 200
        assert r.headers["Docker-Content-Digest"] == d
        assert int(r.headers["Content-Length"]) == len(get.body)
        assert r.headers["Accept-Ranges"] == "bytes"
        assert r.headers["ETag"] == f'"{d}"'
        assert ";" not in r.headers["Content-Type"]
        assert "Content-Encoding" not in r.headers


def test_an_accept_that_names_no_index_still_gets_what_the_digest_names(client, image):
    alpha = image()
    r = client.get("/v2/library/alpha/manifests/1", {"Accept": "application/vnd.docker.distribution.manifest.v2+json"})
    assert r.status in (200, 404)
    if r.status == 200:
        assert r.headers["Docker-Content-Digest"] == alpha.digest


def test_ns_chooses_the_registry_and_is_echoed_and_not_sent_upstream(client, hub, second, image):
    alpha = image()
    r = client.get("/v2/library/alpha/manifests/1?ns=quay.example")
    assert r.status == 200 and r.headers["OCI-Namespace"] == "quay.example"
    assert (hub.count(), second.count(method="GET", kind="manifest", status=200)) == (0, 1)
    r = client.get("/v2/library/alpha/manifests/1?ns=docker.io")
    assert r.status == 200 and r.headers["OCI-Namespace"] == "docker.io"
    assert hub.count(kind="manifest", status=200) >= 1
    d = alpha.largest()
    r = client.get(f"/v2/library/alpha/blobs/{d}?ns=docker.io")
    assert r.status == 200 and r.headers["OCI-Namespace"] == "docker.io"


@pytest.mark.parametrize("alias", ["index.docker.io", "registry-1.docker.io"])
def test_an_alias_in_ns_is_the_same_registry(client, hub, image, alias):
    assert client.get(f"/v2/library/alpha/manifests/{image().digest}?ns=docker.io").status == 200
    hub.forget()
    assert client.get(f"/v2/library/alpha/manifests/{image().digest}?ns={alias}").status == 200
    assert hub.count() == 0


def test_a_path_prefix_chooses_the_registry(client, hub, second, image):
    r = client.get(f"/v2/quay.example/library/alpha/manifests/{image().digest}")
    assert r.status == 200 and hub.count() == 0
    assert second.select(kind="manifest", status=200)[0].repo == "library/alpha"
    assert client.get("/v2/docker.io/library/alpha/manifests/1").status == 200
    assert hub.select(kind="manifest", status=200)[0].repo == "library/alpha"


def test_without_ns_and_prefix_the_default_registry_is_asked(client, hub, second):
    assert client.get("/v2/tools/artifact/manifests/1").status == 200
    assert second.count() == 0 and hub.count(kind="manifest", repo="tools/artifact", status=200) >= 1


@pytest.mark.parametrize("target", ["/v2/alpha/manifests/1", "/v2/docker.io/alpha/manifests/1",
                                    "/v2/alpha/manifests/1?ns=docker.io"])
def test_a_one_part_name_on_docker_io_gets_library(client, hub, image, target):
    r = client.get(target)
    assert r.status == 200 and r.headers["Docker-Content-Digest"] == image().digest
    assert {x.repo for x in hub.select(kind="manifest")} == {"library/alpha"}


def test_a_one_part_name_elsewhere_does_not(client, second):
    assert client.get("/v2/alpha/manifests/1?ns=quay.example").status == 404
    assert {x.repo for x in second.select(kind="manifest")} == {"alpha"}


@pytest.mark.parametrize("ns", ["evil.example", "127.0.0.1%3A22", "169.254.169.254", "quay.example%3A443x", "..%2F.."])
def test_an_unknown_ns_is_refused_and_never_dialled(client, hub, second, image, ns):
    for target in ("manifests/1", f"blobs/{image().largest()}", "tags/list", f"referrers/{image().digest}"):
        r = client.get(f"/v2/library/alpha/{target}?ns={ns}")
        assert r.status in (400, 403, 404), target
        errors(r)
    assert hub.count() == 0 and second.count() == 0


def test_ns_of_an_address_with_a_port_can_be_configured(launch, second, image):
    from wire import Client
    name = f"127.0.0.1:{second.registry.port}"
    m = launch(registries={name: {"url": second.url()}})
    r = Client(m.host_port).get(f"/v2/library/alpha/manifests/1?ns={name.replace(':', '%3A')}")
    assert r.status == 200 and r.headers["OCI-Namespace"] == name


# --- errors ---------------------------------------------------------------------------------------------------------

def test_what_is_not_there_is_404_with_the_code_that_clients_expect(client, hub, image):
    none = "sha256:" + "0" * 64
    r = client.get("/v2/library/alpha/manifests/none")
    assert r.status == 404 and errors(r) == ["MANIFEST_UNKNOWN"]
    r = client.get(f"/v2/library/alpha/manifests/{none}")
    assert r.status == 404 and errors(r) == ["MANIFEST_UNKNOWN"]
    r = client.get(f"/v2/library/alpha/blobs/{none}")
    assert r.status == 404 and errors(r) == ["BLOB_UNKNOWN"]
    assert client.head("/v2/library/alpha/manifests/none").status == 404
    assert client.head(f"/v2/library/alpha/blobs/{none}").status == 404


def test_what_the_upstream_forbids_is_404_without_a_challenge(client, hub):
    hub.private.add("library/alpha")
    r = client.get("/v2/library/alpha/manifests/1")
    assert r.status == 404 and errors(r) == ["MANIFEST_UNKNOWN"]
    assert "WWW-Authenticate" not in r.headers


@pytest.mark.parametrize("target", [
    "/v2/Library/alpha/manifests/1", "/v2/library/alpha/manifests/..", "/v2/library/alpha/blobs/sha256:abc",
    "/v2/library/alpha/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", "/v2/library/../alpha/manifests/1",
    "/v2/library/alpha/manifests/sha256:" + "g" * 64, "/v2//manifests/1", "/v2/library/alpha/manifests/" + "t" * 129,
    "/v2/library/alpha/referrers/sha256:12", "/v2/library%2Falpha%00/manifests/1",
])
def test_what_is_no_name_is_refused_and_not_asked_upstream(client, hub, target):
    r = client.get(target)
    assert r.status in (400, 404)
    errors(r)
    assert hub.count() == 0


@pytest.mark.parametrize("target", ["/", "/v1/", "/v2x", "/v2/library/alpha", "/v2/library/alpha/tags", "/favicon.ico"])
def test_other_paths_are_404(client, hub, target):
    assert client.get(target).status == 404
    assert hub.count() == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_pushing_and_deleting_is_405(client, hub, image, method):
    d = image().digest
    for target in (f"manifests/{d}", "manifests/1", f"blobs/{d}", "blobs/uploads/", "blobs/uploads/1234"):
        r = client.request(method, f"/v2/library/alpha/{target}", {"Content-Length": "0"})
        assert r.status == 405, target
        assert errors(r) == ["UNSUPPORTED"]
    assert hub.count() == 0
    r = client.open("/v2/library/alpha/blobs/uploads/", method, {"Content-Length": "5"})
    assert r.status == 405 or r.status is None
    r.leave()


# --- ranges ---------------------------------------------------------------------------------------------------------

CASES = [  # of 3 MiB: header, first, last
    ("bytes=0-0", 0, 0), ("bytes=500-1499", 500, 1499), (f"bytes={MIB}-", MIB, 3 * MIB - 1),
    ("bytes=-500", 3 * MIB - 500, 3 * MIB - 1), (f"bytes={3 * MIB - 10}-99999999", 3 * MIB - 10, 3 * MIB - 1),
    ("bytes=-99999999", 0, 3 * MIB - 1), ("bytes=0-", 0, 3 * MIB - 1), (f"bytes={3 * MIB - 1}-", 3 * MIB - 1, 3 * MIB - 1),
]


@pytest.fixture
def blob(hub):
    data = random.Random(7).randbytes(3 * MIB)
    return data, hub.put_blob(data)


def check_range(client, target, data, header, first, last):
    r = client.get(target, {"Range": header})
    assert r.status == 206, header
    assert r.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
    assert int(r.headers["Content-Length"]) == last - first + 1
    assert r.end == "complete" and bytes(r.body) == data[first:last + 1]


@pytest.mark.parametrize("header,first,last", CASES)
def test_a_range_of_a_cached_blob(client, hub, blob, header, first, last):
    data, d = blob
    target = f"/v2/library/x/blobs/{d}"
    assert bytes(client.get(target).body) == data
    hub.forget()
    check_range(client, target, data, header, first, last)
    assert hub.count() == 0


@pytest.mark.parametrize("header,first,last", CASES)
def test_a_range_of_a_cold_blob(client, hub, blob, header, first, last):
    data, d = blob
    check_range(client, f"/v2/library/x/blobs/{d}", data, header, first, last)
    assert bytes(client.get(f"/v2/library/x/blobs/{d}").body) == data
    assert hub.body_bytes(d) == len(data), "the range's flight filled the store"


def test_a_range_of_a_blob_still_being_fetched(client, hub, blob):
    """What is there already is answered at once; what is not, when it has come."""
    data, d = blob
    target = f"/v2/library/x/blobs/{d}"
    with hub.fault("stall", kind="blob", at=2 * MIB) as stall:
        first = client.open(target)
        stall.wait()
        assert first.status == 200
        first.read(MIB)
        check_range(client, target, data, "bytes=500-1499", 500, 1499)
        ahead = client.ask(target, headers={"Range": f"bytes={2 * MIB + 5}-{2 * MIB + 9}"})
        suffix = client.ask(target, headers={"Range": "bytes=-100"})
        r = client.get(target, {"Range": f"bytes={3 * MIB}-"})
        assert r.status == 416 and r.headers["Content-Range"] == f"bytes */{3 * MIB}"
        stall.release()
        assert bytes(first.finish().body) == data
        assert bytes(ahead.read_head().finish().body) == data[2 * MIB + 5:2 * MIB + 10]
        assert ahead.status == 206 and suffix.read_head().status == 206
        assert bytes(suffix.finish().body) == data[-100:]
    assert hub.count(kind="blob", method="GET", where="cdn") == 1 and hub.body_bytes(d) == len(data)


@pytest.mark.parametrize("cold", [True, False])
@pytest.mark.parametrize("header", [f"bytes={3 * MIB}-", f"bytes={5 * MIB}-{6 * MIB}", "bytes=-0"])
def test_a_range_that_cannot_be_satisfied_is_416(client, blob, header, cold):
    data, d = blob
    target = f"/v2/library/x/blobs/{d}"
    if not cold:
        client.get(target)
    r = client.get(target, {"Range": header})
    assert r.status == 416 and r.headers["Content-Range"] == f"bytes */{3 * MIB}"


def test_the_conformance_ranges(client, hub):
    data = os.urandom(2048)
    d = hub.put_blob(data)
    target = f"/v2/library/x/blobs/{d}"
    for header, first, last in (("bytes=500-1499", 500, 1499), ("bytes=-500", 1548, 2047), ("bytes=2000-5000", 2000, 2047)):
        check_range(client, target, data, header, first, last)
    assert client.get(target, {"Range": "bytes=5000-10000"}).status == 416
    assert client.get(target, {"Range": "bytes=500-0"}).status in (200, 416)


@pytest.mark.parametrize("header", ["bytes=", "bytes=a-b", "octets=0-1", "bytes=5", "bytes=--5", "bytes 0-1"])
def test_a_range_that_is_none_is_ignored_or_refused_but_never_a_wrong_206(client, hub, header):
    data = os.urandom(5000)
    d = hub.put_blob(data)
    r = client.get(f"/v2/library/x/blobs/{d}", {"Range": header})
    assert r.status in (200, 400, 416)
    if r.status == 200:
        assert bytes(r.body) == data


@pytest.mark.parametrize("cold", [True, False])
@pytest.mark.parametrize("count", [2, 64, 1024])
def test_several_ranges_come_as_multipart_all_of_them_and_in_order(client, hub, blob, count, cold):
    data, d = blob
    target = f"/v2/library/x/blobs/{d}"
    if not cold:
        client.get(target)
    step = len(data) // count
    wanted = [(i * step, i * step + 6) for i in range(count)]
    r = client.get(target, {"Range": "bytes=" + ",".join(f"{a}-{b}" for a, b in wanted)})
    assert r.status == 206 and r.end == "complete"
    assert "Content-Range" not in r.headers
    parts = multipart(r)
    assert [(a, b, s) for a, b, s, _ in parts] == [(a, b, len(data)) for a, b in wanted]
    assert all(bytes(got) == data[a:b + 1] for a, b, _, got in parts)


def test_several_ranges_with_suffix_open_and_unsatisfiable_ones(client, blob):
    data, d = blob
    n = len(data)
    r = client.get(f"/v2/library/x/blobs/{d}", {"Range": f"bytes=-5, 10-19 ,{n + 5}-{n + 9},{n - 3}-"})
    assert r.status == 206
    assert [(a, b) for a, b, _, _ in multipart(r)] == [(n - 5, n - 1), (10, 19), (n - 3, n - 1)]


def test_too_many_ranges_are_400_and_what_overlaps_much_is_no_lever(client, blob):
    data, d = blob
    target = f"/v2/library/x/blobs/{d}"
    client.get(target)
    many = ",".join(f"{i}-{i}" for i in range(2049))
    assert client.get(target, {"Range": "bytes=" + many}).status == 400
    r = client.get(target, {"Range": "bytes=" + ",".join(["0-"] * 200)})
    assert r.status in (200, 400, 416) or len(r.body) <= 3 * len(data)
    r = client.get(target, {"Range": "bytes=1-2"})
    assert bytes(r.body) == data[1:3]


def test_if_range_decides_between_part_and_whole(client, blob):
    data, d = blob
    target = f"/v2/library/x/blobs/{d}"
    client.get(target)
    r = client.get(target, {"Range": "bytes=0-9", "If-Range": f'"{d}"'})
    assert r.status == 206 and len(r.body) == 10
    r = client.get(target, {"Range": "bytes=0-9", "If-Range": '"other"'})
    assert r.status == 200 and bytes(r.body) == data


def test_an_open_range_of_a_manifest_is_answered(client, image):
    alpha = image()
    r = client.get(f"/v2/library/alpha/manifests/{alpha.digest}", {"Range": "bytes=0-"})
    assert r.status in (200, 206) and bytes(r.body) == alpha.bytes(alpha.digest)
    assert int(r.headers["Content-Length"]) == len(r.body)


# --- conditional requests -------------------------------------------------------------------------------------------

def test_a_conditional_request_is_304_when_the_digest_is_known(client, hub, image):
    alpha = image()
    layer = alpha.largest()
    client.get("/v2/library/alpha/manifests/1")
    client.get(f"/v2/library/alpha/blobs/{layer}")
    hub.forget()
    for target, d in (("manifests/1", alpha.digest), (f"manifests/{alpha.digest}", alpha.digest), (f"blobs/{layer}", layer)):
        for tag in (f'"{d}"', f'W/"{d}"', f'"x", "{d}"', "*"):
            r = client.get(f"/v2/library/alpha/{target}", {"If-None-Match": tag})
            assert r.status == 304 and not r.body, (target, tag)
            assert r.headers["ETag"] == f'"{d}"'
        r = client.get(f"/v2/library/alpha/{target}", {"If-None-Match": '"sha256:other"'})
        assert r.status == 200 and r.body
    assert hub.count() == 0


# --- heads of what is cold ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("redirected", [False, True])
def test_head_of_a_cold_blob_moves_no_body(client, hub, image, redirected):
    hub.head_redirects = redirected
    big = image("library/big")
    d = big.largest()
    r = client.head(f"/v2/library/big/blobs/{d}")
    assert r.status == 200 and int(r.headers["Content-Length"]) == big.path(d).stat().st_size
    assert hub.body_bytes() == 0 and hub.count(kind="blob", method="GET") == 0


def test_head_of_a_cold_manifest_costs_nothing(client, hub, image):
    r = client.head("/v2/library/alpha/manifests/1")
    assert r.status == 200 and r.headers["Docker-Content-Digest"] == image().digest
    assert hub.remaining == 100 and hub.count(kind="manifest", method="GET", status=200) == 0


# --- tags -----------------------------------------------------------------------------------------------------------

def pages(client, target):
    """Follow Link, which must be relative; the tags of each page."""
    got = []
    while target:
        r = client.get(target)
        assert r.status == 200 and r.headers["Content-Type"].split(";")[0] == "application/json"
        got.append(r.json["tags"])
        link = r.headers.get("Link")
        if not link:
            return got
        where, rel = link.split(";", 1)
        assert where.startswith("</v2/") and where.endswith(">") and 'rel="next"' in rel, link
        if "ns=" in target:
            assert "ns=" in where, f"ns was lost: {link}"
        target = where[1:-1]
    return got


@pytest.mark.parametrize("ns", ["", "ns=quay.example"])
def test_tags_are_listed_in_pages(client, hub, second, ns):
    h = second if ns else hub
    h.lists["library/many"] = [f"{i:03d}" for i in range(25)]
    base = "/v2/library/many/tags/list?" + ns
    r = client.get(base)
    assert r.json == {"name": "library/many", "tags": h.lists["library/many"]}
    assert "Link" not in r.headers
    got = pages(client, base + "&n=10")
    assert [len(p) for p in got][:2] == [10, 10] and sum(got, []) == h.lists["library/many"]
    assert client.get(base + "&last=020").json["tags"] == ["021", "022", "023", "024"]
    assert client.get(base + "&n=2&last=020").json["tags"] == ["021", "022"]
    r = client.get(base + "&n=0")
    assert r.status == 200 and not r.json["tags"] and "Link" not in r.headers


def test_tags_of_an_unknown_repository_are_404(client):
    r = client.get("/v2/library/none/tags/list")
    assert r.status == 404
    errors(r)


@pytest.mark.parametrize("query", ["n=-1", "n=x", "n=99999999999999999999"])
def test_an_odd_n_is_refused_or_ignored(client, query):
    r = client.get(f"/v2/library/alpha/tags/list?{query}")
    assert r.status in (200, 400)


# --- referrers ------------------------------------------------------------------------------------------------------

def test_referrers_are_relayed_and_filtered(client, image):
    a = image("tools/artifact")
    r = client.get(f"/v2/tools/artifact/referrers/{a.digest}")
    assert r.status == 200 and r.headers["Content-Type"] == OCI_INDEX
    assert r.json["schemaVersion"] == 2 and r.json["mediaType"] == OCI_INDEX
    assert [m["artifactType"] for m in r.json["manifests"]] == ["application/spdx+json"]
    r = client.get(f"/v2/tools/artifact/referrers/{a.digest}?artifactType=application/spdx%2Bjson")
    assert len(r.json["manifests"]) == 1 and r.headers["OCI-Filters-Applied"] == "artifactType"
    r = client.get(f"/v2/tools/artifact/referrers/{a.digest}?artifactType=a%2Fb")
    assert r.status == 200 and r.json["manifests"] == []


@pytest.mark.parametrize("form", ["404", "html", "plain"])
def test_referrers_of_an_upstream_without_the_api_come_from_the_fallback_tag(client, hub, image, form):
    hub.referrers_form = form
    a = image("tools/artifact")
    r = client.get(f"/v2/tools/artifact/referrers/{a.digest}")
    assert b"<html" not in r.body
    if r.status == 404:     # the client looks the tag up itself
        errors(r)
        r = client.get(f"/v2/tools/artifact/manifests/{a.digest.replace(':', '-')}", {"Accept": OCI_INDEX})
    assert r.status == 200 and r.headers["Content-Type"] == OCI_INDEX
    assert [m["artifactType"] for m in r.json["manifests"]] == ["application/spdx+json"]


def test_referrers_of_nothing_are_an_empty_index_or_404(client, hub):
    r = client.get("/v2/tools/artifact/referrers/sha256:" + "0" * 64)
    assert r.status == 200 and r.json["manifests"] == [] and r.headers["Content-Type"] == OCI_INDEX


# --- content of every kind ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["library/docker2:1", "library/empty:1", "tools/artifact:1", "charts/harbour:1.2.3",
                                  "library/beta:1", "signature", "attestation"])
def test_every_kind_of_content_is_passed_byte_for_byte(client, hub, image, name):
    if name == "signature":
        it = image("library/alpha", image().digest.replace(":", "-") + ".sig")
    elif name == "attestation":
        it = image()
    else:
        it = image(*name.split(":"))
    manifest = it.child("unknown") if name == "attestation" else it.digest
    target = f"/v2/{it.repo}/manifests/" + (manifest if name == "attestation" else it.tag)
    r = client.get(target)
    assert r.status == 200 and bytes(r.body) == it.bytes(manifest)
    assert r.headers["Content-Type"] == it.type_of(manifest)
    for d in it.blobs("unknown" if name == "attestation" else "amd64"):
        r = client.get(f"/v2/{it.repo}/blobs/{d}")
        assert r.status == 200 and bytes(r.body) == it.bytes(d)


def test_sha512_digests_of_blobs_and_manifests(client, hub):
    data = os.urandom(MIB)
    blob = hub.put_blob(data, alg="sha512")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                           "digest": hub.put_blob(b"{}", alg="sha512")},
                "layers": [{"mediaType": "application/octet-stream", "size": len(data), "digest": blob}]}
    digest = hub.put_manifest("library/strong", manifest, alg="sha512")
    r = client.get(f"/v2/library/strong/manifests/{digest}")
    assert r.status == 200 and r.headers["Docker-Content-Digest"] == digest
    for _ in range(2):
        r = client.get(f"/v2/library/strong/blobs/{blob}")
        assert r.status == 200 and bytes(r.body) == data and r.headers["Docker-Content-Digest"] == blob
    assert hub.count(where="cdn", reference=blob) == 1
    with hub.fault("wrong", kind="blob", at=0):
        other = hub.put_blob(os.urandom(MIB), alg="sha512")
        assert client.get(f"/v2/library/strong/blobs/{other}").end != "complete"


def test_an_empty_blob(client, hub):
    d = hub.put_blob(b"")
    for _ in range(2):
        r = client.get(f"/v2/library/x/blobs/{d}")
        assert r.status == 200 and not r.body and r.headers["Content-Length"] == "0"


def padded(size):
    base = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                       "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
            "layers": [], "annotations": {"pad": ""}}
    base["annotations"]["pad"] = "x" * (size - len(json.dumps(base)))
    return json.dumps(base).encode()


@pytest.mark.parametrize("size", [4 * MIB, 4 * 1048 * 1048])
def test_manifests_of_four_mebibytes_and_a_little(client, hub, size):
    data = padded(size)
    digest = hub.put_manifest("library/fat", data, tag="1")
    for target in ("1", digest):
        r = client.get(f"/v2/library/fat/manifests/{target}")
        assert r.status == 200 and bytes(r.body) == data and r.headers["Docker-Content-Digest"] == digest


def test_a_manifest_that_is_too_large_is_an_error_and_not_a_cut(client, hub):
    hub.put_manifest("library/fat", padded(16 * MIB), tag="1")
    r = client.get("/v2/library/fat/manifests/1")
    assert r.status >= 400 and r.end == "complete"
    errors(r)


def test_a_connection_is_kept_for_the_next_request(client, image):
    from wire import Response
    alpha = image()
    sock = None
    for d in [*alpha.layers(), *alpha.layers()]:
        r = Response(client.host_port, "GET", f"/v2/library/alpha/blobs/{d}", connection=sock).read_head().finish()
        assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
        sock = r.sock
    sock.close()
