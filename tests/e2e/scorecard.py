"""./dev scorecard: what a client sees when the upstream misbehaves, of Entrepot and of docker-registry as a proxy.

    scorecard.py [--write] [--only entrepot|docker-registry] [FAULT…]

Both stand in front of the same double (hub.py) with the same content. For each fault a server is started with nothing
stored, one image is pulled while all is well, and then, with the fault:

    warm    that image is pulled again, its tag being past its time
    cold    another image is pulled for the first time
    next    the fault is over: the second image is pulled again, and every byte compared

A pull is what containerd does: HEAD of the tag, GET of the index and the platform's manifest by digest, GET of each
blob. Requests are those that reached the double, tokens and redirects among them. --write keeps the table in
docs/resilience.md.
"""

import argparse
import contextlib
import pathlib
import random
import shutil
import sys
import tempfile
import time

import images
import servers
from conftest import Image
from hub import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Budget, Hub
from wire import Client

DOCUMENT = servers.ROOT / "docs/resilience.md"
BEGIN, END = "<!-- scorecard: begin -->", "<!-- scorecard: end -->"
PATIENCE = 10       # seconds: CRI-O gives up then
NEXT = 90       # the first pause after a pull limit of which no header tells is up to a minute
MIB = 1 << 20

ACCEPT = {"Accept": ", ".join((DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX, "*/*"))}   # containerd's

SERVED, STALE = "served", "served, marked stale"


class Seen(Exception):
    """What ended a pull."""


# --- one pull -------------------------------------------------------------------------------------------------------

def ask(client, method, target):
    try:
        with client.open(target, method, ACCEPT if "/manifests/" in target else (), PATIENCE) as r:
            if r.status is None:
                raise Seen("connection closed without an answer")
            return r.finish()
    except TimeoutError:
        raise Seen(f"nothing for {PATIENCE} s") from None
    except OSError as e:
        raise Seen(f"no connection ({e.strerror})") from None


def get(client, target, data):
    r = ask(client, "GET", target)
    if r.status != 200:
        raise Seen(status(r))
    if r.end == "complete" and bytes(r.body) != data:
        raise Seen("WRONG BYTES, complete")
    if r.end == "complete":
        return r
    how = "connection reset" if r.end == "rst" else "short body, clean end"
    raise Seen(how if data.startswith(bytes(r.body)) else how + ", wrong bytes in it")


def status(r):
    return f"{r.status}, come again" if "Retry-After" in r.headers else str(r.status)


def pull(client, img):
    """SERVED, STALE, or what went wrong."""
    try:
        r = ask(client, "HEAD", f"/v2/{img.repo}/manifests/{img.tag}")
        if r.status != 200:
            raise Seen(status(r))
        if r.headers.get("Docker-Content-Digest") != img.digest:
            raise Seen("no or another digest")
        for target, d in img.targets():
            get(client, target, img.bytes(d))
    except Seen as e:
        return str(e)
    return STALE if "Warning" in r.headers else SERVED


# --- who is looked at -----------------------------------------------------------------------------------------------

class Entrepot:
    name = "Entrepot"

    def __init__(self, directory, url, **upstream):
        self.mirror = servers.Mirror(directory, {
            "version": 1, "server": {"listen": ["127.0.0.1:0"], "answer_timeout": "2s", "drain_timeout": "1s"},
            "store": {"path": str(directory / "store")}, "tags": {"ttl": "0s"},
            "upstream": {"connect_timeout": "1s", "header_timeout": "1s", "stall_timeout": "1s", "flight_timeout": "4s",
                         **upstream},
            "budget": {"probe_after": "1s"}, "registries": {"docker.io": {"url": url}}}).start()

    @property
    def client(self):
        return Client(self.mirror.host_port)

    def move(self, url):
        self.mirror.stop()
        self.mirror.write_config(registries={"docker.io": {"url": url}})
        self.mirror.start()

    def stop(self):
        self.mirror.stop()


class DockerRegistry:
    name = "docker-registry"

    def __init__(self, directory, url, **_):
        self.directory = directory / "registry"
        self.server = servers.DockerRegistry(self.directory, remote=url)

    @property
    def client(self):
        return Client(self.server.host_port)

    def move(self, url):
        self.server.stop()
        try:
            self.server = servers.DockerRegistry(self.directory, remote=url)
        except AssertionError:
            raise Seen("it does not start") from None

    def stop(self):
        self.server.stop()


SUBJECTS = (Entrepot, DockerRegistry)


# --- the faults -----------------------------------------------------------------------------------------------------

class Row:
    """A fault. `warm` and `cold` are what Entrepot must show; `most` the requests that it may make of each."""

    def __init__(self, name, set_up, warm, cold, most=(6, 16), moves=None):
        self.name, self.set_up, self.warm, self.cold, self.most, self.moves = name, set_up, warm, cold, most, moves


