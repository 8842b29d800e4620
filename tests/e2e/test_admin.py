"""The admin API and the commands that talk to it."""

import os
import socket

import pytest
from commands import Cli


@pytest.fixture
def served(launch):
    """A mirror that runs, and its commands."""
    m = launch()
    return m, Cli(m)


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
