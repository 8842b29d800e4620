"""Why an image is served as it is, or is not."""

from commands import Cli, pull
from servers import later, wait_until
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
