"""The pull limit: what is counted, what is free, whose budget is spent, and what a 429 means.

The oracles are the double's: `counted` and `refused` GETs of manifests of each account, and every request as it came.
"""

import email.utils
import itertools
import json
import time

import pytest
from hub import OCI_INDEX, Budget
from servers import wait_until
from wire import Client

NUMBERS = itertools.count()


def make_image(hub, repo="library/made", tag="1", seed=None):
    """A manifest that no other test has, with one small layer; put in by hand."""
    n = next(NUMBERS) if seed is None else seed
    layer = hub.put_blob(f"layer {n}".encode() * 100)
    config = hub.put_blob(json.dumps({"architecture": "amd64", "os": "linux", "n": n}).encode())
    size = {d: hub.blobs[d].size for d in (layer, config)}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size[config]},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size[layer]}],
    }).encode()
    return hub.put_manifest(repo, manifest, tag=tag), layer


def make_index(hub, children, repo="library/made", tag="1"):
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": d,
         "size": len(hub.manifests[repo, d][1]), "platform": {"os": "linux", "architecture": a}}
        for a, d in children.items()]}
    return hub.put_manifest(repo, index, OCI_INDEX, tag)


def manifest_gets(hub):
    return hub.select(kind="manifest", method="GET", where="registry", status=lambda s: s != 401)


# --- what is counted ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("prefetch", [False, True])
def test_a_cold_image_costs_one_for_the_index_and_one_for_each_platform(launch, hub, image, prefetch):
    m = launch(prefetch={"enabled": prefetch})
    client, alpha, budget = Client(m.host_port), image(), hub.budget()
    for method in ("HEAD", "GET"):
        assert client.request(method, "/v2/library/alpha/manifests/1").status == 200
    assert budget.counted == 1
    for n, arch in enumerate(("amd64", "arm64")):
        for target, _ in alpha.targets(arch):
            assert client.get(target).status == 200
        assert budget.counted == 2 + n
    assert budget.remaining == 100 - 3


def test_what_is_stored_never_costs_a_counted_request(launch, hub, image):
    """Warm, past its TTL, after a restart, and with nothing left: HEADs are free, and answer."""
    m = launch(tags={"ttl": "0s"})
    alpha, budget = image(), hub.budget()

    def pull():
        client = Client(m.host_port)
        for reference in ("1", alpha.digest, alpha.child()):
            for method in ("HEAD", "GET"):
                r = client.request(method, f"/v2/library/alpha/manifests/{reference}")
                assert r.status == 200 and "Warning" not in r.headers

    pull()
    assert budget.counted == 2
    pull()
    m.restart()
    pull()
    budget.remaining, hub.enforce = 0, True
    pull()
    m.kill()
    m.start()
    pull()
    assert (budget.counted, budget.refused) == (2, 0)
    assert hub.count(kind="manifest", method="HEAD", reference="1", status=200) >= 4, "a HEAD for each time it was old"


def test_a_tag_that_moved_to_what_is_stored_costs_nothing(launch, hub):
    m = launch(tags={"ttl": "0s"})
    client, budget = Client(m.host_port), hub.budget()
    one, _ = make_image(hub, tag="a")
    two, _ = make_image(hub, tag="b")
    for tag in "ab":
        assert client.get(f"/v2/library/made/manifests/{tag}").status == 200
    hub.manifests["library/made", "a"] = hub.manifests["library/made", two]
    r = client.get("/v2/library/made/manifests/a")
    assert r.headers["Docker-Content-Digest"] == two and budget.counted == 2


# --- what is left, in every form ------------------------------------------------------------------------------------

