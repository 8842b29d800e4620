"""clang-tidy over the compilation database, one process a core. What has passed is remembered by the digest of all that
it depends on, so that only what has changed is looked at again."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess

ANALYSED = pathlib.Path(__file__).resolve().with_name("analysed.h")


def units(build, root):
    """(source path relative to root, compile command) of the project's own sources."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        for entry in json.load(f):
            path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
            if path.startswith(os.path.realpath(root) + os.sep):
                yield os.path.relpath(path, root), entry


def fingerprint(entry, root):
    """Of the preprocessed text, comments too (NOLINT), and of the rules."""
    words = shlex.split(entry["command"])
    words = words[:words.index("-o")] + words[words.index("-o") + 2:]
    done = subprocess.run([w for w in words if w != "-c"] + ["-E", "-C"], cwd=entry["directory"], capture_output=True,
                          check=False)
    h = hashlib.sha256(done.stdout)
    where = pathlib.Path(root)
    for rules in [ANALYSED, *sorted(where.glob(".clang-tidy")), *sorted(where.glob("*/.clang-tidy"))]:
        h.update(rules.read_bytes())
    return h.hexdigest()


def tidy(root, build, path):
    command = ["clang-tidy", "-p", build, "--quiet", "--warnings-as-errors=*", f"--extra-arg=-include{ANALYSED}"]
    done = subprocess.run([*command, path], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        # The analyser of this version crashes on some C that is right; the other checks do not.
        done = subprocess.run([*command, "--checks=-clang-analyzer-*", path], cwd=root, capture_output=True, text=True,
                              check=False)
    return done.returncode, done.stdout.strip() or done.stderr.strip()


def check(root, build, memory):
    """memory: a directory that keeps what has passed. Yields complaints."""
    os.makedirs(memory, exist_ok=True)
    todo = {}
    for path, entry in sorted(units(build, root), key=lambda u: u[0]):
        todo.setdefault(path, fingerprint(entry, root))
    if not todo:
        yield f"{build}: no source to look at"
    todo = {p: f for p, f in todo.items() if not os.path.exists(os.path.join(memory, f))}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, (status, text) in zip(todo, pool.map(lambda p: tidy(root, build, p), todo)):
            if status == 0:
                pathlib.Path(memory, todo[path]).touch()
            else:
                text = text.replace(root + os.sep, "").replace(build + "/../", "../")
                found = dict.fromkeys(line.removeprefix("../") for line in text.split("\n") if " error: " in line)
                yield "\n".join(found) + f"\n    in full: clang-tidy -p {build} {path}" if found else text
