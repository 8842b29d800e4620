"""What is measured, one class a section of the table. Every sample is checked: an answer that is wrong is an error in
the table and never a fast answer."""

import concurrent.futures
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import peers
import processes
import seed
from processes import BenchError

MIB = 1 << 20
GIB = 1 << 30
CONNECTIONS = (1, 16, 128, 1000)
COLD_CLIENTS = (1, 64, 256)
ACCEPT = "Accept: " + seed.MANIFEST_TYPE
DISTURBED = 0.15  # of a core: what other processes may use while a sample is taken


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


class Sample:
    """One run of the load client against one server."""

    def __init__(self, record, cpu=None, disturbed=False):
        self.wall = record["wall"]
        self.bytes = record["bytes"]
        self.requests = record["requests"]
        self.first_byte = record["first_byte_avg"]
        self.errors = sum(record[k] for k in ("connect_errors", "status_errors", "length_errors", "unfinished"))
        self.cpu = cpu
        self.disturbed = disturbed
        self.gets = self.upstream_bytes = self.upstream_requests = None

    @property
    def bytes_rate(self):
        return self.bytes / self.wall if self.wall > 0 else 0

    @property
    def request_rate(self):
        return self.requests / self.wall if self.wall > 0 else 0


class Series:
    """The samples of one cell."""

    def __init__(self):
        self.samples = []

    @property
    def errors(self):
        return sum(s.errors for s in self.samples)

    def median(self, value):
        """Of a property's name; None where nothing was measured or an answer was wrong."""
        if not self.samples or self.errors:
            return None
        values = [getattr(s, value) for s in self.samples]
        return None if None in values else statistics.median(values)

    def worst(self, value):
        if not self.samples or self.errors:
            return None
        values = [getattr(s, value) for s in self.samples]
        return None if None in values else max(values)


class Bench:
    """What all sections share: the image, the upstream, the load client, the time that is left."""

    def __init__(self, work, kept, binary, quick, seconds):
        self.work = work
        self.binary = binary  # None: peers only
        self.quick = quick
        self.end = time.monotonic() + seconds
        self.sink = os.path.join(work, "sink")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sink.c")
        processes.run_bounded(["cc", "-O2", "-Wall", "-pthread", "-o", self.sink, source], 60)
        self.image = seed.load(kept) or seed.make(kept, work)
        if self.image is None:
            raise BenchError("the image could not be made in " + kept)
        store = peers.registry(work, "upstream-registry", self.image.root).start()
        self.upstream, ports = peers.upstream_nginx(work, self.image, store.port)
        self.upstream.start()
        self.port, self.uplink_port, self.trickle_port = ports

    def out_of_time(self):
        return time.monotonic() > self.end

    def rounds(self, wanted):
        """Round numbers, as long as there is time; the first is always made."""
        for i in range(1 if self.quick else wanted):
            if i > 0 and self.out_of_time():
                return
            yield i

    def load(self, port, name, connections, seconds=None, once=False, timeout=60, repeat=None):
        path = self.image.url_path(name)
        argv = [self.sink, "-p", str(port), "-c", str(connections), "-t", "2", "-T", str(timeout), "-u", path,
                "-l", str(self.image.sizes[name]), "-H", ACCEPT]
        if once:
            argv += ["-1"]
        elif repeat:
            argv += ["-n", str(repeat)]
        else:
            argv += ["-d", str(seconds)]
        return json.loads(processes.run_bounded(argv, timeout + 30))

    # --- what came to the upstream ---

    def upstream_mark(self):
        return os.path.getsize(self.upstream.count_log)

    def upstream_since(self, mark, name):
        """(GETs of the blob, their bytes, all requests) that the upstream has logged since, once it has settled."""
        settled = mark - 1
        end = time.monotonic() + 10
        while settled != self.upstream_mark() and time.monotonic() < end:
            settled = self.upstream_mark()
            time.sleep(0.3)
        gets = count = requests = 0
        with open(self.upstream.count_log, encoding="ascii") as f:
            f.seek(mark)
            for line in f:
                method, uri, _, size = line.split()
                requests += 1
                if method == "GET" and uri == self.image.url_path(name):
                    gets += 1
                    count += int(size)
        return gets, count, requests

    # --- the mirrors, each from nothing ---

    def mirror(self, kind, upstream_port):
        make = {"entrepot": lambda: peers.entrepot(self.work, self.binary, upstream_port),
                "entrepot, 4": lambda: peers.entrepot(self.work, self.binary, upstream_port, 4),
                "nginx": lambda: peers.locking_nginx(self.work, upstream_port),
                "registry": lambda: peers.registry_proxy(self.work, upstream_port)}[kind]
        directory = {"nginx": "locking", "registry": "registry-proxy"}.get(kind, "entrepot")
        processes.empty_directory(os.path.join(self.work, directory))
        return make().start()

    def mirrors(self):
        return (["entrepot"] if self.binary else []) + ["nginx", "registry"]


