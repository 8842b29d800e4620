"""Two mirrors that name each other, where clients must log in: the budget is spent once, and nobody sees more for it."""

import json

import pytest
from servers import free_port
from test_auth import RIGHT, basic
from test_private import Private
from wire import Client

HOP = {"Entrepot-Hop": "0123456789abcdef"}
RULES = [{"users": ["replica", "jo"]}, {"users": ["kim"], "repositories": ["docker.io/library/beta"]}]


@pytest.fixture
def pair(launch, hub, tmp_path):
    """pair(rules, password, credentials): two mirrors whose users are jo, kim and replica, each the other's sibling.
    `credentials`: each one's account at the double."""
    users, login = tmp_path / "users", tmp_path / "siblings.json"
    users.write_text("".join(f"{u}:{RIGHT}\n" for u in ("jo", "kim", "replica")))

    def start(rules=RULES, password="right", credentials=(None, None)):
        login.write_text(json.dumps({"auths": {"sibling": {"username": "replica", "password": password}}}))
        ports = [free_port(), free_port()]
        mirrors = []
        for i in (0, 1):
            d = tmp_path / f"mirror{i}"
            d.mkdir()
            upstream = {"name": "hub", "url": hub.url(), **({"credentials": credentials[i]} if credentials[i] else {})}
            mirrors.append(launch(
                directory=d, server={"listen": [f"127.0.0.1:{ports[i]}"], "auth": {"htpasswd": str(users), "rules": rules}},
                store={"path": str(d / "store")}, registries={"docker.io": {"sources": [
                    {"name": "sibling", "url": f"http://127.0.0.1:{ports[1 - i]}", "sibling": True,
                     "credentials": str(login)}, upstream]}}))
        return mirrors, [Client(m.host_port) for m in mirrors]
    return start


def test_what_one_has_the_other_gets_from_it_though_clients_must_log_in(pair, hub, image):
    mirrors, clients = pair()
    alpha, jo = image(), basic("jo")
    for client in clients:
        for target, d in alpha.targets():
            r = client.get(target, jo)
            assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
            assert client.get(target).status == 401
    assert hub.budget().counted == 2, "the index and one platform, for both of them"
    for d in set(alpha.blobs()):
        assert hub.body_bytes(d) == alpha.path(d).stat().st_size
    assert mirrors[0].wait_line(event="request", user="replica", object="blob", status="200")
    for m in mirrors:
        log = "\n".join(m.lines)
        assert "status=401 user=replica" not in log
        assert "right" not in log and basic("replica")["Authorization"].split()[1] not in log


def test_whom_the_rules_refuse_gets_nothing_through_a_sibling(pair, hub, image):
    mirrors, (a, b) = pair()
    alpha = image()
    for target, _ in alpha.targets():
        assert a.get(target, basic("jo")).status == 200
    before = hub.count()
    for target, _ in alpha.targets():
        assert b.get(target, basic("kim")).status == 403, target
        assert b.get(target).status == 401
        assert b.get(target, {**HOP, **basic("kim")}).status == 403
        assert b.get(target, HOP).status == 401
    assert hub.count() == before
    mirrors[0].stop()
    assert not [ln for ln in mirrors[0].lines if "user=replica" in ln], "the sibling was not even asked"


def test_what_is_private_is_not_given_to_a_sibling_by_a_rule_for_its_login(pair, hub, account):
    """Which of its clients may see it the other decides; what it would not know to be private must not reach it."""
    file = account(hub, "hubuser")
    _, (a, b) = pair([{"users": ["replica", "jo"], "private": True}, {"users": ["kim"]}], credentials=(file, file))
    app = Private(hub)
    for target in app.by_digest():
        assert a.get(target, basic("jo")).status == 200
        for headers in (basic("replica"), basic("jo")):
            assert a.get(target, {**HOP, **headers}).status == 504, target
    for target in app.by_digest():
        assert b.get(target, basic("kim")).status == 404, target
        assert b.get(target).status == 401
    sizes = sum(hub.blobs[d].size for d in (app.layer, app.config))
    assert hub.body_bytes(app.layer) + hub.body_bytes(app.config) == sizes
    for target in app.by_digest():
        assert b.get(target, basic("jo")).status == 200, target
    assert hub.body_bytes(app.layer) + hub.body_bytes(app.config) == 2 * sizes, "each fetches it for itself"


def test_what_the_sibling_s_account_has_brought_in_a_mirror_without_one_does_not_show(pair, hub, account, image):
    """It takes all that it gets for everybody's: so it must get nothing else."""
    _, (a, b) = pair([{"users": ["*"], "private": True}], credentials=(account(hub, "hubuser"), None))
    app, alpha = Private(hub), image()
    for target in app.by_digest():
        assert a.get(target, basic("jo")).status == 200
    for target in app.by_digest():
        for method in ("GET", "HEAD"):
            assert b.request(method, target, basic("kim")).status == 404, (method, target)
    for client in (a, b):
        assert client.get(f"/v2/library/alpha/blobs/{alpha.largest()}", basic("jo")).status == 200
    assert hub.body_bytes(alpha.largest()) == alpha.path(alpha.largest()).stat().st_size, "what is public it gets"


def test_a_sibling_that_refuses_the_login_is_as_if_it_were_not_there(pair, hub, image):
    _, clients = pair(password="wrong")
    alpha = image()
    for client in clients:
        for target, d in alpha.targets():
            r = client.get(target, basic("jo"))
            assert r.status == 200 and bytes(r.body) == alpha.bytes(d)
    assert hub.budget().counted == 4
