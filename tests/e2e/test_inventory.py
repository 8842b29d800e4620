"""What is stored, as the commands show it and change it."""

import os
import signal

import pytest
from commands import Cli, pull
from servers import file_of, wait_until
from test_scrub import flip
from wire import Client

ALPHA = "docker.io/library/alpha:1"


def settled(cli, *names):
    """All of these are stored, which a client has before the disk has."""
    def is_whole(i):        # of an index nothing is missing before one of its manifests is stored
        is_index = "index" in i["media_type"] or "list" in i["media_type"]
        return i["stored"] and not i["missing"] and (i["platforms"] or not is_index)

    def are_whole():
        found = images(cli)
        return all(name in found and is_whole(found[name]) for name in names)
    wait_until(are_whole, "everything is stored")


def images(cli, *args):
    return {i["image"]: i for i in cli.json("ls", *args)["images"]}


def test_ls_shows_what_was_pulled(served, image):
    m, cli = served
    assert cli.json("ls")["images"] == [] and cli("ls") == "Nothing is stored.\n"
    assert cli("du").startswith("all ")
    alpha = image()
    pull(m, alpha)
    settled(cli, ALPHA)
    found = images(cli)
    assert list(found) == [ALPHA]
    i = found[ALPHA]
    assert i["digest"] == alpha.digest and i["stored"] and not i["pinned"] and i["missing"] == 0
    assert i["platforms"] == ["linux/amd64"]
    assert i["bytes"] == sum(alpha.path(d).stat().st_size for d in alpha.everything())
    text = cli("ls")
    assert ALPHA in text and "amd64" in text and alpha.digest[7:19] in text
    assert cli("ls", "quay.io/*") == "No image that is stored matches.\n"
    assert cli("tags", "beta") == "No tag of this repository is stored.\n"


def test_ls_shows_what_is_lacking(served, image):
    m, cli = served
    alpha = image()
    client = Client(m.host_port)
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert client.get(f"/v2/library/alpha/manifests/{alpha.child()}").status == 200
    wait_until(lambda: images(cli)[ALPHA]["missing"] > 0, "the manifest is stored")
    i = images(cli)[ALPHA]
    assert i["missing"] == len(alpha.blobs())
    assert i["missing_bytes"] == sum(alpha.path(d).stat().st_size for d in alpha.blobs())


def test_ls_takes_a_pattern(served, image):
    m, cli = served
    pull(m, image())
    pull(m, image("library/beta"))
    settled(cli, ALPHA, "docker.io/library/beta:1")
    assert list(images(cli, "docker.io/library/b*")) == ["docker.io/library/beta:1"]
    assert list(images(cli, "docker.io/library/alpha")) == [ALPHA]
    assert list(images(cli, "*:1")) == [ALPHA, "docker.io/library/beta:1"]
    assert not images(cli, "quay.io/*")


def test_an_image_that_was_pulled_by_digest_is_shown_by_it(served, image):
    m, cli = served
    alpha = image()
    client = Client(m.host_port)
    for d in (alpha.digest, alpha.child()):
        assert client.get(f"/v2/library/alpha/manifests/{d}").status == 200
    assert client.get("/v2/library/alpha/tags/list").status == 200      # a document, and no image
    wait_until(lambda: cli.blobs() == 3, "all of it is stored")
    assert list(images(cli)) == [f"docker.io/library/alpha@{alpha.digest}"]


def test_the_list_comes_in_pages(served, hub, image):
    """Whatever the length of the pages, everything comes once."""
    m, cli = served
    manifest = image().bytes(image().child())
    client = Client(m.host_port)
    for n in range(23):
        d = hub.put_manifest("library/many", manifest.replace(b"{", b"{" + b" " * (n + 1), 1), tag=f"t{n:02}")
        assert client.get(f"/v2/library/many/manifests/t{n:02}").status == 200
        if n % 2:
            assert client.get(f"/v2/library/many/manifests/{d}").status == 200
    wait_until(lambda: len(images(cli, "*/many:*")) == 23, "all are stored")
    socket = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    for limit in (1, 5, 23, 24):
        got, after = [], ""
        while True:
            page = cli.api(socket, f"/v1/images?limit={limit}&after={after}")
            assert len(page["images"]) <= limit
            got += [i["image"] for i in page["images"]]
            after = page["after"]
            if not after:
                break
        assert got == [f"docker.io/library/many:t{n:02}" for n in range(23)]


