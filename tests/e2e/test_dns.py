"""A DNS server that does not answer: the resolver of the C library waits for it in threads that nothing can end."""

import os
import socket
import struct
import threading

import pytest
import servers
from servers import wait_until
from test_stale import QUICK, assert_recovers, assert_stale, warm
from wire import Client

SERVER = "127.9.9.53"


class Dns:
    """Answers every name with 127.0.0.1 (and no IPv6), but nothing while it is `hung`. Counts what it is asked."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((SERVER, 53))
        self.hung = False
        self.unanswered = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            query, peer = self.sock.recvfrom(4096)
            if not query:
                return
            if self.hung:
                self.unanswered += 1
                continue
            end = query.index(b"\0", 12) + 5
            kind = struct.unpack("!H", query[end - 4:end - 2])[0]
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + bytes([127, 0, 0, 1]) if kind == 1 else b""
            head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, bool(answer), 0, 0)
            self.sock.sendto(head + query[12:end] + answer, peer)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (SERVER, 53))
        self.thread.join()
        self.sock.close()


@pytest.fixture
def dns():
    if os.geteuid() != 0:
        pytest.skip("port 53 and another /etc/resolv.conf need root")
    d = Dns()
    yield d
    d.close()


@pytest.fixture
def asks(tmp_path):
    """The program with that server as its only one, for which it waits for minutes."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {SERVER}\noptions timeout:30 attempts:5\n")
    command = tmp_path / "entrepot"
    command.write_text("#!/bin/sh\nexec unshare --mount --propagation private sh -c '"
                       f'mount --bind "{resolv}" /etc/resolv.conf && exec "{servers.binary()}" "$@"\' sh "$@"\n')
    command.chmod(0o755)
    return str(command)


def named(hub):
    return {"docker.io": {"url": hub.url().replace("127.0.0.1", "registry.name.test"), "allow_private": True}}


def test_names_that_nobody_resolves_hold_up_nothing_else(launch, hub, second, image, dns, asks):
    m, client, alpha = warm(launch, image, command=asks, registries=named(hub), server={"answer_timeout": "2s"})
    m.stop()
    dns.hung = True
    m.start()
    client = Client(m.host_port)
    waiting = [client.ask(f"/v2/library/beta/manifests/{n}") for n in range(20)]
    wait_until(lambda: dns.unanswered > 0, "the name is asked for")
    assert_stale(m, client, alpha)
    other = image("tools/artifact")
    r = client.get(f"/v2/tools/artifact/manifests/{other.tag}?ns=quay.example")
    assert r.status == 200 and bytes(r.body) == other.bytes(other.digest), "another registry is as near as ever"
    for r in waiting:
        assert r.read_head().status == 503
        r.leave()
    assert_stale(m, client, alpha)
    dns.hung = False
    assert_recovers(client)


def test_a_stop_does_not_wait_for_names(launch, hub, image, dns, asks):
    m = launch(command=asks, registries=named(hub), **QUICK)
    dns.hung = True
    waiting = Client(m.host_port).ask("/v2/library/alpha/manifests/1")
    wait_until(lambda: dns.unanswered > 0, "the name is asked for")
    m.stop(timeout=60)
    waiting.leave()
