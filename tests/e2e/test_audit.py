"""The audit: what would be served if every upstream vanished now, said beforehand and then held against the truth."""

import json
import os
import socket

import pytest
from commands import Cli
from servers import file_of, wait_until
from test_private import APP, Private
from wire import Client

ALPHA = "docker.io/library/alpha:1"


def pull(m, img, arch="amd64"):
    client = Client(m.host_port)
    assert client.get(f"/v2/{img.repo}/manifests/{img.tag}").status == 200
    for target, _ in img.targets(arch):
        assert client.get(target).status == 200
    settle(m, img.everything(arch))


def settle(m, digests):
    """Until all of them have been stored, and not only served."""
    store = m.dir / "store"

    def stored():
        files = sum(len(f) for _, _, f in os.walk(store / "blobs"))
        return all(file_of(store, d).exists() for d in digests) and Cli(m).blobs() == files

    wait_until(stored, "all blobs are stored")


def audit(m, *args, status, text=None):
    """The audit's answer, with the list of images on standard input where `text` has it."""
    r = Cli(m).run("audit", *args, "--json", "--config", m.config_path, text=text)
    assert r.returncode == status, (r.returncode, r.stdout, r.stderr)
    return json.loads(r.stdout) if r.stdout else r.stderr


def verdicts(answer):
    return {i["image"]: i["verdict"] for i in answer["images"]}


def pod(*names):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
         "spec": {"containers": [{"name": "c", "image": n} for n in names]}}]}, indent=4)


def test_what_was_pulled_is_served_and_the_upstream_is_not_asked(launch, hub, image):
    m, alpha = launch(), image()
    pull(m, alpha)
    asked = len(hub.requests)
    answer = audit(m, "-", "--platform", "linux/amd64", status=0, text=pod("alpha:1", "docker.io/alpha:1"))
    assert answer["served"] == 1 and answer["wanting"] == 0 and answer["manifest_gets"] == 0
    found = answer["images"][0]
    assert found["image"] == ALPHA and found["digest"] == alpha.digest and found["wanting"] == []
    assert found["platforms"] == [{"platform": "linux/amd64", "verdict": "served"}]
    assert found["origin"] == "-:15" and found["served_until"] > found["checked_at"] > 0
    # by digest as well, and by a digest with a tag beside it
    audit(m, "-", "--platform", "linux/amd64", status=0, text=f"alpha@{alpha.digest}\nalpha:1@{alpha.child()}\n")
    assert len(hub.requests) == asked
    # which is true
    hub.refuse()
    pull(m, alpha)


def test_a_platform_that_was_never_pulled_is_wanting(launch, hub, image):
    m, alpha = launch(), image()
    pull(m, alpha)
    answer = audit(m, "-", status=3, text="alpha:1 linux/amd64 linux/arm64\n")
    found = answer["images"][0]
    assert [p["verdict"] for p in found["platforms"]] == ["served", "wanting"]
    assert [(w["kind"], w["state"], w["digest"], w["platform"]) for w in found["wanting"]] == [
        ("manifest", "missing", alpha.child("arm64"), "linux/arm64")]
    assert found["manifest_gets"] == 1 and found["has_unknown_bytes"]
    text = Cli(m)("audit", "--image", "alpha:1", "--platform", "all", status=3)
    assert f"\n{ALPHA}\n  --image\n  1 manifest is not stored\n  linux/arm64 manifest {alpha.child('arm64')} " in text
    assert "0 of 1 images" in text
    pull(m, alpha, "arm64")
    assert audit(m, "--image", "alpha:1", "--platform", "all", status=0)["served"] == 1


def test_a_platform_that_the_image_is_not_made_for_is_nothing_to_seed(launch, image):
    m, alpha = launch(), image()
    pull(m, alpha)
    found = audit(m, "-", status=0, text="alpha:1 linux/amd64 linux/s390x\n")["images"][0]
    assert [p["verdict"] for p in found["platforms"]] == ["served", "not_offered"]
    answer = audit(m, "--image", "alpha:1", "--platform", "linux/s390x", status=3)
    assert answer["images"][0]["verdict"] == "not_offered" and answer["manifest_gets"] == 0


