"""The image everything is measured with: random layers in a docker-registry, made once and kept."""

import hashlib
import http.client
import json
import os
import shutil
import urllib.parse

import peers

REPOSITORY = "lib/bench"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
LAYERS = {"1m": 1 << 20, "100m": 100 << 20, "500m": 500 << 20}
MANIFEST_SIZE = 2048
CHUNK = 1 << 20


class Image:
    """Digests and sizes of the seeded image, and where its bytes lie."""

    def __init__(self, root, record):
        self.root = root
        self.digests = record["digests"]
        self.sizes = record["sizes"]

    def url_path(self, name):
        kind = "manifests" if name == "manifest" else "blobs"
        return "/v2/%s/%s/%s" % (REPOSITORY, kind, self.digests[name])

    def file(self, name):
        hexdigest = self.digests[name].partition(":")[2]
        return os.path.join(self.root, "docker/registry/v2/blobs/sha256", hexdigest[:2], hexdigest, "data")


def load(directory):
    """The image of an earlier run, or None when it is not there whole."""
    try:
        with open(os.path.join(directory, "seed.json"), encoding="utf-8") as f:
            image = Image(os.path.join(directory, "registry"), json.load(f))
        for name in list(LAYERS) + ["manifest"]:
            if os.path.getsize(image.file(name)) != image.sizes[name]:
                return None
        return image
    except (OSError, ValueError, KeyError):
        return None


def make(directory, work):
    """Seeds a fresh registry under `directory` through its HTTP API."""
    root = os.path.join(directory, "registry")
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    server = peers.registry(work, "seed", root).start()
    try:
        record = {"digests": {}, "sizes": {}}
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        for name, size in LAYERS.items():
            record["digests"][name] = upload(connection, random_chunks(size), size)
            record["sizes"][name] = size
        config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
        config_digest = upload(connection, [config], len(config))
        manifest = make_manifest(record, config_digest, len(config))
        record["digests"]["manifest"] = "sha256:" + hashlib.sha256(manifest).hexdigest()
        record["sizes"]["manifest"] = len(manifest)
        send(connection, "PUT", "/v2/%s/manifests/t1" % REPOSITORY, manifest, {"Content-Type": MANIFEST_TYPE}, 201)
        connection.close()
    finally:
        server.stop()
    with open(os.path.join(directory, "seed.json"), "w", encoding="utf-8") as f:
        json.dump(record, f, indent=1)
    return load(directory)


def random_chunks(size):
    for _ in range(size // CHUNK):
        yield os.urandom(CHUNK)


def send(connection, method, path, body, headers, expected):
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != expected:
        raise OSError("%s %s: status %d: %s" % (method, path, answer.status, text[:300]))
    location = urllib.parse.urlsplit(answer.getheader("Location", ""))
    return location.path + ("?" + location.query if location.query else "")


def upload(connection, chunks, size):
    digest = hashlib.sha256()

    def hashed():
        for chunk in chunks:
            digest.update(chunk)
            yield chunk

    place = send(connection, "POST", "/v2/%s/blobs/uploads/" % REPOSITORY, b"", {}, 202)
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    place = send(connection, "PATCH", place, hashed(), headers, 202)
    name = "sha256:" + digest.hexdigest()
    mark = "&" if "?" in place else "?"
    send(connection, "PUT", place + mark + urllib.parse.urlencode({"digest": name}), b"", {}, 201)
    return name


def make_manifest(record, config_digest, config_size):
    """A manifest of exactly MANIFEST_SIZE bytes, filled up by an annotation."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest,
                   "size": config_size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": record["digests"][name],
                    "size": record["sizes"][name]} for name in LAYERS],
        "annotations": {"fill": ""},
    }
    manifest["annotations"]["fill"] = "x" * (MANIFEST_SIZE - len(json.dumps(manifest)))
    return json.dumps(manifest).encode()