LATER = ("503, come again",)
BROKEN = ("502, come again",)
WELL = (SERVED,)
MARKED = (STALE,)


def limit(hub):
    hub.budgets[None] = Budget(remaining=0)
    hub.enforce = True


def quiet_limit(hub):
    hub.budgets[None] = Budget(remaining=0, form="absent")
    hub.enforce = True


def of_tokens(what, **args):
    def set_up(hub):
        hub.expire_tokens()
        hub.fault(what, where="auth", **args)
    return set_up


def fault(what, **args):
    return lambda hub: hub.fault(what, **args)


def layer(what, **args):
    """Of the largest blobs' bytes, where they are sent."""
    return fault(what, where="cdn", **args)


ROWS = (
    Row("none", lambda hub: None, WELL, WELL),
    Row("pull limit, as its headers say", limit, WELL, LATER),
    Row("pull limit, known by the 429 only", quiet_limit, WELL, LATER),
    Row("abuse limit: 429 to everything, in plain text", fault("limit", kind_of="abuse"), MARKED, LATER),
    Row("429 with Retry-After in seconds since 1970", fault("limit", kind_of="rest", where="registry", seconds=4), MARKED, LATER),
    Row("429 of the token server", of_tokens("limit", kind_of="token"), MARKED, LATER),
    Row("token server broken (500)", of_tokens("status", code=500), MARKED, LATER),
    Row("login refused (401 of the token server)", of_tokens("status", code=401), MARKED, ("404",)),
    Row("403 in spite of a token", fault("status", code=403, where="registry", kind="manifest"), MARKED, ("404",)),
    Row("the tag is gone (404)", fault("status", code=404, where="registry", kind="manifest"), ("404",), ("404",)),
    Row("500 to everything", fault("status", code=500), MARKED, LATER),
    Row("503 to everything", fault("status", code=503), MARKED, LATER),
    Row("a page of HTML with 200", fault("html"), MARKED, BROKEN),
    Row("connection refused", lambda hub: hub.refuse(), MARKED, LATER),
    # a connection that was kept alive and is reset is tried once more on a new one, by every attempt
    Row("connection reset", fault("drop"), MARKED, LATER, most=(8, 16)),
    Row("accepts, and never answers", fault("hang"), MARKED, LATER),
    Row("its name does not resolve, after a restart", lambda hub: None, MARKED, LATER,
        moves=lambda hub: "http://registry.invalid"),
    Row("its TLS is broken, after a restart", lambda hub: None, MARKED, (*BROKEN, *LATER),
        moves=lambda hub: hub.url().replace("http:", "https:")),
    Row("manifest: another byte", fault("wrong", kind="manifest", method="GET"), WELL, BROKEN),
    Row("manifest: cut off", fault("cut", kind="manifest", method="GET"), WELL, LATER),
    Row("manifest: no Docker-Content-Digest", fault("no_digest", kind="manifest"), WELL, WELL),
    Row("blob: cut off once in the middle", layer("cut", at=100_000, times=1), WELL, WELL),
    Row("blob: reset once in the middle", layer("reset", at=100_000, times=1), WELL, WELL),
    Row("blob: stalls once in the middle", layer("stall", at=100_000, times=1), WELL, WELL),
    Row("blob: cut off, and no ranges", lambda hub: (hub.fault("cut", where="cdn", at=100_000, times=1),
                                                     hub.fault("no_range", where="cdn")), WELL, WELL),
    Row("blob: another byte", layer("wrong", at=100_000), WELL, ("short body, clean end, wrong bytes in it",
                                                               "short body, clean end", *BROKEN)),
    Row("blob: longer than it should be", layer("longer", by=10), WELL, ("short body, clean end", *BROKEN), most=(6, 32)),
    Row("blob: shorter than it should be", layer("shorter", by=10), WELL, ("short body, clean end", *BROKEN),
        most=(6, 32)),
    Row("blob: no Content-Length", layer("chunked"), WELL, WELL, most=(6, 32)),
    Row("blob: signed URL refused once (403)", layer("status", code=403, times=1), WELL, WELL),
    Row("blob: 503 once", layer("status", code=503, times=1), WELL, WELL),
)


class Result:
    """One row of one subject."""

    def __init__(self):
        self.warm = self.cold = self.next = "-"
        self.requests = [0, 0]