def test_what_was_never_pulled_is_wanting_and_does_not_hide_the_rest(launch, image):
    m, alpha = launch(), image()
    pull(m, alpha)
    text = pod("alpha:1", "beta:1", "nowhere.example/x:1", "Bad:1")
    answer = audit(m, "-", "--platform", "linux/amd64", status=3, text=text)
    assert verdicts(answer) == {ALPHA: "served", "docker.io/library/beta:1": "wanting",
                                "nowhere.example/x:1": "wanting"}
    text = Cli(m)("audit", "--image", "beta:1", "--image", "alpha:1", "--platform", "linux/amd64", status=3)
    assert "\ndocker.io/library/beta:1\n  --image\n  its tag has never been asked for here\n" in text and f"\n{ALPHA}\n" not in text
    assert "takes about 2 pulls and as many bytes as their manifests will say.\n" in text
    beta, nowhere = answer["images"][1:]
    assert beta["cause"] == "its tag has never been asked for here" and beta["manifest_gets"] == 2
    assert "not configured" in nowhere["cause"]


def test_a_reference_that_is_none_is_said_and_fails_what_is_served_otherwise(launch, image):
    m, alpha = launch(), image()
    pull(m, alpha)
    r = Cli(m).run("audit", "nothing.txt", "--config", str(m.config_path))
    assert r.returncode == 1 and "nothing.txt: No such file" in r.stderr
    (m.dir / "list.txt").write_text("alpha:1 linux/amd64\n\nAlpha:1\n")
    r = Cli(m).run("audit", "list.txt", "--config", str(m.config_path))
    assert r.returncode == 1 and "1 of 1 images" in r.stdout
    assert 'list.txt:3:1: error: "Alpha:1" is no image reference: its repository has upper-case' in r.stderr


def test_a_layer_that_is_gone_is_named(launch, image):
    m, alpha = launch(), image()
    pull(m, alpha)
    layer = alpha.layers()[1]
    file_of(m.dir / "store", layer).unlink()
    found = audit(m, "--image", "alpha:1", "--platform", "linux/amd64", status=3)["images"][0]
    assert [(w["kind"], w["digest"]) for w in found["wanting"]] == [("layer", layer)]
    assert found["missing_bytes"] == alpha.path(layer).stat().st_size and not found["has_unknown_bytes"]
    assert found["cause"] == "1 blob is not stored" and found["manifest_gets"] == 0
    pull(m, alpha)
    audit(m, "--image", "alpha:1", "--platform", "linux/amd64", status=0)


def test_a_stop_that_was_not_orderly_leaves_doubt(launch, image):
    m, alpha = launch(store={"scrub_interval": "0s"}), image()
    pull(m, alpha)
    m.kill()
    m.start()
    found = audit(m, "--image", "alpha:1", "--platform", "linux/amd64", status=3)["images"][0]
    assert {w["state"] for w in found["wanting"]} == {"in_doubt"} and "not orderly" in found["cause"]
    pull(m, alpha)  # is looked at on its way
    m.stop()
    m.start()
    audit(m, "--image", "alpha:1", "--platform", "linux/amd64", status=0)


def test_a_tag_that_may_not_be_served_stale_is_wanting_and_its_digest_is_not(launch, image):
    m, alpha = launch(tags={"ttl": "0s", "stale_for": "0s"}), image()
    pull(m, alpha)
    found = audit(m, "--image", "alpha:1", "--platform", "linux/amd64", status=3)["images"][0]
    assert found["cause"] == "its tag was confirmed longer ago than tags.stale_for allows"
    assert found["wanting"] == [] and found["manifest_gets"] == 0
    audit(m, "--image", f"alpha@{alpha.digest}", "--platform", "linux/amd64", status=0)


