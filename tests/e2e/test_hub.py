"""The double itself: a test that trusts a broken double shows nothing."""

import base64
import hashlib
import json
import os
import re
import time

import pytest
from hub import OCI_INDEX, Budget
from wire import Client, Response

MIB = 1 << 20


@pytest.fixture
def direct(hub):
    return Client(("127.0.0.1", hub.registry.port))


def token(hub, repo="library/alpha", user=None):
    headers = {}
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    r = Client(("127.0.0.1", hub.auth.port)).get(
        f"/token?service=registry.docker.io&scope=repository:{repo}:pull", headers)
    return r.json["token"] if r.status == 200 else None


def bearer(hub, repo="library/alpha"):
    return {"Authorization": "Bearer " + token(hub, repo)}


def cdn(location):
    port, path = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/.*)", location).groups()
    return ("127.0.0.1", int(port)), path


def test_a_pull_needs_a_token_and_is_counted(hub, direct, image):
    alpha = image()
    r = direct.get("/v2/library/alpha/manifests/1")
    assert r.status == 401
    assert 'scope="repository:library/alpha:pull"' in r.headers["WWW-Authenticate"]
    r = direct.get("/v2/library/alpha/manifests/1", {**bearer(hub), "Accept": alpha.media_type})
    assert r.status == 200 and r.headers["Docker-Content-Digest"] == alpha.digest
    assert hashlib.sha256(r.body).hexdigest() == alpha.digest[7:]
    assert r.headers["ratelimit-remaining"] == "99;w=21600"
    assert direct.head("/v2/library/alpha/manifests/1", {**bearer(hub), "Accept": alpha.media_type}).status == 200
    assert hub.remaining == 99
    assert direct.get("/v2/library/beta/manifests/1", bearer(hub)).status == 401
    assert hub.count(kind="manifest", status=401) == 2
    hub.expire_tokens()
    assert hub.token_requests()[0].reference == "repository:library/alpha:pull"


@pytest.mark.parametrize("form,expected", [
    ("docker", {"ratelimit-limit": "100;w=3600", "ratelimit-remaining": "41;w=3600"}),
    ("capitals", {"ratelimit-limit": "100;w=3600", "ratelimit-remaining": "41;w=3600"}),
    ("x", {"x-ratelimit-limit": "100;w=3600", "x-ratelimit-remaining": "41;w=3600"}),
    ("bare", {"ratelimit-limit": "100", "ratelimit-remaining": "41"}),
    ("empty", {"ratelimit-limit": ";w=3600"}),
    ("absent", {}),
])
def test_what_is_left_is_told_in_every_form(hub, direct, image, form, expected):
    hub.budgets[None] = Budget(window=3600, remaining=41, form=form)
    r = direct.head("/v2/library/alpha/manifests/1", {**bearer(hub), "Accept": image().media_type})
    told = {k.lower(): v for k, v in r.headers.pairs if "ratelimit" in k.lower()}
    assert told.pop("docker-ratelimit-source") == "192.0.2.1"
    assert told == expected