class Cached:
    """Stored content: the mirror, and nginx with the very same files. Interleaved, so that a slow minute of the machine
    falls on both."""

    ITEMS = ("manifest", "1m", "100m")

    def __init__(self, bench):
        self.bench = bench
        self.cells = {}  # (item, connections, server) → Series
        self.samples = self.disturbed = 0
        self.upstream_requests = None
        seconds = 0.5 if bench.quick else 1.5
        static, logging_port = peers.static_nginx(bench.work, bench.image, seed.MANIFEST_TYPE)
        static.start()
        servers = [("nginx", static, static.port), ("nginx, logging", static, logging_port)]
        if bench.binary:
            mirror = bench.mirror("entrepot", bench.port)
            self.fill(mirror)
            servers.insert(0, ("entrepot", mirror, mirror.port))
        mark = bench.upstream_mark()
        for i in bench.rounds(3):
            say("cached, round %d" % (i + 1))
            for item in self.ITEMS:
                for connections in CONNECTIONS:
                    for name, server, port in servers[i % len(servers):] + servers[:i % len(servers)]:
                        if name == "nginx, logging" and item != "manifest":
                            continue
                        series = self.cells.setdefault((item, connections, name), Series())
                        series.samples.append(self.sample(server, port, item, connections, seconds))
        self.upstream_requests = bench.upstream_since(mark, "1m")[2]
        for server in {id(s): s for _, s, _ in servers}.values():
            server.stop()

    def fill(self, mirror):
        for item in self.ITEMS:
            mark = self.bench.upstream_mark()
            for attempt in range(20):
                record = self.bench.load(mirror.port, item, 1, repeat=2)
                if Sample(record).errors or record["requests"] != 2:
                    raise BenchError("the mirror does not give %s; its log ends:\n%s" % (item, mirror.log_tail()))
                if self.bench.upstream_since(mark, item)[2] == 0:
                    break
                mark = self.bench.upstream_mark()
            else:
                raise BenchError("%s is asked of the upstream again and again" % item)

    def sample(self, server, port, item, connections, seconds):
        for last in (False, True):
            busy, cpu, begin = processes.machine_busy_seconds(), server.cpu_seconds(), time.monotonic()
            record = self.bench.load(port, item, connections, seconds=seconds)
            wall = time.monotonic() - begin
            used = server.cpu_seconds() - cpu
            others = processes.machine_busy_seconds() - busy - used - record["cpu"]
            disturbed = others / wall > DISTURBED
            if last or not disturbed or self.bench.quick or self.bench.out_of_time():
                break
        self.samples += 1
        self.disturbed += disturbed
        return Sample(record, used, disturbed)

    def get(self, item, connections, server):
        return self.cells.get((item, connections, server), Series())

    def cpu(self, item, server, unit):
        """CPU seconds of the server for a GiB, or for a request, over all its samples of that item."""
        samples = [s for (i, _, n), c in self.cells.items() if (i, n) == (item, server) for s in c.samples]
        amount = sum(getattr(s, unit) for s in samples)
        return sum(s.cpu for s in samples) / amount if amount else None