def test_what_is_private_is_served_to_nobody_unless_it_is_open(launch, hub, account):
    app = Private(hub)
    registries = {"docker.io": {"credentials": account(hub, "jo"), "open": [APP]}}
    m = launch(registries=registries)
    for target in (f"/v2/{APP}/manifests/1", f"/v2/{APP}/blobs/{app.config}", f"/v2/{APP}/blobs/{app.layer}"):
        assert Client(m.host_port).get(target).status == 200
    settle(m, [app.manifest, app.config, app.layer])
    audit(m, "--image", f"{APP}:1", status=0)
    # under another name it would have to be shown first
    found = audit(m, "--image", f"company/other@{app.manifest}", status=3)["images"][0]
    assert found["cause"] == "nobody has asked yet who may see its repository"
    assert {w["state"] for w in found["wanting"]} == {"hidden"}
    m.stop()
    m.write_config(registries={"docker.io": {"credentials": registries["docker.io"]["credentials"], "open": []}})
    m.start()
    found = audit(m, "--image", f"{APP}:1", status=3)["images"][0]
    assert "private" in found["cause"]


def test_directories_and_patterns(launch, image):
    m, alpha = launch(), image()
    pull(m, alpha)
    d = m.dir / "lists"
    (d / "deep").mkdir(parents=True)
    (d / ".hidden").mkdir()
    (d / "a.txt").write_text("alpha:1 linux/amd64\n")
    (d / "deep/b.yaml").write_text("docker.io:\n  images-by-tag-regex:\n    library/alpha: ^1$\n")
    (d / "README.md").write_text("Not A List\n")
    (d / ".hidden/c.txt").write_text("Not A List\n")
    (d / "deep/round").symlink_to(d)
    answer = audit(m, "lists", status=3)
    assert verdicts(answer) == {ALPHA: "served", "docker.io/library/alpha": "wanting"}
    assert "pattern" in answer["images"][1]["cause"]


def test_more_images_than_one_request_has(launch, image):
    m, alpha = launch(), image()
    pull(m, alpha)
    lines = "".join(f"beta:{n}\n" for n in range(450)) + "alpha:1 linux/amd64\n"
    answer = audit(m, "-", status=3, text=lines)
    assert (answer["served"], answer["wanting"]) == (1, 450)
    text = Cli(m)("audit", "--image", "alpha:1", "--platform", "linux/amd64", "--wanting")
    assert text == "1 of 1 images would be served without an upstream.\n"


@pytest.mark.parametrize("body,code", [
    ("[]", "bad_body"), ("{}", "bad_body"), ('{"images": 1}', "bad_body"), ('{"images": [1]}', "bad_image"),
    ('{"images": [{"image": "A"}]}', "bad_image"), ('{"images": [{"image": "a", "platforms": ["x"]}]}', "bad_platform"),
    ('{"images": [{"image": "a", "platforms": "linux/amd64"}]}', "bad_platform"),
    ('{"images": [], "platforms": ["default"]}', "bad_platform"),
    (json.dumps({"images": [{"image": "a"}] * 1001}), "bad_body"),
    (json.dumps({"images": [], "platforms": [f"linux/a{n}" for n in range(33)]}), "bad_platform"),
])
def test_what_the_api_does_not_take(launch, body, code):
    m = launch()
    path = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.path.join(m.dir, path))
        s.sendall(f"POST /v1/audit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                  .encode())
        answer = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 400 ") and f'"code":"{code}"' in answer.replace(" ", ""), answer


@pytest.mark.parametrize("args", [
    [], ["--format", "toml", "-"], ["--field", "Widget", "-"], ["--platform", "plan9", "-"], ["--image", "Alpha"],
    ["--image"], ["--nothing"],
])
def test_wrong_arguments_are_status_2(launch, args):
    m = launch()
    r = Cli(m).run("audit", *args)
    assert r.returncode == 2 and "entrepot audit --help" in r.stderr
