"""./dev bench: the mirror side by side with nginx and docker-registry, in a network namespace of its own.

    bench.py [--quick] [--peers-only] [--write] [--binary FILE]

Client and servers share the machine, so ratios are worth more than figures. Everything runs on 127.0.0.1; whatever is
started ends with the bench.
"""

import argparse
import os
import pathlib
import platform
import resource
import signal
import subprocess
import sys
import time

import measure
import peers
import processes
import report
from processes import BenchError

ROOT = pathlib.Path(__file__).resolve().parents[2]
FULL_SECONDS = 570  # after that no new round is begun; what runs is finished
QUICK_SECONDS = 60


def first_match(path, key):
    try:
        with open(path, encoding="utf-8") as f:
            return next((line.partition(":")[2].strip() for line in f if line.startswith(key)), "?")
    except OSError:
        return "?"


def describe(binary, namespace_error, quick):
    """What the figures hold for."""
    memory = int(first_match("/proc/meminfo", "MemTotal").split()[0]) >> 20
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as f:
        default = f.read().strip()
    congestion = "cubic, in a network namespace of its own"
    if namespace_error:
        congestion = "%s, **without a network namespace of its own** (%s)" % (default, namespace_error)
    ours = "not measured"
    if binary:
        done = subprocess.run(["git", "-c", "safe.directory=*", "describe", "--always", "--dirty"], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        ours = "%s (%s)" % (measure.version_of([binary, "--version"]), done.stdout.strip() or "no git")
    return [
        ("Date", time.strftime("%Y-%m-%d") + (", a quick look: one short round, no figures to keep" if quick else "")),
        ("Machine", "%s, %d cores, %d GiB, Linux %s; clients and servers share it" %
         (first_match("/proc/cpuinfo", "model name"), os.cpu_count(), memory, platform.release())),
        ("TCP", congestion),
        ("Entrepot", ours),
        ("Peers", "%s; docker-registry %s; both of Debian 12" %
         (measure.version_of([peers.find("nginx"), "-v"]).replace("nginx version: ", ""),
          measure.version_of([peers.find("docker-registry"), "--version"]).split()[-1])),
    ]


def run(options, work):
    if missing := peers.missing_packages():
        raise BenchError("missing: %s (tests/tools/install --bench)" % " ".join(missing))
    binary = None if options.peers_only else os.path.abspath(options.binary)
    if binary and not os.access(binary, os.X_OK):
        raise BenchError("%s is not there; ./dev build, or --peers-only" % binary)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    namespace_error = processes.new_network_namespace()
    if namespace_error:
        measure.say("no network namespace: " + namespace_error)
    machine = describe(binary, namespace_error, options.quick)
    kept = str(ROOT / "results" / "bench-image")
    os.makedirs(kept, exist_ok=True)
    bench = measure.Bench(work, kept, binary, options.quick, QUICK_SECONDS if options.quick else FULL_SECONDS)
    sections = [section(bench) for section in (measure.Cached, measure.Encrypted, measure.Cold, measure.Uplink,
                                               measure.Memory, measure.Start, measure.FullStart)]
    return report.markdown(machine, *sections)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of everything but 256 clients")
    parser.add_argument("--peers-only", action="store_true", help="without the mirror: to see the bench itself work")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/performance.md")
    parser.add_argument("--binary", default="build/entrepot")
    options = parser.parse_args()
    if options.write and (options.quick or options.peers_only):
        parser.error("--write keeps full runs only")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = processes.empty_directory(str(ROOT / "results" / "bench"))
    begin = time.monotonic()
    try:
        lines = run(options, work)
    except (BenchError, OSError) as e:
        print("bench: could not be run: %s" % e, file=sys.stderr)
        return 2
    finally:
        processes.end_all()
    print("\n".join(lines))
    measure.say("took %.0f s" % (time.monotonic() - begin))
    if options.write:
        path = ROOT / "docs" / "performance.md"
        path.write_text(report.insert(path.read_text(encoding="utf-8"), lines), encoding="utf-8")
        measure.say("%s is up to date" % path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
