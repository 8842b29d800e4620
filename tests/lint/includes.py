"""The include graph: which floor may know which, and where each foreign library stays (docs/contributing.md)."""

import collections
import re

import csource

# A floor may include the headers of its own, and the public header of the floors named here.
FLOORS = {
    "base": [],
    "config": ["base"],
    "blobstore": ["base"],
    "lists": ["base"],
    "backup": ["base", "blobstore"],
    "upstream": ["base", "config"],
    "mirror": ["base", "config", "blobstore", "lists", "upstream"],
    "admin": ["base", "config", "blobstore", "backup", "upstream", "lists", "mirror"],
    "server": ["base", "config", "mirror", "admin"],
    "cli": ["base", "config", "blobstore", "backup", "lists"],
    "main": ["base", "config", "blobstore", "backup", "upstream", "lists", "mirror", "admin", "server", "cli"],
}

# A foreign header and the files that may include it.
ROOMS = {
    r"microhttpd\.h": r"src/server/",
    r"curl/": r"src/(upstream/|cli/(client|probe)\.c$)|tests/unit/upstream/test_memory",
    r"libpsl\.h": r"src/upstream/",
    r"lmdb\.h": r"blobstore/",
    r"zstd(_errors)?\.h": r"blobstore/frame\.c$",
    r"openssl/": r"src/base/digest\.c$",
    r"jansson\.h": r"src/base/json_text\.h$|src/(backup|mirror|upstream|admin|cli)/|src/server/jwt(_keys)?\.c$",
    r"archive(_entry)?\.h": r"src/backup/|tests/unit/backup/",
    r"libsmartcols": r"src/cli/table\.c$",
    r"libfyaml": r"src/base/yaml\.c$",
    r"uthash\.h": r"src/base/table\.h$",
    r"gnutls/": r"(src|tests/unit)/server/",
    r"crypt\.h": r"src/server/htpasswd\.c$",
    r"check\.h": r"tests/unit/",
}
ONE_FILE = [r"lmdb\.h", r"openssl/", r"libfyaml"]


def floor_of(path):
    """The floor a file belongs to; None for the tests, which may look at every floor."""
    if path.startswith("blobstore/"):
        return "blobstore"
    m = re.match(r"src/(?:([^/]+)/)?[^/]+$", path)
    return (m.group(1) or "main") if m else None


def check(files):
    """files: path → text. Yields complaints."""
    users = collections.defaultdict(set)
    for path, text in sorted(files.items()):
        floor = floor_of(path)
        if floor is not None and floor not in FLOORS:
            yield f"{path}: the floor {floor} is not in tests/lint/includes.py"
            continue
        for line, kind, what in csource.includes(text):
            where = f"{path}:{line}"
            if kind == '"':
                yield from check_own(where, path, floor, what, files)
                continue
            for header, room in ROOMS.items():
                if re.match(header, what):
                    users[header].add(path)
                    if not re.match(room, path):
                        yield f"{where}: <{what}> is for {room} only"
    for header in ONE_FILE:
        if len(users[header]) > 1:
            yield f"<{header}> is for one file only, and is in {', '.join(sorted(users[header]))}"


# Public headers beside a floor's own
SIDE_DOORS = {
    "server/ops.h", "server/admin.h", "server/guard.h", "mirror/inventory.h", "mirror/jobs.h", "mirror/seeding.h", "mirror/stock.h",
    "mirror/watch.h", "config/address.h", "config/value.h",
}


def check_own(where, path, floor, what, files):
    if floor is None:
        return
    directory, _, name = what.rpartition("/")
    if directory == "":
        # beside the file itself
        if path.rpartition("/")[0] + "/" + name not in files:
            yield f'{where}: "{what}" is not beside the file'
        return
    if directory == floor:
        return
    if directory not in FLOORS:
        yield f'{where}: "{what}" is of no floor'
    elif directory not in FLOORS[floor]:
        yield f"{where}: {floor} may not know {directory}"
    elif directory not in ("base", "cli") and name != directory + ".h" and what not in SIDE_DOORS:
        yield f'{where}: "{what}" is inner to {directory}; its door is "{directory}/{directory}.h"'
