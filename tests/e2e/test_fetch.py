"""Fetching: tokens, redirects, tags, and upstreams that answer nonsense or nothing."""

import base64
import json
import random
import socket
import threading

import pytest
from servers import free_port, wait_until
from wire import Client

MIB = 1 << 20


def pull(client, img, tag=None):
    """Everything of an image, compared with what the real registry holds."""
    r = client.get(f"/v2/{img.repo}/manifests/{tag or img.tag}")
    assert r.status == 200, (r.status, bytes(r.body))
    assert bytes(r.body) == img.bytes(img.digest)
    for target, d in img.targets():
        r = client.get(target)
        assert r.status == 200 and bytes(r.body) == img.bytes(d), d
    return img


# --- tokens ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", ["docker", "bare", "spaces", "no_service", "no_scope", "empty_scope", "literal", "query",
                                  "several", "one_line", "escaped", "nvcr", "none"])
def test_a_challenge_in_every_form_is_understood(client, hub, image, form):
    hub.challenge = form
    pull(client, image())
    assert hub.remaining == 100 - 2, "an index and a manifest are two counted requests"
    scopes = {r.reference for r in hub.token_requests()}
    expected = {"none": set(), "literal": {"aws"}}.get(form, {"repository:library/alpha:pull"})
    assert scopes == expected
    if form == "query":
        assert all(r.query.get("c") == ["3"] for r in hub.token_requests())


@pytest.mark.parametrize("form", ["both", "token", "access_token", "no_expires", "short", "zero", "past"])
def test_a_token_in_every_form_is_understood_and_kept(client, hub, image, form):
    hub.token_form = form
    pull(client, image())
    if form in ("both", "token", "access_token", "no_expires"):
        assert len(hub.token_requests()) == 1, "one token for the repository"
    else:
        assert len(hub.token_requests()) <= 8


@pytest.mark.parametrize("form", ["none", "html"])
def test_a_token_server_that_gives_no_token_is_an_error_and_not_a_loop(client, hub, form):
    hub.token_form = form
    r = client.get("/v2/library/alpha/manifests/1")
    assert r.status >= 400 and r.end == "complete"
    assert len(hub.token_requests()) <= 4


def test_tokens_are_by_repository(client, hub, image):
    pull(client, image())
    pull(client, image("library/beta"))
    assert sorted(r.reference for r in hub.token_requests()) == [
        "repository:library/alpha:pull", "repository:library/beta:pull"]


def test_one_token_request_serves_many_clients_that_come_at_once(client, hub, image):
    alpha = image()
    with hub.fault("hang", where="auth") as hang:
        waiting = [client.ask(f"/v2/library/alpha/manifests/{d}") for d in [alpha.digest, alpha.child(), alpha.child("arm64")] * 4]
        hang.wait()
        hang.release()
        for r in waiting:
            assert r.read_head().status == 200
            r.finish().leave()
    assert len(hub.token_requests()) == 1
    assert hub.count(kind="manifest", method="GET", status=200) == 3


@pytest.mark.parametrize("form", ["docker", "nvcr"])
def test_a_token_that_expired_early_is_replaced(client, hub, image, form):
    """nvcr.io answers an expired token with a realm that is of no use: one must ask again without any."""
    hub.challenge = form
    alpha = image()
    assert client.get(f"/v2/library/alpha/manifests/{alpha.digest}").status == 200
    hub.expire_tokens()
    r = client.get(f"/v2/library/alpha/manifests/{alpha.child()}")
    assert r.status == 200 and len(hub.token_requests()) == 2


def docker_config(path, **auths):
    path.write_text(json.dumps({"auths": {
        k: {"auth": base64.b64encode(v.encode()).decode()} for k, v in auths.items()}}))
    return str(path)


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"])
def test_an_account_from_a_file_is_used_for_the_token_and_shown_to_nobody_else(launch, hub, image, tmp_path, key):
    hub.accounts["jo"] = "s3cret:word"
    hub.private.add("library/alpha")
    m = launch(registries={"docker.io": {"credentials": docker_config(tmp_path / "auth.json", **{key: "jo:s3cret:word"}),
                                         "open": ["library/*"]}})
    pull(Client(m.host_port), image())
    assert {r.user for r in hub.token_requests()} <= {"jo", None} and "jo" in {r.user for r in hub.token_requests()}
    assert all(not r.headers.get("authorization", "").startswith("Basic") for r in hub.select(where="registry"))
    assert not any("s3cret" in line or base64.b64encode(b"jo:s3cret:word").decode() in line for line in m.lines)


