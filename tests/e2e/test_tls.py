"""TLS towards clients: versions, names, certificates that change during a pull, certificates of clients, proxies."""

import hashlib
import ssl
import socket
import subprocess

import pytest
from clients import BIN, run
from pki import Authority
from servers import ENV, free_port, wait_until
from test_ops import Ops
from wire import Client, Response


def context(authority, client=None):
    c = ssl.create_default_context(cafile=str(authority.ca))
    if client:
        c.load_cert_chain(client / "tls.crt", client / "tls.key")
    return c


def connect(address, context, name="localhost"):
    return context.wrap_socket(socket.create_connection(address, 20), server_hostname=name)


def get(m, context, target, headers=(), name="localhost"):
    with Response(m.tls, "GET", target, headers, connection=connect(m.tls, context, name)).read_head() as r:
        return r.finish()


def shown(m, context, name="localhost"):
    """The common name of the certificate that a new connection is shown."""
    with connect(m.tls, context, name) as s:
        return dict(x[0] for x in s.getpeercert()["subject"])["commonName"]


def metric(m, name):
    return Ops(m).page().get(name)


def test_an_image_is_pulled_over_tls_and_without(secure, authority, image):
    m, c = secure(), context(authority)
    alpha = image()
    for turn in range(2):       # cold, then from the store
        for digest in alpha.blobs():
            r = get(m, c, f"/v2/library/alpha/blobs/{digest}")
            assert r.status == 200 and r.end == "complete" and bytes(r.body) == alpha.bytes(digest)
        r = get(m, c, "/v2/library/alpha/manifests/1")
        assert r.status == 200 and r.headers["Docker-Content-Digest"] == alpha.digest
    data = alpha.bytes(alpha.largest())
    target = f"/v2/library/alpha/blobs/{alpha.largest()}"
    r = get(m, c, target, {"Range": "bytes=5-104"})
    assert r.status == 206 and bytes(r.body) == data[5:105]
    r = get(m, c, target, {"Range": "bytes=0-9,20-29"})
    assert r.status == 206 and data[:10] in r.body and data[20:30] in r.body
    assert Client(m.host_port).get(target).status == 200
    r = get(m, c, "/v2/")
    assert r.status == 200 and "Strict-Transport-Security" not in r.headers


@pytest.mark.parametrize("version,good", [("1.0", False), ("1.1", False), ("1.2", True), ("1.3", True)])
def test_tls_is_1_2_or_1_3(secure, authority, version, good):
    m = secure()
    flag = "-tls" + version.replace(".", "_")
    r = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % m.tls[1], "-CAfile", authority.ca, flag,
                        "-cipher", "DEFAULT:@SECLEVEL=0", "-verify_return_error"], input="", capture_output=True, text=True,
                       timeout=30)
    assert (r.returncode == 0) == good, r.stdout + r.stderr
    if good:
        assert f"TLSv{version}" in r.stdout


