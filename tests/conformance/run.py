"""The OCI conformance suite against the mirror, read-only.

First the suite's full mode fills a registry v3 with every kind of content; that registry is then the upstream of the
mirror, and the suite's read-only mode asks the mirror for all of it. What counts is the table the suite prints: its exit
status does not say what it found (a wrong configuration exits with 0, and its read-only mode crashes after the table
while it writes its own results).
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import servers  # noqa: E402

REPOSITORY = "conformance/repo1"
# What full mode leaves in the registry, counted once; fewer would mean that it was not filled.
LEAST_INPUTS = {"tags": 14, "manifests": 30, "blobs": 70}
LEAST_FULL = 400

NO_DELETES = {"OCI_API_BLOBS_DELETE": "false", "OCI_API_MANIFESTS_DELETE": "false", "OCI_API_TAGS_DELETE": "false"}

Table = collections.namedtuple("Table", "result counts cases")


class HarnessError(Exception):
    """The suite could not be run as it should; nothing is known about the mirror."""


def read_table(text):
    """The printed outcome: the result, the counts by outcome, (name, outcome) of each single test."""
    result = re.search(r"^OCI Conformance Result: (\w+)$", text, re.M)
    if not result:
        raise HarnessError("the suite printed no result")
    counts = {}
    for line in text[result.end():].lstrip("\n").split("\n"):
        m = re.match(r"  (\w+)\.+:\s+(\d+)$", line)
        if not m:
            break
        counts[m.group(1)] = int(m.group(2))
    missing = {"Disabled", "Skip", "Pass", "FAIL", "Error", "Total"} - set(counts)
    if missing:
        raise HarnessError("the printed counts lack " + ", ".join(sorted(missing)))
    nodes = re.findall(r"^( *)OCI Conformance Test(?:/(.*))?: (Pass|FAIL|Error|Skip|Disabled|Unknown)$",
                       text[:result.start()], re.M)
    cases = []
    for i, (indent, name, outcome) in enumerate(nodes):
        inner = i + 1 < len(nodes) and len(nodes[i + 1][0]) > len(indent)
        if name and not inner:
            cases.append((name, outcome))
    return Table(result.group(1), counts, cases)


def complaints(table, least):
    """Why a run is no success; nothing where it is one."""
    c = table.counts
    out = [f"{c[kind]} {kind}" for kind in ("FAIL", "Error") if c[kind]]
    if table.result != "Pass":
        out.append(f"the result is {table.result}")
    if c["Pass"] < least:
        out.append(f"{c['Pass']} passed, at least {least} must: the suite was not asked for everything")
    if c["Skip"]:
        out.append(f"{c['Skip']} skipped")
    return out


def expected_passes(inputs):
    """A HEAD and a GET of each input; besides, the ping, two tag lists, two of referrers and three of what is missing."""
    return 2 * (len(inputs["tags"]) + len(inputs["manifests"]) + len(inputs["blobs"])) + 8


def run_suite(registry, results, **settings):
    """What the suite printed."""
    results.mkdir(parents=True, exist_ok=True)
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("OCI_", "OTEL_")) and not k.lower().endswith("_proxy")}
    env.update(NO_DELETES, OCI_TLS="disabled", OCI_REGISTRY=registry, OCI_REPO1=REPOSITORY, OCI_VERSION="1.1",
               OCI_RESULTS_DIR=str(results), **settings)
    with open(results / "stderr.txt", "wb") as err:
        done = subprocess.run([servers.BIN / "conformance"], env=env, cwd=results, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=err, timeout=300, check=False)
    text = done.stdout.decode(errors="replace")
    (results / "table.txt").write_text(text)
    return text


def contents(storage):
    """Tags and digests that the registry's storage holds of the repository."""
    base = pathlib.Path(storage) / "docker/registry/v2/repositories" / REPOSITORY

    def digests(directory):
        return sorted("sha256:" + p.name for p in directory.glob("sha256/*"))

    found = {"tags": sorted(p.name for p in (base / "_manifests/tags").glob("*")),
             "manifests": digests(base / "_manifests/revisions"), "blobs": digests(base / "_layers")}
    for kind, least in LEAST_INPUTS.items():
        if len(found[kind]) < least:
            raise HarnessError(f"full mode left {len(found[kind])} {kind}, at least {least} were expected")
    return found


