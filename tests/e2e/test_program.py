"""The program as who runs it meets it: its commands, its log, its signals."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

import pki
import pytest
import servers
import yaml
from commands import run
from servers import wait_until
from wire import Client

MIB = 1 << 20


@pytest.fixture
def entrepot(tmp_path):
    """entrepot(arguments…): the finished process."""
    if servers.binary() is None:
        pytest.skip("no entrepot binary: build first, or set ENTREPOT")
    return lambda *args: run(*args, cwd=tmp_path)


# --- check-config -----------------------------------------------------------------------------------------------------

def test_a_good_configuration_passes(entrepot, config, tmp_path):
    for name, text in (("full.yaml", yaml.safe_dump(config)), ("empty.yaml", ""), ("comment.yaml", "# nothing\n")):
        path = tmp_path / name
        path.write_text(text)
        r = entrepot("check-config", path)
        assert r.returncode == 0, r.stderr
    assert not (tmp_path / "store").exists(), "a check touches nothing"


BAD = {  # text: line, key, words of the message
    "an unknown key": ("server:\n  listn: 127.0.0.1:5000\n", 2, "server.listn", '"listen"'),
    "an unknown section": ("servre:\n  listen: 127.0.0.1:5000\n", 1, "servre", '"server"'),
    "an unknown key of a registry": ("registries:\n  quay.io:\n    urll: https://quay.io\n", 3, "registries.*urll", '"url"'),
    "no duration": ("# a comment\ntags:\n  ttl: soon\n", 3, "tags.ttl", ""),
    "a duration below its limit": ("upstream:\n  stall_timeout: 1ms\n", 2, "upstream.stall_timeout", ""),
    "no choice": ("log:\n  level: loud\n", 2, "log.level", "warn"),
    "no number": ("server:\n  max_connections: many\n", 2, "server.max_connections", ""),
    "an address without a port": ("server:\n  listen: ['[::1]:5000', 127.0.0.1]\n", 2, "server.listen", ""),
    "a version of another time": ("version: 2\n", 1, "version", ""),
    "no URL": ("registries:\n  quay.io:\n    url: quay\n", 3, "registries.*url", ""),
    "a scheme that is not spoken": ("registries:\n  quay.io:\n    url: ftp://quay.io\n", 3, "registries.*url", ""),
    "a text for a map": ("server: 5000\n", 1, "server", ""),
    "a key twice": ("log:\n  level: info\n  level: warn\n", 3, "", ""),
    "no YAML": ("server:\n  listen: [127.0.0.1:5000\nlog: {}\n", None, "", ""),
    "a default that is no registry": ("default_registry: nowhere.example\n", 1, "default_registry", ""),
    "a CA file that is not there": ("\nupstream:\n  ca_file: /nowhere/ca.pem\n", 3, "upstream.ca_file", ""),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_configuration_is_told_by_line_and_key(entrepot, tmp_path, what):
    text, line, key, words = BAD[what]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    r = entrepot("check-config", path)
    assert r.returncode == 1
    found = [m for m in re.findall(r"(?m)^(.*bad\.yaml):(\d+):(\d+): (.*)$", r.stderr)]
    assert found, r.stderr
    if line:
        assert any(int(n) == line and re.match(key, said) and words in said for _, n, _, said in found), r.stderr
    said = entrepot("serve", "--config", path)
    assert said.returncode == 1 and all(f"bad.yaml:{n}:{c}" in said.stderr for _, n, c, _ in found), said.stderr
    assert "event=ready" not in said.stderr


def test_every_error_of_a_file_is_told_at_once(entrepot, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("tags:\n  ttl: soon\nlog:\n  level: loud\n  fromat: json\nserver:\n  threads: 0\n")
    r = entrepot("check-config", path)
    assert {int(n) for n in re.findall(r"bad\.yaml:(\d+):\d+: ", r.stderr)} == {2, 4, 5, 7}, r.stderr


@pytest.mark.parametrize("command", [["check-config"], ["serve", "--config"]])
def test_a_configuration_that_cannot_be_read_is_named(entrepot, tmp_path, command):
    for path in (tmp_path / "absent.yaml", tmp_path):
        r = entrepot(*command, path)
        assert r.returncode == 1 and str(path) in r.stderr


def test_usage(entrepot):
    r = entrepot("--help")
    assert r.returncode == 0 and "serve" in r.stdout and "check-config" in r.stdout
    assert re.search(r"\d+\.\d+\.\d+", entrepot("--version").stdout)
    for args in ([], ["sevre"], ["serve", "--confg", "x"], ["serve", "x"], ["serve", "--config"], ["check-config", "a", "b"]):
        r = entrepot(*args)
        assert r.returncode == 2 and r.stderr and not r.stdout, args
    assert "serve" in entrepot("sevre").stderr, "the nearest"


def commands(entrepot):
    return re.findall(r"^  ([a-z-]+) ", entrepot("--help").stdout.partition("Commands:")[2], re.M)


def test_every_command_has_help_that_fits_a_terminal(entrepot):
    for name in commands(entrepot):
        r = entrepot(name, "--help")
        assert r.returncode == 0 and r.stdout.startswith(f"Usage: entrepot {name}"), name
        assert max(map(len, r.stdout.splitlines())) <= 120, name
        assert entrepot("help", name).stdout == r.stdout, name
    r = entrepot("help", "sevre")
    assert r.returncode == 2 and "serve" in r.stderr and not r.stdout
    assert entrepot("help").stdout == entrepot("--help").stdout


def test_the_manual_has_every_command_and_roff_no_complaint(entrepot):
    manual = entrepot("manual").stdout
    for name in commands(entrepot):
        assert re.search(rf"^\.SS entrepot {name.replace('-', '.-')}", manual, re.M), name
    r = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=manual, capture_output=True, text=True)
    assert r.returncode == 0 and not r.stderr and "EXIT STATUS" in re.sub(r".\x08|\x1b\[\d*m", "", r.stdout)


def complete(entrepot, directory, *words):
    """What bash offers for the last of these words."""
    script = entrepot("completion", "bash").stdout
    line = script + "\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _entrepot; printf '%s\\n' \"${COMPREPLY[@]}\""
    r = subprocess.run(["bash", "-c", line, "bash", "entrepot", *words], capture_output=True, text=True, cwd=directory)
    assert not r.stderr, r.stderr
    return r.stdout.split()


def test_bash_completes_commands_options_and_files(entrepot, tmp_path):
    (tmp_path / "entrepot.yaml").write_text("")
    assert complete(entrepot, tmp_path, "check-c") == ["check-config"]
    assert set(commands(entrepot)) <= set(complete(entrepot, tmp_path, ""))
    assert complete(entrepot, tmp_path, "serve", "--con") == ["--config"]
    assert complete(entrepot, tmp_path, "serve", "--config", "entre") == ["entrepot.yaml"]
    assert complete(entrepot, tmp_path, "check-config", "ent") == ["entrepot.yaml"]
    assert complete(entrepot, tmp_path, "version", "ent") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_understand_theirs(entrepot, tmp_path, shell):
    script = tmp_path / "script"
    script.write_text(entrepot("completion", shell).stdout)
    r = subprocess.run([shell, "-n", script], capture_output=True, text=True)
    assert r.returncode == 0 and not r.stderr, r.stderr


# --- starting ---------------------------------------------------------------------------------------------------------

def test_a_second_mirror_on_a_store_is_refused_and_the_first_goes_on(launch, entrepot, image, tmp_path):
    m = launch()
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(m.config))
    r = entrepot("serve", "--config", other)
    assert r.returncode == 1 and str(tmp_path / "store") in r.stderr and "event=ready" not in r.stderr
    alpha = image()
    assert bytes(Client(m.host_port).get(f"/v2/library/alpha/manifests/{alpha.digest}").body) == alpha.bytes(alpha.digest)


def test_an_address_in_use_is_named(launch, entrepot, tmp_path):
    m = launch()
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(servers.merge(m.config, {
        "server": {"listen": [m.address]}, "store": {"path": str(tmp_path / "store2")}})))
    r = entrepot("serve", "--config", other)
    assert r.returncode == 1 and m.address in r.stderr and "event=ready" not in r.stderr
    assert Client(m.host_port).get("/v2/").status == 200


def test_it_listens_on_every_address_it_is_told(launch):
    m = launch(server={"listen": ["127.0.0.1:0", "[::1]:0"]})
    assert len(m.addresses) == 2
    for address in m.addresses:
        host, _, port = address.rpartition(":")
        assert Client((host.strip("[]"), int(port))).get("/v2/").status == 200


@pytest.fixture
def open_directory():
    """A directory that every user can reach, as pytest's own is not."""
    d = tempfile.mkdtemp()
    os.chmod(d, 0o755)
    yield d
    shutil.rmtree(d)