class World:
    """The content, and the double in front of it."""

    def __init__(self):
        self.storage = str(images.storage())
        self.registry = servers.DockerRegistry(self.storage)
        self.first = Image(self.storage, "library/alpha", "1")
        self.second = Image(self.storage, "library/beta", "1")

    def close(self):
        self.registry.stop()

    @contextlib.contextmanager
    def hub(self):
        h = Hub(self.storage, self.registry.host_port)
        try:
            yield h
        finally:
            h.close()

    @contextlib.contextmanager
    def subject(self, kind, url, **upstream):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="scorecard-"))
        s = kind(directory, url, **upstream)
        try:
            yield s
        finally:
            s.stop()
            shutil.rmtree(directory, ignore_errors=True)

    def run(self, kind, row):
        result = Result()
        with self.hub() as hub, self.subject(kind, hub.url()) as s:
            self.warm_up(hub, s)
            row.set_up(hub)
            try:
                if row.moves:
                    s.move(row.moves(hub))
                for i, (name, img) in enumerate((("warm", self.first), ("cold", self.second))):
                    hub.forget()
                    setattr(result, name, pull(s.client, img))
                    result.requests[i] = hub.count()
            except Seen as e:
                result.warm = result.cold = str(e)
            self.repair(hub, s, row)
            result.next = self.next(s)
        return result

    def warm_up(self, hub, subject):
        """Until no blob is fetched any more: some store them later than they serve them."""
        end = time.monotonic() + NEXT
        while True:
            hub.forget()
            seen = pull(subject.client, self.first)
            if seen == SERVED and not hub.count(kind="blob"):
                return
            if time.monotonic() > end:
                raise RuntimeError(f"{subject.name} does not even serve what is well: {seen}")
            time.sleep(0.2)

    @staticmethod
    def repair(hub, subject, row):
        for f in list(hub.faults):
            f.remove()
        hub.enforce = False
        hub.budgets[None] = Budget()
        hub.listen()
        if row.moves:
            subject.move(hub.url())

    def next(self, subject):
        began = time.monotonic()
        while (seen := pull(subject.client, self.second)) != SERVED:
            if "WRONG" in seen or time.monotonic() - began > NEXT:
                return "no: " + seen
            time.sleep(0.2)
        return "yes" if time.monotonic() - began < 1 else "yes, after a pause"

    def many(self, kind, count=50):
        """Requests for a cold blob, and for a manifest that cannot be had, when many ask at once."""
        with self.hub() as hub, self.subject(kind, hub.url(), stall_timeout="30s", flight_timeout="60s") as s:
            data = random.Random(1).randbytes(8 * MIB)
            d = hub.put_blob(data)
            with hub.fault("stall", where="cdn", at=MIB) as stall:
                waiting = [s.client.ask(f"/v2/library/alpha/blobs/{d}", timeout=60) for _ in range(count)]
                stall.wait()
                time.sleep(0.5)
                stall.release()
                right = sum(bytes(r.read_head().finish().body) == data for r in waiting)
            sent = hub.body_bytes(d) / len(data)
            hub.forget()
            with hub.fault("status", code=503):
                waiting = [s.client.ask(f"/v2/library/alpha/manifests/sha256:{'4' * 64}") for _ in range(count)]
                for r in waiting:
                    r.read_head()
                    r.leave()
                asked = hub.count()
        return {"served": right, "times the bytes": round(sent, 1), "requests": asked}


# --- tables ---------------------------------------------------------------------------------------------------------

def table(results, kinds):
    head = ["Fault"] + [f"{what}: {k.name}" for what in ("Warm", "Cold", "Requests", "Next pull right?") for k in kinds]
    rows = []
    for row in ROWS:
        if row.name not in results:
            continue
        r = [results[row.name][k.name] for k in kinds]
        rows.append([row.name, *(x.warm for x in r), *(x.cold for x in r),
                     *("%d + %d" % tuple(x.requests) for x in r), *(x.next for x in r)])
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    def line(cells):
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths)) + " |"
    return [line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|", *map(line, rows)]


def table_of_many(many, kinds):
    lines = ["| 50 clients at once | " + " | ".join(k.name for k in kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for what, key in (("one cold blob: clients that got all of it", "served"),
                      ("one cold blob: its bytes were fetched so many times", "times the bytes"),
                      ("a manifest that cannot be had (503): requests upstream", "requests")):
        lines.append(f"| {what} | " + " | ".join(str(many[k.name][key]) for k in kinds) + " |")
    return lines


def insert(text, lines):
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep the table in docs/resilience.md")
    parser.add_argument("--only", choices=[k.name.lower() for k in SUBJECTS])
    parser.add_argument("faults", nargs="*", help="those whose name has this word")
    options = parser.parse_args()
    if options.write and (options.only or options.faults):
        parser.error("--write keeps the whole table only")
    kinds = [k for k in SUBJECTS if options.only in (None, k.name.lower())]
    world = World()
    try:
        results = {}
        for row in ROWS:
            if options.faults and not any(word in row.name for word in options.faults):
                continue
            print(row.name, file=sys.stderr)
            results[row.name] = {k.name: world.run(k, row) for k in kinds}
        lines = table(results, kinds)
        if not options.faults:
            lines += ["", *table_of_many({k.name: world.many(k) for k in kinds}, kinds)]
    finally:
        world.close()
    print("\n".join(lines))
    if options.write:
        DOCUMENT.write_text(insert(DOCUMENT.read_text(encoding="utf-8"), lines), encoding="utf-8")


if __name__ == "__main__":
    main()
