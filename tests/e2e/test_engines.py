"""Docker Engine and BuildKit as they are, with the mirror up, without Docker Hub, and with the mirror down."""

import os

import pytest
from engines import BuildKit, CannotStart, Docker
from servers import free_port
from test_nodes import Door
from test_pull_secrets import assert_nowhere

AGENTS = {Docker: "docker/", BuildKit: "buildkit/"}


class Tunnel(Door):
    """A proxy for CONNECT by which Docker Hub's own name leads to a double of it, and no other name leads anywhere."""

    def greet(self, c):
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := c.recv(4096)):
                return False
            head += more
        if not head.startswith(b"CONNECT registry-1.docker.io:443 "):
            c.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return False
        c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return True


@pytest.fixture
def direct(another, authority):
    """Docker Hub as a client meets it that goes past the mirror: by its own name, over TLS."""
    hub = another(tls=authority.server("hub", addresses="DNS:registry-1.docker.io,DNS:localhost,IP:127.0.0.1"))
    tunnel = Tunnel(hub.registry.port)
    hub.env = {"HTTPS_PROXY": f"http://{tunnel.address}", "SSL_CERT_FILE": str(authority.ca)}
    yield hub
    tunnel.close()


@pytest.fixture
def engine(direct):
    """engine(kind, mirror, option of `entrepot hosts`...): a daemon that knows the mirror."""
    running = []

    def start(kind, mirror, *args):
        if os.geteuid() != 0:
            pytest.skip(f"{kind.client} needs root")
        try:
            running.append(kind(mirror, *args, env=direct.env))
        except CannotStart as e:
            pytest.skip(f"{kind.client} cannot start here: {e}")
        return running[-1]

    yield start
    for e in running:
        e.stop()


both = pytest.mark.parametrize("kind", [Docker, BuildKit], ids=lambda k: k.client)


@both
@pytest.mark.parametrize("repo", ["library/alpha", "library/docker2"])
def test_it_pulls_through_the_mirror_and_past_it_when_that_is_down(launch, engine, hub, direct, image, kind, repo):
    """By what `entrepot hosts` writes: cold, warm, without Docker Hub, without the mirror, and with it again."""
    m = launch(server={"listen": [f"127.0.0.1:{free_port()}"]}, tags={"ttl": "0s"})
    daemon, img = engine(kind, f"http://{m.address}"), image(repo)
    manifests = {img.digest, img.child()}

    daemon.pull(img)
    assert {r.reference for r in hub.select(kind="manifest", method="GET", status=200)} == manifests
    assert hub.remaining == 100 - len(manifests), "cold: what is counted, once"
    assert m.wait_line(event="request", object="manifest", status=200, agent=lambda a: a and a.startswith(AGENTS[kind]))

    hub.forget()
    daemon.pull(img)
    assert not hub.count(method="GET"), "warm: a HEAD of the tag at the most"
    hub.refuse()
    daemon.pull(img)
    assert not direct.count(), "Docker Hub is asked by nobody but the mirror"

    m.stop()
    daemon.pull(img)
    asked = direct.select(where="registry")
    assert asked and all(r.headers["user-agent"].startswith(AGENTS[kind]) for r in asked), "by itself: the mirror is down"
    m.start()
    direct.forget()
    daemon.pull(img)
    assert not direct.count(), "the mirror is back"


@both
def test_it_pulls_over_tls(secure, engine, authority, hub, direct, image, kind):
    m = secure()
    daemon = engine(kind, f"https://localhost:{m.tls[1]}", "--ca", authority.ca)
    daemon.pull(image())
    assert m.wait_line(event="request", object="blob", status=200) and not direct.count()


@both
def test_it_sends_a_mirror_no_account_of_docker_hub_that_does_not_ask_at_its_ping(secure, engine, authority, hub, direct,
                                                                                  account, image, kind):
    """So a private image comes past the mirror, by the client's own account."""
    m = secure(registries={"docker.io": {"credentials": account(hub, "mirror")}})
    for h in (hub, direct):
        h.private.add("library/alpha")
        h.add_account("pod", "word-of-pod")
    daemon = engine(kind, f"https://localhost:{m.tls[1]}", "--ca", authority.ca)
    daemon.log_in("pod", "word-of-pod")
    daemon.pull(image())
    m.wait_line(event="request", object="manifest", status=401)
    assert not hub.select(where="auth", user="pod") and direct.select(where="auth", user="pod")
    assert_nowhere(m, ("pod",))