def test_it_runs_as_any_user(launch, image, open_directory):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; all other tests ran as this one")
    store = os.path.join(open_directory, "store")
    os.mkdir(store)
    os.chown(store, 65534, 65534)
    binary = shutil.copy(servers.binary(), open_directory)
    m = launch(directory=open_directory, user=65534, command=binary, store={"path": store})
    alpha = image()
    for _ in range(2):
        r = Client(m.host_port).get(f"/v2/library/alpha/blobs/{alpha.largest()}")
        assert bytes(r.body) == alpha.bytes(alpha.largest())
        m.restart()
    m.stop()
    for where, dirs, files in os.walk(store):
        for name in dirs + files:
            assert os.lstat(os.path.join(where, name)).st_uid == 65534


# --- the log ----------------------------------------------------------------------------------------------------------

TEXT_LINE = re.compile(r'time=\S+ level=(error|warn|info|debug) event=\S+( [a-z_]+=("(\\.|[^"\\])*"|[^ "=]*))*')
REQUIRED = {"client", "method", "registry", "repository", "reference", "status", "outcome", "bytes", "ms",
            "upstream_requests"}


def exercise(m, hub, image):
    """Requests of many kinds: right, cold, warm, wrong, ranges, absent."""
    client, alpha = Client(m.host_port), image()
    for _ in range(2):
        client.get("/v2/library/alpha/manifests/1")
        client.get(f"/v2/library/alpha/blobs/{alpha.largest()}")
        client.get(f"/v2/library/alpha/blobs/{alpha.largest()}", {"Range": "bytes=1-5"})
    client.head("/v2/library/alpha/manifests/1")
    client.get("/v2/library/alpha/manifests/none")
    client.get("/v2/library/alpha/manifests/1?ns=evil%22%0a%20level=error.example")
    client.get("/v2/%22quo%5Cted%0a/manifests/1", {"User-Agent": 'a "b" \\c=d'})
    client.request("DELETE", "/v2/library/alpha/manifests/1")
    with hub.fault("status", code=503):
        client.get("/v2/library/beta/manifests/1")


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_line_of_the_log_is_well_formed(launch, hub, image, form):
    m = launch(log={"format": form, "level": "debug"}, server={"answer_timeout": "1s"})
    exercise(m, hub, image)
    m.stop()
    assert m.lines
    for line in m.lines:
        if form == "json":
            assert {"time", "level", "event"} <= set(json.loads(line)), line
        else:
            assert TEXT_LINE.fullmatch(line), line
    requests = m.find(event="request")
    assert len(requests) >= 12, "one line a request"
    for line in m.find(event="request", status=200, object=lambda o: o in ("manifest", "blob")):
        assert REQUIRED <= set(line.fields), (REQUIRED - set(line.fields), line)


