"""The checks of ./dev lint. Each yields complaints; none means that it has passed. test_lint.py shows each failing."""

import argparse
import io
import os
import re
import subprocess
import sys

import banned
import hardening
import includes
import text
import tidy

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))


def tracked(root):
    """Tracked files, and those that are about to be: what git does not ignore."""
    # a checkout may belong to somebody else, as it often does in a container
    out = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
                          "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(p for p in out.split("\0") if p and os.path.isfile(os.path.join(root, p)))


def read(root, paths):
    """path → text; what is not UTF-8 text is left out."""
    out = {}
    for path in paths:
        try:
            with open(os.path.join(root, path), encoding="utf-8", newline="") as f:
                t = f.read()
        except UnicodeDecodeError:
            continue
        if "\0" not in t:
            out[path] = t
    return out


def is_corpus(path):
    return path.startswith("tests/fuzz/corpus/")


def c_files(paths):
    return [p for p in paths if p.endswith((".c", ".h")) and not is_corpus(p)]


def scripts(root, paths):
    for path in paths:
        with open(os.path.join(root, path), "rb") as f:
            if f.readline(64).startswith((b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")):
                yield path


def run(root, *command):
    """Complaints of a program that says what it found and fails."""
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield (done.stdout + done.stderr).strip() or f"{command[0]}: exit status {done.returncode}"


def check_format(root, paths):
    for complaint in run(root, "clang-format", "--dry-run", "-Werror", *c_files(paths)) if c_files(paths) else ():
        first = {}
        for path, line in re.findall(r"^(.+?):(\d+):\d+: error: ", complaint, re.M):
            first.setdefault(path, line)
        if not first:
            yield complaint
        for path, line in first.items():
            yield f"{path}:{line}: form; clang-format -i {path}"


def check_includes(root, paths):
    yield from includes.check(read(root, c_files(paths)))


def check_banned(root, paths):
    yield from banned.check(read(root, c_files(paths)))


def check_text(root, paths):
    yield from text.check(read(root, [p for p in paths if not is_corpus(p) and p != "LICENSE"]))


def check_scripts(root, paths):
    found = list(scripts(root, paths))
    for path in found:
        if not os.access(os.path.join(root, path), os.X_OK):
            yield f"{path}: not executable"
    if found:
        yield from run(root, "shellcheck", "-x", *found)


def check_spelling(root, paths):
    yield from run(root, "codespell", "--ignore-words", os.path.join(ROOT, "tests/lint/words"),
                   *[p for p in paths if not is_corpus(p) and p not in ("LICENSE", "tests/lint/words")])


def check_python(root, paths):
    import pyflakes.api
    import pyflakes.reporter

    for path, source in read(root, [p for p in paths if p.endswith(".py")]).items():
        said = io.StringIO()
        pyflakes.api.check(source, path, pyflakes.reporter.Reporter(said, said))
        if said.getvalue():
            yield said.getvalue().strip()


def check_names(root, paths):
    """Two test files of one name would be one module to pytest; a shell has to be able to name every file."""
    seen = {}
    for path in paths:
        name = os.path.basename(path)
        if name.startswith("test_") and name.endswith(".py"):
            if name in seen:
                yield f"{path}: {seen[name]} has the same name"
            seen[name] = path
        if not path.isascii() or any(c in path for c in " '\"$\\\n"):
            yield f"{path!r}: a name that has to be quoted"


TREE_CHECKS = {
    "format": check_format,
    "includes": check_includes,
    "banned": check_banned,
    "text": check_text,
    "scripts": check_scripts,
    "spelling": check_spelling,
    "python": check_python,
    "names": check_names,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", help="directory with a compilation database by clang, for tidy")
    parser.add_argument("--binary", help="release binary, for hardening")
    parser.add_argument("checks", nargs="*", help="some checks only: %s, tidy, hardening" % ", ".join(TREE_CHECKS))
    options = parser.parse_args()

    paths = tracked(ROOT)
    checks = {name: lambda check=check: check(ROOT, paths) for name, check in TREE_CHECKS.items()}
    if options.binary:
        checks["hardening"] = lambda: hardening.check(options.binary)
    if options.build:
        checks["tidy"] = lambda: tidy.check(ROOT, options.build, os.path.join(ROOT, "results", "tidy"))
    unknown = set(options.checks) - set(checks)
    if unknown:
        parser.error("no check is called " + ", ".join(sorted(unknown)))

    failed = []
    for name in options.checks or checks:
        try:
            complaints = list(checks[name]())
        except (OSError, subprocess.SubprocessError) as e:
            complaints = [f"the check could not be run: {e}"]
        for c in complaints:
            print(c)
        print("lint %s: %s" % (name, "failed" if complaints else "ok"), flush=True)
        if complaints:
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