def test_basic_challenges_are_answered_with_the_account(launch, hub, image, tmp_path):
    hub.challenge = "basic"
    hub.accounts["aws"] = "word"
    m = launch(registries={"docker.io": {"credentials": docker_config(tmp_path / "a.json", **{"docker.io": "aws:word"}),
                                         "open": ["library/*"]}})
    pull(Client(m.host_port), image())
    assert not hub.token_requests()


def test_a_wrong_password_is_an_error_that_is_not_repeated_at_once(launch, hub, tmp_path):
    hub.accounts["jo"] = "right"
    hub.private.add("library/alpha")
    m = launch(registries={"docker.io": {"credentials": docker_config(tmp_path / "a.json", **{"docker.io": "jo:wrong"})}})
    r = Client(m.host_port).get("/v2/library/alpha/manifests/1")
    assert r.status >= 400
    assert len(hub.token_requests()) <= 3
    assert not any("wrong" in line and "jo" in line for line in m.lines)


# --- redirects ------------------------------------------------------------------------------------------------------

def test_blobs_come_from_the_cdn_and_the_token_does_not_go_there(client, hub, image):
    """The fixture asserts that the CDN saw no Authorization."""
    alpha = pull(client, image())
    assert hub.count(where="cdn", method="GET") == len(set(alpha.blobs()))
    assert all("authorization" not in r.headers for r in hub.select(where="cdn"))
    assert all(r.headers.get("accept-encoding", "identity") == "identity" for r in hub.select(kind="blob"))


