"""Seeds: lists of images that the server fetches by itself, as the pull limits let it.

The oracles are the double's counters, the store as clients see it, and what `entrepot seed --json` says of itself.
"""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import pytest
from commands import Cli
from hub import Budget
from servers import wait_until
from test_budget import make_image, make_index, manifest_gets
from test_ops import Ops
from wire import Client

PLATFORM = ["--platform", "linux/amd64"]


def put_images(hub, count, repo="library/made"):
    """Plain images with a layer each: what they are called, and their digests."""
    made = [(f"{repo}:{n}", *make_image(hub, repo, tag=str(n))) for n in range(count)]
    return [name for name, _, _ in made], [digest for _, digest, _ in made]


def write_list(tmp_path, names, file="images.txt"):
    path = tmp_path / file
    path.write_text("\n".join(names) + "\n")
    return str(path)


def run(cli, *args):
    return cli.run(*args, "--config", str(cli.mirror.config_path))


def seeds(cli):
    return {s["name"]: s for s in cli.json("seeds")["seeds"]}


def wait_for_seed(cli, name, condition, timeout=60):
    found = {}

    def is_so():
        found.clear()
        found.update(seeds(cli).get(name, {}))
        return found and condition(found)
    wait_until(is_so, f"seed {name}: {found}", timeout)
    return found


def is_served_without_upstream(m, hub, name):
    """A pull by tag of everything, with the double gone for its time."""
    repo, _, tag = name.rpartition(":")
    client = Client(m.host_port)
    r = client.get(f"/v2/{repo}/manifests/{tag}")
    if r.status != 200:
        return False
    return all(client.get(f"/v2/{repo}/blobs/{d['digest']}").status == 200
               for d in [r.json["config"], *r.json["layers"]])


# --- the whole way --------------------------------------------------------------------------------------------------

def test_what_was_seeded_is_served_without_an_upstream(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 5)
    text = cli("seed", "--name", "base", write_list(tmp_path, names))
    assert "base: 5 of 5 images are here" in text and "5 pulls" in text
    assert hub.budget().counted == 5
    assert run(cli, "audit", write_list(tmp_path, names)).returncode == 0
    hub.refuse()
    for name in names:
        assert is_served_without_upstream(m, hub, name)


def test_thirty_images_within_a_limit_of_ten_and_live_pulls_go_on(launch, hub, tmp_path):
    """Seven of ten are seeding's. When it waits, a live pull goes; when the window has moved, it goes on."""
    m = launch(budget={"probe_after": "1s"})
    cli = Cli(m)
    names, _ = put_images(hub, 30)
    digest, _ = make_image(hub, "library/live", tag="1")
    hub.enforce = True
    hub.budgets[None] = Budget(limit=10, window=3600)
    budget = hub.budget()
    cli("seed", "--detach", "--name", "base", write_list(tmp_path, names))
    seed = wait_for_seed(cli, "base", lambda s: s.get("waits_for"))
    assert budget.counted == 7 and budget.remaining == 3
    assert seed["images"]["done"] == 7 and seed["images"]["failed"] == 0 and "3 of 10 pulls left" in seed["waits_for"]

    r = Client(m.host_port).get("/v2/library/live/manifests/1")
    assert r.status == 200 and r.headers["Docker-Content-Digest"] == digest
    assert budget.counted == 8
    for done in (14, 21, 28):
        budget.remaining = 10
        wait_for_seed(cli, "base", lambda s, n=done: s["images"]["done"] == n)
    budget.remaining = 10
    seed = wait_for_seed(cli, "base", lambda s: s["state"] == "done")
    assert seed["images"]["done"] == 30 and seed["pulls"] == 30
    assert budget.counted == 31 and budget.refused == 0


def test_a_server_that_is_killed_goes_on_with_its_seeds(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 6)
    hold = hub.fault("stall", at=0, kind="blob", method="GET", repo="library/made")
    cli("seed", "--detach", "--name", "base", write_list(tmp_path, names))
    hold.wait()
    m.kill()
    hold.remove()
    m.start()
    seed = wait_for_seed(cli, "base", lambda s: s["state"] == "done")
    assert seed["images"]["done"] == 6
    assert hub.budget().counted in (6, 7)   # the manifest may not have been durable
    hub.refuse()
    assert all(is_served_without_upstream(m, hub, n) for n in names)


