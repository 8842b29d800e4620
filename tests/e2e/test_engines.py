"""Docker Engine, BuildKit, Podman and Skopeo by what `entrepot hosts` writes: the mirror up, without Docker Hub, down."""

import os

import pytest
from engines import BuildKit, CannotStart, Containers, Docker, Podman, Skopeo
from pki import Authority
from servers import free_port
from test_auth import RIGHT
from test_nodes import Door
from test_pull_secrets import assert_nowhere

KINDS = {"docker": Docker, "buildkit": BuildKit, "podman": Podman, "skopeo by crio": Skopeo}
# Under which name a client keeps an account of Docker Hub
HUB = {n: "docker.io" if issubclass(k, Containers) else "https://index.docker.io/v1/" for n, k in KINDS.items()}


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
def direct(another, tmp_path):
    """Docker Hub as a client meets it that goes past the mirror: by its own name, over TLS, and of an authority of its own."""
    authority = Authority(tmp_path / "hubs", "the authority of Docker Hub")
    hub = another(tls=authority.server("hub", addresses="DNS:registry-1.docker.io,DNS:localhost,IP:127.0.0.1"))
    tunnel = Tunnel(hub.registry.port)
    hub.env = {"HTTPS_PROXY": f"http://{tunnel.address}", "SSL_CERT_FILE": str(authority.ca)}
    yield hub
    tunnel.close()


@pytest.fixture
def engine(direct):
    """engine(name, mirror, option of `entrepot hosts`...): a client that knows the mirror."""
    running = []

    def start(name, mirror, *args):
        if os.geteuid() != 0:
            pytest.skip(f"{name} is given an /etc of its own by root only")
        try:
            running.append(KINDS[name](name.split()[-1], mirror, *args, env=direct.env))
        except CannotStart as e:
            pytest.skip(f"{name} cannot start here: {e}")
        return running[-1]

    yield start
    for e in running:
        e.stop()


each = pytest.mark.parametrize("name", KINDS)


@each
@pytest.mark.parametrize("repo", ["library/alpha", "library/docker2"])
def test_it_pulls_through_the_mirror_and_past_it_when_that_is_down(launch, engine, hub, direct, image, name, repo):
    """Cold, warm, without Docker Hub, without the mirror, and with it again."""
    m = launch(server={"listen": [f"127.0.0.1:{free_port()}"]}, tags={"ttl": "0s"})
    client, img = engine(name, f"http://{m.address}"), image(repo)
    manifests = {img.digest, img.child()}

    client.pull(img)
    assert {r.reference for r in hub.select(kind="manifest", method="GET", status=200)} == manifests
    assert hub.remaining == 100 - len(manifests), "cold: what is counted, once"
    m.wait_line(event="request", object="manifest", status=200, agent=lambda a: a and a.startswith(client.agent))
    hub.forget()
    client.pull(img)
    assert not hub.count(method="GET"), "warm: a HEAD of the tag at the most"
    hub.refuse()
    client.pull(img)
    assert not direct.count(), "Docker Hub is asked by nobody but the mirror"

    m.stop()
    client.pull(img)
    asked = direct.select(where="registry")
    assert asked and all(r.headers["user-agent"].startswith(client.agent) for r in asked), "by itself: the mirror is down"
    m.start()
    direct.forget()
    client.pull(img)
    assert not direct.count(), "the mirror is back"


@each
def test_it_pulls_over_tls(secure, engine, authority, direct, image, name):
    m = secure()
    engine(name, f"https://localhost:{m.tls[1]}", "--ca", authority.ca).pull(image())
    m.wait_line(event="request", object="blob", status=200)
    assert not direct.count()


@each
def test_it_shows_the_mirror_no_account_of_docker_hub(secure, engine, authority, hub, direct, account, image, name):
    """Which does not ask for one at its ping. So a private image comes past the mirror, by the client's own account."""
    m = secure(registries={"docker.io": {"credentials": account(hub, "mirror")}})
    for h in (hub, direct):
        h.private.add("library/alpha")
        h.add_account("pod", "word-of-pod")
    client = engine(name, f"https://localhost:{m.tls[1]}", "--ca", authority.ca)
    client.log_in("pod", "word-of-pod", HUB[name])
    client.pull(image())
    m.wait_line(event="request", object="manifest", status=401)
    assert not hub.select(where="auth", user="pod") and direct.select(where="auth", user="pod")
    assert_nowhere(m, ("pod",))


@each
def test_it_logs_in_at_the_mirror(secure, engine, authority, hub, direct, account, image, name, tmp_path):
    """By the account that it keeps for the address; Docker keeps none for a mirror, and shows that of Docker Hub. With
    another one it is refused, and goes on."""
    (tmp_path / "users").write_text(f"jo:{RIGHT}\n")
    m = secure(registries={"docker.io": {"credentials": account(hub, "mirror")}}, server={"auth": {
        "htpasswd": str(tmp_path / "users"), "rules": [{"users": ["jo"], "private": True}]}})
    for h in (hub, direct):
        h.private.add("library/alpha")
        h.add_account("pod", "word-of-pod")
    address = f"localhost:{m.tls[1]}"
    client = engine(name, f"https://{address}", "--ca", authority.ca)
    client.log_in("pod", "word-of-pod", HUB[name])
    client.pull(image())
    m.wait_line(event="request", status=401)
    assert direct.select(where="auth", user="pod") and not hub.count()

    direct.forget()
    client.log_in("jo", "right", HUB[name] if name == "docker" else address)
    client.pull(image())
    m.wait_line(event="request", object="blob", status=200, user="jo")
    assert not direct.count(kind="manifest")
    assert_nowhere(m, ("pod",))
