"""What one client may do."""

import pathlib
import random
import socket
import subprocess
import time

import pytest
from servers import preloaded, wait_until
from test_ops import Ops
from test_tls import connect, context
from wire import Client, Response

PING = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"


def assert_served(s):
    assert Response(s.getpeername(), "GET", "/v2/", connection=s).read_head().finish().status == 200


def assert_ends(s, piece):
    """It sends so much again and again, and the connection is not kept for it."""
    s.settimeout(0.1)

    def ended():
        try:
            s.sendall(piece)
            return s.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    wait_until(ended, "the connection ends")


def test_requests_of_one_address_beyond_its_rate_are_told_when_to_come_again(launch):
    m = launch(server={"limits": {"requests_per_second": 1, "request_burst": 5}, "trusted_proxies": ["127.0.0.1"]})
    client = Client(m.host_port)

    def ask(who):
        return client.get("/v2/", {"X-Forwarded-For": who})

    statuses = [ask("203.0.113.1").status for _ in range(12)]
    assert statuses[:5] == [200] * 5 and 429 in statuses
    r = ask("203.0.113.1")
    while r.status == 200:      # a second has passed just now
        r = ask("203.0.113.1")
    assert r.status == 429 and r.headers["Retry-After"] == "1"
    assert r.json["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert ask("203.0.113.2").status == 200, "others are not held up"
    wait_until(lambda: ask("203.0.113.1").status == 200, "he may come again")


def test_connections_of_one_client_beyond_its_number_are_closed(launch):
    m = launch(server={"limits": {"connections_per_client": 3}})
    held = [socket.create_connection(m.host_port, 20) for _ in range(3)]
    for s in held:
        s.sendall(PING)
        assert s.recv(100).startswith(b"HTTP/1.1 200")

    def refused():
        try:
            with socket.create_connection(m.host_port, 20) as s:
                s.sendall(PING)
                return not s.recv(100)
        except ConnectionError:
            return True

    assert refused()
    held.pop().close()
    wait_until(lambda: not refused(), "one is gone, another may come")
    for s in held:
        s.sendall(PING)
        assert s.recv(100)
        s.close()


def test_proxies_are_not_counted_as_one_client(launch):
    m = launch(server={"limits": {"connections_per_client": 1}, "trusted_proxies": ["127.0.0.0/8"]})
    held = [socket.create_connection(m.host_port, 20) for _ in range(5)]
    for s in held:
        s.sendall(PING)
        assert s.recv(100).startswith(b"HTTP/1.1 200")
        s.close()


def test_a_list_of_forwarders_without_end_hides_nobody(launch):
    """He writes a long one himself, and the proxy its own line behind it."""
    m = launch(server={"trusted_proxies": ["127.0.0.1"]})
    long = ("X-Forwarded-For", ", ".join(["192.0.2.66"] * 1000))
    assert Client(m.host_port).get("/v2/", [long, ("X-Forwarded-For", "::ffff:203.0.113.1")]).status == 200
    assert m.wait_line(event="request").get("client") == "203.0.113.1"


@pytest.mark.parametrize("how", ["plain", "tls"])
def test_a_client_that_reads_by_drops_is_cut_off_while_others_pull(secure, authority, hub, how):
    m = secure(server={"limits": {"min_rate": "64KiB", "min_rate_over": "2s"}})
    client, data = Client(m.host_port), random.Random(5).randbytes(24 << 20)
    target = "/v2/library/x/blobs/" + hub.put_blob(data)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(20)
        s.connect(m.tls if how == "tls" else m.host_port)
        if how == "tls":
            s = context(authority).wrap_socket(s, server_hostname="localhost")
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        dropped, served, end = b"", 0, time.monotonic() + 60
        while not any("event=slow_client" in line for line in m.lines):
            assert time.monotonic() < end, "it is not cut off"
            dropped += s.recv(1)
            served += bytes(client.get(target).body) == data
        assert served > 1
        assert m.wait_line(event="slow_client", client="127.0.0.1", reason="rate")
        try:
            while piece := s.recv(65536):
                dropped += piece
        except OSError:     # TLS says that it was cut
            pass
        assert len(dropped) < len(data)
        s.close()
    assert m.wait_line(event="request", object="blob", end="gone")
    assert bytes(client.get(target).body) == data
    assert Ops(m).page().get("connections_slow_total", reason="rate") == 1


def test_a_send_that_is_short_though_there_is_room_does_not_hold_up_a_pull(launch, hub, tmp_path):
    """libmicrohttpd waits for the edge of an epoll then, which does not come."""
    library = tmp_path / "short_send.so"
    source = pathlib.Path(__file__).with_name("short_send.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    m = launch(env=preloaded(library))
    client, data = Client(m.host_port), random.Random(7).randbytes(16 << 20)
    target = "/v2/library/x/blobs/" + hub.put_blob(data)
    for _ in range(2):
        assert bytes(client.get(target).body) == data
    wait_until(lambda: "a send was short" in m.lines, "it was short once")


def test_many_who_read_by_drops_leave_the_only_thread_to_others(launch, hub):
    """None of them is so slow that it is cut off."""
    m = launch(server={"threads": 1, "limits": {"min_rate": "0"}})
    client, data = Client(m.host_port), random.Random(6).randbytes(8 << 20)
    target = "/v2/library/x/blobs/" + hub.put_blob(data)
    assert bytes(client.get(target).body) == data
    slow = [socket.create_connection(m.host_port, 20) for _ in range(100)]
    for s in slow:
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for _ in range(5):
        for s in slow:
            assert s.recv(1)
        assert bytes(client.get(target).body) == data
    assert not m.find(event="slow_client")
    for s in slow:
        s.close()


@pytest.mark.parametrize("request_", [
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: ", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nf000\r\n"], ids=["head", "body", "chunk"])
def test_a_request_that_does_not_end_is_not_waited_for(launch, request_):
    m = launch(server={"limits": {"header_timeout": "2s"}})
    with socket.create_connection(m.host_port, 20) as idle, socket.create_connection(m.host_port, 20) as s:
        assert_served(idle)
        s.sendall(request_)
        assert_ends(s, b"a")
        assert m.wait_line(event="slow_client", reason="header")
        assert_served(idle)     # who has nothing to ask may wait


def test_a_handshake_that_does_not_end_is_not_waited_for(secure, authority):
    m = secure(server={"limits": {"header_timeout": "2s"}})
    with connect(m.tls, context(authority)) as idle, socket.create_connection(m.tls, 20) as s:
        assert_served(idle)
        s.sendall(b"\x16\x03\x01\x10\x00\x01\x00\x0f\xfc")     # the beginning of a hello of 4 KiB
        assert_ends(s, b"\x03")
        assert m.wait_line(event="slow_client", reason="header")
        assert_served(idle)


def test_those_who_never_end_their_requests_keep_nobody_out(launch):
    """Not even where they have all connections that there may be."""
    m = launch(server={"max_connections": 16, "limits": {"header_timeout": "1s"}})
    slow = [socket.create_connection(m.host_port, 20) for _ in range(16)]
    for s in slow:
        s.sendall(b"GET /v2/ HTTP/1.1\r\n")
    with socket.create_connection(m.host_port, 30) as s:
        assert_served(s)
    cut, served = m.wait_line(event="slow_client", reason="header"), m.wait_line(event="request", object="ping")
    assert cut.get("time") <= served.get("time"), "they had all of them"
    for s in slow:
        s.close()


def test_a_head_has_32_kib_at_most(launch):
    m = launch()
    client = Client(m.host_port)
    assert client.get("/v2/", {"X-Long": "x" * (31 << 10)}).status == 200
    assert client.get("/v2/", {"X-Long": "x" * (64 << 10)}).status == 431
    assert client.get("/v2/" + "x" * (64 << 10)).status in (414, 431)
    assert client.get("/v2/").status == 200


@pytest.mark.parametrize("how", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
def test_a_body_has_64_kib_at_most_and_is_thrown_away(launch, how):
    m = launch()
    client = Client(m.host_port)
    with socket.create_connection(m.host_port, 20) as s:
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65536)
        assert s.recv(4096).startswith(b"HTTP/1.1 200")
    with socket.create_connection(m.host_port, 20) as s:
        s.sendall(f"GET /v2/ HTTP/1.1\r\nHost: x\r\n{how}\r\n\r\n".encode())
        assert_ends(s, b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert client.get("/v2/").status == 200


def test_a_range_has_so_many_parts_at_most(launch, image):
    m, alpha = launch(server={"max_ranges": 4}), image()
    client, target = Client(m.host_port), f"/v2/library/alpha/blobs/{alpha.largest()}"

    def parts(n):
        return {"Range": "bytes=" + ",".join(f"{10 * i}-{10 * i + 1}" for i in range(n))}

    assert client.get(target, parts(4)).status == 206
    assert client.get(target, parts(5)).status == 400
