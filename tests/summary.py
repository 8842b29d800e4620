"""Adds up what the parts of the suite reported, names every test that failed, and ends with `N passed, N failed`.

    summary.py PART:LEAST:FILE ...

FILE is meson's testlog.json (programs that speak TAP) or a JUnit file. A part whose file is missing or unreadable has
failed; so has one that ran fewer tests than LEAST: an empty run is no success. A test that was skipped has failed too,
unless its reason is one of SKIPS.
"""

import json
import re
import sys
import xml.etree.ElementTree as ET

# Reasons for which a test may be left out, and why that is no loss.
SKIPS = {
    "needs root": "the continuous run is root's; containerd cannot be started by anybody else",
    "no network namespace here": "the continuous run's root may make one; who may not cannot run containers either",
}

TAP = re.compile(r"^(not )?ok\b\s*\d*\s*(.*)$")


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []  # names, with what is known
        self.skipped = []

    def skip(self, name, reason):
        if any(known in reason for known in SKIPS):
            self.skipped.append(f"{name}: {reason}")
        else:
            self.failed.append(f"{name}: skipped without a known reason: {reason}")

    @property
    def ran(self):
        return self.passed + len(self.failed)


def read_tap(tally, program, output):
    """Single tests of one program's output; returns how many there were."""
    count = 0
    for line in output.splitlines():
        m = TAP.match(line)
        if not m:
            continue
        count += 1
        failed, what = m.groups()
        name = f"{program}: {what.lstrip('- ')}"
        if re.search(r"# *skip", what, re.I):
            tally.skip(program, what.partition("#")[2].strip()[4:].strip())
        elif failed:
            tally.failed.append(name)
        else:
            tally.passed += 1
    return count


def read_meson(tally, text):
    """testlog.json: one JSON object a line, one line a program."""
    for line in text.splitlines():
        run = json.loads(line)
        before = len(tally.failed)
        count = read_tap(tally, run["name"], run.get("stdout", ""))
        # What TAP does not say: a crash, a sanitizer's report at the end, a plan that was not kept, time that ran out.
        if (run["result"] != "OK" or count == 0) and len(tally.failed) == before:
            tally.failed.append(f"{run['name']}: {run['result']}, exit status {run['returncode']}, {count} tests")


def read_junit(tally, text):
    for case in ET.fromstring(text).iter("testcase"):
        name = f"{case.get('classname', '')}: {case.get('name', '')}"
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped")
        if bad is not None:
            tally.failed.append(f"{name}: {(bad.get('message') or '').splitlines()[:1]}")
        elif skipped is not None:
            tally.skip(name, skipped.get("message") or "")
        else:
            tally.passed += 1


def read_part(name, least, path):
    tally = Tally()
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
        (read_meson if path.endswith(".json") else read_junit)(tally, text)
    except (OSError, ValueError, KeyError, ET.ParseError) as e:
        tally.failed.append(f"{name}: no result: {e}")
        return tally
    if tally.ran < least:
        tally.failed.append(f"{name}: {tally.ran} tests ran, at least {least} must")
    return tally


def main(arguments):
    whole = Tally()
    lines = []
    for argument in arguments:
        name, least, path = argument.split(":", 2)
        tally = read_part(name, int(least), path)
        lines.append(f"{name}: {tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
        whole.passed += tally.passed
        whole.failed += tally.failed
        whole.skipped += tally.skipped
    for skipped in whole.skipped:
        print(f"SKIPPED {skipped}")
    for failed in whole.failed:
        print(f"FAILED {failed}")
    print("\n".join(lines))
    if not arguments or whole.passed == 0 and not whole.failed:
        whole.failed.append("nothing ran")
    print(f"{whole.passed} passed, {len(whole.failed)} failed")
    return 1 if whole.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