def test_an_expired_signed_url_is_resolved_again(client, hub, image):
    """The transfer breaks off, its URL expires: what is missing comes from a new URL."""
    alpha = image()
    d = alpha.largest()
    size = alpha.path(d).stat().st_size
    with hub.fault("cut", times=1, where="cdn", at=size // 2, hold=True) as cut:
        r = client.ask(f"/v2/library/alpha/blobs/{d}")
        cut.wait()
        hub.expire_urls()
        cut.release()
        r.read_head().finish()
    assert bytes(r.body) == alpha.bytes(d) and r.end == "complete"
    assert hub.body_bytes(d) == size
    used = [x.query["X-Amz-Signature"] for x in hub.select(where="cdn", status=(200, 206))]
    assert len(used) == 2 and used[0] != used[1]
    assert hub.select(where="cdn", status=206)[0].range == f"bytes={size // 2}-"


def test_a_signed_url_that_is_refused_is_asked_for_anew(client, hub, image):
    alpha = image()
    d = alpha.largest()
    with hub.fault("status", where="cdn", code=403, times=1):
        r = client.get(f"/v2/library/alpha/blobs/{d}")
    assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
    assert hub.count(kind="blob", where="registry", status=307) == 2


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:70/_x", "http://", "::"])
def test_a_redirect_to_another_scheme_is_refused(client, hub, image, to):
    d = image().largest()
    with hub.fault("redirect", where="registry", kind="blob", to=to):
        r = client.get(f"/v2/library/alpha/blobs/{d}")
    assert r.status >= 400 and b"root:" not in r.body


def test_a_redirect_to_a_private_address_is_refused_unless_allowed(launch, hub, image):
    hub.challenge = "none"
    d = image().largest()
    m = launch(registries={"docker.io": {"allow_private": False}})
    r = Client(m.host_port).get(f"/v2/library/alpha/blobs/{d}")
    assert r.status >= 400
    assert hub.cdn.connections == 0, "not even dialled"
    m.stop()
    m.write_config(registries={"docker.io": {"allow_private": True}})
    m.start()
    r = Client(m.host_port).get(f"/v2/library/alpha/blobs/{d}")
    assert r.status == 200 and bytes(r.body) == image().bytes(d)


def test_redirects_in_a_circle_end(client, hub, image):
    d = image().largest()
    with hub.fault("redirect", where="registry", kind="blob", to=f"/v2/library/alpha/blobs/{d}") as f:
        assert client.get(f"/v2/library/alpha/blobs/{d}").status >= 400
        assert f.hits <= 100


def test_a_redirect_of_a_manifest_is_followed_and_the_digest_checked(client, hub, second, image):
    alpha = image()
    with hub.fault("redirect", kind="manifest", where="registry", to=f"{second.url()}/v2/library/alpha/manifests/1"):
        r = client.get("/v2/library/alpha/manifests/1")
    assert r.status == 200 and r.headers["Docker-Content-Digest"] == alpha.digest
    assert all("authorization" not in x.headers for x in second.requests)


# --- tags -----------------------------------------------------------------------------------------------------------

def test_inside_its_ttl_a_tag_is_not_asked_for_again(client, hub, image):
    pull(client, image())
    hub.forget()
    pull(client, image())
    assert client.head("/v2/library/alpha/manifests/1").status == 200
    assert hub.count() == 0


def test_past_its_ttl_a_tag_costs_one_head_and_no_get(launch, hub, image):
    m = launch(tags={"ttl": "0s"})
    client = Client(m.host_port)
    pull(client, image())
    hub.forget()
    left = hub.remaining
    pull(client, image())
    assert [(r.method, r.kind) for r in hub.select(where="registry")] == [("HEAD", "manifest")]
    assert hub.remaining == left


def test_a_rule_gives_a_tag_another_ttl(launch, hub, image):
    m = launch(tags={"ttl": "1h", "rules": [{"match": "docker.io/library/al*:1", "ttl": "0s"}]})
    client = Client(m.host_port)
    for repo in ("library/alpha", "library/beta"):
        client.get(f"/v2/{repo}/manifests/1")
    hub.forget()
    for repo in ("library/alpha", "library/beta"):
        assert client.get(f"/v2/{repo}/manifests/1").status == 200
    assert {r.repo for r in hub.select(where="registry")} == {"library/alpha"}


def test_many_who_ask_for_one_tag_share_one_head_and_one_get(launch, hub, image):
    m = launch(tags={"ttl": "0s"})
    client = Client(m.host_port)
    client.get("/v2/library/beta/manifests/1")
    hub.forget()
    alpha = image()
    with hub.fault("hang", method="HEAD", kind="manifest") as hang:
        waiting = [client.ask("/v2/library/alpha/manifests/1", method) for method in ("GET", "HEAD") * 20]
        hang.wait()
        wait_until(lambda: all(not r.readable() for r in waiting), "they wait")
        hang.release()
        for r in waiting:
            assert r.read_head().status == 200
            assert r.headers["Docker-Content-Digest"] == alpha.digest
            r.leave()
    ok = [(r.method, r.reference) for r in hub.select(kind="manifest", status=200)]
    assert len([x for x in ok if x[0] == "GET"]) == 1
    assert len([x for x in ok if x[0] == "HEAD"]) <= 3, "late comers may need one of their own"


def test_a_tag_that_moved_is_followed_by_digest(launch, hub, image):
    m = launch(tags={"ttl": "0s"})
    client = Client(m.host_port)
    one = json.dumps({"schemaVersion": 2, "config": {}, "layers": [], "n": 1}).encode()
    two = json.dumps({"schemaVersion": 2, "config": {}, "layers": [], "n": 2}).encode()
    hub.put_manifest("library/moves", one, tag="1")
    assert bytes(client.get("/v2/library/moves/manifests/1").body) == one
    digest = hub.put_manifest("library/moves", two, tag="1")
    hub.forget()
    assert bytes(client.get("/v2/library/moves/manifests/1").body) == two
    assert [(r.method, r.reference) for r in hub.select(kind="manifest", status=200)] == [
        ("HEAD", "1"), ("GET", digest)]


def test_without_a_digest_header_upstream_the_digest_is_computed(client, hub, image):
    alpha = image()
    with hub.fault("no_digest", kind="manifest"):
        for method in ("HEAD", "GET"):
            r = client.request(method, "/v2/library/alpha/manifests/1")
            assert r.status == 200 and r.headers["Docker-Content-Digest"] == alpha.digest
    assert hub.count(kind="manifest", method="GET", status=200) == 1


def test_what_is_absent_is_remembered_for_a_moment(client, hub):
    for _ in range(5):
        assert client.get("/v2/library/alpha/manifests/sha256-" + "0" * 64 + ".sig").status == 404
    assert hub.count(kind="manifest", status=404) <= 2


# --- bytes that are wrong -------------------------------------------------------------------------------------------

WRONG = {
    "another byte": ("wrong", {"at": 100_000}),
    "a page": ("html", {}),
    "longer": ("longer", {"by": 10}),
    "shorter": ("shorter", {"by": 10}),
}


@pytest.mark.parametrize("redirected", [True, False])
@pytest.mark.parametrize("how", WRONG)
def test_wrong_bytes_of_a_blob_complete_no_client_and_the_next_pull_is_right(client, hub, image, how, redirected):
    hub.redirects = redirected
    alpha = image()
    d = alpha.largest()
    what, args = WRONG[how]
    with hub.fault(what, kind="blob", method="GET", where="cdn" if redirected else "registry", **args) as f:
        for _ in range(2):
            r = client.get(f"/v2/library/alpha/blobs/{d}")
            if r.status == 200:
                assert r.end == "fin", "a short body that ends by a clean FIN"
                assert alpha.bytes(d).startswith(bytes(r.body)) or what == "wrong"
                assert int(r.headers["Content-Length"]) == alpha.path(d).stat().st_size
            else:
                assert r.status >= 400
        assert f.hits >= 1
    r = client.get(f"/v2/library/alpha/blobs/{d}")
    assert r.status == 200 and bytes(r.body) == alpha.bytes(d), "nothing was poisoned"
    hub.forget()
    assert bytes(client.get(f"/v2/library/alpha/blobs/{d}").body) == alpha.bytes(d)
    assert hub.count() == 0


@pytest.mark.parametrize("how", ["wrong", "html", "longer", "shorter", "cut", "reset"])
def test_wrong_bytes_of_a_manifest_are_not_served_nor_kept(client, hub, image, how):
    alpha = image()
    with hub.fault(how, kind="manifest", method="GET"):
        for reference in (alpha.digest, "1"):
            r = client.get(f"/v2/library/alpha/manifests/{reference}")
            assert r.status >= 400, reference
    r = client.get(f"/v2/library/alpha/manifests/{alpha.digest}")
    assert r.status == 200 and bytes(r.body) == alpha.bytes(alpha.digest)


@pytest.mark.parametrize("what,args", [("html", {"method": "HEAD"}), ("html", {"method": "GET"}),
                                       ("longer", {"method": "GET", "by": 10}), ("shorter", {"method": "GET", "by": 10})])
def test_a_length_that_was_a_lie_is_not_remembered(client, hub, what, args):
    data = random.Random(6).randbytes(MIB)
    d = hub.put_blob(data)
    target = f"/v2/library/x/blobs/{d}"
    with hub.fault(what, kind="blob", **args):
        r = client.head(target)
        assert r.status >= 400 or r.length == MIB, "a page is no blob"
        if args["method"] == "GET":
            client.get(target)
    r = client.head(target)
    assert r.status == 200 and r.length == MIB
    r = client.get(target, {"Range": "bytes=-10"})
    assert r.status == 206 and bytes(r.body) == data[-10:]


@pytest.mark.parametrize("how", ["chunked", "no_digest", "no_range"])
def test_a_blob_without_length_digest_or_ranges_upstream_still_has_them_here(client, hub, how):
    data = random.Random(3).randbytes(2 * MIB)
    d = hub.put_blob(data)
    with hub.fault(how, kind="blob"):
        r = client.get(f"/v2/library/x/blobs/{d}", {"Range": "bytes=1000-"})
        assert r.status == 206 and bytes(r.body) == data[1000:]
    r = client.get(f"/v2/library/x/blobs/{d}")
    assert r.length == len(data) and bytes(r.body) == data and r.headers["Docker-Content-Digest"] == d
    assert hub.body_bytes(d) == len(data)


def test_a_registry_without_redirects_serves_too(client, hub, image):
    hub.redirects = False
    pull(client, image())
    assert hub.cdn.connections == 0


# --- an upstream that is not there ----------------------------------------------------------------------------------

def test_it_starts_when_every_upstream_is_down_and_serves_what_it_has(launch, hub, second, image):
    m = launch()
    pull(Client(m.host_port), image())
    m.stop()
    hub.refuse()
    second.refuse()
    m.start()
    client = Client(m.host_port)
    pull(client, image())
    r = client.get("/v2/library/beta/manifests/1")
    assert r.status >= 500
    hub.listen()
    wait_until(lambda: client.get("/v2/library/beta/manifests/1").status == 200, "it recovers")


def test_it_starts_when_the_names_of_upstreams_cannot_be_resolved(launch):
    m = launch(registries={"nowhere.invalid": {"url": "https://nowhere.invalid"}})
    client = Client(m.host_port)
    assert client.get("/v2/").status == 200
    r = client.get("/v2/library/alpha/manifests/1?ns=nowhere.invalid")
    assert r.status >= 500 and r.end == "complete"


def gone(hub):
    hub.refuse()


FAILING = {
    "gone": gone,
    "hanging": lambda hub: hub.hang(),
    "503": lambda hub: hub.fault("status", code=503),
    "500": lambda hub: hub.fault("status", code=500),
    "a page": lambda hub: hub.fault("html"),
    "dropping": lambda hub: hub.fault("drop"),
    "pull limit": lambda hub: hub.fault("limit", kind_of="pull"),
    "abuse limit": lambda hub: hub.fault("limit", kind_of="abuse"),
    "token limit": lambda hub: (hub.expire_tokens(), hub.fault("limit", where="auth", kind_of="token")),
    "login refused": lambda hub: (hub.expire_tokens(), hub.fault("status", where="auth", code=401)),
}


@pytest.mark.parametrize("how", FAILING)
def test_what_is_stored_is_served_when_the_upstream_is(launch, hub, image, how):
    """Warm, the tag past its TTL: by tag and by digest."""
    m = launch(tags={"ttl": "0s"}, upstream={"header_timeout": "1s", "connect_timeout": "1s"})
    client = Client(m.host_port)
    pull(client, image())
    FAILING[how](hub)
    hub.forget()
    pull(client, image())
    assert client.head("/v2/library/alpha/manifests/1").status == 200
    assert hub.count(kind="manifest", method="GET", status=200) <= (1 if how == "a page" else 0)
    assert hub.count(kind="blob") == 0


@pytest.mark.parametrize("how", [h for h in FAILING if h not in ("login refused",)])
def test_what_is_not_stored_is_an_error_that_clients_move_on_from(launch, hub, image, how):
    m = launch(upstream={"header_timeout": "1s", "connect_timeout": "1s", "flight_timeout": "3s"},
               server={"answer_timeout": "2s"})
    client = Client(m.host_port)
    assert client.get("/v2/library/beta/manifests/1").status == 200
    FAILING[how](hub)
    for target in ("manifests/1", f"manifests/{image().digest}", f"blobs/{image().largest()}"):
        r = client.get(f"/v2/library/alpha/{target}")
        assert r.status in (404, 429, 502, 503, 504), (target, r.status)
        assert r.json["errors"]
    assert hub.count() < 60, "no storm"


def test_an_answer_comes_before_the_answer_timeout_although_the_upstream_hangs(launch, hub, image):
    """The bound is the configuration's; the test's own deadline is far above it."""
    m = launch(server={"answer_timeout": "1s"}, upstream={"header_timeout": "30s", "flight_timeout": "30s"})
    with hub.hang() as hang:
        r = Client(m.host_port).get("/v2/library/alpha/manifests/1", timeout=20)
        assert r.status >= 500 and not hang.released.is_set()


def test_a_burst_of_5xx_is_ridden_out(client, hub, image):
    alpha = image()
    d = alpha.largest()
    with hub.fault("status", where="cdn", code=503, times=1):
        r = client.get(f"/v2/library/alpha/blobs/{d}")
    assert r.status == 200 and bytes(r.body) == alpha.bytes(d)


def test_referrers_survive_the_upstream_or_say_so(launch, hub, image):
    m = launch()
    a = image("tools/artifact")
    client = Client(m.host_port)
    hub.refuse()
    r = client.get(f"/v2/tools/artifact/referrers/{a.digest}")
    assert r.status in (404, 502, 503, 504) and r.json["errors"]


# --- ways there -----------------------------------------------------------------------------------------------------

def test_a_proxy_is_used_except_for_hosts_that_need_none(launch, hub, image):
    """A proxy that notes what it was asked for."""
    asked = []

    def serve(server):
        while True:
            try:
                c, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(c,), daemon=True).start()

    def one(c):
        data = c.recv(65536)
        asked.append(data.split(b"\r\n")[0].decode())
        c.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        c.close()

    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    url = "http://127.0.0.1:%d" % server.getsockname()[1]
    try:
        m = launch(registries={"docker.io": {"proxy": url}, "far.example": {"url": "http://far.example", "proxy": url}})
        client = Client(m.host_port)
        assert client.get("/v2/library/alpha/manifests/1?ns=far.example").status >= 400
        assert asked and any("far.example" in a for a in asked)
        assert client.get("/v2/library/alpha/manifests/1").status >= 400
        assert hub.count() == 0
        m.stop()
        m.write_config(registries={"docker.io": {"no_proxy": "127.0.0.1"}})
        m.start()
        assert Client(m.host_port).get("/v2/library/alpha/manifests/1").status == 200
    finally:
        server.close()