def test_a_stop_in_the_middle_is_no_failure_of_an_image(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 3)
    hold = hub.fault("stall", at=0, kind="blob", method="GET", repo="library/made")
    file = write_list(tmp_path, names)
    cli("seed", "--detach", "--name", "base", file)
    hold.wait()
    cli("seed", "--detach", "--name", "base", file)     # whose turn comes when the stop has ended the wait of the first
    m.restart()
    socket = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    images = cli.api(socket, "/v1/seeds/2?images=1")["list"]
    assert [(i["attempts"], i.get("cause")) for i in images] == [(0, None)] * 3
    hold.remove()
    assert wait_for_seed(cli, "base", lambda s: s["state"] == "done")["images"]["done"] == 3


def test_a_second_run_costs_heads_alone(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 4)
    file = write_list(tmp_path, names)
    cli("seed", file)
    hub.forget()
    cli("seed", file)
    assert manifest_gets(hub) == []
    assert hub.count(kind="manifest", method="HEAD", status=200) == 4
    assert hub.count(kind="blob") == 0


def test_platforms(launch, hub, tmp_path):
    m = launch(seeding={"platforms": ["linux/arm64"]})
    cli = Cli(m)
    children = {}
    layers = {}
    for n, arch in enumerate(("amd64", "arm64", "s390x")):
        children[arch], layers[arch] = make_image(hub, tag=arch)
    make_index(hub, children, tag="multi")
    file = write_list(tmp_path, ["made:multi"])

    def fetched():
        return {a for a, layer in layers.items() if hub.count(kind="blob", reference=layer, method="GET")}
    cli("seed", file)
    assert fetched() == {"arm64"}
    cli("seed", "--platform", "linux/amd64", file)
    assert fetched() == {"amd64", "arm64"}
    cli("seed", "--platform", "all", file)
    assert fetched() == {"amd64", "arm64", "s390x"}
    assert hub.budget().counted == 4


