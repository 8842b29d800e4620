"""The tables, as Markdown: they are printed, and kept in docs/performance.md between two marks."""

import collections

from measure import COLD_CLIENTS, CONNECTIONS, GIB, MIB, Memory

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
NAMES = {"entrepot": "Entrepot", "entrepot, 4": "Entrepot, 4 connections", "nginx": "nginx with cache lock",
         "registry": "docker-registry proxy", "direct": "the upstream itself"}

BLOBS = (("1m", "1 MiB"), ("100m", "100 MiB"))

# One line of what is aimed at: a text, the measured value or None, whether it is met or None (not measured)
Aim = collections.namedtuple("Aim", "text value met")


def table(head, rows):
    out = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return out + ["| " + " | ".join(row) + " |" for row in rows]


def cell(series, value, form):
    """A median, or what went wrong instead."""
    if not series.samples:
        return "n/a"
    if series.errors:
        return "**%d wrong answers**" % series.errors
    v = series.median(value)
    return "n/a" if v is None else form(v)


def number(v, digits):
    return "n/a" if v is None else "%.*f" % (digits, v)


def gigabytes(v):
    return "%.2f" % (v / 1e9)


def ratio(a, b):
    return a / b if a is not None and b else None


def value_of(item):
    return "request_rate" if item == "manifest" else "bytes_rate"


def cached_ratio(cached, item, connections, other="nginx"):
    value = value_of(item)
    return ratio(cached.get(item, connections, "entrepot").median(value),
                 cached.get(item, connections, other).median(value))


def cached_tables(cached):
    def rate(v):
        return "%.1fk" % (v / 1000)

    rows = []
    for connections in CONNECTIONS:
        cells = [cached.get("manifest", connections, n) for n in ("entrepot", "nginx", "nginx, logging")]
        rows.append([str(connections)] + [cell(c, "request_rate", rate) for c in cells] +
                    [number(cached_ratio(cached, "manifest", connections, n), 2) for n in ("nginx", "nginx, logging")])
    out = ["A cached manifest of 2 KiB, requests a second:", ""]
    out += table(["connections", "Entrepot", "nginx", "nginx, logging", "÷ nginx", "÷ nginx, logging"], rows)
    for item, title in BLOBS:
        rows = []
        for connections in CONNECTIONS:
            cells = [cached.get(item, connections, n) for n in ("entrepot", "nginx")]
            rows.append([str(connections)] + [cell(c, "bytes_rate", gigabytes) for c in cells] +
                        [number(cached_ratio(cached, item, connections), 2)])
        out += ["", "A cached blob of %s, GB/s:" % title, ""]
        out += table(["connections", "Entrepot", "nginx", "÷ nginx"], rows)

    def micro(v):
        return None if v is None else v * 1e6

    def a_gib(v):
        return None if v is None else v * GIB

    rows = [[NAMES["entrepot"] if n == "entrepot" else n, number(micro(cached.cpu("manifest", n, "requests")), 1),
             number(a_gib(cached.cpu("1m", n, "bytes")), 3), number(a_gib(cached.cpu("100m", n, "bytes")), 3)]
            for n in ("entrepot", "nginx")]
    out += ["", "CPU of the server:", ""]
    out += table(["", "µs a manifest", "s a GiB, 1 MiB blobs", "s a GiB, 100 MiB blobs"], rows)
    return out


def encrypted_table(encrypted):
    def a_gib(series):
        done = sum(s.bytes for s in series.samples)
        return number(sum(s.cpu for s in series.samples) / done * GIB if done else None, 2)

    rows = []
    for item, title in BLOBS:
        for connections in encrypted.CONNECTIONS:
            cells = [encrypted.get(item, connections, n) for n in ("entrepot", "nginx")]
            rows.append([title, str(connections)] + [cell(c, "bytes_rate", gigabytes) for c in cells] +
                        [number(cached_ratio(encrypted, item, connections), 2)] + [a_gib(c) for c in cells])
    return table(["blob", "connections", "Entrepot", "nginx", "÷ nginx", "CPU s a GiB, Entrepot", "CPU s a GiB, nginx"],
                 rows)


def cold_table(cold, clients_list):
    rows = []
    for clients in clients_list:
        for kind in ("entrepot", "entrepot, 4", "nginx", "registry", "direct"):
            c = cold.get(clients, kind)
            if not c.samples:
                continue
            delivered = sum(s.bytes for s in c.samples) / GIB
            cpu = sum(s.cpu or 0 for s in c.samples) / delivered if delivered else None
            rows.append([str(clients), NAMES[kind], cell(c, "wall", lambda v: "%.2f" % v),
                         cell(c, "first_byte", lambda v: "%.1f" % (v * 1000)),
                         cell(c, "gets", lambda v: "%d" % v),
                         cell(c, "upstream_bytes", lambda v: "%.0f" % (v / MIB)),
                         "" if kind == "direct" else number(None if c.errors else cpu, 2)])
    return table(["clients", "from", "wall s", "first byte ms (mean)", "upstream GETs", "upstream MiB",
                  "CPU s a GiB delivered"], rows)


