#!/usr/bin/python3
"""Makes the file system of the container image from this Debian: the program, the libraries that it needs and no more.

    rootfs.py BINARY DIRECTORY VERSION

DIRECTORY is made anew. What was copied, with the licence of each package, is in usr/share/doc; the bill of materials
(SPDX 2.3) is usr/share/entrepot/sbom.spdx.json.
"""

import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

AUTHORITIES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
USER = 65532

FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/none\nnonroot:x:{USER}:{USER}:nonroot:/var/lib/entrepot:/none\n",
    "etc/group": f"root:x:0:\nnonroot:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def run(*command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def libraries(binary):
    """Every shared object that the loader takes, and the loader itself, by the paths at which it looks for them."""
    found = []
    for line in run("ldd", binary).splitlines():
        m = re.match(r"\s*(?:\S+ => )?(/\S+) \(0x", line)
        if m:
            found.append(pathlib.Path(m.group(1)))
        elif "not found" in line:
            sys.exit(f"rootfs.py: {line.strip()}")
    return found


def package_of(path):
    """The Debian package of a file, also where the path leads through /lib -> /usr/lib."""
    real = path.resolve()
    for p in (path, real, *(pathlib.Path("/", *q.parts[2:]) for q in (path, real) if q.parts[1] == "usr")):
        r = subprocess.run(["dpkg-query", "-S", str(p)], capture_output=True, text=True, check=False)
        if r.returncode == 0:
            return r.stdout.rpartition(": ")[0].split(",")[0]
    return None


def copy(path, root):
    """The file's content, where a program finds it under its name; /lib is /usr/lib, as in Debian."""
    parts = path.parts[1:]
    if parts[0] in ("lib", "lib64"):
        parts = ("usr", *parts)
    target = root.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path.resolve(), target)
    target.chmod(0o755)
    return target


def describe(package):
    fields = {"name": "Package", "version": "Version", "source": "source:Package", "source_version": "source:Version",
              "home": "Homepage", "architecture": "Architecture"}
    values = run("dpkg-query", "-W", "-f", "\t".join("${%s}" % f for f in fields.values()), package)
    return dict(zip(fields, values.split("\t")))


def sbom(version, files, packages):
    """files: path within the image -> (path on disk, name of its package or None); packages: by name."""
    stamp = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), datetime.timezone.utc)

    def identifier(kind, name):
        return f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)

    listed = [{
        "SPDXID": "SPDXRef-Package-entrepot", "name": "entrepot", "versionInfo": version, "licenseDeclared": "Apache-2.0",
        "licenseConcluded": "Apache-2.0", "copyrightText": "NOASSERTION", "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "primaryPackagePurpose": "APPLICATION"}]
    for p in packages.values():
        listed.append({
            "SPDXID": identifier("Package", p["name"]), "name": p["name"], "versionInfo": p["version"],
            "supplier": "Organization: Debian", "homepage": p["home"] or "NOASSERTION",
            "sourceInfo": f"built from {p['source']} {p['source_version']}", "filesAnalyzed": False,
            "licenseDeclared": "NOASSERTION", "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
            "downloadLocation": "NOASSERTION", "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                "referenceLocator": f"pkg:deb/debian/{p['name']}@{p['version']}?arch={p['architecture']}&distro=debian-12"}]})
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Package-entrepot")]
    relations += [("SPDXRef-Package-entrepot", "DEPENDS_ON", p["SPDXID"]) for p in listed[1:]]
    described = []
    for name, (path, package) in sorted(files.items()):
        me = identifier("File", name)
        described.append({"SPDXID": me, "fileName": "./" + name, "licenseConcluded": "NOASSERTION",
                          "copyrightText": "NOASSERTION", "checksums": [
                              {"algorithm": a.upper(), "checksumValue": hashlib.new(a, path.read_bytes()).hexdigest()}
                              for a in ("sha1", "sha256")]})
        owner = identifier("Package", package or "entrepot")
        relations.append((owner, "CONTAINS", me))
    whole = hashlib.sha256(json.dumps([listed, described]).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"entrepot-{version}",
        "documentNamespace": f"urn:entrepot:sbom:{version}:{whole}",
        "creationInfo": {"created": stamp.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: config/image/rootfs.py"]},
        "packages": listed, "files": described,
        "relationships": [{"spdxElementId": a, "relationshipType": how, "relatedSpdxElement": b}
                          for a, how, b in relations],
    }


def main(binary, directory, version):
    root = pathlib.Path(directory)
    if root.exists():
        shutil.rmtree(root)
    for link in ("lib", "lib64"):
        (root / "usr" / link).mkdir(parents=True)
        (root / link).symlink_to(f"usr/{link}")
    files, packages = {}, {}

    program = root / "usr/bin/entrepot"
    program.parent.mkdir()
    shutil.copyfile(binary, program)
    program.chmod(0o755)
    files["usr/bin/entrepot"] = (program, None)

    for path in [*libraries(binary), AUTHORITIES]:
        # the bundle of certificates is made at installation, from the package of that name
        package = "ca-certificates" if path == AUTHORITIES else package_of(path)
        if package is None:
            sys.exit(f"rootfs.py: {path} is of no Debian package")
        target = copy(path, root)
        if package not in packages:
            packages[package] = describe(package)
        files[str(target.relative_to(root))] = (target, packages[package]["name"])
    (root / "etc/ssl/certs/ca-certificates.crt").chmod(0o644)
    for p in packages.values():
        licence = pathlib.Path("/usr/share/doc", p["name"], "copyright")
        target = root / "usr/share/doc" / p["name"]
        target.mkdir(parents=True)
        shutil.copyfile(licence, target / "copyright")

    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for name in ("var/lib/entrepot", "etc/entrepot", "tmp", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True)
    bill = root / "usr/share/entrepot/sbom.spdx.json"
    bill.parent.mkdir(parents=True)
    bill.write_text(json.dumps(sbom(version, files, packages), indent=1) + "\n", encoding="utf-8")
    print(f"{len(files)} files of {len(packages)} packages and the program, "
          f"{sum(p.stat().st_size for p, _ in files.values()) >> 10} KiB")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