def test_patterns_of_tags(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    for tag in ("1.0", "1.1", "2.0", "2.0-rc1"):
        make_image(hub, tag=tag)
    hub.lists["tags", "library/made"] = ["1.0", "1.1", "2.0", "2.0-rc1"]
    path = tmp_path / "sync.yaml"
    path.write_text("docker.io:\n  images-by-semver:\n    library/made: '>= 1.1'\n")
    r = run(cli, "seed", str(path))
    assert r.returncode == 0, r.stderr
    assert "1 of the images is a pattern of tags" in r.stderr
    assert {x.reference for x in hub.select(kind="manifest", method="HEAD", status=200)} == {"1.1", "2.0"}


# --- price ----------------------------------------------------------------------------------------------------------

def test_the_price_is_what_the_run_then_pays(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 3)
    children = {a: make_image(hub, tag=a)[0] for a in ("amd64", "arm64")}
    make_index(hub, children, tag="multi")
    # of three, one is here, one has lost its layer, one is not known; and an index whose platform is missing
    Client(m.host_port).get("/v2/library/made/manifests/multi")
    first, second = (hub.manifests["library/made", str(n)] for n in range(2))
    cli("seed", "--image", "made:0")
    Client(m.host_port).get("/v2/library/made/manifests/1")
    file = write_list(tmp_path, ["made:0", "made:1", "made:multi", "made:1"])
    before = hub.budget().counted
    price = cli.json("seed", "--dry-run", *PLATFORM, file)
    assert hub.budget().counted == before
    of = price["registries"][0]
    assert of["registry"] == "docker.io" and of["images"] == 3 and of["complete"] == 1
    layer = json.loads(second[1])["layers"][0]["size"] + json.loads(second[1])["config"]["size"]
    assert of["bytes"] == layer and of["has_unknown_bytes"]
    cli("seed", *PLATFORM, file)
    assert hub.budget().counted - before == of["pulls"] == 1
    text = cli("seed", "--dry-run", *PLATFORM, file)
    assert re.search(r"docker.io +3 +3 +0 ", text), text
    del first


def test_the_price_says_how_long_the_limit_makes_it_wait(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    hub.budgets[None] = Budget(limit=10, window=3600)
    make_image(hub, "library/live", tag="1")
    Client(m.host_port).get("/v2/library/live/manifests/1")
    price = cli.json("seed", "--dry-run", *PLATFORM, write_list(tmp_path, [f"made:{n}" for n in range(10)]))
    of = price["registries"][0]
    assert of["pulls"] == 20 and of["unknown"] == 10 and of["pulls_left"] == 6
    assert of["waits_ms"] == 2 * 3600 * 1000
    text = cli("seed", "--dry-run", *PLATFORM, write_list(tmp_path, ["made:1"]))
    assert "about 2" in text and " no\n" in text


def test_the_image_that_is_being_fetched_waits_for_no_limit(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, digests = put_images(hub, 2)
    hub.enforce = True
    hub.budgets[None] = Budget(limit=10, window=3600, remaining=5)
    layer = json.loads(hub.manifests["library/made", digests[1]][1])["layers"][0]["digest"]
    hold = hub.fault("stall", at=1, where="cdn", method="GET", reference=layer)
    cli("seed", "--detach", "--name", "base", write_list(tmp_path, names))
    hold.wait()
    socket = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    wait_until(lambda: cli.api(socket, "/v1/seeds/1").get("current", {}).get("bytes"), "its manifest is there")
    seed = cli.api(socket, "/v1/seeds/1")
    assert seed["pulls_left"] == 0 and seed["pulls"] == 1
    assert seed["ends_at"] - seed["started_at"] < 3600_000, "it waits for no window"
    hold.remove()
    assert wait_for_seed(cli, "base", lambda s: s["state"] == "done")["pulls"] == 2


# --- failures -------------------------------------------------------------------------------------------------------

def test_failures_are_listed_with_cause_and_what_to_do(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 2)
    file = write_list(tmp_path, [names[0], "library/made:nothing", "unknown.example/a/b:1", names[1]])
    r = run(cli, "seed", "--name", "base", file)
    assert r.returncode == 1
    assert "base: 2 of 4 images are here" in r.stdout
    assert "docker.io/library/made:nothing" in r.stdout and "images.txt:2)" in r.stdout
    assert "What to do: check the name and the tag" in r.stdout
    assert "What to do: name the registry under `registries`" in r.stdout
    assert m.find(event="seed_failed", image="docker.io/library/made:nothing")


def test_what_is_wrong_with_a_list_is_said_and_the_rest_is_seeded(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 1)
    r = run(cli, "seed", write_list(tmp_path, [names[0], "not-an-image:::"]))
    assert r.returncode == 1 and "images.txt:2" in r.stderr and "1 of 1 images are here" in r.stdout


def test_a_command_line_that_makes_no_sense(mirror, tmp_path):
    cli = Cli(mirror)
    assert "stand alone" in cli("seed", "--watch", "1", "--cancel", "2", status=2)
    cli("seed", "--every", "often", "--image", "alpine", status=2)
    cli("seed", status=2)
    assert "there is no seed nothing" in cli("seed", "--watch", "nothing", status=1)
    assert "there is none" in cli("seed", "--watch", "77", status=1)
    assert "a name has letters" in cli("seed", "--name", "a/b", "--image", "alpine", status=1)


# --- pins, schedule, ends -------------------------------------------------------------------------------------------

def test_what_a_seed_pins_is_not_evicted(launch, hub, tmp_path):
    m = launch(store={"max_size": "1MiB", "low_watermark": 50})
    cli = Cli(m)
    big = [hub.put_blob(os.urandom(300_000)) for _ in range(6)]

    def put(n):
        config = hub.put_blob(json.dumps({"n": n}).encode())
        return hub.put_manifest("library/big", {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "x/y", "digest": config, "size": hub.blobs[config].size},
            "layers": [{"mediaType": "x/y", "digest": big[n], "size": 300_000}]}, tag=str(n))
    for n in range(6):
        put(n)
    cli("seed", "--name", "keep", "--pin", "--image", "big:0")
    for n in range(1, 6):
        cli("seed", "--image", f"big:{n}")
    wait_until(lambda: run(cli, "audit", "--image", "big:1").returncode == 3, "nothing is evicted")
    assert run(cli, "audit", "--image", "big:0").returncode == 0
    cli("seed", "--forget", "keep")
    assert "keep" not in seeds(cli)


def test_a_pin_of_somebody_that_ends_leaves_the_seeds_own(launch, hub):
    """Whether it was there before the seed, or took the place of the seed's."""
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 2)

    def pins():
        return {p["what"].rpartition(":")[2]: p["origin"] for p in cli.json("pins")["pins"]}
    cli("pin", names[0], "--for", "3s")
    cli("seed", "--name", "base", "--pin", *(arg for name in names for arg in ("--image", name)))
    wait_until(lambda: pins().get("1") == "seed/base", "the seed has pinned its images")
    cli("pin", names[1], "--for", "1s")
    wait_until(lambda: pins() == {"0": "seed/base", "1": "seed/base"}, "the seed's pins are back")


def test_a_seed_of_the_configuration_is_repeated_and_its_file_read_again(launch, hub, tmp_path):
    names, _ = put_images(hub, 3)
    file = write_list(tmp_path, names[:1])
    m = launch(seeds=[{"name": "base", "files": [file], "every": "1d", "pin": True}])
    cli = Cli(m)
    seed = wait_for_seed(cli, "base", lambda s: s["state"] == "done")
    assert seed["configured"] and seed["pin"] and seed["images"]["all"] == 1
    assert seed["next_at"] - seed["ended_at"] == 24 * 3600 * 1000
    write_list(tmp_path, [*names[:2], "no-image:::"])
    m.write_config(seeds=[{"name": "base", "files": [file]}])
    m.signal(signal.SIGHUP)
    seed = wait_for_seed(cli, "base", lambda s: s["state"] == "done" and s["images"]["all"] == 2)
    assert "next_at" not in seed and not seed["pin"]
    m.wait_line(event="seed_list", seed="base", file=file, line="3")
    assert "the configuration has" in cli("seed", "--forget", "base", status=1)
    assert "the configuration has" in cli("seed", "--name", "base", "--image", names[2], status=1)
    m.restart()
    seed = wait_for_seed(cli, "base", lambda s: s["state"] == "done")
    assert hub.budget().counted == 2
    m.write_config(seeds=[])
    m.signal(signal.SIGHUP)
    wait_until(lambda: "base" not in seeds(cli), "the seed is gone")


def test_metrics_tell_how_the_seeds_of_the_configuration_stand(launch, hub, tmp_path):
    names, _ = put_images(hub, 2)
    file = write_list(tmp_path, [*names, "library/nothing:1"])
    m = launch(ops={"listen": ["127.0.0.1:0"]}, seeds=[{"name": "base", "files": [file]}])
    cli, ops = Cli(m), Ops(m)
    run(cli, "seed", "--detach", "--name", "by-hand", "--image", names[0])
    ended = wait_for_seed(cli, "base", lambda s: s["state"] == "failed")["ended_at"]
    page = ops.page()
    assert page.get("seed_images", seed="base") == 3 and page.get("seed_failed_images", seed="base") == 1
    assert page.get("seed_last_end_timestamp_seconds", seed="base") == pytest.approx(ended / 1000, abs=0.001)
    assert page.get("seed_images") == 3, "of no other seed"
    m.write_config(seeds=[])
    m.signal(signal.SIGHUP)
    ops.wait(lambda p: not any(name.startswith("entrepot_seed") for name, _ in p.samples), "what is no more is not shown")


def test_cancel(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 3)
    hold = hub.fault("stall", at=0, kind="blob", method="GET", repo="library/made")
    cli("seed", "--detach", "--name", "base", write_list(tmp_path, names))
    hold.wait()
    cli("seed", "--cancel", "base")
    assert seeds(cli)["base"]["state"] == "cancelled"
    assert "ended already" in cli("seed", "--cancel", "base", status=1)
    hold.remove()
    r = run(cli, "seed", "--watch", "base")
    assert r.returncode == 1 and "It was cancelled" in r.stdout
    assert m.find(event="audit", action="seed_cancel")


# --- looking on -----------------------------------------------------------------------------------------------------

class Terminal:
    """A command on a terminal of that size: what is on its screen."""

    def __init__(self, m, columns, *args):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.columns = columns
        self.proc = subprocess.Popen([m.command, *args, "--config", str(m.config_path)], cwd=m.dir, stdin=slave,
                                     stdout=slave, stderr=slave, start_new_session=True,
                                     preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.master = master
        self.data = b""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                more = os.read(self.master, 65536)
            except OSError:
                return
            if not more:
                return
            self.data += more

    def screens(self):
        """Every picture that was drawn, as lines."""
        text = self.data.decode()
        return [[ln for ln in re.sub(r"\x1b\[[0-9]*[A-Za-z]", "", s).replace("\r", "").split("\n") if ln]
                for s in text.split("\x1b[J")]

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.thread.join(10)
        os.close(self.master)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_progress_on_a_terminal(launch, hub, tmp_path, columns):
    m = launch()
    names, _ = put_images(hub, 3, repo="library/an-image-with-a-rather-long-name/and-another-part")
    hold = hub.fault("stall", at=1, kind="blob", method="GET")
    t = Terminal(m, columns, "seed", "--name", "base", write_list(tmp_path, names))
    try:
        hold.wait()
        wait_until(lambda: any("pulls made" in " ".join(s) and len(s) >= 3 for s in t.screens()), "a picture")
        hold.remove()
        assert t.proc.wait(60) == 0
        t.thread.join(10)
        for screen in t.screens()[:-1]:
            assert all(len(line) < columns for line in screen), screen
            assert len(screen) <= 4
        pictures = [s for s in t.screens() if s and s[0].startswith("base: ")]
        if columns >= 80:
            assert any("0 of 3 images" in s[0] for s in pictures)
            assert any("─" in s[0] for s in pictures)
        assert "base: 3 of 3 images are here" in t.screens()[-1][0]
    finally:
        t.close()


def test_ctrl_c_leaves_the_seed_to_the_server(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    names, _ = put_images(hub, 2)
    hold = hub.fault("stall", at=1, kind="blob", method="GET")
    t = Terminal(m, 80, "seed", "--name", "base", write_list(tmp_path, names))
    try:
        hold.wait()
        os.write(t.master, b"\x03")
        assert t.proc.wait(30) == 130
        t.thread.join(10)
        assert "entrepot seed --watch 1" in t.data.decode()
    finally:
        t.close()
    hold.remove()
    assert "2 of 2 images are here" in cli("seed", "--watch", "1")


def test_where_there_is_no_terminal_there_are_lines(launch, hub, tmp_path):
    m = launch()
    names, _ = put_images(hub, 2)
    hold = hub.fault("stall", at=1, kind="blob", method="GET")
    p = subprocess.Popen([m.command, "seed", "--config", str(m.config_path), "--name", "base",
                          write_list(tmp_path, names)], cwd=m.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    line = p.stderr.readline()
    hold.wait()
    hold.remove()
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and re.match(r"base: 0 of 2 images, ", line), line
    assert "\x1b" not in out + err + line and "2 of 2 images are here" in out


def test_the_list_of_seeds(launch, hub, tmp_path):
    m = launch()
    cli = Cli(m)
    assert "There are no seeds" in cli("seeds")
    names, _ = put_images(hub, 2)
    cli("seed", "--name", "base", "--every", "6h", write_list(tmp_path, names))
    text = cli("seeds")
    assert re.search(r"1 +base +done +2 of 2", text) and "in 5 h" in text