def memory_table(memory, start):
    rows = []
    for kind in ("entrepot", "nginx", "registry"):
        peak = memory.peak.get(kind)
        at_peak = number(peak, 0)
        if kind in memory.streaming and peak is None:
            at_peak = "**streams failed**"
        rows.append([NAMES[kind], number(memory.idle.get(kind), 0), at_peak,
                     str(memory.streaming.get(kind, "n/a")),
                     number(start.seconds[kind] * 1000, 0) if kind in start.seconds else "n/a"])
    return table(["", "idle MiB (RSS)", "peak MiB (VmHWM), %d streams" % Memory.CLIENTS, "of which had bytes",
                  "start to ready ms"], rows)


def full_start_line(full):
    """Nothing of the peers stands beside it: they have no index."""
    after = ["%s ms after %s" % (number(v * 1000, 0), "a stop in order" if last_stop == "in order" else last_stop)
             for last_stop in full.seconds if (v := full.median(last_stop)) is not None]
    return "Entrepot's start to ready with %d blobs stored: %s." % (full.blobs, ", ".join(after) or "not measured")


def aims(cached, cold, uplink, memory, full):
    out = []

    def add(text, series, v, digits, met):
        """`series` is the mirror's own: wrong answers in it are a miss, and no value."""
        if series.errors:
            out.append(Aim(text, "%d wrong answers" % series.errors, False))
        else:
            out.append(Aim(text, number(v, digits), None if v is None else met(v)))

    def at_least(text, series, v, limit):
        add("%s ≥ %.2f" % (text, limit), series, v, 2, lambda x: x >= limit)

    for item, title in BLOBS:
        for connections in CONNECTIONS:
            at_least("cached %s, %d connections, ÷ nginx" % (title, connections),
                     cached.get(item, connections, "entrepot"), cached_ratio(cached, item, connections),
                     0.8 if connections == 1000 else 0.9)
    for connections in CONNECTIONS:
        at_least("manifest, %d connections, ÷ nginx" % connections, cached.get("manifest", connections, "entrepot"),
                 cached_ratio(cached, "manifest", connections), 1.2)

    ours = uplink.get(1, "entrepot")
    at_least("one cold client over an uplink of 100 MB/s, rate ÷ direct", ours,
             ratio(uplink.get(1, "direct").median("wall"), ours.median("wall")), 0.95)
    four = uplink.get(1, "entrepot, 4")
    at_least("the same over 4 connections ÷ over one", four, ratio(ours.median("wall"), four.median("wall")), 3)
    ours = cold.get(64, "entrepot")
    add("64 cold clients, wall ÷ nginx with cache lock ≤ 1.6", ours,
        ratio(ours.median("wall"), cold.get(64, "nginx").median("wall")), 2, lambda x: x <= 1.6)
    ours, direct = cold.get(1, "entrepot"), cold.get(1, "direct").median("first_byte")
    one = ours.median("first_byte")
    add("first byte of a cold blob ≤ the upstream's + 5 ms", ours,
        None if one is None or direct is None else (one - direct) * 1000, 1, lambda x: x <= 5)
    for clients in COLD_CLIENTS:
        ours = cold.get(clients, "entrepot")
        add("upstream GETs for %d cold clients = 1" % clients, ours, ours.worst("gets"), 0, lambda x: x == 1)

    v = memory.peak.get("entrepot")
    met = None if v is None and "entrepot" not in memory.streaming else v is not None and v <= 64
    out.append(Aim("memory with %d streams ≤ 64 MiB" % Memory.CLIENTS, number(v, 0), met))
    v = full.median("kill -9")
    out.append(Aim("start to ready with %d blobs after kill -9 ≤ 1 s" % full.blobs, number(v, 2),
                   None if v is None else v <= 1))
    return out


def encrypted_aims(encrypted):
    out = []
    for item, title in BLOBS:
        for connections in encrypted.CONNECTIONS:
            v = cached_ratio(encrypted, item, connections)
            out.append(Aim("cached %s over TLS, %d connections, ÷ nginx ≥ 0.90" % (title, connections), number(v, 2),
                           None if v is None else v >= 0.9))
    return out


def aims_table(found):
    words = {True: "met", False: "**missed**", None: "not measured"}
    return table(["aim", "measured", ""], [[a.text, a.value, words[a.met]] for a in found])


def markdown(machine, cached, encrypted, cold, uplink, memory, start, full):
    """The whole report, a list of lines."""
    out = ["%s: %s  " % pair for pair in machine]
    out += ["", "Aims beside what was measured:", ""] + aims_table(
        aims(cached, cold, uplink, memory, full) + encrypted_aims(encrypted))
    out += [""] + cached_tables(cached)
    out += ["", "Requests that reached the upstream during all of the above: %s. Samples that other processes disturbed: "
            "%d of %d." % (cached.upstream_requests, cached.disturbed, cached.samples)]
    out += ["", "A cached blob over TLS 1.3 (AES-128-GCM, a certificate on P-256) to curl, GB/s:", ""]
    out += encrypted_table(encrypted)
    out += ["", "A cold blob of 500 MiB, asked for by all clients at once, from an upstream without limit:", ""]
    out += cold_table(cold, COLD_CLIENTS)
    out += ["", "The same from an upstream that gives each connection 100 MB/s:", ""]
    out += cold_table(uplink, (1, 64))
    out += ["", "Memory and start:", ""] + memory_table(memory, start)
    out += ["", full_start_line(full)]
    return out


def insert(document, lines):
    """The document with these lines between its marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the document has no marks %s … %s" % (BEGIN, END))
    return before + begin + "\n" + "\n".join(lines) + "\n" + end + after
