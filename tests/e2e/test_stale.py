"""Stale, bounded, visible; and what is answered when there is nothing to serve."""

import signal

import pytest
from hub import Budget
from servers import later, wait_until
from test_budget import make_image
from test_ops import Ops
from wire import Client

QUICK = {"upstream": {"header_timeout": "1s", "connect_timeout": "1s", "flight_timeout": "3s"}}

# How an upstream fails that has answered before. Each gets (hub) and may say, by a list, what the cause has to name.
FAILING = {
    "pull limit": (lambda hub: hub.fault("limit", kind_of="pull", kind="manifest"), ["429", "too many", "limit"]),
    "abuse limit": (lambda hub: hub.fault("limit", kind_of="abuse"), ["429", "too many", "too much"]),
    "token limit": (lambda hub: (hub.expire_tokens(), hub.fault("limit", where="auth", kind_of="token")),
                    ["429", "too many", "limit", "too much"]),
    "500": (lambda hub: hub.fault("status", code=500), ["500"]),
    "502": (lambda hub: hub.fault("status", code=502), ["502"]),
    "503": (lambda hub: hub.fault("status", code=503), ["503"]),
    "refused": (lambda hub: hub.refuse(), ["refused"]),
    "reset": (lambda hub: hub.fault("drop"), []),
    "hang": (lambda hub: hub.hang(), ["answer", "time"]),
    "a page": (lambda hub: hub.fault("html"), ["page"]),
    "401 with a token": (lambda hub: hub.fault("status", code=401, kind="manifest"), ["401", "denied"]),
    "403": (lambda hub: hub.fault("status", code=403, kind="manifest"), ["403", "denied"]),
    "login refused": (lambda hub: (hub.expire_tokens(), hub.fault("status", where="auth", code=401)), ["401", "denied"]),
    "token server broken": (lambda hub: (hub.expire_tokens(), hub.fault("status", where="auth", code=500)), ["500"]),
}


def warm(launch, image, **over):
    m = launch(**{"tags": {"ttl": "0s"}, **QUICK, **over})
    client, alpha = Client(m.host_port), image()
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    for target, _ in alpha.targets():
        assert client.get(target).status == 200
    return m, client, alpha


def assert_stale(m, client, alpha, words=()):
    """By tag with a warning and a line in the log, by digest as if nothing were amiss."""
    mark = m.mark()
    for method in ("GET", "HEAD"):
        r = client.request(method, "/v2/library/alpha/manifests/1")
        assert r.status == 200 and r.headers["Docker-Content-Digest"] == alpha.digest
        assert r.headers["Warning"].startswith('299 - "') and r.headers["Warning"].endswith('"')
        assert bytes(r.body) == (alpha.bytes(alpha.digest) if method == "GET" else b"")
    line = m.wait_line(since=mark, event="stale")
    assert (line.get("registry"), line.get("repository"), line.get("reference")) == ("docker.io", "library/alpha", "1")
    assert int(line.get("age_s")) >= 0 and line.get("cause")
    if words:
        assert any(w in line.get("cause") for w in words), line
        assert any(w in r.headers["Warning"] for w in words), r.headers["Warning"]
    for target, d in alpha.targets():
        r = client.get(target)
        assert r.status == 200 and bytes(r.body) == alpha.bytes(d) and "Warning" not in r.headers


def assert_recovers(client):
    def fresh():
        r = client.get("/v2/library/alpha/manifests/1")
        assert r.status == 200
        return "Warning" not in r.headers
    wait_until(fresh, "it is fresh again", 60)


# --- past the TTL ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", FAILING)
def test_a_tag_that_is_stored_is_served_whatever_the_upstream_does(launch, hub, image, how):
    m, client, alpha = warm(launch, image)
    fail, words = FAILING[how]
    fail(hub)
    assert_stale(m, client, alpha, words)
    assert_stale(m, client, alpha)
    for f in list(hub.faults):
        f.remove()
    hub.listen()
    if how not in ("pull limit", "abuse limit", "token limit"):     # those are remembered for a while
        assert_recovers(client)