def test_the_line_of_a_request_tells_outcome_bytes_and_cost(launch, hub, image):
    m = launch(tags={"ttl": "0s"}, server={"answer_timeout": "1s"})
    client, alpha = Client(m.host_port), image()
    d = alpha.largest()
    size = alpha.path(d).stat().st_size

    def line(target, **headers):
        mark = m.mark()
        client.get(target, headers)
        return m.wait_line(since=mark, event="request")

    cold = line(f"/v2/library/alpha/blobs/{d}")
    assert (cold.get("outcome"), cold.get("bytes"), cold.get("status")) == ("miss", str(size), "200")
    assert (cold.get("registry"), cold.get("repository"), cold.get("reference")) == ("docker.io", "library/alpha", d)
    assert int(cold.get("upstream_requests")) == len(hub.requests), "all of them, token and redirect too"
    warm = line(f"/v2/library/alpha/blobs/{d}")
    assert (warm.get("outcome"), warm.get("bytes"), warm.get("upstream_requests")) == ("hit", str(size), "0")
    part = line(f"/v2/library/alpha/blobs/{d}", Range="bytes=10-19")
    assert (part.get("outcome"), part.get("bytes"), part.get("status")) == ("hit", "10", "206")
    client.head(f"/v2/library/alpha/blobs/{d}")
    head = m.wait_line(event="request", method="HEAD")
    assert (head.get("outcome"), head.get("bytes")) == ("hit", "0"), "a HEAD moves no bytes"
    line("/v2/library/alpha/manifests/1")
    hub.refuse()
    stale = line("/v2/library/alpha/manifests/1")
    assert (stale.get("outcome"), stale.get("status")) == ("stale", "200")