@pytest.mark.parametrize("after", ["x", "t1", "tzz", "d" + "0" * 2000])
def test_a_place_that_is_none_is_refused(served, after):
    m, cli = served
    socket = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    assert cli.api(socket, f"/v1/images?after={after}", status=400)["error"]["code"] == "bad_parameter"


def test_tags_are_those_of_one_repository(served, hub, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    pull(m, image("library/beta"))
    hub.put_manifest("library/alpha", alpha.bytes(alpha.child()), tag="two")
    assert Client(m.host_port).get("/v2/library/alpha/manifests/two").status == 200
    settled(cli, ALPHA, "docker.io/library/alpha:two")
    for name in ("alpha", "library/alpha", "docker.io/alpha", "index.docker.io/library/alpha"):
        tags = cli.json("tags", name)["images"]
        assert [t["image"] for t in tags] == [ALPHA, "docker.io/library/alpha:two"]
    assert "two" in cli("tags", "alpha")
    assert "tag or a digest" in cli("tags", "alpha:1", status=1)
    assert "not configured" in cli("tags", "example.com/alpha", status=1)


def test_inspect_shows_each_part(served, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    settled(cli, ALPHA)
    i = cli.json("inspect", "alpha:1")
    parts = {p["digest"]: p for p in i["parts"]}
    assert i["image"] == ALPHA and i["parts"][0]["kind"] == "index" and i["parts"][0]["digest"] == alpha.digest
    assert parts[alpha.child()]["platform"] == "linux/amd64" and parts[alpha.child()]["stored"]
    assert not parts[alpha.child("arm64")]["stored"]
    for d in alpha.layers():
        assert parts[d]["kind"] == "layer" and parts[d]["stored"]
        assert parts[d]["bytes"] == alpha.path(d).stat().st_size
    assert parts[alpha.blobs()[0]]["kind"] == "config"
    text = cli("inspect", f"docker.io/library/alpha@{alpha.digest}")
    assert "linux/arm64" in text and "missing" in text and "stored" in text


def test_a_damaged_manifest_that_is_looked_at_is_told(served, image, store):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    wait_until(lambda: cli.blobs() == len(alpha.everything()), "all are stored")
    flip(file_of(store, alpha.child()))
    assert cli.json("inspect", "alpha:1")["parts"]
    m.wait_line(event="damaged", digest=alpha.child(), found="image")


def test_inspect_shows_who_else_has_a_layer(served, hub, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    manifest = alpha.bytes(alpha.child()) + b"\n"
    hub.put_manifest("library/other", manifest, tag="1")
    for d in alpha.blobs():
        hub.put_blob(alpha.bytes(d))
    assert Client(m.host_port).get("/v2/library/other/manifests/1").status == 200
    wait_until(lambda: cli.json("inspect", "alpha:1")["shared_with"] == ["docker.io/library/other"], "it is stored")
    i = cli.json("inspect", "alpha:1")
    assert {p["others"] for p in i["parts"] if p["kind"] == "layer" and p["stored"]} == {1}
    assert cli.json("inspect", "other:1")["shared_with"] == ["docker.io/library/alpha"]


def test_what_is_not_stored_is_said(served):
    _, cli = served
    assert "docker.io/library/alpha:latest is not stored here" in cli("inspect", "alpha", status=1)
    assert "no name of an image" in cli("inspect", "Alpha", status=1)
    assert "no tag" in cli("inspect", "alpha:", status=1)
    assert "no digest" in cli("inspect", "alpha@sha256:1", status=1)


# --- pins -----------------------------------------------------------------------------------------------------------

def test_pins_are_listed_and_seen_and_taken_away(served, image):
    m, cli = served
    pull(m, image())
    settled(cli, ALPHA)
    cli("pin", "alpha:1")
    cli("pin", "quay.example/*", "--for", "30d")
    pins = {p["what"]: p for p in cli.json("pins")["pins"]}
    assert set(pins) == {ALPHA, "quay.example/*"}
    assert pins[ALPHA]["expires_at"] == 0 and not pins[ALPHA]["pattern"]
    left = pins["quay.example/*"]["expires_at"] - cli.json("pins")["now"]
    assert 29 * 86400_000 < left <= 30 * 86400_000 and pins["quay.example/*"]["pattern"]
    assert images(cli)[ALPHA]["pinned"] and "pinned" in cli("ls")
    assert "in 29 d" in cli("pins")
    m.restart()
    assert images(cli)[ALPHA]["pinned"]
    cli("unpin", "docker.io/library/alpha:1")
    cli("unpin", "quay.example/*")
    assert cli.json("pins")["pins"] == [] and not images(cli)[ALPHA]["pinned"]
    assert "is not pinned" in cli("unpin", "alpha:1", status=1)


def test_a_pinned_digest_is_unpinned_by_the_words_of_the_list(served, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    cli("pin", f"alpha@{alpha.digest}")
    assert [p["what"] for p in cli.json("pins")["pins"]] == [alpha.digest]
    cli("unpin", alpha.digest)
    assert cli.json("pins")["pins"] == []


@pytest.mark.parametrize("what, why", [("UPPER", "no name"), ("*", "registry/repository"), ("x" * 300, "")])
def test_what_cannot_be_pinned_is_said(served, what, why):
    _, cli = served
    assert why in cli("pin", what, status=1)


@pytest.mark.parametrize("time", ["30", "d", "-1d", "1y", "1dd", "99999999d", ""])
def test_a_time_that_is_none_is_refused(served, time):
    _, cli = served
    cli("pin", "alpha", "--for", time, status=2)


def test_there_are_so_many_patterns(served):
    m, cli = served
    socket = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    for n in range(256):
        cli.api(socket, "/v1/pins", "POST", '{"what":"docker.io/p%d/*"}' % n)
    assert cli.api(socket, "/v1/pins", "POST", '{"what":"docker.io/more/*"}', status=409)["error"]["code"] == "too_many"
    cli.api(socket, "/v1/pins", "POST", '{"what":"docker.io/library/alpha:1"}')


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"what":1}', '{"what":"a/b","x":1}', '{"what":"a/b","for_ms":-1}',
                                  '{"what":"a/b","what":"a/c"}', '{"what":"a\\u0000b"}'])
def test_a_body_that_is_none_is_refused(served, body):
    m, cli = served
    socket = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    assert cli.api(socket, "/v1/pins", "POST", body, status=400)["error"]["code"] == "bad_body"


# --- taking away ----------------------------------------------------------------------------------------------------

def test_rm_removes_an_image_with_what_nothing_else_needs(served, hub, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    pull(m, image("library/beta"))
    settled(cli, ALPHA, "docker.io/library/beta:1")
    before = cli.blobs()
    beta = set(image("library/beta").everything())
    gone = set(alpha.everything()) - beta
    answer = cli.json("rm", "alpha:1")
    assert answer["blobs"] == len(gone) and answer["tag_forgotten"] and answer["kept_for"] == ""
    assert answer["bytes"] == sum(alpha.path(d).stat().st_size for d in gone)
    assert cli.blobs() == before - len(gone)
    assert list(images(cli)) == ["docker.io/library/beta:1"]
    hub.forget()
    pull(m, image("library/beta"))
    assert hub.count(where="cdn") == 0
    pull(m, alpha)      # it can be had again
    wait_until(lambda: cli.blobs() == before, "it is back")


def test_rm_keeps_what_another_tag_stands_for(served, hub, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    hub.put_manifest("library/alpha", alpha.bytes(alpha.digest), alpha.media_type, tag="again")
    assert Client(m.host_port).get("/v2/library/alpha/manifests/again").status == 200
    settled(cli, ALPHA, "docker.io/library/alpha:again")
    before = cli.blobs()
    assert "docker.io/library/alpha:again has it" in cli("rm", "alpha:1")
    assert list(images(cli)) == ["docker.io/library/alpha:again"] and cli.blobs() == before
    assert "removed" in cli("rm", "alpha:again")
    assert cli.blobs() == 0


def test_rm_leaves_what_is_pinned(served, image):
    m, cli = served
    pull(m, image())
    settled(cli, ALPHA)
    cli("pin", "docker.io/library/*")
    assert "pinned; unpin it first" in cli("rm", "alpha:1", status=1)
    cli("unpin", "docker.io/library/*")
    cli("rm", "alpha:1")
    assert images(cli) == {}


def test_rm_does_not_disturb_who_is_reading(served, hub):
    m, cli = served
    data = b"x" * (32 << 20)
    d = hub.put_blob(data)
    config = hub.put_blob(b"{}")
    manifest = ('{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
                f'"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":'
                f'"application/vnd.oci.image.layer.v1.tar","digest":"{d}","size":{len(data)}}}]}}')
    hub.put_manifest("library/large", manifest.encode(), tag="1")
    client = Client(m.host_port)
    assert client.get("/v2/library/large/manifests/1").status == 200
    assert bytes(client.get(f"/v2/library/large/blobs/{d}").body) == data
    assert client.get(f"/v2/library/large/blobs/{config}").status == 200
    settled(cli, "docker.io/library/large:1")
    r = client.open(f"/v2/library/large/blobs/{d}")
    r.read(1 << 20)
    assert cli.json("rm", "large:1")["blobs"] == 3
    r.finish()
    assert len(r.body) == len(data) and r.body == data


def test_rm_of_several_goes_on_after_one_that_is_not_there(served, image):
    m, cli = served
    pull(m, image())
    settled(cli, ALPHA)
    r = cli.run("rm", "nope:1", "alpha:1", "--config", str(m.config_path))
    assert r.returncode == 1 and "nope:1 is not stored" in r.stderr and "alpha:1: removed" in r.stdout
    assert images(cli) == {}


def test_purge_has_a_tag_asked_for_anew(served, hub, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    settled(cli, ALPHA)
    hub.forget()
    client = Client(m.host_port)
    assert client.get("/v2/library/alpha/manifests/1").status == 200 and hub.count(kind="manifest") == 0
    assert cli.json("purge", "quay.io/*")["purged"] == 0
    assert client.get("/v2/library/alpha/manifests/1").status == 200 and hub.count(kind="manifest") == 0
    assert cli.json("purge", "docker.io/library/alpha")["purged"] == 1
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert hub.count(kind="manifest", method="HEAD") == 1 and hub.count(kind="manifest", method="GET") == 0
    assert cli.json("purge")["purged"] == 1
    hub.refuse()
    r = client.get("/v2/library/alpha/manifests/1")     # what is stored is served all the same
    assert r.status == 200 and "stale" in r.headers["Warning"]
    hub.listen()


def test_gc_takes_what_is_of_no_use(launch, hub, image):
    from servers import later
    m = launch()
    cli = Cli(m)
    pull(m, image())
    orphan = hub.put_blob(b"nobody names it")
    assert Client(m.host_port).get(f"/v2/library/alpha/blobs/{orphan}").status == 200
    settled(cli, ALPHA)
    n = len(image().everything())
    wait_until(lambda: cli.blobs() == n + 1, "all is stored")
    assert cli.json("gc", "--dry-run")["blobs"] == 0        # it is young
    m.stop()
    m.env.update(later("2h"))
    m.start()
    would = cli.json("gc", "--dry-run")
    assert would["dry_run"] and would["blobs"] == 1 and would["blob_bytes"] == len("nobody names it")
    assert "1" in cli("gc", "--dry-run") and cli.blobs() == n + 1
    done = cli.json("gc")
    assert not done["dry_run"] and done["blobs"] == 1 and done["unknown"] == 0
    assert cli.blobs() == n
    assert cli.json("gc")["blobs"] == 0
    settled(cli, ALPHA)


def test_gc_takes_partial_files_and_expired_pins(launch, hub):
    from servers import later
    m = launch()
    cli = Cli(m)
    d = hub.put_blob(b"y" * (4 << 20))
    fault = hub.fault("stall", at=2 << 20, where="cdn", reference=d)
    r = Client(m.host_port).open(f"/v2/library/alpha/blobs/{d}")
    r.read(1 << 20)
    cli("pin", "alpha:1", "--for", "1h")
    m.kill()
    fault.remove()
    m.env.update(later("2d"))
    m.start()
    would = cli.json("gc", "--dry-run")
    assert would["expired_pins"] == 1 and would["partials"] == 1 and would["partial_bytes"] > 0
    assert "expired" in cli("pins")
    cli("gc")
    after = cli.json("gc", "--dry-run")
    assert after["expired_pins"] == 0 and after["partials"] == 0
    assert cli.json("pins")["pins"] == []


def test_du_tells_own_from_shared(served, hub, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    settled(cli, ALPHA)
    size = {d: alpha.path(d).stat().st_size for d in alpha.everything()}
    usage = cli.json("du")
    assert usage["repositories"] == [{"repository": "docker.io/library/alpha", "manifests": 2,
                                      "own_bytes": sum(size.values()), "shared_bytes": 0}]
    assert usage["bytes"] == sum(size.values()) and usage["unnamed_bytes"] == 0 and usage["shared_bytes"] == 0
    manifest = alpha.bytes(alpha.child()) + b"\n"
    hub.put_manifest("library/other", manifest, tag="1")
    for d in alpha.blobs():
        hub.put_blob(alpha.bytes(d))
    assert Client(m.host_port).get("/v2/library/other/manifests/1").status == 200
    orphan = hub.put_blob(b"nobody names it")
    assert Client(m.host_port).get(f"/v2/library/alpha/blobs/{orphan}").status == 200
    wait_until(lambda: cli.blobs() == len(size) + 2, "all is stored")
    usage = cli.json("du")
    shared = sum(size[d] for d in alpha.blobs())
    rows = {u["repository"]: u for u in usage["repositories"]}
    assert rows["docker.io/library/alpha"]["own_bytes"] == sum(size.values()) - shared
    assert rows["docker.io/library/other"]["own_bytes"] == len(manifest)
    assert {u["shared_bytes"] for u in rows.values()} == {shared} and usage["shared_bytes"] == shared
    assert usage["unnamed_bytes"] == len("nobody names it")
    text = cli("du")
    assert "docker.io/library/other" in text and "nobody's  15 B" in text


def test_what_changes_the_store_is_in_the_audit_log(launch, image):
    m = launch()
    cli = Cli(m)
    pull(m, image())
    settled(cli, ALPHA)
    m.write_config(log={"level": "error"})
    m.signal(signal.SIGHUP)
    m.wait_line(event="audit", action="reload", what=str(m.config_path), result="done", who=lambda w: w.endswith(
        f"pid={os.getpid()}"))
    cli("pin", "alpha:1")
    cli("rm", "alpha:1", status=1)
    cli("unpin", "alpha:1")
    cli("rm", "alpha:1")
    cli("purge")
    cli("gc")
    cli("gc", "--dry-run")
    cli("status")
    m.wait_line(event="audit", action="gc")
    lines = m.find(event="audit", action=lambda a: a != "reload")
    assert [(ln.get("action"), ln.get("what"), ln.get("result")) for ln in lines] == [
        ("pin", "alpha:1", "done"), ("remove", ALPHA, "failed"), ("unpin", "alpha:1", "done"),
        ("remove", ALPHA, "done"), ("purge", "*", "done"), ("gc", None, "done")]
    assert all(ln.get("who").startswith("uid=0 pid=") for ln in lines)
