"""Bounded load: many clients, an upstream that misbehaves at random, clients that misbehave themselves.

Afterwards every byte that was delivered as whole was right, and the process is as it was: descriptors, memory.
"""

import collections
import os
import pathlib
import random
import resource
import socket
import threading

import pytest
import servers
from servers import wait_until
from wire import Client, Response

MIB = 1 << 20

# a small quarantine, so that the memory of a sanitized build says something
ENV = {"ASAN_OPTIONS": servers.SANITIZER_ENV["ASAN_OPTIONS"] + ":quarantine_size_mb=4"}


@pytest.fixture(autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files(m):
    """What the mirror has open, by kind. Connections to upstreams are kept for reuse, those that the upstream has reset
    too until they are met: counted apart."""
    pid, port = m.proc.pid, m.host_port[1]
    sides = {}
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        sides[f"socket:[{fields[9]}]"] = "client" if int(fields[1].split(":")[1], 16) == port else "upstream"
    kinds = collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            to = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        kinds[sides.get(to, "upstream") if to.startswith("socket:") else to] += 1
    return kinds


def own_files(m):
    kinds = open_files(m)
    kinds.pop("upstream", None)
    return kinds


def memory(m):
    """Anonymous memory in MiB."""
    for line in pathlib.Path(f"/proc/{m.proc.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no RssAnon")


def idle_files(m):
    """What is open when nobody is served and nothing is stored: no blob, and of the clients' side the listening socket."""
    files = collections.Counter({f: n for f, n in own_files(m).items() if "/partial/" not in f and "/blobs/sha" not in f})
    files["client"] = 1
    return files


# Every 126 connections have a worker of the server, which stays for the next crowd: an epoll set and an eventfd.
WORKERS = 16


def at_base(m, base):
    def beyond():
        now = own_files(m)
        more, less = now - base, base - now
        for kind in ("anon_inode:[eventfd]", "anon_inode:[eventpoll]"):
            if more[kind] <= WORKERS:
                del more[kind]
        return more, less
    try:
        wait_until(lambda: not any(beyond()), "descriptors are as before")
    except AssertionError:
        more, less = beyond()
        raise AssertionError(f"more than before: {more}, less: {less}") from None


LIE = 100       # by how much "longer" and "shorter" lie at most


def spoilt(got, want):
    """Whether it differs only as the double's fault "wrong" does it."""
    return len(got) == len(want) and all(a == b or a == b ^ 0xff for a, b in zip(got, want))


class Crowd:
    """Clients in threads that ask for known objects in every manner, and note what they got that was wrong."""

    def __init__(self, host_port, objects):
        self.client = Client(host_port)
        self.objects = objects
        self.wrong = []
        self.counts = collections.Counter()

    def one(self, rnd):
        target, data = rnd.choice(self.objects)
        how = rnd.choice(["whole", "whole", "head", "range", "suffix", "leave", "reset"])
        first = last = None
        headers = {}
        if how == "range" and data:
            first = rnd.randrange(len(data))
            last = min(len(data) - 1, first + rnd.randrange(1, 300_000))
            headers = {"Range": f"bytes={first}-{last}"}
        elif how == "suffix" and data:
            last = len(data) - 1
            first = max(0, len(data) - rnd.randrange(1, 300_000))
            headers = {"Range": f"bytes=-{len(data) - first}"}
        r = self.client.open(target, "HEAD" if how == "head" else "GET", headers)
        if r.status is None:
            self.wrong.append((target, how, "no answer", r.end))
        elif how in ("leave", "reset"):
            if r.end is None:
                r.read(rnd.randrange(1, 200_000))
        else:
            r.finish()
            want = data[first:last + 1] if r.status == 206 else data
            if r.status in (200, 206):
                # What an upstream says of a length is believed until the digest is known, and a part that ends before
                # the end is sent before it is: there, and only there, the byte that the double spoilt may show.
                if how == "head" and abs(r.length - len(data)) > LIE:
                    self.wrong.append((target, how, r.status, r.length))
                elif how != "head" and r.end == "complete" and bytes(r.body) != want and not (
                        r.status == 206 and last < len(data) - 1 and spoilt(r.body, want)):
                    self.wrong.append((target, how, r.status, "bytes", r.length))
                elif r.end == "rst":
                    self.wrong.append((target, how, "reset"))
            elif r.status not in (404, 416, 429, 500, 502, 503, 504):
                self.wrong.append((target, how, r.status))
        self.counts[r.status, r.end] += 1
        r.leave(how == "reset")

    def run(self, seed, clients, each):
        def work(n):
            rnd = random.Random(f"{seed} {n}")
            for _ in range(each):
                try:
                    self.one(rnd)
                except Exception as e:
                    self.wrong.append((type(e).__name__, str(e)))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
        for t in threads:
            t.start()
        return threads


def misbehave(hub, rnd, ended):
    """Faults that come and go, three at a time at most."""
    faults = [
        lambda: hub.fault("cut", times=rnd.randrange(1, 4), kind="blob", at=rnd.randrange(1, 900_000)),
        lambda: hub.fault("reset", times=rnd.randrange(1, 4), kind="blob", at=rnd.randrange(1, 900_000)),
        lambda: hub.fault("stall", times=1, kind="blob", at=rnd.randrange(1, 900_000)),
        lambda: hub.fault("wrong", times=1, kind="blob", at=rnd.randrange(1, 900_000)),
        lambda: hub.fault("status", times=rnd.randrange(1, 5), code=rnd.choice([500, 502, 503, 504])),
        lambda: hub.fault("limit", times=rnd.randrange(1, 5), kind_of=rnd.choice(["pull", "abuse", "burst"])),
        lambda: hub.fault("drop", times=rnd.randrange(1, 4)),
        lambda: hub.fault("html", times=1, method="GET", kind=rnd.choice(["blob", "manifest"])),
        lambda: hub.fault("longer", times=1, kind="blob", method="GET", by=rnd.randrange(1, LIE)),
        lambda: hub.fault("shorter", times=1, kind="blob", method="GET", by=1),
        lambda: hub.fault("chunked", times=2, kind="blob"),
        lambda: hub.fault("no_range", times=2, kind="blob"),
        lambda: hub.fault("hang", times=1),
        lambda: hub.expire_tokens(),
        lambda: hub.expire_urls(),
    ]
    active = []
    while not ended.is_set():
        f = rnd.choice(faults)()
        if f:
            active.append(f)
        if len(active) > 3:
            active.pop(0).remove()
        ended.wait(rnd.random() / 20)
    for f in active:
        f.remove()


def objects_of(hub, image, rnd, count=30):
    """(target, bytes) of blobs and manifests, small ones and large ones."""
    sizes = [0, 1, 65535, 65536, 65537, 262144, 300_001] + [rnd.randrange(1, 3 * MIB) for _ in range(count)]
    found = [(f"/v2/library/x/blobs/{hub.put_blob(data)}", data) for data in (rnd.randbytes(n) for n in sizes)]
    for name in ("library/alpha", "library/beta", "library/docker2"):
        img = image(name)
        found.append((f"/v2/{name}/manifests/1", img.bytes(img.digest)))
        found.append((f"/v2/{name}/manifests/{img.child()}", img.bytes(img.child())))
        found += [(f"/v2/{name}/blobs/{d}", img.bytes(d)) for d in img.blobs()]
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_delivered_whole_is_right_while_the_upstream_misbehaves(launch, hub, image, seed):
    m = launch(env=ENV, tags={"ttl": "1s"}, server={"answer_timeout": "2s"},
               upstream={"stall_timeout": "1s", "header_timeout": "1s", "flight_timeout": "4s"})
    rnd = random.Random(seed)
    client = Client(m.host_port)
    assert client.get("/v2/library/empty/manifests/1").status == 200
    base = idle_files(m)
    objects = objects_of(hub, image, rnd)
    crowd = Crowd(m.host_port, objects)
    ended = threading.Event()
    trouble = threading.Thread(target=misbehave, args=(hub, rnd, ended))
    trouble.start()
    for t in crowd.run(seed, 24, 40):
        t.join()
    ended.set()
    trouble.join()
    print(dict(crowd.counts))
    assert not crowd.wrong, crowd.wrong[:10]
    # How many depends on when a limit of abuse struck: the host is left in peace for up to a minute then.
    assert sum(n for (status, end), n in crowd.counts.items() if status in (200, 206)) > 0, "some were served all the same"
    for target, data in objects:
        wait_until(lambda: client.get(target).status == 200, f"{target} recovers", 90)  # a host may be paced for 60
        r = client.get(target)
        assert r.end == "complete" and bytes(r.body) == data, target
    hub.refuse()
    for target, data in objects:
        assert bytes(client.get(target).body) == data, f"{target} is stored"
    at_base(m, base)
    assert open_files(m)["upstream"] <= 3 * 16 + 4, "no more than may be kept for reuse"


def test_load_leaves_no_memory_behind(launch, hub, image):
    """The same load again and again: what the second round leaves is what the fourth leaves."""
    m = launch(env=ENV)
    rnd = random.Random(9)
    crowd = Crowd(m.host_port, objects_of(hub, image, rnd, 15))
    used = []
    for n in range(4):
        for t in crowd.run(f"round {n}", 16, 30):
            t.join()
        used.append(memory(m))
    print([f"{x:.0f} MiB" for x in used])
    assert not crowd.wrong, crowd.wrong[:10]
    assert used[3] <= used[1] + 16


# --- clients that misbehave -------------------------------------------------------------------------------------------

def connect(m):
    return socket.create_connection(m.host_port, 30)


def closed(sock, timeout=60):
    """Read until the peer has closed; what came."""
    sock.settimeout(timeout)
    got = b""
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    finally:
        sock.close()
    return got


def test_a_thousand_idle_connections_hold_nobody_up(launch, hub, image):
    m = launch(env=ENV)
    alpha = image()
    client = Client(m.host_port)
    target = f"/v2/library/alpha/blobs/{alpha.largest()}"
    client.get(target)
    base = idle_files(m)
    before = memory(m)
    idle = [connect(m) for _ in range(500)]
    idle += [Response(m.host_port, "GET", "/v2/").read_head().finish().sock for _ in range(500)]
    for _ in range(20):
        assert bytes(client.get(target).body) == alpha.bytes(alpha.largest())
    assert open_files(m)["client"] >= 1000
    print(f"{memory(m) - before:.1f} MiB for 1000 connections")
    for s in idle:
        s.close()
    at_base(m, base)


def test_connections_over_the_limit_wait_for_their_turn(launch, image):
    m = launch(server={"max_connections": 16})
    alpha = image()
    target, data = f"/v2/library/alpha/blobs/{alpha.largest()}", alpha.bytes(alpha.largest())
    got = []

    def ask():
        got.append(bytes(Client(m.host_port).get(target).body) == data)

    threads = [threading.Thread(target=ask) for _ in range(80)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [True] * 80


def test_clients_that_send_slowly_or_not_at_all_are_closed(launch, image):
    m = launch(server={"idle_timeout": "1s"})
    client = Client(m.host_port)
    client.get("/v2/")
    base = idle_files(m)
    slow = [connect(m) for _ in range(64)]
    for n, s in enumerate(slow):
        s.sendall(b"GET /v2/library/alpha/manifests/1 HTTP/1.1\r\nHost: x\r\nX-Slow: "[:n])
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    for s in slow:
        got = closed(s)
        assert got == b"" or got.startswith(b"HTTP/1.1 408"), got[:100]
    at_base(m, base)


def test_a_request_that_comes_byte_by_byte_is_answered(client):
    with socket.create_connection(client.host_port, 30) as s:
        for b in b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(bytes([b]))
        assert closed(s).startswith(b"HTTP/1.1 200")


ODD = {
    "nothing": b"",
    "a line end": b"\r\n\r\n",
    "bytes": bytes(range(256)) * 8,
    "zeroes": bytes(70_000),
    "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /v2/\r\n\r\n",
    "HTTP/9.9": b"GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long target": b"GET /v2/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "no colon": b"GET /v2/ HTTP/1.1\r\nHost x\r\n\r\n",
    "a zero in a header": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "a zero in the target": b"GET /v2/library/alp%00ha/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad escapes": b"GET /v2/%/%zz/%u0041/manifests/1%2 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute target": b"GET http://evil.example/v2/library/alpha/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown method": b"FETCH /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "a negative length": b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a huge length": b"PUT /v2/a/b/blobs/uploads/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    "two lengths": b"PUT /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "length and chunks": b"PUT /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nz\r\nabc",
    "bad chunks": b"PUT /v2/a/b/manifests/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
    "a body with GET": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd",
    "many ranges": b"GET /v2/a/b/blobs/sha256:" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\nRange: bytes=" + b"0-," * 9000
                   + b"\r\n\r\n",
    "pipelined": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
}

VALID = (b"GET /v2/library/alpha/manifests/1?ns=docker.io&n=5 HTTP/1.1\r\nHost: x\r\nAccept: a/b, c/d;q=0.5\r\n"
         b"Range: bytes=0-5,-7\r\nIf-None-Match: \"sha256:00\"\r\nConnection: close\r\n\r\n")


def mutated(rnd):
    data = bytearray(VALID)
    for _ in range(rnd.randrange(1, 6)):
        at = rnd.randrange(len(data))
        how = rnd.randrange(4)
        if how == 0:
            data[at] = rnd.randrange(256)
        elif how == 1:
            del data[at:at + rnd.randrange(1, 20)]
        elif how == 2:
            data[at:at] = bytes(data[at:at + rnd.randrange(1, 40)]) * rnd.randrange(1, 30)
        else:
            data[at:at] = rnd.choice([b"\r\n", b"\0", b"%00", b"/../", b"//", b"=", b"&ns=", b" ", b"\xff\xfe", b":", b"%2F"])
        if not data:
            break
    return bytes(data)


def test_garbage_is_refused_and_forgotten(launch, hub, image):
    """No answer, or an answer by HTTP; nobody else is disturbed."""
    m = launch(env=ENV, server={"idle_timeout": "2s"})
    client = Client(m.host_port)
    assert client.get("/v2/library/alpha/manifests/1").status == 200
    base = idle_files(m)
    rnd = random.Random(4)
    pieces = [*ODD.values(), *(mutated(rnd) for _ in range(400)), *(rnd.randbytes(rnd.randrange(1, 4000)) for _ in range(100))]
    while pieces:
        some, pieces = pieces[:200], pieces[200:]
        socks = []
        for data in some:
            s = connect(m)
            try:
                s.sendall(data)
                if rnd.random() < 0.5:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass            # it was refused before all of it was sent
            socks.append(s)
        r = client.get("/v2/library/alpha/manifests/1")
        assert r.status == 200 and bytes(r.body) == image().bytes(image().digest)
        for s, data in zip(socks, some):
            got = closed(s)
            assert got == b"" or got.startswith(b"HTTP/1."), (data[:200], got[:200])
    at_base(m, base)


def test_sockets_that_are_half_closed_are_served_and_not_kept(launch, hub, image):
    m = launch(env=ENV, server={"idle_timeout": "2s"})
    alpha = image()
    target, data = f"/v2/library/alpha/blobs/{alpha.largest()}", alpha.bytes(alpha.largest())
    assert bytes(Client(m.host_port).get(target).body) == data
    base = idle_files(m)
    d = hub.put_blob(os.urandom(MIB))
    with hub.fault("stall", kind="blob", at=MIB // 2) as stall:
        waiting = []
        for n in range(40):
            r = Response(m.host_port, "GET", target if n % 2 else f"/v2/library/x/blobs/{d}")
            r.sock.shutdown(socket.SHUT_WR)
            waiting.append(r)
        stall.wait()
        stall.release()
    for n, r in enumerate(waiting):
        r.read_head()
        if r.status == 200:
            r.finish()
            if r.end == "complete":
                assert hub.blobs[d].data == bytes(r.body) if not n % 2 else bytes(r.body) == data
        r.leave()
    at_base(m, base)
