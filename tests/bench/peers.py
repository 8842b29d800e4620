"""The servers that are compared: their configuration files and how each is started."""

import os
import pathlib
import shutil
import socket

from processes import BenchError, Server, run_bounded

TOOLS = os.environ.get("ENTREPOT_TOOLS", str(pathlib.Path(__file__).resolve().parents[2] / ".tools"))
FIRST_PORT = 20001
NEEDED = {"nginx": "nginx", "docker-registry": "docker-registry", "ip": "iproute2", "cc": "gcc", "curl": "curl",
          "openssl": "openssl"}
UPLINK_BYTES = 100000000      # bytes/s of each connection to the limited upstream
TRICKLE_BYTES = 4000000       # the same where 1,000 streams must stay in flight

used_ports = set()


def missing_packages():
    return sorted({package for tool, package in NEEDED.items() if find(tool) is None})


def find(tool):
    """A program of Debian's, unpacked by tests/tools/install or installed."""
    unpacked = ["%s/deb/%s/usr/%s" % (TOOLS, tool, d) for d in ("bin", "sbin")]
    return shutil.which(tool, path=":".join(unpacked + [os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def free_port():
    """A port below the ephemeral range, so that no connection of the bench can take it first."""
    for port in range(FIRST_PORT, 32768):
        if port in used_ports:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        used_ports.add(port)
        return port
    raise BenchError("no free port")


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


NGINX_MAIN = """
daemon off;
worker_processes %(workers)d;
worker_rlimit_nofile 20000;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log warn;
%(user)s
events { worker_connections 9000; }
http {
    types { }
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    access_log off;
    client_body_temp_path %(dir)s/tmp; proxy_temp_path %(dir)s/tmp; fastcgi_temp_path %(dir)s/tmp;
    uwsgi_temp_path %(dir)s/tmp; scgi_temp_path %(dir)s/tmp;
%(http)s
}
"""

PING = """        location = /v2/ {
            default_type application/json;
            add_header Docker-Distribution-Api-Version registry/2.0;
            return 200 "{}";
        }
"""


def nginx(work, name, port, http, workers=2):
    directory = os.path.join(work, name)
    os.makedirs(os.path.join(directory, "tmp"), exist_ok=True)
    text = NGINX_MAIN % {"workers": workers, "dir": directory, "http": http,
                         "user": "user root;" if os.geteuid() == 0 else ""}
    path = write(os.path.join(directory, "nginx.conf"), text)
    log = os.path.join(directory, "error.log")
    return Server(name, [find("nginx"), "-p", directory, "-e", log, "-c", path], port, log)


def link_files(root, image):
    for name in image.digests:
        path = root + image.url_path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(os.path.abspath(image.file(name)), path)
    return root


def certificate(work):
    """(certificate, key), for 127.0.0.1, on P-256."""
    crt, key = os.path.join(work, "tls.crt"), os.path.join(work, "tls.key")
    run_bounded(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                 "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", crt],
                30)
    return crt, key


def tls_nginx(work, image, pair):
    """nginx with the very files the registry holds, over TLS; the first port is without."""
    root = link_files(os.path.join(work, "static-tls", "root"), image)
    port, tls_port = free_port(), free_port()
    http = """    server {
        listen 127.0.0.1:%d;
        listen 127.0.0.1:%d ssl reuseport backlog=4096;
        ssl_certificate %s;
        ssl_certificate_key %s;
        ssl_protocols TLSv1.3;
        root %s;
%s    }
""" % (port, tls_port, *map(os.path.abspath, pair), root, PING)
    server = nginx(work, "static-tls", port, http)
    server.tls_port = tls_port
    return server


def static_nginx(work, image, media_type):
    """nginx with the very files the registry holds; a second port writes an access log, buffered."""
    root = link_files(os.path.join(work, "static", "root"), image)
    ports = free_port(), free_port()
    http = ""
    for port, log in zip(ports, ("off", "%s/static/access.log combined buffer=64k flush=1s" % work)):
        http += """    server {
        listen 127.0.0.1:%d reuseport backlog=4096;
        root %s;
        access_log %s;
%s        location ~ ^/v2/.+/manifests/ { default_type %s; }
    }
""" % (port, root, log, PING, media_type)
    return nginx(work, "static", ports[0], http), ports[1]


def upstream_nginx(work, image, registry_port):
    """The upstream of every mirror: blobs from the registry's files by sendfile, the rest from the
    registry; one log line a request, which is what upstream GETs and bytes are counted from.

    Returns the server and the ports without limit, with the uplink's limit, with the trickle."""
    ports = free_port(), free_port(), free_port()
    log = os.path.join(work, "upstream", "access.log")
    http = """    log_format count '$request_method $uri $status $body_bytes_sent';
    upstream registry { server 127.0.0.1:%d; keepalive 64; }
""" % registry_port
    limits = ("", "limit_rate %d;" % UPLINK_BYTES, "limit_rate %d; sendfile_max_chunk 64k;" % TRICKLE_BYTES)
    for port, limit in zip(ports, limits):
        http += """    server {
        listen 127.0.0.1:%d reuseport backlog=4096;
        access_log %s count;
        location ~ ^/v2/.+/blobs/(sha256:(..)([0-9a-f]*))$ {
            alias %s/docker/registry/v2/blobs/sha256/$2/$2$3/data;
            add_header Docker-Content-Digest $1;
            add_header Docker-Distribution-Api-Version registry/2.0;
            %s
        }
        location / {
            proxy_pass http://registry;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }
    }
""" % (port, log, os.path.abspath(image.root), limit)
    server = nginx(work, "upstream", ports[0], http)
    server.count_log = log
    return server, ports


def locking_nginx(work, upstream_port):
    """nginx as a cache with its lock: one client fills, the others wait for the whole file."""
    directory = os.path.join(work, "locking")
    port = free_port()
    http = """    proxy_cache_path %s/cache levels=1:2 keys_zone=blobs:10m max_size=4g inactive=1d use_temp_path=off;
    upstream origin { server 127.0.0.1:%d; keepalive 16; }
    server {
        listen 127.0.0.1:%d reuseport backlog=4096;
%s        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache blobs;
            proxy_cache_key $uri;
            proxy_cache_valid 200 1d;
            proxy_cache_lock on;
            proxy_cache_lock_age 600s;
            proxy_cache_lock_timeout 600s;
        }
    }
""" % (directory, upstream_port, port, PING)
    return nginx(work, "locking", port, http)


def registry(work, name, root, remote=None):
    """Debian's docker-registry, as a registry of its own or as a proxy of `remote`."""
    port = free_port()
    os.makedirs(os.path.join(work, name), exist_ok=True)
    text = """version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: "%s"}
  delete: {enabled: true}
http: {addr: "127.0.0.1:%d", secret: "bench"}
""" % (os.path.abspath(root), port)
    if remote is not None:
        text += "proxy: {remoteurl: \"http://127.0.0.1:%d\"}\n" % remote
    path = write(os.path.join(work, name, "config.yml"), text)
    return Server(name, [find("docker-registry"), "serve", path], port, os.path.join(work, name, "log"))


def registry_proxy(work, upstream_port):
    return registry(work, "registry-proxy", os.path.join(work, "registry-proxy", "store"), upstream_port)


def entrepot(work, binary, upstream_port, connections=1, pair=None):
    """The mirror. Over one connection a blob is one GET, which the upstream's are held against."""
    port, tls_port = free_port(), free_port() if pair else None
    directory = os.path.join(work, "entrepot")
    os.makedirs(directory, exist_ok=True)
    tls = 'tls: {listen: "127.0.0.1:%d", certificate: "%s", key: "%s"}' % (tls_port, *pair) if pair else ""
    text = """version: 1
server:
  listen: ["127.0.0.1:%d"]
  max_connections: 8192
  %s
store:
  path: "%s/store"
log: { level: info, format: text }
segments: { count: %d }
default_registry: docker.io
registries:
  docker.io:
    url: "http://127.0.0.1:%d"
""" % (port, tls, directory, connections, upstream_port)
    path = write(os.path.join(directory, "entrepot.yaml"), text)
    server = Server("entrepot", [binary, "serve", "--config", path], port, os.path.join(directory, "log"))
    server.tls_port = tls_port
    return server