def write_junit(table, wrong, path):
    """Outcome by test, for the sum; tests that are switched off (pushing, deleting) are no tests of this run. What is
    wrong with the run as a whole is a failed case of its own."""
    suite = ET.Element("testsuite", name="conformance")
    for name, outcome in table.cases:
        if outcome == "Disabled":
            continue
        case = ET.SubElement(suite, "testcase", classname="conformance", name=name)
        if outcome == "Skip":
            ET.SubElement(case, "skipped", message="skipped by the suite")
        elif outcome != "Pass":
            ET.SubElement(case, "failure", message=outcome)
    if wrong and suite.find("testcase/failure") is None and suite.find("testcase/skipped") is None:
        case = ET.SubElement(suite, "testcase", classname="conformance", name="the run as a whole")
        ET.SubElement(case, "failure", message="; ".join(wrong))
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def start_mirror(directory, binary, upstream):
    config = {"version": 1, "server": {"listen": ["127.0.0.1:0"]}, "store": {"path": str(directory / "store")},
              "log": {"level": "info", "format": "text"}, "default_registry": "registry.example",
              "registries": {"registry.example": {"url": f"http://{upstream}"}}}
    return servers.Mirror(directory, config, command=binary).start()


class RegistryProxy(servers.DockerRegistry):
    """registry v3 as a pull-through proxy: what the harness was developed against. It passes all but tag lists and
    referrers."""

    def __init__(self, storage, upstream):
        os.environ["REGISTRY_PROXY_REMOTEURL"] = f"http://{upstream}"
        try:
            super().__init__(storage, servers.BIN / "registry")
        finally:
            del os.environ["REGISTRY_PROXY_REMOTEURL"]


def run(work, results, start):
    """start(work, upstream address) → what is tested. Returns its table and the number of passes it must have."""
    upstream = servers.DockerRegistry(work / "upstream", servers.BIN / "registry")
    try:
        full = read_table(run_suite(upstream.address, results / "full"))
        if full.counts["Pass"] < LEAST_FULL:
            raise HarnessError(f"full mode passed {full.counts['Pass']} tests, at least {LEAST_FULL} were expected")
        inputs = contents(upstream.storage)
        tested = start(work, upstream.address)
        try:
            text = run_suite(tested.address, results / "read-only", OCI_API_PUSH="false",
                             OCI_RO_DATA_TAGS=" ".join(inputs["tags"]),
                             OCI_RO_DATA_MANIFESTS=" ".join(inputs["manifests"]),
                             OCI_RO_DATA_BLOBS=" ".join(inputs["blobs"]),
                             OCI_RO_DATA_REFERRERS=" ".join(inputs["manifests"]))
        finally:
            tested.stop()
    finally:
        upstream.stop()
    return read_table(text), expected_passes(inputs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--binary", default="build/entrepot")
    parser.add_argument("--results", default="results/conformance")
    parser.add_argument("--peer", action="store_true",
                        help="test registry v3 as a proxy instead, to see the harness work")
    options = parser.parse_args()
    results = pathlib.Path(options.results).resolve()
    (results / "junit.xml").unlink(missing_ok=True)

    def start(work, upstream):
        if options.peer:
            return RegistryProxy(work / "proxy", upstream)
        (work / "mirror").mkdir()
        return start_mirror(work / "mirror", pathlib.Path(options.binary).resolve(), upstream)

    try:
        with tempfile.TemporaryDirectory(prefix="entrepot-conformance-") as work:
            table, least = run(pathlib.Path(work), results, start)
    except (HarnessError, OSError, AssertionError, subprocess.TimeoutExpired) as e:
        print(f"conformance: the harness failed: {e}")
        return 2
    wrong = complaints(table, least)
    write_junit(table, wrong, results / "junit.xml")
    for name, outcome in table.cases:
        if outcome not in ("Pass", "Disabled"):
            print(f"{outcome} {name}")
    print("conformance: " + ", ".join(f"{n} {kind}" for kind, n in table.counts.items()))
    print("conformance: " + ("; ".join(wrong) if wrong else f"all pass (at least {least} had to)"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
