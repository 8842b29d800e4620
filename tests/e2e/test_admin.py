"""The admin API and the commands that talk to it."""

import os
import pty
import select
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest
from commands import Cli, pull
from servers import SANITIZER, SANITIZER_ENV, binary, wait_until
from wire import Client


def test_status_says_how_the_server_is(served):
    m, cli = served
    status = cli.json("status")
    assert status["store"]["path"].endswith("/store")
    assert status["store"]["blobs"] == 0 and status["version"] == "0.1.0"
    assert 0 <= status["now"] - status["started_at"] < 600_000
    text = cli("status")
    assert "entrepot" in text and "0 blobs" in text and "\x1b" not in text


def test_a_server_that_is_not_there_is_status_4(served):
    m, cli = served
    m.stop()
    message = cli("status", status=4)
    assert "no server answers at unix:" in message and "entrepot serve" in message
    r = cli.run("status", "--admin", "127.0.0.1:1",
                "--token-file", str(m.config_path))
    assert r.returncode == 4 and "Connection refused" in r.stderr


def test_the_socket_is_found_by_option_environment_and_configuration(served):
    m, cli = served
    path = m.find(event="admin")[-1].get("listen")
    assert cli.run("status", "--admin", path).returncode == 0
    assert cli.run("status", "--admin", path.removeprefix("unix:")).returncode == 0
    assert cli.run("status", env={"ENTREPOT_ADMIN": path}).returncode == 0
    assert cli.run("status", "--admin", "unix:/nowhere", env={"ENTREPOT_ADMIN": path}).returncode == 4


def test_wrong_arguments_are_status_2(served):
    m, cli = served
    assert cli.run("status", "more").returncode == 2
    assert cli.run("status", "--jsn").returncode == 2
    assert cli.run("status", "--admin").returncode == 2


def test_an_address_asks_for_the_token(launch, tmp_path):
    token = tmp_path / "token"
    token.write_text("a-token-of-the-test-itself\n")
    m = launch(admin={"listen": "127.0.0.1:0", "token_file": str(token)})
    cli = Cli(m)
    address = m.find(event="admin")[-1].get("listen")
    assert cli.run("status", "--admin", address, "--token-file", str(token)).returncode == 0
    assert cli.run("status", "--admin", address, env={"ENTREPOT_TOKEN_FILE": str(token)}).returncode == 0
    r = cli.run("status", "--admin", address)
    assert r.returncode == 1 and "token" in r.stderr
    other = tmp_path / "other"
    other.write_text("another-token-entirely\n")
    r = cli.run("status", "--admin", address, "--token-file", str(other))
    assert r.returncode == 1 and "admin.token_file" in r.stderr


def test_an_address_without_a_token_file_is_no_configuration(launch):
    m = launch(started=False, admin={"listen": "127.0.0.1:0"})
    r = Cli(m).run("check-config", str(m.config_path))
    assert r.returncode == 1 and "admin.token_file" in r.stderr


def test_those_who_never_end_their_requests_keep_no_administrator_out(launch, tmp_path):
    """Not even where they have all connections that there may be."""
    token = tmp_path / "token"
    token.write_text("a-token-of-the-test-itself\n")
    m = launch(admin={"listen": ["unix:", "127.0.0.1:0"], "token_file": str(token)}, server={"limits": {"header_timeout": "1s"}})
    listening = [line.get("listen") for line in m.find(event="admin")]
    host, _, port = next(a for a in listening if not a.startswith("unix:")).rpartition(":")
    slow = [socket.create_connection((host, int(port)), 20) for _ in range(16)]
    ended = threading.Event()

    def drip():
        while not ended.wait(0.2):
            for s in slow:
                try:
                    s.sendall(b"a")
                except OSError:
                    pass

    for s in slow:
        s.sendall(b"GET /v1/status HTTP/1.1\r\nX-Long: ")
    dripping = threading.Thread(target=drip)
    dripping.start()
    assert Cli(m).json("status")["version"], "it comes to its turn"
    ended.set()
    dripping.join()
    m.wait_line(event="slow_client", reason="header")
    for s in slow:
        s.close()


def test_the_admin_api_can_be_turned_off(launch):
    m = launch(admin={"listen": []})
    assert not m.find(event="admin")
    assert "admin.listen is empty" in Cli(m)("status", status=1)


def test_a_server_that_was_killed_is_followed_by_another(served):
    m, cli = served
    m.kill()
    path = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    assert os.path.exists(os.path.join(m.dir, path))
    assert "refused" in cli("status", status=4)
    m.start()
    cli("status")


def test_an_open_connection_does_not_hold_the_stop_up(served):
    m, cli = served
    path = m.find(event="admin")[-1].get("listen").removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.path.join(m.dir, path))
        s.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n")
        m.stop(timeout=20)
    assert not os.path.exists(os.path.join(m.dir, path))


# --- status and top -------------------------------------------------------------------------------------------------