FORMS = {
    "100;w=21600": {"form": "docker"},
    "capitals": {"form": "capitals"},
    "x-": {"form": "x"},
    "an hour": {"window": 3600},
    "no window": {"form": "bare"},
    "no number": {"form": "empty"},
    "absent": {"form": "absent"},
    "absent, and no source": {"form": "absent", "source": None},
    "an address of version 6": {"source": "2001:41d0:801:2000::"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_budget_in_every_form_lets_pulls_through(client, hub, form):
    hub.budgets[None] = Budget(**FORMS[form])
    for _ in range(3):
        digest, layer = make_image(hub)
        assert client.get(f"/v2/library/made/manifests/{digest}").status == 200
        assert client.get(f"/v2/library/made/blobs/{layer}").status == 200
    assert hub.budget().counted == 3


@pytest.mark.parametrize("form", ["docker", "capitals", "x", "bare"])
@pytest.mark.parametrize("left", [0, -7])
def test_a_budget_that_is_seen_to_be_spent_is_not_tried(launch, hub, form, left):
    """The HEAD of the tag says that nothing is left: no GET is sent that would be refused."""
    m = launch(server={"answer_timeout": "1s"})
    hub.budgets[None] = Budget(window=3600, remaining=left, form=form)
    hub.enforce = True
    make_image(hub)

    def is_told():      # where the HEAD has not been answered by then, it is only known that it takes long
        r = Client(m.host_port).get("/v2/library/made/manifests/1")
        assert r.status == 503 and r.end == "complete" and int(r.headers["Retry-After"]) >= 1
        return r.json["errors"][0]["code"] == "TOOMANYREQUESTS"
    wait_until(is_told, "what is left is known")
    assert manifest_gets(hub) == [] and hub.count(kind="manifest", method="HEAD", status=200) >= 1


def test_what_is_left_is_remembered_over_a_restart(launch, hub):
    m = launch(server={"answer_timeout": "1s"})
    hub.enforce = True
    hub.budgets[None] = Budget(limit=100, remaining=1)
    first, _ = make_image(hub)
    assert Client(m.host_port).get(f"/v2/library/made/manifests/{first}").status == 200
    assert hub.budget().remaining == 0
    m.restart()
    hub.forget()
    second, layer = make_image(hub)
    client = Client(m.host_port)
    assert client.get(f"/v2/library/made/manifests/{second}").status == 503
    assert manifest_gets(hub) == [], "it is known that nothing is left"
    assert client.get(f"/v2/library/made/manifests/{first}").status == 200
    assert client.get(f"/v2/library/made/blobs/{layer}").status == 200, "blobs do not count"


def test_when_what_is_known_is_old_a_head_looks_again(launch, hub):
    """Nothing was left, and now there is: the first to ask finds out without a pull."""
    m = launch(server={"answer_timeout": "1s"}, budget={"probe_after": "1s"})
    client = Client(m.host_port)
    hub.enforce = True
    hub.budgets[None] = Budget(remaining=1)
    digest, _ = make_image(hub)
    assert client.get(f"/v2/library/made/manifests/{digest}").status == 200
    digest, _ = make_image(hub)
    assert client.get(f"/v2/library/made/manifests/{digest}").status == 503
    hub.budget().remaining = 50
    hub.forget()
    wait_until(lambda: client.get(f"/v2/library/made/manifests/{digest}").status == 200, "it is looked at again", 60)
    asked = [(r.method, r.reference) for r in hub.select(kind="manifest", where="registry", status=200)]
    assert asked[-1] == ("GET", digest) and ("HEAD", digest) in asked and len([a for a in asked if a[0] == "GET"]) == 1
    assert hub.budget().refused == 0


# --- accounts -------------------------------------------------------------------------------------------------------

def test_accounts_are_used_one_after_the_other_and_nobodys_last(launch, hub, account):
    """Three budgets of ten: thirty pulls, none of them refused by anybody."""
    files = [account(hub, user, limit=10) for user in ("ann", "bob")]
    hub.budgets[None] = Budget(limit=10)
    hub.enforce = True
    m = launch(registries={"docker.io": {"sources": [
        {"name": "ann", "credentials": files[0]}, {"name": "bob", "credentials": files[1]}, {"name": "nobody"}]}})
    client = Client(m.host_port)
    for _ in range(30):
        digest, _ = make_image(hub)
        assert client.get(f"/v2/library/made/manifests/{digest}").status == 200
    assert {user: (b.counted, b.refused) for user, b in hub.budgets.items()} == {
        "ann": (10, 0), "bob": (10, 0), None: (10, 0)}
    order = [r.user for r in hub.select(counted=True)]
    assert order[:9] == ["ann"] * 9, "a little is left before the next is used"
    first_nobody = order.index(None)
    assert order[:first_nobody].count("ann") >= 9 and order[:first_nobody].count("bob") >= 9
    digest, layer = make_image(hub)
    hub.forget()
    r = client.get(f"/v2/library/made/manifests/{digest}")
    assert r.status == 503 and r.json["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert manifest_gets(hub) == []
    assert client.get(f"/v2/library/made/blobs/{layer}").status == 200


def test_an_account_that_is_refused_hands_over_to_the_next(launch, hub, account):
    """The double tells nothing of what is left: the 429 is the first that is known of it."""
    files = [account(hub, user, limit=3, form="absent") for user in ("ann", "bob")]
    hub.budgets[None] = Budget(limit=3, form="absent")
    hub.enforce = True
    m = launch(registries={"docker.io": {"sources": [
        {"name": "ann", "credentials": files[0]}, {"name": "bob", "credentials": files[1]}, {"name": "nobody"}]}})
    client = Client(m.host_port)
    for _ in range(9):
        digest, _ = make_image(hub)
        assert client.get(f"/v2/library/made/manifests/{digest}").status == 200
    assert [hub.budgets[u].counted for u in ("ann", "bob", None)] == [3, 3, 3]
    assert all(hub.budgets[u].refused <= 1 for u in ("ann", "bob")), "asked once, and then left in peace"
    assert not any("word-of-" in line for line in m.lines)


def test_a_login_that_is_refused_leaves_the_others(launch, hub, account):
    files = [account(hub, user) for user in ("ann", "bob")]
    hub.accounts["ann"] = "another"
    m = launch(registries={"docker.io": {"sources": [
        {"name": "ann", "credentials": files[0]}, {"name": "bob", "credentials": files[1]}]}})
    client = Client(m.host_port)
    for _ in range(3):
        digest, layer = make_image(hub)
        assert client.get(f"/v2/library/made/manifests/{digest}").status == 200
        assert client.get(f"/v2/library/made/blobs/{layer}").status == 200
    assert hub.budgets["bob"].counted == 3
    assert len([r for r in hub.token_requests() if r.status == 401]) <= 3, "a password that is wrong stays wrong"


# --- four kinds of 429 ----------------------------------------------------------------------------------------------

def test_a_pull_limit_stops_gets_of_manifests_and_nothing_else(launch, hub, image):
    m = launch(server={"answer_timeout": "1s"}, tags={"ttl": "0s"})
    client = Client(m.host_port)
    old, _ = make_image(hub, tag="old")
    assert client.get("/v2/library/made/manifests/old").status == 200
    hub.budgets[None] = Budget(remaining=0, form="absent")
    hub.enforce = True
    new, layer = make_image(hub)
    assert client.get(f"/v2/library/made/manifests/{new}").status == 503
    refused = hub.budget().refused
    assert 1 <= refused <= 2
    for _ in range(5):
        assert client.get(f"/v2/library/made/manifests/{make_image(hub)[0]}").status == 503
        assert client.get(f"/v2/library/alpha/manifests/{image().digest}").status == 503
    assert hub.budget().refused <= refused + 1, "the account is left in peace, whatever the manifest"
    assert client.head("/v2/library/made/manifests/1").status == 200, "a HEAD is free"
    r = client.get("/v2/library/made/manifests/old")
    assert r.status == 200 and "Warning" not in r.headers, "revalidated"
    assert client.get(f"/v2/library/made/blobs/{layer}").status == 200
    assert client.get("/v2/library/made/tags/list").status == 200
    assert client.get(f"/v2/library/alpha/blobs/{image().largest()}").status == 200


def test_an_abuse_limit_slows_everything_to_that_host(launch, hub, second, image):
    """After the first 429 nothing is asked for a time, whatever for; other hosts are asked as ever."""
    m = launch(server={"answer_timeout": "1s"})
    client, alpha = Client(m.host_port), image()
    assert client.get(f"/v2/library/alpha/blobs/{alpha.blobs()[0]}").status == 200
    hub.forget()
    with hub.fault("limit", kind_of="abuse", where="registry", retry_after="600"):
        assert client.get("/v2/library/alpha/manifests/1").status == 503
        first = hub.count(where="registry")
        assert first <= 2
        for target in ("manifests/" + alpha.digest, "blobs/" + alpha.largest(), "tags/list", "manifests/other"):
            r = client.get(f"/v2/library/alpha/{target}")
            assert r.status == 503 and int(r.headers["Retry-After"]) > 60
        assert hub.count(where="registry") == first
        assert client.get(f"/v2/library/alpha/blobs/{alpha.blobs()[0]}").status == 200
    assert client.get(f"/v2/quay.example/library/alpha/blobs/{alpha.largest()}").status == 200
    assert second.count(kind="blob", method="GET") == 1


def test_after_an_abuse_limit_requests_come_slowly_and_the_pull_is_right(client, hub):
    """A short one: clients that wait get what they want, with some distance between the requests upstream."""
    wanted = [make_image(hub)[0] for _ in range(6)]
    with hub.fault("limit", kind_of="abuse", where="registry", times=1) as f:
        waiting = [client.ask(f"/v2/library/made/manifests/{d}") for d in wanted]
        for r in waiting:
            assert r.read_head().status in (200, 503)
            r.leave()
    assert f.hits == 1
    for d in wanted:
        wait_until(lambda d=d: client.get(f"/v2/library/made/manifests/{d}").status == 200, "it came at last")
    assert hub.budget().counted == len(wanted)


def test_a_token_limit_leaves_the_tokens_that_live(launch, hub, image):
    m = launch(server={"answer_timeout": "1s"})
    client, alpha = Client(m.host_port), image()
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    with hub.fault("limit", where="auth", kind_of="token") as f:
        assert client.get(f"/v2/library/alpha/manifests/{alpha.child()}").status == 200
        for d in alpha.blobs():
            assert client.get(f"/v2/library/alpha/blobs/{d}").status == 200
        assert f.hits == 0
        for _ in range(5):
            assert client.get("/v2/library/beta/manifests/1").status == 503
        assert f.hits <= 4, "the token server is not asked again and again"
        assert client.get(f"/v2/library/alpha/manifests/{alpha.child('arm64')}").status == 200


def test_a_limit_of_another_api_is_not_taken_for_a_pull_limit(launch, hub, image):
    """As hub.docker.com's: a time in seconds since 1970, which is no wait of 50 years."""
    m = launch(server={"answer_timeout": "1s"})
    client = Client(m.host_port)
    with hub.fault("limit", kind_of="rest", kind="manifest", where="registry"):
        r = client.get("/v2/library/alpha/manifests/1")
    assert r.status == 503 and 1 <= int(r.headers["Retry-After"]) <= 3600


# --- Retry-After ----------------------------------------------------------------------------------------------------

RETRY_AFTER = {
    "seconds": lambda: "1234",
    "date": lambda: email.utils.formatdate(time.time() + 1234, usegmt=True),
    "epoch": lambda: str(int(time.time()) + 1234),
    "rubbish": lambda: "880.092µs".encode().decode("latin-1"),
    "negative": lambda: "-5",
    "in the past": lambda: "Thu, 01 Jan 1998 00:00:00 GMT",
    "absent": lambda: None,
}


@pytest.mark.parametrize("form", RETRY_AFTER)
@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_in_every_form(launch, hub, form, code):
    m = launch(server={"answer_timeout": "1s"})
    client = Client(m.host_port)
    value = RETRY_AFTER[form]()
    if code == 429:
        fault = hub.fault("limit", kind_of="abuse", where="registry", retry_after=value)
    else:
        fault = hub.fault("status", where="registry", code=503, headers=[("Retry-After", value)] if value else [])
    with fault:
        r = client.get("/v2/library/alpha/manifests/1")
        assert r.status == 503 and r.end == "complete"
        wait = int(r.headers["Retry-After"])
        if form in ("seconds", "date", "epoch") and code == 429:
            assert 300 < wait <= 1234
            assert client.get("/v2/library/alpha/manifests/1").status == 503
            assert fault.hits <= 1, "it is respected"
        elif form in ("seconds", "date", "epoch"):
            assert 300 < wait <= 1234
        else:
            assert 1 <= wait <= 300


# --- storms ---------------------------------------------------------------------------------------------------------

def test_a_storm_for_what_is_missing_asks_once_while_the_upstream_says_wait(launch, hub):
    m = launch(server={"answer_timeout": "2s"})
    client = Client(m.host_port)
    digest = "sha256:" + "5" * 64
    with hub.fault("limit", kind_of="abuse", where="registry", retry_after="3600"):
        for _ in range(2):
            waiting = [client.ask(f"/v2/library/made/manifests/{digest}") for _ in range(100)]
            for r in waiting:
                assert r.read_head().status == 503
                r.leave()
    assert hub.count(where="registry") == 1


@pytest.mark.parametrize("kind_of", ["pull", "abuse", "5xx"])
def test_a_storm_for_what_is_missing_asks_once_a_step(launch, hub, kind_of):
    """Between two requests there is a pause, however many wait: of a second and more, half of it chance; a server in
    trouble is asked up to three times within the first of them, 100 ms and more apart, half of it chance."""
    m = launch(server={"answer_timeout": "3s"})
    client = Client(m.host_port)
    digest = "sha256:" + "6" * 64
    fault = {"5xx": lambda: hub.fault("status", where="registry", kind="manifest", code=502)}.get(
        kind_of, lambda: hub.fault("limit", kind_of=kind_of, where="registry", kind="manifest"))
    with fault():
        for _ in range(2):
            waiting = [client.ask(f"/v2/library/made/manifests/{digest}") for _ in range(100)]
            for r in waiting:
                assert r.read_head().status == 503 and "Retry-After" in r.headers
                r.leave()
    times = [r.at for r in hub.select(where="registry", kind="manifest", fault=lambda f: f is not None)]
    gaps = [b - a for a, b in zip(times, times[1:])]
    least = 0.05 if kind_of == "5xx" else 0.5
    assert 1 <= len(times) <= 16 and all(g >= least for g in gaps), gaps


def test_a_crash_loop_for_what_is_absent_asks_once_in_a_while(client, hub):
    digest = "sha256:" + "7" * 64
    for _ in range(50):
        assert client.get(f"/v2/library/made/manifests/{digest}").status == 404
    assert hub.count(kind="manifest", status=404) <= 3, "seconds, not once a request"


# --- reserves -------------------------------------------------------------------------------------------------------

def test_revalidation_leaves_a_reserve_for_pods_that_wait(launch, hub):
    """Tags that moved need a GET. Below the reserve they are served as they were, and a live pull gets what is left."""
    m = launch(tags={"ttl": "0s"}, budget={"reserve_revalidation": 50})
    client = Client(m.host_port)
    hub.enforce = True
    hub.budgets[None] = Budget(limit=10)
    old = {}
    for tag in "abcd":
        old[tag], _ = make_image(hub, tag=tag)
        assert client.get(f"/v2/library/made/manifests/{tag}").status == 200
    assert hub.budget().remaining == 6
    new = {tag: make_image(hub, tag=tag)[0] for tag in "abcd"}
    served = {tag: client.get(f"/v2/library/made/manifests/{tag}") for tag in "abcd"}
    assert all(r.status == 200 for r in served.values())
    assert hub.budget().remaining == 5, "half is kept"
    assert served["a"].headers["Docker-Content-Digest"] == new["a"] and "Warning" not in served["a"].headers
    for tag in "bcd":
        assert served[tag].headers["Docker-Content-Digest"] == old[tag]
        assert served[tag].headers["Warning"].startswith('299 - "')
    for n in range(5):
        assert client.get(f"/v2/library/made/manifests/{make_image(hub)[0]}").status == 200
    assert (hub.budget().remaining, hub.budget().refused) == (0, 0)


def test_a_tag_that_moved_is_served_as_it_was_when_nothing_is_left(launch, hub):
    m = launch(tags={"ttl": "0s"})
    client = Client(m.host_port)
    hub.enforce = True
    old, _ = make_image(hub)
    assert client.get("/v2/library/made/manifests/1").status == 200
    make_image(hub)
    hub.budget().remaining = 0
    r = client.get("/v2/library/made/manifests/1")
    assert r.status == 200 and r.headers["Docker-Content-Digest"] == old
    assert r.headers["Warning"].startswith('299 - "')
    assert hub.budget().refused == 0
