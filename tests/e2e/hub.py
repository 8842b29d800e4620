"""A Docker Hub double that misbehaves on demand.

Three listeners on 127.0.0.1, each a port of its own, as three hosts would be: the registry, the token server and the
CDN that blobs are redirected to. Content comes from the storage directory of a real registry (docker-registry) that
stands behind it, and from what a test puts in by hand. Runs in threads of the test process, so that a test switches
faults by calling methods, holds a body back with an event, and reads every counter directly.

Requests are written down when their answer's headers are on their way; `body_bytes` counts what the kernel took.
"""

import base64
import hashlib
import http.client
import json
import mmap
import os
import re
import secrets
import select
import socket
import ssl
import struct
import termios
import threading
import time
import urllib.parse
from fcntl import ioctl

PIECE = 256 * 1024
SIOCOUTQ = termios.TIOCOUTQ

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

HTML = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in</body></html>\n" * 8

# The four kinds of 429 (protocol.md §1.6) and one of another registry
LIMITS = {
    "pull": ("application/json",
             b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your unauthenticated pull rate '
             b'limit. https://www.docker.com/increase-rate-limit"}]}', {}),
    "abuse": ("text/plain", b"Too Many Requests (HAP429).\n", {}),
    "token": ("application/json", b'{"detail": "Rate limit exceeded", "error": false}', {}),
    "rest": ("application/json", b'{"detail": "Rate limit exceeded", "error": false}',
             {"x-ratelimit-limit": "180", "x-ratelimit-remaining": "0", "retry-after": "epoch"}),
    "burst": ("application/json",
              b'{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880.092\xc2\xb5s, allowed: 44000/minute"'
              b'}]}', {}),
}


# How a registry tells what is left (protocol.md §1.4): names, whether the window stands behind the number
BUDGET_FORMS = {
    "docker": ("ratelimit-limit", "ratelimit-remaining", True),
    "capitals": ("RateLimit-Limit", "RateLimit-Remaining", True),
    "x": ("x-ratelimit-limit", "x-ratelimit-remaining", True),
    "bare": ("ratelimit-limit", "ratelimit-remaining", False),
    "empty": ("ratelimit-limit", None, True),
    "absent": (None, None, False),
}


class Budget:
    """What an account, or everybody without one, may still pull: `remaining` GETs of manifests of `limit`.

    `form` names how that is told: one of BUDGET_FORMS. Whoever is refused is told with `retry_after`, where that is
    not None. `counted` and `refused` count the GETs of manifests.
    """

    def __init__(self, limit=100, window=21600, remaining=None, source="192.0.2.1", form="docker", retry_after=None):
        self.limit = limit
        self.window = window
        self.remaining = limit if remaining is None else remaining
        self.source = source
        self.form = form
        self.retry_after = retry_after
        self.counted = 0
        self.refused = 0

    def headers(self):
        limit, remaining, window = BUDGET_FORMS[self.form]
        tail = f";w={self.window}" if window else ""
        out = []
        if limit:
            out.append((limit, ("" if self.form == "empty" else str(self.limit)) + tail))
        if remaining:
            out.append((remaining, str(self.remaining) + tail))
        if self.source:
            out.append(("docker-ratelimit-source", self.source))
        return out


def poll(sock, events, seconds=None):
    """select() without its limit on descriptors."""
    p = select.poll()
    p.register(sock, events)
    return p.poll(None if seconds is None else seconds * 1000)


class Gone(Exception):
    """The connection is finished with: closed by the peer, or cut by a fault."""


class Record:
    """One request as the double saw and answered it."""

    def __init__(self, where, method, target, headers):
        self.where = where
        self.method = method
        self.target = target
        self.headers = headers
        self.kind = None
        self.repo = None
        self.reference = None
        self.status = None
        self.query = {}
        self.sent = 0
        self.user = None
        self.fault = None
        self.counted = False        # a GET of a manifest that cost something
        self.at = time.monotonic()

    @property
    def range(self):
        return self.headers.get("range")

    def __repr__(self):
        return (f"<{self.where} {self.method} {self.target} {self.status} sent={self.sent}"
                f"{' range=' + self.range if self.range else ''}{' fault=' + self.fault if self.fault else ''}>")


