"""Prefetch: whoever asks for a platform's manifest asks for its blobs next, so they flow already."""

import json
import random

import pytest
from servers import wait_until
from test_budget import make_image
from wire import Client

MIB = 1 << 20


def blob_gets(hub, digests=None):
    return [r for r in hub.select(where="cdn", kind="blob", method="GET") if digests is None or r.reference in digests]


def synchronous(client, hub):
    """A whole pull of something else: what was going to be asked for because of an earlier one has been."""
    digest, layer = make_image(hub, repo="library/other")
    assert client.head(f"/v2/library/other/manifests/{digest}").status == 200
    r = client.get(f"/v2/library/other/blobs/{layer}")
    assert r.status == 200
    return layer


def test_by_default_the_blobs_of_the_platform_flow_before_they_are_asked_for(launch, hub, image):
    m = launch(prefetch=None)
    client, alpha = Client(m.host_port), image()
    mine, others = set(alpha.blobs()), set(alpha.blobs("arm64")) - set(alpha.blobs())
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    assert client.get(f"/v2/library/alpha/manifests/{alpha.child()}").status == 200
    hub.wait_for(lambda: all(hub.body_bytes(d) == alpha.path(d).stat().st_size for d in mine))
    for d in mine:
        r = client.get(f"/v2/library/alpha/blobs/{d}")
        assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
    assert {r.reference for r in blob_gets(hub)} == mine and len(blob_gets(hub)) == len(mine), "once each"
    assert all(hub.body_bytes(d) == 0 for d in others), "other platforms are not fetched"
    assert not hub.select(kind="manifest", reference=alpha.child("arm64"))
    assert hub.budget().counted == 2


def test_a_client_joins_what_flows_already(launch, hub):
    m = launch(prefetch={"enabled": True})
    client = Client(m.host_port)
    data = random.Random(3).randbytes(4 * MIB)
    layer = hub.put_blob(data)
    config = hub.put_blob(b"{}\n")
    digest = hub.put_manifest("library/flows", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 3},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": len(data)}]}, tag="1")
    with hub.fault("stall", kind="blob", at=MIB) as stall:
        assert client.get("/v2/library/flows/manifests/1").status == 200
        stall.wait()
        r = client.open(f"/v2/library/flows/blobs/{layer}")
        r.read(MIB // 2)
        stall.release()
        assert bytes(r.finish().body) == data and r.end == "complete"
    assert len(blob_gets(hub, {layer})) == 1 and hub.body_bytes(layer) == len(data)
    assert client.get(f"/v2/library/flows/manifests/{digest}").status == 200


@pytest.mark.parametrize("most", [1, 3])
def test_it_is_bounded(launch, hub, most):
    """Ten layers, all of which hang: as many as may are on their way, and the manifest was answered all the same."""
    m = launch(prefetch={"enabled": True, "max_flights": most})
    client = Client(m.host_port)
    layers = [hub.put_blob(random.Random(f"{most} {n}").randbytes(1000)) for n in range(10)]
    config = hub.put_blob(json.dumps({"most": most}).encode())
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config,
                           "size": hub.blobs[config].size},
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": d, "size": 1000}
                           for d in layers]}
    hub.put_manifest("library/wide", manifest, tag="1")
    with hub.fault("hang", kind="blob", method="GET", repo="library/wide", where="registry") as hang:
        assert client.get("/v2/library/wide/manifests/1").status == 200
        wait_until(lambda: hang.hits == most, "they are on their way")
        other = synchronous(client, hub)
        assert hang.hits == most and len(blob_gets(hub, {other})) == 1
        waiting = [client.ask(f"/v2/library/wide/blobs/{d}") for d in layers]
        hub.wait_for(lambda: len({r.reference for r in hub.select(kind="blob", repo="library/wide")} & set(layers)) == 10)
        hang.release()
        for r in waiting:
            assert r.read_head().status == 200
            r.leave()
    for d in layers:
        assert len(blob_gets(hub, {d})) == 1


def test_it_can_be_turned_off(launch, hub, image):
    m = launch(prefetch={"enabled": False})
    client, alpha = Client(m.host_port), image()
    assert client.get(f"/v2/library/alpha/manifests/{alpha.child()}").status == 200
    layer = synchronous(client, hub)
    assert {r.reference for r in blob_gets(hub)} == {layer}


def test_a_head_and_an_index_fetch_no_blobs(launch, hub, image):
    m = launch(prefetch={"enabled": True})
    client, alpha = Client(m.host_port), image()
    assert client.head(f"/v2/library/alpha/manifests/{alpha.child()}").status == 200
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    layer = synchronous(client, hub)
    assert {r.reference for r in blob_gets(hub)} == {layer}


def test_what_is_stored_is_not_fetched_again(launch, hub, image):
    m = launch(prefetch={"enabled": True})
    client, alpha = Client(m.host_port), image()
    for _ in range(2):
        assert client.get(f"/v2/library/alpha/manifests/{alpha.child()}").status == 200
        for d in alpha.blobs():
            assert client.get(f"/v2/library/alpha/blobs/{d}").status == 200
        synchronous(client, hub)
        for d in set(alpha.blobs()):
            assert hub.body_bytes(d) == alpha.path(d).stat().st_size


def test_a_blob_that_fails_harms_nobody_else(launch, hub):
    m = launch(prefetch={"enabled": True}, server={"answer_timeout": "1s"})
    client = Client(m.host_port)
    digest, layer = make_image(hub)
    with hub.fault("status", kind="blob", reference=layer, code=500):
        r = client.get(f"/v2/library/made/manifests/{digest}")
        assert r.status == 200
        synchronous(client, hub)
    wait_until(lambda: client.get(f"/v2/library/made/blobs/{layer}").status == 200, "it is tried again")