def test_what_is_served_stale_is_counted(launch, hub, image):
    m, client, alpha = warm(launch, image, ops={"listen": ["127.0.0.1:0"]})
    assert Ops(m).page().get("stale_served_total") == 0
    hub.refuse()
    assert_stale(m, client, alpha)
    assert Ops(m).page().get("stale_served_total") == 2, "a GET and a HEAD"


@pytest.mark.parametrize("how", ["no such name", "no TLS there", "a certificate of nobody's", "no route"])
def test_a_tag_that_is_stored_is_served_when_the_upstream_cannot_be_reached(launch, hub, another, image, authority, how):
    """The mirror starts again, and finds another world."""
    m, client, alpha = warm(launch, image)
    url = {
        "no such name": lambda: "http://registry.invalid",
        "no TLS there": lambda: hub.url().replace("http:", "https:"),
        "a certificate of nobody's": lambda: another(tls=authority.server("double")).url(),
        "no route": lambda: "http://127.0.0.1:1",
    }[how]()
    m.stop()
    m.write_config(registries={"docker.io": {"url": url}})
    m.start()
    assert_stale(m, Client(m.host_port), alpha)


def test_a_404_ends_it_unless_the_administrator_says_otherwise(launch, hub, image):
    m, client, alpha = warm(launch, image)
    with hub.fault("status", code=404, kind="manifest"):
        assert client.get("/v2/library/alpha/manifests/1").status == 404
        assert client.get(f"/v2/library/alpha/manifests/{alpha.digest}").status == 200, "by digest it is stored"
    m.stop()
    m.write_config(tags={"stale_on_absence": True})
    m.start()
    client = Client(m.host_port)
    with hub.fault("status", code=404, kind="manifest"):
        assert_stale(m, client, alpha, ["not found"])


def test_lists_are_served_stale_as_well(launch, hub, image):
    m = launch(tags={"ttl": "0s"}, **QUICK)
    client = Client(m.host_port)
    a = image("tools/artifact")
    for t in ("tags/list", f"referrers/{a.digest}"):
        fresh = client.get(f"/v2/tools/artifact/{t}")
        with hub.fault("status", code=503):
            r = client.get(f"/v2/tools/artifact/{t}")
        assert (fresh.status, r.status) == (200, 200) and r.body == fresh.body
        assert r.headers["Warning"].startswith('299 - "') and "Warning" not in fresh.headers


# --- bounded --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["503", "refused", "pull limit", "login refused"])
def test_with_stale_for_0_nothing_is_served_stale(launch, hub, image, how):
    m, client, alpha = warm(launch, image, tags={"ttl": "0s", "stale_for": "0s"}, server={"answer_timeout": "1s"})
    FAILING[how][0](hub)
    r = client.get("/v2/library/alpha/manifests/1")
    assert r.status in (404, 503) and r.json["errors"]
    assert client.get(f"/v2/library/alpha/manifests/{alpha.digest}").status == 200


@pytest.mark.parametrize("stale_for,age,served", [(None, "29d", True), (None, "31d", False), ("3d", "71h", True),
                                                  ("3d", "73h", False)])
def test_stale_for_is_a_bound(launch, hub, image, stale_for, age, served):
    tags = {"ttl": "5m", **({"stale_for": stale_for} if stale_for else {})}
    m, client, alpha = warm(launch, image, tags=tags, server={"answer_timeout": "1s"})
    m.stop()
    hub.refuse()
    m.env.update(later(age))
    m.start()
    client = Client(m.host_port)
    r = client.get("/v2/library/alpha/manifests/1")
    assert r.status == (200 if served else 503)
    if served:
        assert_stale(m, client, alpha)
        hours = int(m.wait_line(event="stale").get("age_s")) / 3600
        assert abs(hours - {"29d": 29 * 24, "71h": 71}[age]) < 1
        assert str(int(hours * 3600))[:3] in r.headers["Warning"]
    assert client.get(f"/v2/library/alpha/manifests/{alpha.digest}").status == 200, "a digest does not grow old"


# --- while it is being looked at ------------------------------------------------------------------------------------