class Encrypted:
    """Stored content over TLS: the same certificate and cipher for both, and two processes of curl, which have to decrypt
    it all: that costs as much as the servers do, so that their CPU says more than the rate."""

    CIPHER = "TLS_AES_128_GCM_SHA256"
    CONNECTIONS = (1, 16)
    PROCESSES = 2
    TRANSFERS = {"1m": 640, "100m": 32}  # of all connections together

    def __init__(self, bench):
        self.bench = bench
        self.cells = {}  # (item, connections, server) → Series
        if bench.binary is None:
            return
        self.pair = peers.certificate(bench.work)
        nginx = peers.tls_nginx(bench.work, bench.image, self.pair).start()
        processes.empty_directory(os.path.join(bench.work, "entrepot"))
        mirror = peers.entrepot(bench.work, bench.binary, bench.port, pair=self.pair).start()
        try:
            for item in self.TRANSFERS:
                self.sample(mirror, item, 1, 2)
            for i in bench.rounds(3):
                say("cached over TLS, round %d" % (i + 1))
                for item, transfers in self.TRANSFERS.items():
                    for connections in self.CONNECTIONS:
                        for name, server in (("entrepot", mirror), ("nginx", nginx))[::-1 if i % 2 else 1]:
                            series = self.cells.setdefault((item, connections, name), Series())
                            series.samples.append(self.sample(server, item, connections, transfers))
        finally:
            mirror.stop()
            nginx.stop()

    def sample(self, server, item, connections, transfers):
        workers = min(self.PROCESSES, connections)
        each = transfers // workers
        url = "https://127.0.0.1:%d%s?[1-%d]" % (server.tls_port, self.bench.image.url_path(item), each)
        argv = ["curl", "-sS", "--http1.1", "--parallel", "--parallel-immediate", "--parallel-max",
                str(connections // workers), "--cacert", self.pair[0], "--tlsv1.3", "--tls13-ciphers", self.CIPHER,
                "-o", "/dev/null", "-w", "%{http_code} %{size_download}\n", url]
        cpu, begin = server.cpu_seconds(), time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            answers = "".join(pool.map(lambda _: processes.run_bounded(argv, 120), range(workers))).splitlines()
        good = answers.count("200 %d" % self.bench.image.sizes[item])
        record = {"wall": time.monotonic() - begin, "bytes": good * self.bench.image.sizes[item], "requests": good,
                  "first_byte_avg": 0, "connect_errors": 0, "length_errors": 0, "unfinished": 0,
                  "status_errors": workers * each - good}
        return Sample(record, server.cpu_seconds() - cpu)

    def get(self, item, connections, server):
        return self.cells.get((item, connections, server), Series())


class Cold:
    """Nobody has it yet, and all ask at once."""

    def __init__(self, bench):
        self.bench = bench
        self.cells = {}  # (clients, server) → Series
        for clients in COLD_CLIENTS[:2] if bench.quick else COLD_CLIENTS:
            wanted = {1: 5, 64: 3, 256: 2}[clients]
            for i in bench.rounds(wanted):
                say("cold 500 MiB, %d clients, round %d" % (clients, i + 1))
                self.run("direct", clients, bench.port)
                for kind in bench.mirrors():
                    # one round of the slow peer is enough: it takes as long as all the others together
                    if kind != "registry" or clients == 1 or i == 0:
                        self.run(kind, clients, bench.port)

    def run(self, kind, clients, upstream_port, blob="500m", cells=None):
        sample = cold_sample(self.bench, kind, clients, upstream_port, blob)
        (self.cells if cells is None else cells).setdefault((clients, kind), Series()).samples.append(sample)

    def get(self, clients, server):
        return self.cells.get((clients, server), Series())


class Uplink(Cold):
    """The same behind an upstream connection of 100 MB/s, as a registry's CDN may be: one client, and 64."""

    def __init__(self, bench):
        self.bench = bench
        self.cells = {}
        for i in bench.rounds(2):
            for clients in (1, 64):
                say("cold 500 MiB over an uplink of 100 MB/s, %d clients, round %d" % (clients, i + 1))
                for kind in ["direct"] + (["entrepot, 4"] if bench.binary else []) + bench.mirrors():
                    if kind in ("direct", "entrepot", "entrepot, 4") and clients == 1 or i == 0 and not bench.quick:
                        # direct and by docker-registry each client has a connection, and 100 MB/s, of its own
                        self.run(kind, clients, bench.uplink_port)


def cold_sample(bench, kind, clients, upstream_port, blob):
    server = None if kind == "direct" else bench.mirror(kind, upstream_port)
    try:
        mark = bench.upstream_mark()
        cpu = server.cpu_seconds() if server else 0
        port = server.port if server else upstream_port
        record = bench.load(port, blob, clients, once=True, timeout=150)
        sample = Sample(record)
        sample.gets, sample.upstream_bytes, sample.upstream_requests = bench.upstream_since(mark, blob)
        sample.cpu = server.cpu_seconds() - cpu if server else None
        return sample
    finally:
        if server:
            server.stop()


class Memory:
    """1,000 clients of one cold blob whose upstream trickles: all are in flight when the peak is read."""

    CLIENTS = 1000

    def __init__(self, bench):
        self.bench = bench
        self.peak = {}  # server → MiB, or None where streams were refused or had ended
        self.idle = {}
        self.streaming = {}
        for kind in bench.mirrors():
            say("memory with %d streams: %s" % (self.CLIENTS, kind))
            server = bench.mirror(kind, bench.trickle_port)
            try:
                self.idle[kind] = server.memory_kib("VmRSS") / 1024
                record = bench.load(server.port, "100m", self.CLIENTS, once=True, timeout=4 if bench.quick else 12)
                self.streaming[kind] = record["first_bytes"]
                whole = record["unfinished"] == self.CLIENTS and not record["connect_errors"] + record["status_errors"]
                self.peak[kind] = server.memory_kib("VmHWM") / 1024 if whole else None
            finally:
                server.stop()


class Start:
    """From the start of the process to the first answer, with nothing stored."""

    def __init__(self, bench):
        self.seconds = {}
        for kind in bench.mirrors():
            times = []
            for _ in bench.rounds(5):
                server = bench.mirror(kind, bench.port)
                times.append(server.ready_seconds)
                server.stop()
            self.seconds[kind] = statistics.median(times)


class FullStart:
    """The same with a million blobs stored, after a stop in order and after kill -9."""

    BLOBS = 1000000
    FEW = 20000  # for a quick look

    def __init__(self, bench):
        self.blobs = self.FEW if bench.quick else self.BLOBS
        self.seconds = {"in order": [], "kill -9": []}
        if bench.binary is None:
            return
        say("start with %d blobs" % self.blobs)
        directory = processes.empty_directory(os.path.join(bench.work, "full"))
        store = os.path.join(directory, "entrepot", "store")
        os.makedirs(os.path.dirname(store))
        fill = os.path.join(os.path.dirname(bench.binary), "tests", "bench", "fill")
        processes.run_bounded([fill, store, str(self.blobs)], 600)
        try:
            for _ in bench.rounds(3):
                self.start(bench, directory, "in order").kill()
                self.start(bench, directory, "kill -9").stop()
        finally:
            shutil.rmtree(directory)

    def start(self, bench, directory, last_stop):
        server = peers.entrepot(directory, bench.binary, bench.port).start()
        self.seconds[last_stop].append(server.ready_seconds)
        return server

    def median(self, last_stop):
        return statistics.median(self.seconds[last_stop]) if self.seconds[last_stop] else None


def version_of(argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().split("\n")
    return lines[0] if lines else "?"
