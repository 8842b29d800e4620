"""The bench must not flatter: a wrong answer is never a fast one, a missed aim is said to be missed."""

import http.server
import json
import pathlib
import socketserver
import subprocess
import sys
import threading
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import measure  # noqa: E402
import processes  # noqa: E402
import report  # noqa: E402

SIZE = 10000


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = 404 if self.path == "/missing" else 200
        length = SIZE - 1 if self.path == "/other" else SIZE
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(b"x" * (length // 2 if self.path == "/short" else length))
        self.close_connection = self.path == "/short"

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def port():
    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

        def handle_error(self, *args):
            pass  # clients leave in the middle, as they are told to

    server = Server(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture(scope="module")
def sink(tmp_path_factory):
    binary = tmp_path_factory.mktemp("sink") / "sink"
    source = pathlib.Path(__file__).with_name("sink.c")
    subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", binary, source], check=True)

    def run(port, path, *more):
        done = subprocess.run([binary, "-p", str(port), "-u", path, "-l", str(SIZE), "-T", "10", *more], check=True,
                              capture_output=True, text=True)
        return json.loads(done.stdout)

    return run


def test_the_load_client_counts_what_it_got(sink, port):
    record = sink(port, "/", "-c", "4", "-1")
    assert record["requests"] == 4 and record["bytes"] == 4 * SIZE and measure.Sample(record).errors == 0
    record = sink(port, "/", "-c", "2", "-n", "10")
    assert record["requests"] == 10 and record["bytes"] == 10 * SIZE and measure.Sample(record).errors == 0


@pytest.mark.parametrize("path", ["/missing", "/other", "/short"])
def test_the_load_client_counts_wrong_answers(sink, port, path):
    assert measure.Sample(sink(port, path, "-c", "3", "-1")).errors >= 3


def test_nobody_listens(sink):
    assert measure.Sample(sink(1, "/", "-c", "3", "-1")).errors >= 3


def test_a_server_that_does_not_start_ends_the_bench(tmp_path):
    with pytest.raises(processes.BenchError, match="does not answer"):
        processes.Server("broken", ["sh", "-c", "echo why; exit 1"], 1, str(tmp_path / "log")).start()
    with pytest.raises(processes.BenchError, match="why"):
        processes.Server("broken", ["sh", "-c", "echo why; exit 1"], 1, str(tmp_path / "log")).start()


def series(**values):
    out = measure.Series()
    record = dict(wall=1.0, bytes=0, requests=0, first_byte_avg=0, connect_errors=0, status_errors=0, length_errors=0,
                  unfinished=0)
    gets = values.pop("gets", None)
    errors = values.pop("errors", 0)
    out.samples.append(measure.Sample(dict(record, status_errors=errors, **values)))
    out.samples[0].gets = gets
    return out


class Cells:
    """A section with the same series in every cell of a server."""

    samples = disturbed = upstream_requests = 0

    def __init__(self, **servers):
        self.servers = servers

    def get(self, *key):
        return self.servers.get(key[-1] if key[-1] in self.servers else key[0], measure.Series())

    def cpu(self, *_):
        return None


def full_start(**seconds):
    return types.SimpleNamespace(blobs=1000000, seconds=seconds, median=seconds.get)


def aims_of(rate=1.0, wall=1.0, gets=1, peak=50, errors=0, first_byte=0.001, start=0.6, four=0.3):
    cached = Cells(entrepot=series(bytes=int(rate * 1e9), requests=int(rate * 1e6), errors=errors),
                   nginx=series(bytes=int(1e9), requests=int(1e6)))
    cold = Cells(entrepot=series(wall=wall, gets=gets, first_byte_avg=first_byte), nginx=series(wall=1.0),
                 direct=series(wall=1.0), **{"entrepot, 4": series(wall=four)})
    memory = types.SimpleNamespace(peak={"entrepot": peak}, idle={}, streaming={"entrepot": 1000})
    return {a.text: a for a in report.aims(cached, cold, cold, memory, full_start(**{"kill -9": start}))}


def test_aims_that_are_met():
    assert {a.met for a in aims_of(rate=1.3).values()} == {True}


@pytest.mark.parametrize("what,text", [
    ({"rate": 0.89}, "cached 1 MiB, 128 connections, ÷ nginx ≥ 0.90"),
    ({"rate": 1.19}, "manifest, 16 connections, ÷ nginx ≥ 1.20"),
    ({"rate": 0.79}, "cached 100 MiB, 1000 connections, ÷ nginx ≥ 0.80"),
    ({"wall": 1.07}, "one cold client over an uplink of 100 MB/s, rate ÷ direct ≥ 0.95"),
    ({"four": 0.34}, "the same over 4 connections ÷ over one ≥ 3.00"),
    ({"wall": 1.7}, "64 cold clients, wall ÷ nginx with cache lock ≤ 1.6"),
    ({"gets": 2}, "upstream GETs for 64 cold clients = 1"),
    ({"first_byte": 0.0051}, "first byte of a cold blob ≤ the upstream's + 5 ms"),
    ({"peak": 65}, "memory with 1000 streams ≤ 64 MiB"),
    ({"peak": None}, "memory with 1000 streams ≤ 64 MiB"),
    ({"start": 1.01}, "start to ready with 1000000 blobs after kill -9 ≤ 1 s"),
])
def test_an_aim_that_is_missed(what, text):
    assert aims_of(**what)[text].met is False


@pytest.mark.parametrize("rate,met", [(0.9, True), (0.89, False)])
def test_the_aim_over_tls(rate, met):
    cells = Cells(entrepot=series(bytes=int(rate * 1e9)), nginx=series(bytes=int(1e9)))
    cells.CONNECTIONS = measure.Encrypted.CONNECTIONS
    for one in (cells.servers["entrepot"], cells.servers["nginx"]):
        one.samples[0].cpu = 0.5
    assert {a.met for a in report.encrypted_aims(cells)} == {met}
    assert "| 1 MiB | 16 | %.2f | 1.00 | %.2f |" % (rate, rate) in "\n".join(report.encrypted_table(cells))


def test_wrong_answers_have_no_rate():
    aim = aims_of(errors=1)["cached 1 MiB, 1 connections, ÷ nginx ≥ 0.90"]
    assert aim.met is False and aim.value == "1 wrong answers"
    assert report.cell(series(errors=3, bytes=9), "bytes_rate", str) == "**3 wrong answers**"
    assert report.cell(measure.Series(), "bytes_rate", str) == "n/a"


def test_what_was_not_measured_is_neither_met_nor_missed():
    nothing = Cells()
    memory = types.SimpleNamespace(peak={}, idle={}, streaming={})
    assert {a.met for a in report.aims(nothing, nothing, nothing, memory, full_start())} == {None}


def test_the_start_of_a_full_store_in_words():
    full = full_start(**{"in order": 0.012, "kill -9": 0.6})
    assert report.full_start_line(full) == ("Entrepot's start to ready with 1000000 blobs stored: 12 ms after a stop in "
                                            "order, 600 ms after kill -9.")
    assert report.full_start_line(full_start()).endswith(": not measured.")


def test_what_the_document_keeps():
    text = "before\n%s\nold\n%s\nafter\n" % (report.BEGIN, report.END)
    new = report.insert(text, ["a", "b"])
    assert new == "before\n%s\na\nb\n%s\nafter\n" % (report.BEGIN, report.END)
    assert report.insert(new, ["a", "b"]) == new
    with pytest.raises(ValueError):
        report.insert("no marks\n", ["a"])