def test_stale_while_revalidate_answers_first_and_asks_behind(launch, hub, image):
    """The upstream hangs, and the client does not notice; what it says is for the next one."""
    m = launch(tags={"ttl": "0s", "stale_while_revalidate": True}, upstream={"header_timeout": "30s"})
    client = Client(m.host_port)
    old, _ = make_image(hub)
    assert client.get("/v2/library/made/manifests/1").headers["Docker-Content-Digest"] == old
    new, _ = make_image(hub)
    with hub.fault("hang", kind="manifest") as hang:
        for _ in range(3):
            r = client.get("/v2/library/made/manifests/1", timeout=20)
            assert r.headers["Docker-Content-Digest"] == old and r.headers["Warning"].startswith('299 - "')
        hang.wait()
        assert hang.hits == 1, "asked once, for all of them"
        hang.release()
    wait_until(lambda: client.get("/v2/library/made/manifests/1").headers["Docker-Content-Digest"] == new, "the new one")


def test_by_default_a_tag_that_moved_is_followed_before_the_answer(launch, hub):
    m = launch(tags={"ttl": "0s"})
    client = Client(m.host_port)
    hub.budgets[None] = Budget(form="absent")
    for _ in range(300):    # at once: no answer may be of a question that was asked before
        digest, _ = make_image(hub)
        r = client.get("/v2/library/made/manifests/1")
        assert r.headers["Docker-Content-Digest"] == digest and "Warning" not in r.headers


def test_a_tag_of_what_is_not_stored_is_asked_for_anew_within_its_ttl(launch, hub):
    """The upstream has moved it since, and has the old manifest no more: whoever was told of it could not have it."""
    m = launch(tags={"ttl": "1d"})
    target = "/v2/library/made/manifests/1"
    old, _ = make_image(hub)
    for _ in range(3):
        assert Client(m.host_port).head(target).headers["Docker-Content-Digest"] == old
    assert hub.count(kind="manifest", method="HEAD", status=200) == 1, "those that follow at once are told the same"
    m.stop()
    new, _ = make_image(hub)
    del hub.manifests["library/made", old]
    m.env.update(later("2h"))
    m.start()
    for method in ("HEAD", "GET"):
        r = Client(m.host_port).request(method, target)
        assert r.status == 200 and r.headers["Docker-Content-Digest"] == new and "Warning" not in r.headers
    m.stop()
    hub.forget()
    m.env.update(later("4h"))
    m.start()
    assert Client(m.host_port).get(target).headers["Docker-Content-Digest"] == new
    assert hub.count() == 0, "it is stored now"


# --- nothing to serve -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("miss,how", [*((None, how) for how in ("pull limit", "abuse limit", "500", "refused", "hang")),
                                      *((miss, how) for miss in (503, 404, 429) for how in ("abuse limit", "refused"))])
def test_what_cannot_be_had_is_answered_as_the_administrator_says(launch, hub, image, how, miss):
    over = {"miss_status": miss} if miss else {}
    # a host that wants to be left in peace is waited for, two seconds at the most, before that is told
    m = launch(server={"answer_timeout": "3s", **over}, **QUICK)
    FAILING[how][0](hub)
    client = Client(m.host_port)
    for target, code in (("manifests/1", "MANIFEST_UNKNOWN"), (f"manifests/{image().digest}", "MANIFEST_UNKNOWN"),
                         (f"blobs/{image().largest()}", "BLOB_UNKNOWN")):
        if how == "pull limit" and target.startswith("blobs"):
            continue    # they go on
        r = client.get(f"/v2/library/alpha/{target}")
        assert (r.status, r.end) == (miss or 503, "complete")
        assert 1 <= int(r.headers["Retry-After"]) <= 3600
        assert r.headers["Content-Type"].startswith("application/json")
        error = r.json["errors"][0]
        expected = {404: code, 429: "TOOMANYREQUESTS"}.get(r.status, "TOOMANYREQUESTS" if "limit" in how else "UNAVAILABLE")
        assert error["code"] == expected
        assert "docker.io" in error["message"] and len(error["message"]) > 20, error


