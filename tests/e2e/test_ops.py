"""The administrator's side: probes, and metrics that say what the tests did."""

import re
import signal
import subprocess

import pytest
from servers import TOOLS, wait_until
from wire import Client

MIB = 1 << 20

SAMPLE = re.compile(r'^([a-z_:][a-z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?[0-9.]+(?:e[-+]?[0-9]+)?)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Page:
    """Prometheus' text format 0.0.4, taken apart strictly."""

    def __init__(self, text):
        assert text.endswith("\n")
        self.types, self.samples = {}, {}
        family = None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                assert family not in self.types, f"{family} comes twice"
                continue
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name == family and kind in ("counter", "gauge", "histogram")
                self.types[name] = kind
                continue
            m = SAMPLE.match(line)
            assert m, line
            name, labels, value = m.groups()
            suffix = name[len(family):]
            assert name.startswith(family), f"{line}: not with its family"
            assert suffix in (("_bucket", "_sum", "_count") if self.types[family] == "histogram" else ("",)), line
            key = (name, frozenset(LABEL.findall(labels or "")))
            assert key not in self.samples, f"{line} comes twice"
            self.samples[key] = float(value)
        self.check_histograms()

    def check_histograms(self):
        rows = {}
        for (name, labels), value in self.samples.items():
            if name.endswith("_bucket"):
                rest = frozenset(kv for kv in labels if kv[0] != "le")
                rows.setdefault((name[:-7], rest), []).append((float(dict(labels)["le"]), value))
        for (name, labels), buckets in rows.items():
            counts = [v for _, v in sorted(buckets)]
            assert counts == sorted(counts) and sorted(buckets)[-1][0] == float("inf")
            assert counts[-1] == self.samples[(name + "_count", labels)]

    def get(self, name, **labels):
        """The sum of all samples that have these labels."""
        want = set(labels.items())
        return sum(v for (n, have), v in self.samples.items() if n == "entrepot_" + name and want <= have)


class Ops:
    """The second listener of a mirror."""

    def __init__(self, mirror):
        host, _, port = mirror.find(since=mirror.first_line, event="ops")[-1].get("listen").rpartition(":")
        self.client = Client((host, int(port)))

    def status(self, target):
        r = self.client.get(target)
        return r.status, bytes(r.body).decode()

    def page(self):
        r = self.client.get("/metrics")
        assert r.status == 200 and r.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Page(bytes(r.body).decode())

    def wait(self, condition, what):
        """A request is counted when its answer is out, and so a moment after the client has it."""
        wait_until(lambda: condition(self.page()), what)
        return self.page()


@pytest.fixture
def ops_config():
    return {"listen": ["127.0.0.1:0"]}


def test_without_an_address_there_is_no_side_door(mirror):
    assert not mirror.find(event="ops")


def test_an_address_that_is_taken_ends_the_start(launch, hub):
    m = launch(started=False, ops={"listen": hub.url().replace("http://", "")})
    m.spawn()
    assert m.wait() == 1
    assert m.find(event="ops", level="error")
    m.proc = None


def test_probes_and_their_ends(launch, ops_config):
    m = launch(ops=ops_config)
    ops = Ops(m)
    wait_until(lambda: ops.status("/readyz") == (200, "ok\n"), "ready")
    assert ops.status("/livez") == ops.status("/startupz") == (200, "ok\n")
    assert ops.status("/v2/")[0] == 404
    assert Client(m.host_port).get("/metrics").status == 404, "the public side shows none"


def test_readiness_ends_with_the_drain_and_the_rest_stays(launch, hub, ops_config):
    m = launch(ops=ops_config, server={"drain_timeout": "60s"}, upstream={"stall_timeout": "60s"})
    ops = Ops(m)
    data = bytes(8 * MIB)
    d = hub.put_blob(data)
    with hub.fault("stall", kind="blob", at=4 * MIB) as stall:
        r = Client(m.host_port).open(f"/v2/library/x/blobs/{d}")
        stall.wait()
        r.read(MIB)
        assert ops.page().get("flights_active") == 1
        m.signal(signal.SIGTERM)
        wait_until(lambda: ops.status("/readyz") == (503, "stopping\n"), "not ready any more")
        assert ops.status("/livez") == (200, "ok\n")
        assert ops.page().get("connections") == 1
        stall.release()
        assert bytes(r.finish().body) == data
    assert m.wait() == 0


def test_what_a_pull_did_is_on_the_page(launch, hub, image, ops_config):
    m = launch(ops=ops_config)
    ops, client = Ops(m), Client(m.host_port)
    a = image()
    blobs = set(a.blobs())
    manifests = set(a.everything()) - blobs
    size = {d: len(a.bytes(d)) for d in blobs | manifests}

    def pull():
        for d in blobs:
            assert client.get(f"/v2/library/alpha/blobs/{d}").status == 200
        for d in manifests:
            assert client.get(f"/v2/library/alpha/manifests/{d}").status == 200

    pull()
    p = ops.wait(lambda p: p.get("stored_bytes_total", registry="docker.io") == sum(size.values()) and
                 p.get("flights_active") == 0, "everything is stored, each object once")
    pull()
    assert client.get("/v2/").status == 200
    assert client.get("/v2/library/alpha/tags/list?n=x").status == 400
    p = ops.wait(lambda p: p.get("requests_total") == 2 * len(size) + 2, "all of them are counted")
    for kind, which in (("blob", blobs), ("manifest", manifests)):
        for outcome in ("miss", "hit"):
            assert p.get("requests_total", object=kind, outcome=outcome, status="2xx") == len(which)
            assert p.get("request_duration_seconds_count", object=kind, outcome=outcome) == len(which)
            assert p.get("request_first_byte_seconds_count", object=kind, outcome=outcome) == len(which)
            assert p.get("response_bytes_total", object=kind, outcome=outcome) == sum(size[d] for d in which)
    assert p.get("requests_total", object="ping", outcome="none", status="2xx") == 1
    assert p.get("requests_total", object="tags", outcome="none", status="4xx") == 1
    assert p.get("flights_started_total", registry="docker.io") == len(blobs)
    assert p.get("flights_failed_total") == p.get("flights_prefetched_total") == p.get("flights_resumed_total") == 0
    assert p.get("questions_total", registry="docker.io", kind="manifest") == len(manifests)
    assert p.get("stored_bytes_total") == sum(size.values())
    assert p.get("upstream_requests_total", registry="docker.io") == hub.count()
    assert p.get("upstream_bytes_total", registry="docker.io") == sum(size.values())
    assert p.get("upstream_counted_requests_total", registry="docker.io", account="", cause="digest") == len(manifests)
    assert p.get("upstream_breaker_state") == p.get("upstream_limited_total") == 0
    assert p.get("budget_limit", registry="docker.io") == 100
    assert p.get("budget_remaining", registry="docker.io") == 100 - len(manifests)
    assert p.get("build_info") == 1
    assert p.get("connections_limit") > 0 and p.get("start_time_seconds") > 1.7e9


def test_joined_stale_absent_and_resumed_are_told_apart(launch, hub, image, ops_config):
    m = launch(ops=ops_config, tags={"ttl": "0s"})
    ops, client = Ops(m), Client(m.host_port)
    data = bytes(range(256)) * (MIB // 16)
    d = hub.put_blob(data)
    with hub.fault("stall", kind="blob", at=8 * MIB) as stall:
        first = client.open(f"/v2/library/x/blobs/{d}")
        stall.wait()
        others = [client.open(f"/v2/library/x/blobs/{d}") for _ in range(3)]
        for r in others:
            r.read(MIB)
        stall.release()
        assert all(bytes(r.finish().body) == data for r in [first, *others])
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert client.get("/v2/library/absent/manifests/1").status == 404
    assert client.get("/v2/library/absent/manifests/1").status == 404
    broken = hub.put_blob(data[1:])
    with hub.fault("cut", times=1, kind="blob", reference=broken, at=4 * MIB):
        assert bytes(client.get(f"/v2/library/x/blobs/{broken}").body) == data[1:]
    with hub.fault("status", kind="manifest", status=500):
        assert client.get("/v2/library/alpha/manifests/1").status == 200
    p = ops.wait(lambda p: p.get("requests_total") == 9, "all of them are counted")
    assert p.get("requests_total", object="blob", outcome="miss") == 2
    assert p.get("requests_total", object="blob", outcome="joined") == 3
    assert p.get("requests_total", object="manifest", outcome="stale", status="2xx") == 1
    assert p.get("stale_served_total", registry="docker.io") == 1
    assert p.get("requests_total", object="manifest", outcome="error", status="4xx") == 2
    assert p.get("negative_hits_total", registry="docker.io") == 1
    assert p.get("flights_resumed_total", registry="docker.io") == 1
    assert p.get("flights_started_total") == 2


@pytest.mark.parametrize("kind, fault", [
    ("pull", {"kind": "manifest", "method": "GET", "kind_of": "pull"}),
    ("abuse", {"kind": "manifest", "method": "GET", "kind_of": "abuse"}),
    ("token", {"where": "auth", "kind_of": "token"}),
])
def test_a_limit_that_was_met_is_counted_as_what_it_is(launch, hub, image, ops_config, kind, fault):
    m = launch(ops=ops_config, server={"answer_timeout": "1s"})
    ops = Ops(m)
    with hub.fault("limit", **fault) as limit:
        assert Client(m.host_port).get("/v2/library/alpha/manifests/1").status == 503
        p = ops.wait(lambda p: p.get("upstream_limited_total") == limit.hits, "each of them is counted")
        assert p.get("upstream_limited_total", registry="docker.io", kind=kind) > 0
        assert p.get("upstream_limited_total") == p.get("upstream_limited_total", kind=kind)


def test_promtool_has_nothing_to_say(launch, image, ops_config):
    promtool = TOOLS / "deb/prometheus/usr/bin/promtool"
    m = launch(ops=ops_config)
    assert Client(m.host_port).get("/v2/library/alpha/manifests/1").status == 200
    page = Ops(m).client.get("/metrics").body
    done = subprocess.run([promtool, "check", "metrics"], input=bytes(page), capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