def test_a_joined_request_is_told_as_such(mirror, client, hub):
    d = hub.put_blob(os.urandom(2 * MIB))
    with hub.fault("stall", kind="blob", at=MIB) as stall:
        first = client.open(f"/v2/library/x/blobs/{d}")
        stall.wait()
        joined = client.open(f"/v2/library/x/blobs/{d}")
        stall.release()
        first.finish().leave()
        joined.finish().leave()
    wait_until(lambda: len(mirror.find(event="request", reference=d)) == 2, "two lines")
    assert sorted(ln.get("outcome") for ln in mirror.find(event="request", reference=d)) == ["joined", "miss"]


def test_no_secret_is_in_any_line(launch, hub, image, tmp_path):
    """Password, its Basic form, tokens, signed URLs, a proxy's password, what a client sends."""
    hub.accounts["jo"] = "pa55:w0rd"
    hub.private.add("library/alpha")
    basic = base64.b64encode(b"jo:pa55:w0rd").decode()
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {"docker.io": {"auth": basic}}}))
    m = launch(log={"level": "debug"}, upstream={"connect_timeout": "1s", "header_timeout": "1s", "flight_timeout": "2s"},
               server={"answer_timeout": "1s"},
               registries={"docker.io": {"credentials": str(auth), "open": ["library/*"]},
                           "far.example": {"url": "http://far.example", "proxy": "http://me:pr0xypass@127.0.0.1:9"}})
    client, alpha = Client(m.host_port), image()
    mine = base64.b64encode(b"client:cl1entpass").decode()
    assert client.get("/v2/library/alpha/manifests/1", {"Authorization": "Basic " + mine}).status == 200
    assert client.get(f"/v2/library/alpha/blobs/{alpha.largest()}", {"Authorization": "Bearer cl1enttoken"}).status == 200
    client.get("/v2/library/alpha/manifests/1?ns=far.example")
    hub.expire_tokens()
    with hub.fault("cut", kind="blob", where="cdn", at=50), hub.fault("status", kind="manifest", code=500):
        client.get(f"/v2/library/alpha/blobs/{alpha.layers('arm64')[0]}")
        client.get(f"/v2/library/alpha/manifests/{alpha.child('arm64')}")
    hub.accounts["jo"] = "another"
    client.get("/v2/library/beta/manifests/1")
    m.signal(signal.SIGHUP)
    m.stop()
    secrets = ["pa55", basic, mine, "cl1ent", "pr0xypass", *hub.tokens, *hub.urls]
    assert hub.tokens and hub.urls
    for line in m.lines:
        assert not [s for s in secrets if s in line], line
        assert "X-Amz" not in line, line


# --- SIGTERM ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_it_ends_at_once(launch, number):
    """The bound on draining is a minute; the test does not wait so long."""
    m = launch(server={"drain_timeout": "60s"})
    idle = Client(m.host_port).open("/v2/").finish()
    m.signal(number)
    assert m.wait(30) == 0
    assert m.lines[-1].get("event") == "stopped"
    idle.leave()


@pytest.fixture
def blob(hub):
    data = os.urandom(8 * MIB)
    d = hub.put_blob(data)
    return data, d, f"/v2/library/x/blobs/{d}"


