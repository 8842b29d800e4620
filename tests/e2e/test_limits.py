"""What one client may do."""

import random
import socket
import time

from servers import wait_until
from wire import Client

PING = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"


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


def test_a_client_that_reads_by_drops_is_cut_off_while_others_pull(launch, hub):
    m = launch(server={"limits": {"min_rate": "64KiB", "min_rate_over": "2s"}})
    client, data = Client(m.host_port), random.Random(5).randbytes(24 << 20)
    target = "/v2/library/x/blobs/" + hub.put_blob(data)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(20)
        s.connect(m.host_port)
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
        except ConnectionError:
            pass
        assert len(dropped) < len(data)
    assert m.wait_line(event="request", object="blob", end="gone")
    assert bytes(client.get(target).body) == data


def test_a_head_that_does_not_end_is_not_waited_for(launch):
    m = launch(server={"limits": {"header_timeout": "2s"}})
    with socket.create_connection(m.host_port, 20) as idle, socket.create_connection(m.host_port, 0.1) as s:
        idle.sendall(PING)
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: ")

        def ended():
            try:
                s.sendall(b"a")
                return s.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(ended, "the connection ends")
        assert m.wait_line(event="slow_client", reason="header")
        idle.sendall(PING)
        assert idle.recv(4096).startswith(b"HTTP/1.1 200"), "who has nothing to ask may wait"
