"""What every tracked text has to hold to: how lines end, and no trace of the machine it was written on."""

import re

# Absolute paths of somebody's machine, and marks that tools leave behind.
TRACES = [
    (re.compile(r"(?<![\w}.*$-])/(?:root|work|Users|home/(?!nonroot\b)\w+)/"), "a path of somebody's machine"),
    (re.compile(r"(?i)\bco-authored-by:|\bgenerated (?:by|with) (?:an? )?(?:ai|assistant)\b"), "a mark left by a tool"),
    (re.compile(r"^(?:<{7}|>{7}) ", re.M), "a merge that was not resolved"),
]
TABS_BELONG = ("Makefile", ".go", ".patch", ".tsv")


def check(files):
    """files: path → text. Yields complaints."""
    for path, text in sorted(files.items()):
        if not text:
            continue
        if not text.endswith("\n"):
            yield f"{path}: no newline at the end"
        elif text.endswith("\n\n"):
            yield f"{path}: empty lines at the end"
        for number, line in enumerate(text.split("\n"), 1):
            if line.endswith("\r"):
                yield f"{path}:{number}: CR LF"
            elif line != line.rstrip() and not path.endswith(".md"):
                yield f"{path}:{number}: blanks at the end of the line"
            if "\t" in line and not path.endswith(TABS_BELONG):
                yield f"{path}:{number}: a tab"
        for pattern, what in TRACES:
            for m in pattern.finditer(text):
                yield f"{path}:{text.count(chr(10), 0, m.start()) + 1}: {what}: {m.group(0).strip()}"