def test_streams_that_end_inside_the_bound_end_whole(launch, hub, blob):
    m = launch(server={"drain_timeout": "60s"}, upstream={"stall_timeout": "60s"})
    data, d, target = blob
    client = Client(m.host_port)
    with hub.fault("stall", kind="blob", at=4 * MIB) as stall:
        running = [client.open(target) for _ in range(4)]
        stall.wait()
        m.signal(signal.SIGTERM)
        m.wait_line(event="stopping")
        wait_until(lambda: not servers.answers(m.host_port[1]), "nothing new is accepted")
        assert m.running()
        stall.release()
        for r in running:
            assert bytes(r.finish().body) == data and r.end == "complete"
            r.leave()
    assert m.wait() == 0


def test_streams_that_do_not_end_are_cut_by_fin(launch, hub, blob):
    """From a flight that stalls, and from the store to a client that does not read."""
    m = launch(server={"drain_timeout": "1s"}, upstream={"stall_timeout": "60s"})
    data, d, target = blob
    client = Client(m.host_port)
    big = hub.put_blob(os.urandom(64 * MIB))
    assert len(client.get(f"/v2/library/x/blobs/{big}").body) == 64 * MIB
    lazy = client.open(f"/v2/library/x/blobs/{big}")
    with hub.fault("stall", kind="blob", reference=d, at=4 * MIB) as stall:
        running = [client.open(target) for _ in range(4)]
        stall.wait()
        m.signal(signal.SIGTERM)
        assert m.wait(30) == 0
    for r in running:
        assert r.finish().end == "fin" and bytes(r.body) == data[:len(r.body)] and len(r.body) < len(data)
    assert lazy.finish().end == "fin" and len(lazy.body) < 64 * MIB
    assert m.lines[-1].get("event") == "stopped"


# --- SIGHUP -----------------------------------------------------------------------------------------------------------

def reload(m, result="done"):
    mark = m.mark()
    m.signal(signal.SIGHUP)
    return m.wait_line(since=mark, event="reload", result=lambda said: said and said.startswith(result))


def test_sighup_brings_a_new_registry_and_takes_an_old_one(launch, second, image):
    m = launch()
    client = Client(m.host_port)
    target = f"/v2/library/alpha/manifests/{image().digest}?ns="
    assert client.get(target + "new.example").status in (400, 403, 404)
    m.write_config(registries={"new.example": {"url": second.url()}, "quay.example": None})
    reload(m)
    assert client.get(target + "new.example").status == 200
    assert client.get(target + "quay.example").status in (400, 403, 404)
    assert client.get(target + "docker.io").status == 200


def test_sighup_with_a_bad_file_keeps_the_old_and_logs_each_error(launch, hub, image):
    m = launch()
    client = Client(m.host_port)
    good = m.config_path.read_text()
    m.config_path.write_text("tags:\n  ttl: soon\nregistres: {}\n")
    mark = m.mark()
    reload(m, "failed")
    for where in ("entrepot.yaml:2:", "entrepot.yaml:3:"):
        assert any(where in line for line in m.lines[mark:]), m.lines[mark:]
    assert client.get("/v2/library/alpha/manifests/1").status == 200, "the old configuration holds"
    m.config_path.unlink()
    reload(m, "failed")
    assert client.get("/v2/library/beta/manifests/1").status == 200
    m.config_path.write_text(good)
    reload(m)
    assert client.get("/v2/library/empty/manifests/1").status == 200


def test_credentials_that_changed_are_used_after_sighup(launch, hub, image, tmp_path):
    hub.accounts["jo"] = "second"
    hub.private.add("library/alpha")
    auth = tmp_path / "auth.json"

    def write(password):
        auth.write_text(json.dumps({"auths": {"docker.io": {"auth": base64.b64encode(b"jo:" + password).decode()}}}))

    write(b"first")
    m = launch(registries={"docker.io": {"credentials": str(auth), "open": ["library/*"]}}, server={"answer_timeout": "1s"})
    client = Client(m.host_port)
    target = f"/v2/library/alpha/manifests/{image().digest}"
    assert client.get(target).status >= 400
    write(b"second")
    reload(m)
    wait_until(lambda: client.get(target).status == 200, "the new password is used")
    assert "jo" in {r.user for r in hub.token_requests()}


