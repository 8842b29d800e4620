"""Why an image is served as it is, or is not."""

from commands import Cli, pull
from servers import later, wait_until
from test_budget import make_image, make_index
from test_private import APP, Private
from wire import Client


def decision(cli, name):
    return cli.json("explain", name)["pull"]["decision"]


def test_what_is_stored_and_fresh_is_a_hit(served, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    wait_until(lambda: decision(cli, "alpha:1") == "hit", "all is stored")
    e = cli.json("explain", "alpha:1")
    assert e["image"] == "docker.io/library/alpha:1" and e["stored"]["digest"] == alpha.digest
    assert e["stored"]["missing"] == 0 and e["policy"]["ttl_ms"] == 300_000 and e["policy"]["rule"] == ""
    assert e["policy"]["stale_for_ms"] == 30 * 86400_000 and e["events"] == []
    text = cli("explain", "alpha:1")
    for part in ("fresh for 5 min", "stale at need for 30 d", "served from the store", "Nothing of it has gone wrong"):
        assert part in text, text


def test_what_is_not_stored_is_fetched(served, hub):
    _, cli = served
    e = cli.json("explain", "nope:1")
    assert e["pull"]["decision"] == "fetch" and not e["stored"]["known"] and e["upstream"]["can_spend"]
    assert "stored    nothing" in cli("explain", "nope:1")
    assert hub.count() == 0     # nobody was asked for it


def test_the_rule_that_applies_is_named(launch):
    m = launch(tags={"rules": [{"match": "docker.io/library/*:1", "ttl": "2h"}]})
    cli = Cli(m)
    assert cli.json("explain", "alpha:1")["policy"] == {**cli.json("explain", "alpha:1")["policy"],
                                                        "ttl_ms": 7200_000, "rule": "docker.io/library/*:1"}
    assert "fresh for 2 h (rule docker.io/library/*:1)" in cli("explain", "alpha:1")
    assert cli.json("explain", "alpha:2")["policy"]["rule"] == ""


def test_an_old_tag_is_revalidated_or_served_stale(launch, hub, image):
    m = launch(tags={"ttl": "0s"}, server={"answer_timeout": "1s"})
    cli = Cli(m)
    pull(m, image())
    wait_until(lambda: decision(cli, "alpha:1") == "revalidate", "all is stored")
    hub.refuse()
    for tag in "abcdefgh":
        assert Client(m.host_port).get(f"/v2/library/alpha/manifests/{tag}").status == 503
    assert Client(m.host_port).get("/v2/library/alpha/manifests/1").status == 200
    e = cli.json("explain", "alpha:1")
    stale = [ev for ev in e["events"] if ev["kind"] == "stale"]
    assert len(stale) == 1 and stale[0]["count"] == 1 and stale[0]["clients"] == ["127.0.0.1"]
    assert "refused" in stale[0]["message"]
    assert all(ev["reference"] == "1" for ev in e["events"])        # those of other tags are not its
    wait_until(lambda: decision(cli, "alpha:1") in ("stale", "revalidate"), "the breaker opens and is tried again")
    assert "served stale" in cli("explain", "alpha:1")
    hub.listen()


def test_a_pull_limit_is_told_with_account_and_time(launch, hub, account):
    name = account(hub, "ci", limit=100, remaining=0)
    m = launch(registries={"docker.io": {"credentials": name}}, server={"answer_timeout": "1s"})
    cli = Cli(m)
    for _ in range(3):
        assert Client(m.host_port).get("/v2/library/alpha/manifests/1").status == 503
    e = cli.json("explain", "alpha:1")
    assert e["pull"]["decision"] == "fail" and not e["upstream"]["can_spend"]
    assert "pull limit reached for account ci" in e["upstream"]["trouble"]
    assert e["upstream"]["again_at"] > e["now"]
    assert e["events"][0]["count"] >= 1 and e["events"][0]["clients"] == ["127.0.0.1"]
    assert "limit" in e["events"][0]["message"] or "pulls left" in e["events"][0]["message"]
    text = cli("explain", "alpha:1")
    assert "pull limit reached for account ci; resets about" in text
    assert "1 node asked: 127.0.0.1" in text and "pulls fail" in text


def test_what_went_wrong_is_there_after_a_restart(launch, hub):
    m = launch(server={"answer_timeout": "1s"})
    cli = Cli(m)
    hub.fault("status")
    assert Client(m.host_port).get("/v2/library/alpha/manifests/1").status == 503
    before = cli.json("explain", "alpha:1")["events"]
    assert len(before) == 1 and "answered 503" in before[0]["message"] and before[0]["status"] == 503
    m.restart()
    assert cli.json("explain", "alpha:1")["events"] == before
    m.stop()
    m.env.update(later("2h"))
    m.start()
    text = cli("explain", "alpha:1")
    assert "answered with 503" in text and "answered 503" in text


def test_an_absent_tag_is_told(served):
    m, cli = served
    assert Client(m.host_port).get("/v2/library/alpha/manifests/absent").status == 404
    events = cli.json("explain", "alpha:absent")["events"]
    assert len(events) == 1 and events[0]["status"] == 404 and events[0]["reference"] == "absent"
    assert Client(m.host_port).get("/v2/library/alpha/manifests/sha256-" + "0" * 64 + ".sig").status == 404
    assert len(cli.json("explain", "alpha:absent")["events"]) == 1      # nobody misses a signature


def test_what_lacks_blobs_has_them_fetched(served, image):
    m, cli = served
    alpha = image()
    client = Client(m.host_port)
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert client.get(f"/v2/library/alpha/manifests/{alpha.child()}").status == 200
    wait_until(lambda: decision(cli, "alpha:1") == "fetch_blobs", "the manifests are stored")
    assert f"lacks     {len(alpha.blobs())} parts" in cli("explain", "alpha:1")


def test_what_is_private_is_refused_unless_it_is_open(launch, hub, account):
    hub.private.add("library/alpha")
    m = launch(registries={"docker.io": {"credentials": account(hub, "ci")}})
    cli = Cli(m)
    assert cli.json("explain", "alpha:1")["policy"]["visibility"] == "unknown"
    assert Client(m.host_port).get("/v2/library/alpha/manifests/1").status == 404
    e = cli.json("explain", "alpha:1")
    assert e["policy"]["visibility"] == "private" and e["policy"]["accounts"] and not e["policy"]["open"]
    assert e["pull"]["decision"] == "refuse" and "private" in cli("explain", "alpha:1")
    m.stop()
    m.write_config(registries={"docker.io": {"open": ["library/*"]}})
    m.start()
    assert cli.json("explain", "alpha:1")["pull"]["decision"] == "fetch"


def test_an_index_without_its_manifests_is_no_image_that_is_served(served, hub):
    m, cli = served
    child, _ = make_image(hub, tag="amd64")
    make_index(hub, {"amd64": child}, tag="multi")
    client = Client(m.host_port)
    assert client.get("/v2/library/made/manifests/multi").status == 200
    wait_until(lambda: cli.json("explain", "made:multi")["stored"]["stored"], "the index is stored")
    assert decision(cli, "made:multi") == "fetch"
    hub.enforce, hub.remaining = True, 0
    assert client.get(f"/v2/library/made/manifests/{child}").status == 503
    assert client.get("/v2/library/made/manifests/nothing").status in (404, 503)     # whose HEAD says what is left
    e = cli.json("explain", "made:multi")
    assert not e["upstream"]["can_spend"] and e["pull"]["decision"] == "fail", e
    assert client.get(f"/v2/library/made/manifests/{child}").status == 503
    hub.remaining = 10


def test_what_has_to_be_shown_under_its_name_first_is_no_hit(launch, hub, account):
    """Another's private content, and public content under a name that nobody has asked about."""
    app = Private(hub)
    public, _ = make_image(hub)
    m = launch(registries={"docker.io": {"credentials": account(hub, "ci"), "open": [APP, "library/mine"]}},
               server={"answer_timeout": "1s"})
    cli, client = Cli(m), Client(m.host_port)
    for target in (*app.by_digest(), f"/v2/library/made/manifests/{public}"):
        assert client.get(target).status == 200
    wait_until(lambda: decision(cli, f"{APP}@{app.index}") == "hit", "all of it is stored")
    names = (f"library/mine@{app.index}", f"library/other@{public}")
    for name in names:
        repository, _, digest = name.partition("@")
        hub.forget()
        assert decision(cli, name) == "revalidate"
        assert client.get(f"/v2/{repository}/manifests/{digest}").status == 404
        assert hub.count(kind="manifest", method="HEAD") > 0
    hub.refuse()
    while cli.json("explain", "library/other:1")["upstream"]["can_ask"]:
        client.get("/v2/library/other/manifests/1")
    e = cli.json("explain", f"library/third@{public}")
    assert e["upstream"]["can_ask"] or e["pull"]["decision"] == "fail", e
    hub.listen()


def test_a_source_whose_time_off_is_over_can_be_asked(launch, hub):
    m = launch(server={"answer_timeout": "1s"})
    cli, client = Cli(m), Client(m.host_port)
    digest, _ = make_image(hub)

    def source():
        return next(s for s in cli.json("status")["sources"] if s["registry"] == "docker.io")

    hub.refuse()
    assert client.get("/v2/library/made/manifests/other").status == 503
    wait_until(lambda: source()["breaker"] == "open" and source()["open_until"] == 0, "the next request may try it")
    assert "off, tried when asked" in cli("status")
    hub.listen()
    e = cli.json("explain", f"made@{digest}")
    assert e["upstream"]["can_ask"] and e["pull"]["decision"] == "fetch", e
    assert client.get(f"/v2/library/made/manifests/{digest}").status == 200