def test_status_tells_budgets_sources_hits_and_who_spends(served, hub, image):
    m, cli = served
    alpha = image()
    pull(m, alpha)
    pull(m, alpha)
    asked = 2 * (len(alpha.blobs()) + 3)
    wait_until(lambda: sum(cli.json("status")["requests"]["since_start"].values()) == asked, "all are counted")
    status = cli.json("status")
    source = next(s for s in status["sources"] if s["registry"] == "docker.io")
    assert source["breaker"] == "closed" and source["account"] == "" and source["counted"] == 2
    assert source["budget"]["remaining"] == 98 and source["budget"]["limit"] == 100
    assert source["budget"]["window_ms"] == 6 * 3600 * 1000
    assert status["spenders"]["repositories"] == [{"name": "docker.io/library/alpha", "pulls": 2, "excess": 0}]
    assert status["spenders"]["clients"] == [{"name": "127.0.0.1", "pulls": 2, "excess": 0}]
    counts = status["requests"]["last_hour"]
    assert counts == status["requests"]["since_start"]
    assert counts["misses"] == len(alpha.everything()) and counts["errors"] == 0
    assert counts["hits"] + counts["joined"] == asked - counts["misses"]
    wait_until(lambda: cli.blobs() == len(alpha.everything()), "all are stored")
    text = cli("status")
    for part in ("98", "100 in 6 h", "docker.io/library/alpha", "127.0.0.1", "(anonymous)", "good", "never"):
        assert part in text, text


def test_status_tells_what_is_on_its_way(served, hub, image):
    m, cli = served
    d = hub.put_blob(os.urandom(4 << 20))
    with hub.fault("stall", at=2 << 20, where="cdn", reference=d) as fault:
        r = Client(m.host_port).open(f"/v2/library/alpha/blobs/{d}")
        r.read(1 << 20)
        fault.wait()
        flights = cli.json("status")["flights"]
        assert flights["count"] == 1
        f = flights["list"][0]
        assert f["digest"] == d and f["bytes"] == 4 << 20 and f["repository"] == "library/alpha"
        assert 1 << 20 <= f["written"] < 4 << 20 and f["readers"] >= 1 and f["state"] == "streaming"
        assert f["source"].startswith("127.0.0.1")
        assert "of 4.0 MiB" in cli("status")
        fault.release()
        r.finish()
    wait_until(lambda: cli.json("status")["flights"]["count"] == 0, "the flight has landed")


def test_status_tells_a_source_that_is_off(launch, hub):
    m = launch(server={"answer_timeout": "1s"})
    cli = Cli(m)
    hub.refuse()
    for tag in "abcdefgh":
        assert Client(m.host_port).get(f"/v2/library/alpha/manifests/{tag}").status == 503
    source = next(s for s in cli.json("status")["sources"] if s["registry"] == "docker.io")
    assert source["breaker"] in ("open", "half_open") and source["failures"] > 0
    assert "refused" in source["last_error"]
    assert "docker.io" in cli("status")
    hub.listen()


def test_what_does_not_fit_a_terminal_is_cut_with_a_sign(served, image):
    m, _ = served
    pull(m, image())
    for columns, expected in ((80, "oci.im...r+gzip"), (120, "oci.image.layer.v1.tar+gzip")):
        t = Terminal(m, "inspect", "alpha:1", columns=columns, env={"NO_COLOR": "1"})
        assert t.end() == 0 and expected in t.text, t.text
        assert max(len(line) for line in t.text.splitlines() if "layer" in line) <= columns


class Terminal:
    """A command on a terminal of 80 columns."""

    def __init__(self, mirror, *args, columns=80, env=None):
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, columns))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        inherited = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        e = {**inherited, **SANITIZER_ENV, "TERM": "xterm", **(env or {})}
        self.proc = subprocess.Popen([binary(), *args, "--config", str(mirror.config_path)], cwd=mirror.dir, env=e,
                                     stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        self.text = ""

    def read_until(self, condition, what, timeout=30):
        end = time.monotonic() + timeout
        while not condition(self.text):
            assert time.monotonic() < end, f"not within {timeout} s: {what}\n{self.text}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode()

    def end(self, timeout=30):
        status = self.proc.wait(timeout)
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 65536).decode()
        after = termios.tcgetattr(self.slave)
        os.close(self.slave)
        os.close(self.master)
        assert not SANITIZER.search(self.text), self.text
        assert after == self.before, "the terminal is not as it was"
        return status


@pytest.mark.parametrize("leave", ["q", "Ctrl-C", "SIGTERM"])
def test_top_refreshes_until_it_is_left(served, leave):
    m, _ = served
    t = Terminal(m, "top", "--interval", "0.1")
    t.read_until(lambda s: s.count("entrepot  0.1.0") >= 3, "three pages")
    assert t.text.startswith("\x1b[?1049h")
    if leave == "q":
        os.write(t.master, b"q")
    else:
        t.proc.send_signal(signal.SIGINT if leave == "Ctrl-C" else signal.SIGTERM)
    assert t.end() == 0
    assert t.text.endswith("\x1b[?1049l")


def test_top_of_a_server_that_goes_restores_the_terminal(served):
    m, _ = served
    t = Terminal(m, "top", "--interval", "0.1")
    t.read_until(lambda s: "entrepot  0.1.0" in s, "a page")
    m.stop()
    assert t.end() == 4


def test_an_interval_that_is_none_is_refused(served):
    _, cli = served
    for interval in ("0", "x", "1x", "-1", "nan", "1e9"):
        assert cli.run("top", "--interval", interval).returncode == 2


def test_colours_are_for_terminals(served, image):
    m, _ = served
    pull(m, image())
    t = Terminal(m, "status")
    assert t.end() == 0 and "\x1b[32m" in t.text
    t = Terminal(m, "status", env={"NO_COLOR": "1"})
    assert t.end() == 0 and "\x1b" not in t.text
    assert all(len(line) <= 80 for line in t.text.splitlines())