def test_credentials_that_changed_are_used_by_themselves(launch, hub, image, tmp_path):
    """As a Secret that is mounted anew changes them: a link is swapped, and nobody sends a signal."""
    hub.accounts["jo"] = "second"
    hub.private.add("library/alpha")
    link = tmp_path / "..data"

    def mount(password):
        version = tmp_path / password
        version.mkdir()
        (version / "auth.json").write_text(json.dumps({"auths": {"docker.io": {"auth": base64.b64encode(f"jo:{password}".encode()).decode()}}}))
        (tmp_path / "..new").symlink_to(version)
        (tmp_path / "..new").rename(link)

    m = launch(registries={"docker.io": {"credentials": str(link / "auth.json"), "open": ["library/*"]}}, server={"answer_timeout": "1s"})
    client = Client(m.host_port)
    target = f"/v2/library/alpha/manifests/{image().digest}"
    assert client.get(target).status >= 400, "there is no file yet"
    mount("first")
    m.wait_line(event="credentials", result=lambda said: said and said.startswith("have changed"))
    assert client.get(target).status >= 400
    mount("second")
    wait_until(lambda: client.get(target).status == 200, "the new password is used")
    assert not m.find(event="reload"), "the configuration was not read again"


def test_an_authority_that_changed_is_trusted_by_itself(launch, another, image, tmp_path):
    """As cert-manager renews the certificate of a sibling or of a registry with its authority."""
    old, new = pki.Authority(tmp_path / "old"), pki.Authority(tmp_path / "new", "the next authority")
    hub = another(tls=new.server("double"))
    trusted = tmp_path / "ca.crt"
    trusted.write_bytes(old.ca.read_bytes())
    m = launch(registries={"docker.io": {"url": hub.url(), "ca_file": str(trusted)}}, server={"answer_timeout": "1s"})
    client = Client(m.host_port)
    target = f"/v2/library/alpha/manifests/{image().digest}"
    assert client.get(target).status >= 500 and hub.count() == 0
    trusted.write_bytes(new.ca.read_bytes())
    m.wait_line(event="credentials", result=lambda said: said and "authorities have" in said)
    assert client.get(target).status == 200
    assert not m.find(event="reload"), "the configuration was not read again"


def test_a_flight_survives_a_reload(launch, hub, second, blob):
    m = launch(upstream={"stall_timeout": "60s"})
    data, d, target = blob
    with hub.fault("stall", kind="blob", at=4 * MIB) as stall:
        r = Client(m.host_port).open(target)
        stall.wait()
        m.write_config(registries={"docker.io": {"url": second.url()}})
        reload(m)
        stall.release()
        assert bytes(r.finish().body) == data and r.end == "complete"
    assert hub.body_bytes(d) == len(data) and hub.count(where="cdn", method="GET") == 1


def test_the_log_level_changes_with_a_reload(launch):
    m = launch()
    client = Client(m.host_port)
    m.write_config(log={"level": "debug"})
    reload(m)
    m.write_config(log={"level": "error"})
    m.signal(signal.SIGHUP)

    def silent():
        mark = m.mark()
        client.get("/v2/library/alpha/manifests/1")
        client.get("/v2/library/alpha/manifests/1")
        return m.mark() == mark

    wait_until(silent, "requests are not told any more")
    m.write_config(log={"level": "info"})
    reload(m)


def test_hundreds_of_reloads_under_load_leave_it_working(launch, hub, image):
    m = launch()
    client, alpha = Client(m.host_port), image()
    wanted = [(f"/v2/library/alpha/manifests/{alpha.digest}", alpha.digest)] + [
        (f"/v2/library/alpha/blobs/{d}", d) for d in alpha.blobs()]
    wrong, ended = [], threading.Event()

    def load():
        while not ended.is_set():
            for target, d in wanted:
                r = client.get(target)
                if r.status != 200 or bytes(r.body) != alpha.bytes(d):
                    wrong.append((target, r.status, r.end))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(300):
        m.write_config(tags={"ttl": f"{i + 1}s"})
        m.signal(signal.SIGHUP)
        assert client.get("/v2/").status == 200
    ended.set()
    for t in threads:
        t.join()
    assert not wrong
    reload(m)
    assert not m.find(event="reload", level="error")
    assert client.get("/v2/library/beta/manifests/1").status == 200