def test_each_account_has_a_budget_of_its_own_and_may_be_refused(hub, direct, image):
    accept = {"Accept": image().media_type}
    hub.enforce = True
    jo = hub.add_account("jo", "word", limit=1, retry_after="77")
    anonymous = hub.budgets[None]
    key = {"Authorization": "Bearer " + token(hub, user="jo:word"), **accept}
    assert direct.get("/v2/library/alpha/manifests/1", key).status == 200
    r = direct.get("/v2/library/alpha/manifests/1", key)
    assert (r.status, r.headers["Retry-After"]) == (429, "77") and r.json["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert (jo.remaining, jo.counted, jo.refused) == (0, 1, 1)
    r = direct.head("/v2/library/alpha/manifests/1", key)
    assert (r.status, r.headers["ratelimit-remaining"]) == (200, "0;w=21600"), "a HEAD is free"
    assert direct.get("/v2/library/alpha/manifests/1", {**bearer(hub), **accept}).status == 200
    assert (anonymous.remaining, anonymous.counted) == (99, 1)


def test_the_same_content_under_a_path_and_a_prefix(hub, direct, image):
    hub.challenge, hub.path, hub.prefix = "none", "/mirror", "docker/"
    d = image().digest
    assert direct.head(f"/mirror/v2/docker/library/alpha/manifests/{d}", {"Accept": image().media_type}).status == 200
    for other in ("/v2/docker/library/alpha", "/mirror/v2/library/alpha"):
        assert direct.head(f"{other}/manifests/{d}", {"Accept": image().media_type}).status == 404


def test_blobs_are_redirected_to_a_url_that_expires_and_refuses_a_token(hub, direct, image):
    alpha = image()
    d = alpha.largest()
    r = direct.get(f"/v2/library/alpha/blobs/{d}", bearer(hub))
    assert r.status == 307
    where, path = cdn(r.headers["Location"])
    r = Client(where).get(path, {"Range": "bytes=10-19"})
    assert r.status == 206 and bytes(r.body) == alpha.bytes(d)[10:20]
    assert hub.body_bytes(d) == 10
    assert Client(where).get(path, bearer(hub)).status == 403
    assert len(hub.leaks) == 1
    hub.leaks.clear()
    hub.expire_urls()
    assert Client(where).get(path).status == 403


def test_faults_of_a_body_do_what_they_say(hub, direct):
    data = os.urandom(3 * MIB)
    d = hub.put_blob(data)
    hub.challenge, hub.redirects = "none", False
    path = f"/v2/library/x/blobs/{d}"
    with hub.fault("cut", kind="blob", at=MIB + 1):
        r = direct.get(path)
        assert (r.end, bytes(r.body)) == ("fin", data[:MIB + 1])
        r = direct.get(path, {"Range": f"bytes={MIB + 1}-"})
        assert r.status == 206 and bytes(r.body) == data[MIB + 1:], "a cut is not met twice at the same offset"
    with hub.fault("reset", times=1, kind="blob", at=MIB):
        r = direct.get(path)
        assert (r.end, len(r.body)) == ("rst", MIB)
        assert direct.get(path).end == "complete"
    with hub.fault("stall", kind="blob", at=2 * MIB) as stall:
        r = direct.open(path).read(2 * MIB)
        stall.wait()
        assert not r.readable() and bytes(r.body) == data[:2 * MIB]
        stall.release()
        assert bytes(r.finish().body) == data
    with hub.fault("wrong", kind="blob", at=MIB):
        r = direct.get(path)
        assert r.end == "complete" and [i for i in range(0, 3 * MIB, MIB // 2) if r.body[i] != data[i]] == [MIB]
    with hub.fault("longer", kind="blob", by=7):
        assert len(direct.get(path).body) == len(data) + 7
    with hub.fault("shorter", kind="blob", by=7):
        r = direct.get(path)
        assert r.end == "complete" and len(r.body) == len(data) - 7
    with hub.fault("chunked", kind="blob"):
        r = direct.get(path)
        assert r.length is None and bytes(r.body) == data
    with hub.fault("no_range", kind="blob"):
        r = direct.get(path, {"Range": "bytes=5-"})
        assert r.status == 200 and len(r.body) == len(data)
    with hub.fault("html", kind="blob"):
        assert b"log in" in direct.get(path).body
    with hub.fault("drop", times=1):
        assert direct.open(path).end == "rst"
    with hub.fault("limit", kind_of="rest"):
        r = direct.get(path)
        assert r.status == 429 and int(r.headers["retry-after"]) > 10**9
    with hub.fault("status", code=502):
        assert direct.get(path).status == 502
    with hub.fault("hang") as hang:
        r = direct.ask(path)
        hang.wait()
        assert not r.readable()
        hang.release()
        assert r.read_head().status == 200
        r.leave()
    hub.refuse()
    with pytest.raises(ConnectionRefusedError):
        direct.get(path)
    hub.listen()
    assert direct.get(path).status == 200


def test_a_release_sends_nothing_to_a_peer_that_has_left(hub, direct):
    """What is sent then is accepted by the kernel and counted, and never received."""
    d = hub.put_blob(os.urandom(2 * MIB))
    hub.challenge, hub.redirects = "none", False
    for n in range(1, 9):
        with hub.fault("stall", times=1, kind="blob", at=MIB) as stall:
            r = direct.open(f"/v2/library/x/blobs/{d}").read(MIB)
            stall.wait()
            r.leave()
        hub.wait_for(lambda: not hub.registry.conns)
        assert hub.body_bytes(d) == n * MIB


def test_faults_at_the_cdn_only_are_met_there(hub, direct, image):
    alpha = image()
    d = alpha.largest()
    with hub.fault("status", where="cdn", code=503, times=1):
        r = direct.get(f"/v2/library/alpha/blobs/{d}", bearer(hub))
        where, path = cdn(r.headers["Location"])
        assert Client(where).get(path).status == 503
        assert Client(where).get(path).status == 200


def test_referrers_come_from_what_was_attached(hub, direct, image):
    a = image("tools/artifact")
    hub.challenge = "none"
    r = direct.get(f"/v2/tools/artifact/referrers/{a.digest}")
    assert [m["artifactType"] for m in r.json["manifests"]] == ["application/spdx+json"]
    fallback = f"/v2/tools/artifact/manifests/{a.digest.replace(':', '-')}"
    assert direct.get(fallback, {"Accept": OCI_INDEX}).status == 200
    r = direct.get(f"/v2/tools/artifact/referrers/{a.digest}?artifactType=x/y")
    assert r.json["manifests"] == []


def test_it_is_fast_enough_not_to_be_the_bottleneck(hub, random_blob):
    path, digest = random_blob
    hub.put_blob(path=path)
    hub.challenge, hub.redirects = "none", False
    began = time.monotonic()
    r = Response(("127.0.0.1", hub.registry.port), "GET", f"/v2/library/x/blobs/{digest}").read_head()
    got = 0
    while piece := r._recv(1 << 20):
        got += len(piece)
        if got >= 200 * MIB:
            break
    r.leave()
    rate = got / (time.monotonic() - began) / 1e6
    print(f"{rate:.0f} MB/s")
    hub.wait_for(lambda: hub.body_bytes(digest) == 200 * MIB)


def test_the_images_are_what_the_tests_take_them_for(image, storage):
    alpha = image()
    assert {m["platform"]["architecture"] for m in alpha.manifest["manifests"]} == {"amd64", "arm64", "unknown"}
    assert len(alpha.layers("arm64")) == 3 and len(image("library/beta").layers()) == 3
    big = image("library/big")
    assert big.path(big.largest()).stat().st_size > 200 * MIB
    assert image("library/docker2").media_type.startswith("application/vnd.docker.")
    assert image("charts/harbour", "1.2.3").manifest["config"]["mediaType"].endswith("helm.config.v1+json")
    assert json.dumps(image("library/alpha", alpha.digest.replace(":", "-") + ".sig").manifest)