def test_only_tls_where_there_is_no_other_address(launch, secret, authority, image):
    port = free_port()
    m = launch(server={"listen": [], "tls": {"listen": [f"127.0.0.1:{port}"], **secret.config, "min_version": "1.3",
                                             "hsts": "365d"}}, started=False)
    m.spawn()
    m.wait_line(event="ready_tls")
    m.tls = ("127.0.0.1", port)
    r = get(m, context(authority), "/v2/")
    assert r.status == 200 and r.headers["Strict-Transport-Security"] == "max-age=31536000"
    old = context(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        connect(m.tls, old)


def test_the_name_that_is_asked_for_chooses_the_certificate(secure, authority, tmp_path):
    other = authority.issue(tmp_path / "other", "other", "DNS:mirror.example,DNS:*.wild.example")
    pair = {"certificate": str(other / "tls.crt"), "key": str(other / "tls.key")}
    m, c = secure({"certificates": [pair]}), context(authority)
    assert shown(m, c) == "one"
    assert shown(m, c, "mirror.example") == "other"
    assert shown(m, c, "a.wild.example") == "other"
    assert shown(m, c, "127.0.0.1") == "one"


def test_a_certificate_that_is_swapped_during_a_pull_disturbs_nobody(secure, secret, authority, hub, random_blob):
    path, digest = random_blob
    hub.put_blob(path=path)
    m, c = secure(), context(authority)
    target = f"/v2/library/alpha/blobs/{digest}"
    assert shown(m, c) == "one"
    cold = Response(m.tls, "GET", target, (), connection=connect(m.tls, c)).read_head().read(1 << 20)
    for turn in range(2, 5):
        secret.swap(f"turn {turn}")
        wait_until(lambda: shown(m, c) == f"turn {turn}", "the new certificate is shown")
    cold.finish()
    assert cold.end == "complete" and hashlib.sha256(cold.body).hexdigest() == digest[7:]
    cold.sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")       # the connection lives on, too
    assert cold.sock.recv(100).startswith(b"HTTP/1.1 200")
    cold.leave()
    assert metric(m, "tls_reload_success") == 1


@pytest.mark.parametrize("spoil", ["tls.crt", "tls.key"])
def test_a_bad_file_leaves_the_old_certificate_and_raises_the_alarm(secure, secret, authority, spoil):
    m, c = secure(), context(authority)
    expiry = metric(m, "tls_certificate_expiry_timestamp_seconds")
    secret.swap("two", spoil)
    line = m.wait_line(event="tls_reload", level="error")
    assert spoil.split(".")[1][:3] in line.get("error").replace("certificate", "crt")
    assert shown(m, c) == "one"
    assert metric(m, "tls_reload_success") == 0
    assert metric(m, "tls_certificate_expiry_timestamp_seconds") == expiry
    secret.swap("three", days=2)
    wait_until(lambda: shown(m, c) == "three", "the next good one is shown")
    wait_until(lambda: metric(m, "tls_reload_success") == 1, "the alarm is over")
    assert metric(m, "tls_certificate_expiry_timestamp_seconds") > expiry
    assert get(m, c, "/v2/").status == 200


def test_a_bad_file_at_the_start_is_said_with_its_name(launch, secret, tmp_path):
    (tmp_path / "secret/..1/tls.key").write_text("x")
    m = launch(server={"tls": {"listen": ["127.0.0.1:0"], **secret.config}}, started=False)
    m.spawn()
    assert m.wait(30) == 1
    m.proc = None
    assert "tls.crt: key: " in m.find(event="server")[0].get("error")


@pytest.mark.parametrize("rule", ["required", "optional"])
def test_clients_show_certificates(secure, authority, tmp_path, rule):
    clients = Authority(tmp_path / "clients", "of the clients")
    node = clients.issue(tmp_path / "node", "node-1", "DNS:node-1")
    stranger = authority.issue(tmp_path / "stranger", "stranger", "DNS:stranger")
    m = secure({"client_ca": str(clients.ca), "client_certificates": rule})
    assert get(m, context(authority, node), "/v2/").status == 200
    for client in (None, stranger):
        if client is None and rule == "optional":
            assert get(m, context(authority), "/v2/").status == 200
            continue
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            r = get(m, context(authority, client), "/v2/")
            assert r.status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("certificates", [False, True])
def test_a_session_is_resumed_unless_clients_show_certificates(secure, authority, version, certificates):
    m = secure(tls={"client_ca": str(authority.ca), "client_certificates": "optional"} if certificates else {})
    c = context(authority)
    c.minimum_version = c.maximum_version = version

    def ask(session):
        with c.wrap_socket(socket.create_connection(m.tls, 20), server_hostname="localhost", session=session) as s:
            s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert s.recv(100).startswith(b"HTTP/1.1 200")
            return s.session, s.session_reused

    session, reused = ask(None)
    assert not reused
    for _ in range(3):
        session, reused = ask(session)
        assert reused != certificates


def test_who_leaves_while_he_waits_is_noticed_over_tls_too(secure, authority, hub):
    """He says goodbye before he closes, so that his side is not silent."""
    m, c = secure(), context(authority)
    fault = hub.fault("hang", where="registry")
    s = connect(m.tls, c)
    s.sendall(b"GET /v2/library/alpha/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert fault.reached.wait(20)
    s.settimeout(0.1)       # nobody answers the goodbye
    try:
        s.unwrap()
    except (OSError, ValueError):
        pass
    s.close()
    line = m.wait_line(event="request", end="gone")
    assert line.get("object") == "manifest"


@pytest.mark.parametrize("tool", ["curl", "crane", "skopeo"])
def test_clients_of_the_field_pull_over_tls(secure, authority, image, tmp_path, tool):
    m, alpha = secure(), image()
    at = "localhost:%d" % m.tls[1]
    env = {**ENV, "HOME": str(tmp_path), "SSL_CERT_FILE": str(authority.ca)}
    if tool == "curl":
        out = run("curl", "-sSf", "--cacert", authority.ca, f"https://{at}/v2/library/alpha/manifests/1", env=env)
        assert "sha256:" + hashlib.sha256(out.encode()).hexdigest() == alpha.digest
    elif tool == "crane":
        run(BIN / "crane", "pull", "--platform", "linux/amd64", f"{at}/library/alpha:1", tmp_path / "out.tar", env=env)
        assert run(BIN / "crane", "digest", f"{at}/library/alpha:1", env=env).strip() == alpha.digest
    else:
        run("skopeo", "--insecure-policy", "copy", "-q", "--src-cert-dir", authority.trusted, f"docker://{at}/library/alpha:1",
            f"dir:{tmp_path}/out", env=env)
        assert (tmp_path / "out/manifest.json").exists()
    assert not m.find(event="request", status="500")


# --- behind a proxy -------------------------------------------------------------------------------------------------

FORWARDED = {"X-Forwarded-For": "1.2.3.4, 203.0.113.7", "X-Forwarded-Proto": "https"}


def test_a_trusted_proxy_says_who_the_client_is(secure, image):
    m = secure({"hsts": "1h"}, server={"trusted_proxies": ["127.0.0.0/8"]})
    client = Client(m.host_port)
    r = client.get("/v2/library/alpha/tags/list?n=1", FORWARDED)
    assert r.status == 200 and r.headers["Strict-Transport-Security"] == "max-age=3600"
    line = m.wait_line(event="request", client="203.0.113.7")
    assert line.get("proxy") == "127.0.0.1"
    assert "Strict-Transport-Security" not in client.get("/v2/").headers
    for r in (client.get("/v2/library/alpha/tags/list?n=1"), r):
        if "Link" in r.headers:
            assert r.headers["Link"].startswith("</v2/")


def test_nobody_else_does(secure):
    m = secure({"hsts": "1h"})
    r = Client(m.host_port).get("/v2/", FORWARDED)
    assert r.status == 200 and "Strict-Transport-Security" not in r.headers
    line = m.wait_line(event="request")
    assert line.get("client") == "127.0.0.1" and line.get("proxy") is None
