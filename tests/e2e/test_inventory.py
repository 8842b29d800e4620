"""What is stored, as the commands show it and change it."""

import pytest
from commands import Cli, pull, served  # noqa: F401  (a fixture)
from servers import wait_until
from wire import Client

ALPHA = "docker.io/library/alpha:1"


def settled(cli, *names):
    """All of these are stored, which a client has before the disk has."""
    wait_until(lambda: all(i["stored"] and not i["missing"] for i in images(cli).values() if not names or i["image"] in
                           names) and set(names) <= set(images(cli)), "everything is stored")


def images(cli, *args):
    return {i["image"]: i for i in cli.json("ls", *args)["images"]}


def test_ls_shows_what_was_pulled(served, image):
    m, cli = served
    assert cli.json("ls")["images"] == []
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
    wait_until(lambda: cli.json("status")["store"]["blobs"] == 3, "all of it is stored")
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