class Fault:
    """A misbehaviour, and the requests it meets. `times` None means until it is removed.

    what, and its arguments:
      status=N              that status with an OCI error body
      limit=KIND            429 of LIMITS; retry_after=TEXT adds the header
      html                  200 with a page
      drop                  connection reset before any answer
      hang                  nothing is sent until release()
      stall at=N            body held before offset N of the blob until release()
      cut at=N, reset at=N  FIN or RST at offset N; what came before has been received by the peer's kernel
      wrong at=N            the byte at N is another
      longer by=N, shorter by=N   declared and sent so
      chunked               no Content-Length
      no_digest             no Docker-Content-Digest
      no_range              Range ignored
      redirect to=URL, status=N
      reply                 status=, headers=, body= as given
    """

    def __init__(self, hub, what, times, match, args):
        self.hub = hub
        self.what = what
        self.left = times
        self.match = match
        self.args = args
        self.hits = 0
        self.reached = threading.Event()
        self.released = threading.Event()

    def __getattr__(self, name):
        try:
            return self.__dict__["args"][name]
        except KeyError:
            raise AttributeError(name) from None

    def get(self, name, default=None):
        return self.args.get(name, default)

    def meets(self, rec):
        for key, want in self.match.items():
            have = getattr(rec, key)
            if callable(want):
                if not want(have):
                    return False
            elif isinstance(want, (tuple, set, list)):
                if have not in want:
                    return False
            elif have != want:
                return False
        return True

    def release(self):
        self.released.set()

    def remove(self):
        self.hub._remove(self)
        self.release()

    def wait(self, timeout=30):
        assert self.reached.wait(timeout), f"fault {self.what} was not reached"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


class Content:
    """Bytes that can be sent: a file, mapped, or memory."""

    def __init__(self, data=None, path=None):
        self.map = None
        if path is not None:
            with open(path, "rb") as f:
                if os.fstat(f.fileno()).st_size:
                    self.map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
                    data = self.map
                else:
                    data = b""
        self.data = memoryview(data)
        self.size = len(self.data)