def test_a_pull_limit_is_told_in_plain_words_with_account_and_hour(launch, hub, account):
    file = account(hub, "ci", limit=10, remaining=0)
    hub.budgets["ci"].retry_after = "1200"
    hub.enforce = True
    m = launch(server={"answer_timeout": "1s"}, registries={"docker.io": {"credentials": file}})
    client = Client(m.host_port)
    message = ""
    for _ in range(2):
        r = client.get(f"/v2/library/made/manifests/{make_image(hub)[0]}")
        message = r.json["errors"][0]["message"]
        assert r.status == 503
    assert "account ci" in message and ("limit" in message or "pulls left" in message), message
    assert "word-of-ci" not in message


def test_whoever_waits_gets_it_when_the_upstream_comes_back_in_time(launch, hub, image):
    """Held while hope is short: one failure, and the next attempt is answered."""
    m = launch(server={"answer_timeout": "8s"})
    client, alpha = Client(m.host_port), image()
    for target, data in ((f"manifests/{alpha.digest}", alpha.digest), (f"blobs/{alpha.largest()}", alpha.largest())):
        with hub.fault("status", where="registry", code=503, times=1) as f:
            r = client.get(f"/v2/library/alpha/{target}")
        assert f.hits == 1 and r.status == 200 and bytes(r.body) == alpha.bytes(data)


@pytest.mark.parametrize("target", ["manifests/1", "manifests/{digest}", "blobs/{layer}", "tags/list"])
def test_the_first_header_comes_before_ten_seconds_by_default(launch, hub, image, target):
    """Eight seconds, by the configuration's default: the client's own deadline here is that of CRI-O."""
    alpha = image()
    m = launch(server={"answer_timeout": None}, upstream={"header_timeout": "60s", "connect_timeout": "10s"})
    with hub.hang() as hang:
        r = Client(m.host_port).open("/v2/library/alpha/" + target.format(digest=alpha.digest, layer=alpha.largest()),
                                     timeout=10)
        assert r.status == 503 and not hang.released.is_set()
        r.leave()


# --- absence --------------------------------------------------------------------------------------------------------

def test_a_signature_that_is_absent_costs_one_head_while_that_is_remembered(client, hub, image):
    """An admission controller asks at every pod."""
    tag = image("library/beta").digest.replace(":", "-")
    for suffix in (".sig", ".att", ".sbom", ""):
        for method in ("GET", "HEAD") * 5:
            r = client.request(method, f"/v2/library/beta/manifests/{tag}{suffix}")
            assert r.status == 404
        asked = [(r.method, r.status) for r in hub.select(kind="manifest", reference=tag + suffix, status=404)]
        assert asked == [("HEAD", 404)], asked
    assert hub.budget().counted == 0


@pytest.mark.parametrize("code,name", [(404, "not there"), (401, "refused"), (403, "forbidden")])
def test_absence_in_every_form_is_remembered_for_seconds(client, hub, code, name):
    with hub.fault("status", code=code, kind="manifest") as f:
        for _ in range(20):
            r = client.get("/v2/library/alpha/manifests/1")
            assert r.status == 404 and r.json["errors"][0]["code"] == "MANIFEST_UNKNOWN"
        assert f.hits <= 4
    wait_until(lambda: client.get("/v2/library/alpha/manifests/1").status == 200, "seconds, not minutes", 60)


def test_absence_is_forgotten_when_the_tag_appears(client, hub):
    """A list of tags that has it is the proof."""
    assert client.get("/v2/library/made/manifests/1").status == 404
    digest, _ = make_image(hub)
    assert "1" in client.get("/v2/library/made/tags/list").json["tags"]
    r = client.get("/v2/library/made/manifests/1")
    assert r.status == 200 and r.headers["Docker-Content-Digest"] == digest


def test_absence_is_forgotten_by_a_reload(launch, hub):
    m = launch()
    client = Client(m.host_port)
    assert client.get("/v2/library/made/manifests/1").status == 404
    make_image(hub)
    mark = m.mark()
    m.signal(signal.SIGHUP)
    m.wait_line(since=mark, event="reload")
    assert client.get("/v2/library/made/manifests/1").status == 200
