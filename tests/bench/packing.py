"""What compression at rest saves and costs, on the images of the tests: tests/bench/packing.py [BINARY]

Every blob of them goes through the mirror, and every layer of a MiB and more once more as it is without gzip. Prints
tables for docs/performance.md.
"""

import gzip
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import hub as hubs  # noqa: E402
import images  # noqa: E402
import processes  # noqa: E402
import servers  # noqa: E402

MIB = 1 << 20
ROUNDS = 5


def kind_of(data):
    if data[:2] == b"\x1f\x8b":
        return "layers, gzip"
    if data.lstrip()[:1] in (b"{", b"["):
        return "JSON over 4 KiB" if len(data) > 4096 else "JSON up to 4 KiB"
    return "other"


def contents():
    """(kind, bytes) of all that there is, each once."""
    found = {}
    for path in (images.storage() / "docker/registry/v2/blobs").rglob("data"):
        data = path.read_bytes()
        found[data] = kind_of(data)
        if found[data] == "layers, gzip":
            plain = gzip.decompress(data)
            if len(plain) >= MIB:
                found[plain] = f"layers of {len(plain) // MIB} MiB, not compressed"
    return [(kind, data) for data, kind in found.items()]


def cpu(m):
    return sum(int(x) for x in processes.stat_of(m.proc.pid)[11:13]) / processes.TICK


def files_of(store, digest):
    hex_ = digest.split(":")[1]
    return list((store / "blobs/sha256" / hex_[:2]).glob(hex_ + "*"))


def disk(store, digests):
    return sum(f.stat().st_blocks * 512 for d in digests for f in files_of(store, d))


def pull(m, digest, *headers):
    args = [a for h in headers for a in ("-H", h)]
    subprocess.run(["curl", "-sSf", "-o", "/dev/null", *args, f"http://{m.address}/v2/library/x/blobs/{digest}"], check=True)


def settle(m):
    """Until it has had nothing to do for two seconds."""
    quiet, last = 0, cpu(m)
    while quiet < 8:
        time.sleep(0.25)
        quiet, last = (quiet + 1, last) if cpu(m) - last < 0.02 else (0, cpu(m))


def launch(directory, hub, compression):
    config = {"version": 1, "server": {"listen": ["127.0.0.1:0"]}, "log": {"level": "info", "format": "text"},
              "store": {"path": str(directory / "store"), "compression": compression, "verify_every": "1d"},
              "default_registry": "docker.io", "registries": {"docker.io": {"url": hub.url()}}}
    return servers.Mirror(directory, config).start()


def serve(m, digest, size, *headers):
    """MB/s of content, and CPU seconds of the server a GiB of it."""
    pull(m, digest, *headers)
    before, began = cpu(m), time.monotonic()
    for _ in range(ROUNDS):
        pull(m, digest, *headers)
    took = time.monotonic() - began
    return ROUNDS * size / took / 1e6, (cpu(m) - before) / (ROUNDS * size / (1 << 30))


def main():
    if len(sys.argv) > 1:
        os.environ["ENTREPOT"] = os.path.abspath(sys.argv[1])
    hub = hubs.Hub()
    kinds = {}
    for kind, data in contents():
        kinds.setdefault(kind, []).append((hub.put_blob(data), len(data)))
    largest, size = max(sum(kinds.values(), []), key=lambda b: b[1])
    with tempfile.TemporaryDirectory() as tmp:
        directory = pathlib.Path(tmp)
        m = launch(directory, hub, "off")
        for digest, _ in sum(kinds.values(), []):
            pull(m, digest)
        settle(m)
        plain = {k: disk(directory / "store", [d for d, _ in v]) for k, v in kinds.items()}
        rows = [("plain", *serve(m, largest, size))]
        m.stop()
        m = launch(directory, hub, "zstd")
        settle(m)
        spent = cpu(m)
        print("| kind | blobs | content | on disk before | after | saved |\n| --- | --- | --- | --- | --- | --- |")
        for kind, blobs in sorted(kinds.items()):
            after = disk(directory / "store", [d for d, _ in blobs])
            content = sum(n for _, n in blobs)
            print(f"| {kind} | {len(blobs)} | {content / 1024:.0f} KiB | {plain[kind] / 1024:.0f} KiB | "
                  f"{after / 1024:.0f} KiB | {100 - 100 * after / plain[kind]:.0f} % |")
        total = sum(n for k, v in kinds.items() for _, n in v if k.endswith("not compressed"))
        print(f"\nPacking: {spent / (total / (1 << 30)):.1f} s of CPU a GiB that was packed.\n")
        rows.append(("packed", *serve(m, largest, size)))
        rows.append(("packed, as `Content-Encoding: zstd`", *serve(m, largest, size, "Accept-Encoding: zstd")))
        print(f"A layer of {size / MIB:.0f} MiB, one client:\n")
        print("| stored | MB/s of content | CPU s a GiB |\n| --- | --- | --- |")
        for name, rate, cost in rows:
            print(f"| {name} | {rate:.0f} | {cost:.2f} |")
        m.stop()
    hub.close()


if __name__ == "__main__":
    main()