class Listener:
    """A port with a thread a connection. Can be shut, so that connections are refused, and opened again."""

    def __init__(self, hub, where, serve, tls=None):
        self.hub, self.where, self.serve, self.tls = hub, where, serve, tls
        self.port = 0
        self.sock = None
        self.conns = set()
        self.lock = threading.Lock()
        self.connections = 0
        self.open()

    def open(self):
        if self.sock:
            return
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", self.port))
        s.listen(1024)
        self.port = s.getsockname()[1]
        self.sock = s
        threading.Thread(target=self._accept, args=(s,), daemon=True).start()

    def _accept(self, s):
        while True:
            try:
                c, _ = s.accept()
            except OSError:
                return
            with self.lock:
                if self.sock is not s:
                    c.close()
                    return
                self.conns.add(c)
                self.connections += 1
            threading.Thread(target=self._run, args=(c,), daemon=True).start()

    def _run(self, c):
        raw = c
        try:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                c = self.tls.wrap_socket(c, server_side=True)
            self.serve(Conn(c))
        except (Gone, OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.conns.discard(raw)
            try:
                c.close()
            except OSError:
                pass

    def close(self):
        """Refuse from now on; connections that are open are reset."""
        with self.lock:
            s, self.sock = self.sock, None
            conns = list(self.conns)
        if s:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        for c in conns:
            try:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Conn:
    """One connection: reads requests, sends answers."""

    def __init__(self, sock):
        self.sock = sock
        self.buf = b""
        self.last = False

    def request(self):
        if self.last:
            raise Gone
        while b"\r\n\r\n" not in self.buf:
            more = self.sock.recv(65536)
            if not more:
                raise Gone
            self.buf += more
            if self.buf[0] == 0x16:     # TLS, which containerd tries first: it is told as servers of HTTP do
                self.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                raise Gone
        head, self.buf = self.buf.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            value = value.strip()
            headers[name] = headers[name] + ", " + value if name in headers else value
        length = int(headers.get("content-length", 0))
        while len(self.buf) < length:
            more = self.sock.recv(65536)
            if not more:
                raise Gone
            self.buf += more
        self.buf = self.buf[length:]
        self.last = headers.get("connection", "").lower() == "close"
        return method, target, headers

    def head(self, status, headers):
        text = f"HTTP/1.1 {status} {http.client.responses.get(status, 'Odd')}\r\n"
        text += "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n"
        self.sock.sendall(text.encode("latin-1"))

    def drained(self):
        """Wait until the peer's kernel has everything that was sent."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            left = struct.unpack("i", ioctl(self.sock.fileno(), SIOCOUTQ, b"\0\0\0\0"))[0]
            if not left:
                return
            time.sleep(0.002)

    def fin(self):
        self.drained()
        self.sock.shutdown(socket.SHUT_RDWR)
        raise Gone

    def rst(self):
        self.drained()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        raise Gone

    def closed_by_peer(self):
        if not poll(self.sock, select.POLLIN, 0):
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True


class Hub:
    """The double. `storage` is the root directory of a docker-registry, `upstream` its address."""

    def __init__(self, storage=None, upstream=None, tls=None):
        self.storage = storage
        self.upstream = upstream
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.scheme = "https" if tls else "http"
        self.closing = threading.Event()
        self._contents = {}
        self._contents_by_hash = {}
        self.lists = {}
        self.reset()
        self.registry = Listener(self, "registry", self._serve_registry, tls)
        self.auth = Listener(self, "auth", self._serve_auth, tls)
        self.cdn = Listener(self, "cdn", self._serve_cdn, tls)

    # --- switches ---------------------------------------------------------------------------------------------

    def reset(self):
        """Behave, forget every count, and forget what was put in by hand."""
        with self.lock:
            for f in getattr(self, "faults", []):
                f.release()
            self.faults = []
            self.requests = []
            self.sent = {}
            self.leaks = []
            self.violations = []
            self.tokens = {}
            self.urls = {}
            self.serial = 0
            self.challenge = "docker"       # a name of CHALLENGES, or "none", "basic"
            self.token_form = "both"        # a name of _token_body
            self.accounts = {}
            self.private = set()            # repositories that only accounts see
            self.path = ""                  # before /v2/: "/mirror"
            self.prefix = ""                # before each repository: "docker/"
            self.takes_ns = False           # stands for another Entrepot, which is told the registry by `ns`
            self.redirects = True           # blobs by way of the CDN
            self.head_redirects = False     # HEAD of a blob too
            self.referrers_form = "on"      # on, 404, html, plain
            self.budgets = {None: Budget()} # by account; who has none of his own shares the one of None
            self.enforce = False            # whether a budget that is spent is refused; else it goes on below 0
            self.blobs = {}
            self.only_in = {}               # digest: the repositories that have the blob, where not all of them do
            self.manifests = {}
            self.lists = {}
            self.changed.notify_all()
        for where in ("registry", "auth", "cdn"):
            if hasattr(self, where):
                getattr(self, where).open()

    def fault(self, what, times=None, **kw):
        """Add a fault. Keywords that name a property of Record select requests, the others are arguments."""
        keys = {"where", "method", "kind", "repo", "reference"}
        match = {k: v for k, v in kw.items() if k in keys}
        f = Fault(self, what, times, match, {k: v for k, v in kw.items() if k not in keys})
        with self.lock:
            self.faults.append(f)
        return f

    def _remove(self, f):
        with self.lock:
            if f in self.faults:
                self.faults.remove(f)

    def _fault_for(self, rec, start=None, end=None):
        with self.lock:
            for f in self.faults:
                if f.left == 0 or not f.meets(rec):
                    continue
                at = f.get("at")
                if at is not None and start is not None and not start <= at < end:
                    continue
                if at is not None and (start is None or rec.method == "HEAD"):
                    continue
                if f.what in ("cut", "reset") and f.left is None and start == at and at:
                    continue
                if f.left is not None:
                    f.left -= 1
                f.hits += 1
                rec.fault = f.what
                return f
        return None

    def refuse(self):
        """The upstream is gone: nothing listens any more."""
        for where in (self.registry, self.auth, self.cdn):
            where.close()

    def listen(self):
        for where in (self.registry, self.auth, self.cdn):
            where.open()

    def hang(self):
        """The upstream accepts and never answers, until the fault is removed."""
        return self.fault("hang")

    def expire_tokens(self):
        with self.lock:
            for t in self.tokens.values():
                t["expired"] = True

    def expire_urls(self):
        with self.lock:
            for u in self.urls.values():
                u["expired"] = True

    def close(self):
        self.closing.set()
        for f in list(self.faults):
            f.remove()
        self.refuse()

    def url(self, where="registry"):
        return f"{self.scheme}://127.0.0.1:{getattr(self, where).port}" + (self.path if where == "registry" else "")

    # --- content put in by hand -------------------------------------------------------------------------------

    def put_blob(self, data=None, path=None, alg="sha256", size=None):
        content = Content(data, path)
        digest = f"{alg}:{hashlib.new(alg, content.data).hexdigest()}"
        self.blobs[digest] = content
        return digest

    def put_manifest(self, repo, data, media_type=OCI_MANIFEST, tag=None, alg="sha256"):
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        digest = f"{alg}:{hashlib.new(alg, data).hexdigest()}"
        with self.lock:
            self.manifests[repo, digest] = (media_type, data)
            if tag:
                self.manifests[repo, tag] = (media_type, data)
        return digest

    # --- counters ---------------------------------------------------------------------------------------------

    def select(self, **want):
        def ok(r):
            for k, v in want.items():
                have = getattr(r, k)
                if isinstance(v, (tuple, set, list)):
                    if have not in v:
                        return False
                elif callable(v):
                    if not v(have):
                        return False
                elif have != v:
                    return False
            return True
        with self.lock:
            return [r for r in self.requests if ok(r)]

    def count(self, **want):
        return len(self.select(**want))

    def body_bytes(self, digest=None):
        with self.lock:
            if digest is not None:
                return self.sent.get(digest, 0)
            return sum(self.sent.values())

    def token_requests(self):
        return self.select(where="auth", kind="token")

    def forget(self):
        """Forget the counts, keep the behaviour."""
        with self.lock:
            self.requests = []
            self.sent = {}
            self.leaks = []
            self.violations = []

    def wait_for(self, condition, timeout=30):
        end = time.monotonic() + timeout
        with self.changed:
            while not condition():
                left = end - time.monotonic()
                assert left > 0, f"the upstream did not see it in {timeout} s; it saw {self.requests[-8:]}"
                self.changed.wait(min(left, 0.5))

    def _note(self, rec):
        with self.changed:
            if rec not in self.requests:
                self.requests.append(rec)
            self.changed.notify_all()

    # --- what a path means ------------------------------------------------------------------------------------

    PATHS = (
        ("blob", re.compile(r"^/v2/(.+)/blobs/([^/]+)$")),
        ("manifest", re.compile(r"^/v2/(.+)/manifests/([^/]+)$")),
        ("tags", re.compile(r"^/v2/(.+)/(tags/list)$")),
        ("referrers", re.compile(r"^/v2/(.+)/referrers/([^/]+)$")),
        ("upload", re.compile(r"^/v2/(.+)/blobs/(uploads)/.*$")),
    )

    def _parse(self, rec):
        path, _, query = rec.target.partition("?")
        rec.path = urllib.parse.unquote(path)
        rec.query = urllib.parse.parse_qs(query, keep_blank_values=True)
        rec.raw_query = query
        if rec.where == "registry":
            path = rec.path.removeprefix(self.path) if rec.path.startswith(self.path) else "outside"
            rec.kind = "ping" if path in ("/v2/", "/v2") else "other"
            for kind, pattern in self.PATHS:
                m = pattern.match(path)
                if m and m.group(1).startswith(self.prefix):
                    rec.kind, rec.repo, rec.reference = kind, m.group(1).removeprefix(self.prefix), m.group(2)
                    break
            if "ns" in rec.query and not self.takes_ns:
                self.violations.append(f"ns was sent upstream: {rec.target}")
        elif rec.where == "cdn":
            rec.kind = "blob"
            m = re.search(r"/blobs/([a-z0-9]+)/../([0-9a-f]+)/data$", rec.path)
            if m:
                rec.reference = f"{m.group(1)}:{m.group(2)}"
                rec.repo = rec.query.get("repo", [None])[0]
        else:
            rec.kind = "token"
            rec.reference = " ".join(rec.query.get("scope", []))

    # --- answering --------------------------------------------------------------------------------------------

    def _answer(self, conn, rec, status, headers=(), body=b"", length=None, extra_cut=None):
        headers = [(k, v) for k, v in headers]
        names = {k.lower() for k, _ in headers}
        if "content-length" not in names and "transfer-encoding" not in names:
            headers.append(("Content-Length", str(len(body) if length is None else length)))
        rec.status = status
        self._note(rec)
        conn.head(status, headers)
        if body and rec.method != "HEAD":
            conn.sock.sendall(body)

    def _error(self, conn, rec, status, code="UNKNOWN", headers=()):
        body = json.dumps({"errors": [{"code": code, "message": "from the double", "detail": None}]}).encode()
        self._answer(conn, rec, status, [("Content-Type", "application/json"), *headers], body)

    def _wait_released(self, conn, fault):
        fault.reached.set()
        with self.changed:
            self.changed.notify_all()
        while True:
            is_released = fault.released.wait(0.02)
            if self.closing.is_set() or conn.closed_by_peer():
                raise Gone  # a release too: nothing may be sent, and counted, to a peer that has left
            if is_released:
                return

    def _early(self, conn, rec, fault):
        """Faults that take the place of an answer. True when one did."""
        what = fault.what
        if what == "hang":
            self._note(rec)
            self._wait_released(conn, fault)
            return False
        if what == "drop":
            self._note(rec)
            fault.reached.set()
            conn.rst()
        if what == "status":
            fault.reached.set()
            extra = fault.get("headers", [])
            self._error(conn, rec, fault.get("code", 503), "UNAVAILABLE", extra)
            return True
        if what == "limit":
            kind, body, extra = LIMITS[fault.get("kind_of", "pull")]
            headers = [("Content-Type", kind)]
            for k, v in extra.items():
                headers.append((k, str(int(time.time()) + fault.get("seconds", 3600)) if v == "epoch" else v))
            if fault.get("retry_after") is not None:
                headers.append(("Retry-After", fault.retry_after))
            self._answer(conn, rec, 429, headers, body)
            return True
        if what == "html":
            self._answer(conn, rec, 200, [("Content-Type", "text/html; charset=utf-8")], HTML)
            return True
        if what == "redirect":
            self._answer(conn, rec, fault.get("code", 307), [("Location", fault.to)])
            return True
        if what == "reply":
            body = fault.get("body", b"")
            self._answer(conn, rec, fault.get("code", 200), fault.get("headers", []), body)
            return True
        return False

    def budget(self, user=None):
        return self.budgets.get(user) or self.budgets[None]

    @property
    def remaining(self):
        """What everybody without an account has left."""
        return self.budgets[None].remaining

    @remaining.setter
    def remaining(self, value):
        self.budgets[None].remaining = value

    def add_account(self, user, password="word", **budget):
        """An account with a budget of its own."""
        self.accounts[user] = password
        self.budgets[user] = Budget(**{"source": f"{user}-0000-4000-8000-account", "limit": 200, **budget})
        return self.budgets[user]

    # --- the registry -----------------------------------------------------------------------------------------

    def _challenges(self, rec, stale=False):
        realm = self.url("auth") + "/token"
        scope = f"repository:{self.prefix}{rec.repo}:pull"
        service = "registry.docker.io"
        forms = {
            "docker": [f'Bearer realm="{realm}",service="{service}",scope="{scope}"'],
            "bare": [f"Bearer realm={realm},service={service},scope={scope}"],
            "spaces": [f'bearer  Realm = "{realm}" ,  SERVICE="{service}" , scope="{scope}"'],
            "no_service": [f'Bearer realm="{realm}",scope="{scope}"'],
            "no_scope": [f'Bearer realm="{realm}",service="{service}"'],
            "empty_scope": [f'Bearer realm="{realm}",scope=""'],
            "literal": [f'Bearer realm="{realm}/",service="public.ecr.aws",scope="aws"'],
            "query": [f'Bearer realm="{realm}?a=1,b=2&c=3",service="{service}",scope="{scope}"'],
            "several": ["Negotiate", 'Digest realm="x, y", nonce="Bearer realm=z"',
                        f'Bearer realm="{realm}",service="{service}",scope="{scope}"'],
            "one_line": [f'Negotiate, Bearer realm="{realm}",service="{service}",scope="{scope}"'],
            "escaped": [f'Bearer realm="{realm}",service="regi\\"stry",scope="{scope}"'],
            "basic": ['Basic realm="double"'],
            "nvcr": [f'Bearer realm="{realm}",scope="{scope}"'],
        }
        if self.challenge == "nvcr" and stale:
            return [f'Bearer realm="{self.url("auth")}/useless",service="registry",error="invalid_token"']
        return forms[self.challenge]

    def _authorized(self, conn, rec):
        """True, or a 401 has been sent."""
        if self.challenge == "none":
            return True
        header = rec.headers.get("authorization", "")
        scheme, _, value = header.partition(" ")
        stale = False
        if self.challenge == "basic" and scheme.lower() == "basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            if self.accounts.get(user) == password:
                rec.user = user
                return True
        elif scheme.lower() == "bearer" and self.challenge != "basic":
            with self.lock:
                token = self.tokens.get(value.strip())
            if token and not token["expired"]:
                scopes = token["scope"].split()
                fits = "aws" in scopes or rec.kind == "ping" or f"repository:{self.prefix}{rec.repo}:pull" in scopes
                rec.user = token["user"]
                if fits and (rec.repo not in self.private or token["user"]):
                    return True
            stale = token is not None
        headers = [("WWW-Authenticate", c) for c in self._challenges(rec, stale)]
        headers.append(("Docker-Distribution-Api-Version", "registry/2.0"))
        if self.challenge == "docker" and rec.kind == "manifest":
            headers.append(("docker-ratelimit-source", self.budgets[None].source))
        self._error(conn, rec, 401, "UNAUTHORIZED", headers)
        return False

    def _serve_registry(self, conn):
        while True:
            rec = Record("registry", *conn.request())
            self._parse(rec)
            fault = None
            if rec.kind not in ("blob",):
                fault = self._fault_for(rec)
            else:
                fault = self._fault_for_blob_head(rec)
            if fault and self._early(conn, rec, fault):
                continue
            if not self._authorized(conn, rec):
                continue
            if rec.method not in ("GET", "HEAD"):
                self._error(conn, rec, 405, "UNSUPPORTED")
            elif rec.kind == "ping":
                self._answer(conn, rec, 200, [("Content-Type", "application/json")], b"{}")
            elif rec.kind == "blob":
                if self.redirects and (rec.method == "GET" or self.head_redirects):
                    self._redirect(conn, rec)
                else:
                    self._blob(conn, rec, fault)
            elif rec.kind == "manifest":
                self._manifest(conn, rec, fault)
            elif rec.kind == "referrers":
                self._referrers(conn, rec)
            elif rec.kind == "tags":
                self._tags(conn, rec)
            else:
                self._error(conn, rec, 404, "NAME_UNKNOWN")

    def _fault_for_blob_head(self, rec):
        """Faults of a blob at the registry itself. Those with an offset wait for the range to be known."""
        if self.redirects and rec.method == "GET":
            with self.lock:
                for f in self.faults:
                    # a fault of the blob that names no place is for the one who sends the bytes, unless it is one
                    # that takes the place of an answer
                    if f.left == 0 or not f.meets(rec) or f.get("at") is not None:
                        continue
                    if "where" not in f.match and f.what in ("wrong", "longer", "shorter", "chunked", "no_range",
                                                             "html", "no_digest"):
                        continue
                    if f.left is not None:
                        f.left -= 1
                    f.hits += 1
                    rec.fault = f.what
                    return f
            return None
        return self._fault_for(rec)

    def _redirect(self, conn, rec):
        alg, _, hex_ = rec.reference.partition(":")
        if self._content(rec.reference, rec.repo) is None:
            self._error(conn, rec, 404, "BLOB_UNKNOWN")
            return
        with self.lock:
            self.serial += 1
            sig = secrets.token_hex(16)
            self.urls[sig] = {"digest": rec.reference, "expired": False, "used": 0}
        where = (f"{self.url('cdn')}/registry-v2/docker/registry/v2/blobs/{alg}/{hex_[:2]}/{hex_}/data"
                 f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=1200&X-Amz-SignedHeaders=host"
                 f"&X-Amz-Signature={sig}&repo={urllib.parse.quote(rec.repo, safe='')}")
        self._answer(conn, rec, 307, [("Location", where), ("Content-Type", "application/octet-stream"),
                                      ("Docker-Distribution-Api-Version", "registry/2.0")])

    def _stored(self, *parts):
        if not self.storage:
            return None
        path = os.path.join(self.storage, "docker/registry/v2", *parts)
        return path if os.path.exists(path) else None

    def _content(self, digest, repo=None):
        if digest in self.only_in and repo is not None and repo not in self.only_in[digest]:
            return None
        if digest in self.blobs:
            return self.blobs[digest]
        with self.lock:
            if digest in self._contents:
                return self._contents[digest]
        alg, _, hex_ = digest.partition(":")
        if not re.fullmatch("[0-9a-f]+", hex_):
            return None
        path = self._stored("blobs", alg, hex_[:2], hex_, "data")
        if not path:
            return None
        content = Content(path=path)
        with self.lock:
            return self._contents.setdefault(digest, content)

    def _manifest(self, conn, rec, fault):
        found = self._find_manifest(rec)
        budget = self.budget(rec.user)
        if rec.method == "GET":
            with self.lock:
                limited = self.enforce and budget.remaining <= 0
                if limited:
                    budget.refused += 1
                else:
                    budget.remaining -= 1
                    budget.counted += 1
                    rec.counted = True
            if limited:
                kind, body, _ = LIMITS["pull"]
                headers = [("Content-Type", kind), *budget.headers()]
                if budget.retry_after is not None:
                    headers.append(("Retry-After", budget.retry_after))
                self._answer(conn, rec, 429, headers, body)
                return
        if not found:
            self._error(conn, rec, 404, "MANIFEST_UNKNOWN")
            return
        media_type, data = found
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if rec.reference.startswith("sha512:"):
            digest = rec.reference
        headers = [("Content-Type", media_type), ("Docker-Distribution-Api-Version", "registry/2.0")]
        headers += budget.headers()
        what = fault.what if fault else None
        if what == "no_digest":
            pass
        else:
            headers += [("Docker-Content-Digest", digest), ("ETag", f'"{digest}"')]
        if what == "wrong":
            data = data.replace(b'"schemaVersion"', b'"schemaVersioN"', 1)
        if what == "longer":
            data += b" " * fault.get("by", 1)
        if what == "shorter":
            data = data[:-fault.get("by", 1)]
        if what in ("cut", "reset"):
            headers.append(("Content-Length", str(len(data))))
            data = data[:len(data) // 2]
        if what == "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
            if rec.method == "GET":
                data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
        self._answer(conn, rec, 200, headers, data)
        if what in ("cut", "reset"):
            fault.reached.set()
            conn.fin() if what == "cut" else conn.rst()

    def _find_manifest(self, rec):
        with self.lock:
            if (rec.repo, rec.reference) in self.manifests:
                return self.manifests[rec.repo, rec.reference]
        if not self.upstream:
            return None
        c = http.client.HTTPConnection(*self.upstream, timeout=30)
        try:
            c.request("GET", f"/v2/{rec.repo}/manifests/{rec.reference}",
                      headers={"Accept": rec.headers.get("accept", "*/*")})
            r = c.getresponse()
            body = r.read()
            return (r.headers["Content-Type"], body) if r.status == 200 else None
        finally:
            c.close()

    def _all_tags(self, repo):
        if repo in self.lists:
            return self.lists[repo]
        tags = {ref for (name, ref) in self.manifests if name == repo and ":" not in ref}
        path = self._stored("repositories", repo, "_manifests/tags")
        if path:
            tags |= set(os.listdir(path))
        return sorted(tags)

    def _tags(self, conn, rec):
        """As Docker Hub does, the link is absolute: to the registry, which a client of a mirror must not follow."""
        tags = self._all_tags(rec.repo)
        if not tags:
            self._error(conn, rec, 404, "NAME_UNKNOWN")
            return
        last = rec.query.get("last", [None])[0]
        if last is not None:
            tags = [t for t in tags if t > last]
        headers = [("Content-Type", "application/json; charset=utf-8")]
        n = rec.query.get("n", [None])[0]
        if n is not None and n.isdigit() and int(n) < len(tags):
            tags = tags[:int(n)]
            if tags:
                link = f"{self.url()}/v2/{self.prefix}{rec.repo}/tags/list?n={n}&last={urllib.parse.quote(tags[-1])}"
                headers.append(("Link", f'<{link}>; rel="next"'))
        body = json.dumps({"name": rec.repo, "tags": tags}).encode()
        self._answer(conn, rec, 200, headers, body)

    def _subjects(self, repo):
        datas = [v for (name, ref), v in self.manifests.items() if name == repo and ":" in ref]
        path = self._stored("repositories", repo, "_manifests/revisions/sha256")
        for hex_ in sorted(os.listdir(path)) if path else ():
            content = self._content("sha256:" + hex_)
            if content:
                datas.append((None, bytes(content.data)))
        for media_type, data in datas:
            try:
                yield json.loads(data), data, media_type
            except ValueError:
                pass

    def _referrers(self, conn, rec):
        form = self.referrers_form
        if form == "404":
            self._answer(conn, rec, 404, [("Content-Type", "text/plain; charset=utf-8")], b"404 page not found\n")
            return
        if form == "html":
            where = f"{self.url('cdn')}/-/v2/packages/{rec.repo}/{rec.reference[:19]}"
            self._answer(conn, rec, 303, [("Location", where)])
            return
        if form == "plain":
            self._answer(conn, rec, 200, [("Content-Type", "text/html")], HTML)
            return
        wanted = rec.query.get("artifactType", [None])[0]
        found = []
        for m, data, media_type in self._subjects(rec.repo):
            if m.get("subject", {}).get("digest") != rec.reference:
                continue
            kind = m.get("artifactType") or m.get("config", {}).get("mediaType")
            if wanted and kind != wanted:
                continue
            found.append({"mediaType": media_type or m.get("mediaType", OCI_MANIFEST), "size": len(data),
                          "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "artifactType": kind,
                          "annotations": m.get("annotations", {})})
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}).encode()
        headers = [("Content-Type", OCI_INDEX)]
        if wanted:
            headers.append(("OCI-Filters-Applied", "artifactType"))
        self._answer(conn, rec, 200, headers, body)

    # --- bytes of blobs ---------------------------------------------------------------------------------------

    def _blob(self, conn, rec, fault=None):
        digest = rec.reference
        content = self._content(digest, rec.repo)
        if content is None:
            self._error(conn, rec, 404, "BLOB_UNKNOWN")
            return
        size = content.size
        start, end, status = 0, size, 200
        rng = rec.range
        no_range = fault and fault.what == "no_range"
        if rng and not no_range and rec.method == "GET":
            m = re.fullmatch(r"bytes=(\d*)-(\d*)", rng)
            if m and m.group(1):
                start = int(m.group(1))
                end = min(size, int(m.group(2)) + 1) if m.group(2) else size
                status = 206
            elif m and m.group(2):
                start = max(0, size - int(m.group(2)))
                status = 206
            else:
                self.violations.append(f"odd range upstream: {rng}")
            if status == 206 and start >= end:
                self._answer(conn, rec, 416, [("Content-Range", f"bytes */{size}")])
                return
        if fault is None:
            fault = self._fault_for(rec, start, end)
            if fault and fault.what in ("no_range",):
                start, end, status = 0, size, 200
        if fault and self._early(conn, rec, fault):
            return
        what = fault.what if fault else None
        headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes")]
        if rec.where == "registry" and what != "no_digest":
            headers.append(("Docker-Content-Digest", digest))
        if status == 206:
            headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
        length = end - start
        tail = b""
        if what == "longer":
            tail = b"x" * fault.get("by", 1)
            length += len(tail)
        if what == "shorter":
            end -= fault.get("by", 1)
            length = end - start
        chunked = what == "chunked"
        headers.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(length)))
        rec.status = status
        self._note(rec)
        conn.head(status, headers)
        if rec.method == "HEAD":
            return
        self._send(conn, rec, digest, content, start, end, fault, chunked)
        if tail:
            conn.sock.sendall(tail)
        if chunked:
            conn.sock.sendall(b"0\r\n\r\n")

    def _send(self, conn, rec, digest, content, start, end, fault, chunked):
        pos = start
        stops = []
        if fault and fault.get("at") is not None:
            stops = [min(fault.at, end)]
        while pos < end or stops:
            upto = min(pos + PIECE, stops[0] if stops else end)
            if upto > pos:
                piece = content.data[pos:upto]
                if chunked:
                    conn.sock.sendall(b"%x\r\n" % (upto - pos))
                sent = 0
                while sent < len(piece):
                    sent += self._send_some(conn, rec, digest, piece[sent:])
                if chunked:
                    conn.sock.sendall(b"\r\n")
                pos = upto
            if not stops or pos < stops[0]:
                continue
            stops.pop(0)
            if fault.what == "stall":
                conn.drained()
                self._wait_released(conn, fault)
            elif fault.what in ("cut", "reset"):
                conn.drained()
                fault.reached.set()
                if fault.get("hold"):
                    self._wait_released(conn, fault)
                conn.fin() if fault.what == "cut" else conn.rst()
            elif fault.what == "wrong":
                other = bytes([content.data[pos] ^ 0xff])
                if chunked:
                    conn.sock.sendall(b"1\r\n")
                self._send_some(conn, rec, digest, other)
                if chunked:
                    conn.sock.sendall(b"\r\n")
                pos += 1
                fault.reached.set()
        with self.changed:
            self.changed.notify_all()

    def _send_some(self, conn, rec, digest, piece):
        """Send and count in one step: who has received the bytes finds them counted."""
        tls = isinstance(conn.sock, ssl.SSLSocket)
        while True:
            n = conn.sock.send(piece) if tls else 0
            with self.lock:
                try:
                    n = n or conn.sock.send(piece, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    pass
                self.sent[digest] = self.sent.get(digest, 0) + n
                rec.sent += n
            if n:
                return n
            poll(conn.sock, select.POLLOUT)

    # --- the CDN ----------------------------------------------------------------------------------------------

    def _serve_cdn(self, conn):
        while True:
            rec = Record("cdn", *conn.request())
            self._parse(rec)
            if "authorization" in rec.headers:
                with self.lock:
                    self.leaks.append(rec)
            if rec.path.startswith("/-/"):
                self._answer(conn, rec, 200, [("Content-Type", "text/html; charset=utf-8")], HTML)
                continue
            sig = rec.query.get("X-Amz-Signature", [None])[0]
            with self.lock:
                url = self.urls.get(sig)
            if "authorization" in rec.headers or not url or url["expired"] or url["digest"] != rec.reference:
                body = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>'
                self._answer(conn, rec, 403, [("Content-Type", "application/xml")], body)
                continue
            url["used"] += 1
            self._blob(conn, rec)

    # --- tokens -----------------------------------------------------------------------------------------------

    def _serve_auth(self, conn):
        while True:
            rec = Record("auth", *conn.request())
            self._parse(rec)
            fault = self._fault_for(rec)
            if fault and self._early(conn, rec, fault):
                continue
            if not rec.path.startswith("/token"):
                self._error(conn, rec, 401, "UNAUTHORIZED")
                continue
            if rec.method != "GET":     # OAuth: clients that try that come again by GET
                self._error(conn, rec, 405, "UNSUPPORTED")
                continue
            if self.challenge == "query" and "a" not in rec.query:
                self.violations.append(f"the realm's own query was lost: {rec.target}")
            user = None
            scheme, _, value = rec.headers.get("authorization", "").partition(" ")
            if scheme.lower() == "basic":
                user, _, password = base64.b64decode(value).decode().partition(":")
                if self.accounts.get(user) != password:
                    self._answer(conn, rec, 401, [("Content-Type", "application/json")],
                                 b'{"details":"incorrect username or password"}')
                    continue
            rec.user = user
            token = secrets.token_urlsafe(1900)
            with self.lock:
                self.tokens[token] = {"scope": rec.reference, "user": user, "expired": False}
            self._answer(conn, rec, 200, [("Content-Type", "application/json")], self._token_body(token))

    def _token_body(self, token):
        now = time.strftime("%Y-%m-%dT%H:%M:%S.041048681Z", time.gmtime())
        forms = {
            "both": {"token": token, "access_token": token, "expires_in": 300, "issued_at": now},
            "token": {"token": token},
            "access_token": {"access_token": token, "expires_in": 300},
            "no_expires": {"token": token, "issued_at": now},
            "short": {"token": token, "expires_in": 5},
            "zero": {"token": token, "expires_in": 0},
            "past": {"token": token, "expires_in": 300, "issued_at": "2001-01-01T00:00:00Z"},
            "none": {},
            "html": None,
        }
        form = forms[self.token_form]
        return HTML if form is None else json.dumps(form).encode()