def test_an_own_ca_is_needed_for_a_registry_signed_by_it(launch, another, authority, image):
    h = another(tls=authority.server("double"))
    m = launch(registries={"tls.example": {"url": h.url(), "ca_file": str(authority.ca)},
                           "bad.example": {"url": h.url()}})
    client = Client(m.host_port)
    assert client.get("/v2/library/alpha/manifests/1?ns=bad.example").status >= 500
    assert h.count() == 0
    alpha = image()
    assert client.get("/v2/library/alpha/manifests/1?ns=tls.example").status == 200
    r = client.get(f"/v2/library/alpha/blobs/{alpha.largest()}?ns=tls.example")
    assert r.status == 200 and bytes(r.body) == alpha.bytes(alpha.largest())


def relay(client, upstream):
    """Bytes both ways until both ends are through."""
    def one_way(a, b):
        try:
            while piece := a.recv(65536):
                b.sendall(piece)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    back = threading.Thread(target=one_way, args=(upstream, client), daemon=True)
    back.start()
    one_way(client, upstream)
    back.join()


def serve(server, one):
    def accept():
        while True:
            try:
                c, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(c,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


def exactly(sock, n):
    data = b""
    while len(data) < n:
        piece = sock.recv(n - len(data))
        assert piece
        data += piece
    return data


def test_a_socks_proxy_is_used_and_resolves_the_name(launch, hub, image):
    """RFC 1928, no authentication. The registry's name exists nowhere but at the proxy; blobs go the same way."""
    asked = []

    def one(c):
        version, methods = exactly(c, 2)
        assert version == 5 and 0 in exactly(c, methods)
        c.sendall(b"\x05\x00")
        version, command, _, kind = exactly(c, 4)
        assert (version, command) == (5, 1)
        name = exactly(c, exactly(c, 1)[0]).decode() if kind == 3 else socket.inet_ntoa(exactly(c, 4))
        port = int.from_bytes(exactly(c, 2), "big")
        asked.append((name, port))
        upstream = socket.create_connection(("127.0.0.1", hub.registry.port if name == "far.example" else port))
        c.sendall(b"\x05\x00\x00\x01" + bytes(6))
        relay(c, upstream)

    hub.challenge = "none"
    server = socket.create_server(("127.0.0.1", 0))
    serve(server, one)
    try:
        proxy = "socks5h://127.0.0.1:%d" % server.getsockname()[1]
        m = launch(registries={"far.example": {"url": "http://far.example", "proxy": proxy, "allow_private": True}})
        client, alpha = Client(m.host_port), image()
        d = alpha.largest()
        assert client.get("/v2/library/alpha/manifests/1?ns=far.example").status == 200
        r = client.get(f"/v2/library/alpha/blobs/{d}?ns=far.example")
        assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
        assert ("far.example", 80) in asked and ("127.0.0.1", hub.cdn.port) in asked
    finally:
        server.close()


def test_an_upstream_by_ipv6(launch, hub, image):
    """The double is behind a relay at [::1]; the mirror listens there too."""
    def one(c):
        relay(c, socket.create_connection(("127.0.0.1", hub.registry.port)))

    hub.challenge = "none"
    hub.redirects = False
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    serve(server, one)
    try:
        m = launch(server={"listen": ["[::1]:0"]},
                   registries={"six.example": {"url": "http://[::1]:%d" % server.getsockname()[1]}})
        client, alpha = Client(m.host_port), image()
        assert m.host_port[0] == "::1"
        d = alpha.largest()
        assert client.get("/v2/library/alpha/manifests/1?ns=six.example").status == 200
        r = client.get(f"/v2/library/alpha/blobs/{d}?ns=six.example")
        assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
    finally:
        server.close()


def test_an_upstream_by_ipv6_that_is_not_there(launch):
    m = launch(registries={"six.example": {"url": f"http://[::1]:{free_port()}"}})
    r = Client(m.host_port).get("/v2/library/alpha/manifests/1?ns=six.example")
    assert r.status >= 500
