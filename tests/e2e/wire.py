"""An HTTP/1.1 client on a bare socket: tells FIN from RST, reads a body in steps, leaves when told to."""

import re
import socket
import struct
import time


class Headers:
    """Header fields in order, looked up without case."""

    def __init__(self, pairs):
        self.pairs = pairs

    def get(self, name, default=None):
        found = self.all(name)
        return found[0] if found else default

    def all(self, name):
        return [v for k, v in self.pairs if k.lower() == name.lower()]

    def __getitem__(self, name):
        found = self.all(name)
        assert found, f"no {name} among {self.pairs}"
        assert len(found) == 1, f"{name} more than once: {self.pairs}"
        return found[0]

    def __contains__(self, name):
        return bool(self.all(name))

    def __repr__(self):
        return repr(self.pairs)


class Response:
    """A response whose body is read in steps.

    end is None while the body goes on, then "complete" (as many bytes as declared), "fin" (the peer closed, early
    where a length was declared) or "rst".
    """

    def __init__(self, host_port, method, target, headers=(), timeout=60, connection=None):
        self.method = method
        self.timeout = timeout
        self.sock = connection or socket.create_connection(host_port, timeout)
        self.sock.settimeout(timeout)
        self.buf = b""
        self.end = None
        self.body = bytearray()
        lines = [f"{method} {target} HTTP/1.1"]
        headers = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if not any(k.lower() == "host" for k, _ in headers):
            headers.insert(0, ("Host", "%s:%d" % tuple(host_port[:2])))
        lines += [f"{k}: {v}" for k, v in headers]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def read_head(self):
        """Wait for the status line and the headers."""
        while True:
            while b"\r\n\r\n" not in self.buf:
                try:
                    more = self.sock.recv(65536)
                except ConnectionResetError:
                    self.end, self.status = "rst", None
                    return self
                if not more:
                    self.end, self.status = "fin", None
                    return self
                self.buf += more
            head, self.buf = self.buf.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            self.status = int(lines[0].split(" ")[1])
            self.headers = Headers([(k.strip(), v.strip()) for k, _, v in (ln.partition(":") for ln in lines[1:])])
            if self.status >= 200:
                break
        length = self.headers.get("Content-Length")
        self.length = int(length) if length is not None else None
        self.chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        if self.method == "HEAD" or self.status in (204, 304):
            self.end = "complete"
        elif self.chunked:
            self.left = None
        elif self.length == 0:
            self.end = "complete"
        return self

    def _recv(self, most):
        if self.buf:
            piece, self.buf = self.buf[:most], self.buf[most:]
            return piece
        try:
            piece = self.sock.recv(min(most, 1 << 20))
        except ConnectionResetError:
            self.end = "rst"
            return b""
        if not piece:
            self.end = "fin"
        return piece

    def read(self, n):
        """At least n bytes of body in all, unless it ends before."""
        if self.chunked:
            self._read_chunked(n)
            return self
        while self.end is None and len(self.body) < n:
            most = 1 << 20 if self.length is None else self.length - len(self.body)
            self.body += self._recv(min(most, n - len(self.body)))
            if self.length is not None and len(self.body) == self.length:
                self.end = "complete"
        return self

    def _read_chunked(self, n):
        while self.end is None and len(self.body) < n:
            while b"\r\n" not in self.buf:
                buf, self.buf = self.buf, b""
                piece = self._recv(65536)
                self.buf = buf + piece
                if self.end:
                    return
            line, self.buf = self.buf.split(b"\r\n", 1)
            size = int(line.split(b";")[0], 16)
            data = b""
            while len(data) < size + 2:
                data += self._recv(size + 2 - len(data))
                if self.end:
                    self.body += data
                    return
            self.body += data[:size]
            if size == 0:
                self.end = "complete"

    def finish(self):
        """The rest of the body."""
        if self.end is None or self.end == "complete":
            self.read(1 << 62)
        return self

    def readable(self, seconds=0):
        """Whether bytes, or the end, are there now."""
        if self.buf:
            return True
        self.sock.settimeout(seconds or 0.000001)
        try:
            piece = self.sock.recv(1, socket.MSG_PEEK)
            return piece is not None
        except ConnectionResetError:
            return True
        except (TimeoutError, BlockingIOError):
            return False
        finally:
            self.sock.settimeout(self.timeout)

    def leave(self, rst=False):
        """Go away in the middle."""
        if rst:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    @property
    def json(self):
        import json
        return json.loads(bytes(self.body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


class Client:
    """Requests to one address. `whole` closes the connection after the answer."""

    def __init__(self, host_port):
        self.host_port = host_port

    def open(self, target, method="GET", headers=(), timeout=60):
        """A response whose head has been read."""
        return Response(self.host_port, method, target, headers, timeout).read_head()

    def ask(self, target, method="GET", headers=(), timeout=60):
        """A response whose head has not been waited for."""
        return Response(self.host_port, method, target, headers, timeout)

    def get(self, target, headers=(), timeout=60):
        with self.open(target, "GET", headers, timeout) as r:
            return r.finish()

    def head(self, target, headers=(), timeout=60):
        """HEAD; then the same connection is asked again, so that a body that must not be there is noticed."""
        r = Response(self.host_port, "HEAD", target, headers, timeout).read_head()
        with r:
            if r.status is not None and r.headers.get("Connection", "").lower() != "close":
                r.sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                rest = r.buf
                while piece := r.sock.recv(65536):
                    rest += piece
                assert rest.startswith(b"HTTP/1.1 "), f"HEAD had a body: {rest[:200]!r}"
            return r

    def request(self, method, target, headers=(), timeout=60):
        with self.open(target, method, headers, timeout) as r:
            return r.finish()


def multipart(response):
    """The parts of a multipart/byteranges answer: (first, last, size, bytes)."""
    kind = response.headers["Content-Type"]
    m = re.fullmatch(r'multipart/byteranges; ?boundary="?([^"]+)"?', kind)
    assert m, kind
    sep = b"--" + m.group(1).encode()
    body = bytes(response.body)
    pieces = body.split(sep)
    assert pieces[-1].strip() == b"--", "no closing delimiter"
    parts = []
    for piece in pieces[1:-1]:
        head, _, data = piece.partition(b"\r\n\r\n")
        m = re.search(rb"(?im)^content-range: bytes (\d+)-(\d+)/(\d+)\r?$", head)
        assert m, head
        first, last, size = (int(x) for x in m.groups())
        assert data.endswith(b"\r\n")
        data = data[:-2]
        assert len(data) == last - first + 1
        parts.append((first, last, size, data))
    return parts


def same(left, right, timeout=30):
    """Wait for two values, given by functions, to be the same."""
    end = time.monotonic() + timeout
    while left() != right():
        assert time.monotonic() < end
        time.sleep(0.02)
