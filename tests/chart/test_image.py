"""The image's file system is made of this Debian, has all that the program needs, and says what it has; the unit of systemd."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary():
    given = os.environ.get("ENTREPOT")
    return pathlib.Path(given) if given else ROOT / "build-asan/entrepot"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    root = tmp_path_factory.mktemp("image") / "rootfs"
    for _ in range(2):  # a second time over the first
        subprocess.run([ROOT / "config/image/rootfs.py", binary(), root, "1.2.3"], check=True,
                       env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
    return root


@pytest.fixture(scope="module")
def bill(image):
    return json.loads((image / "usr/share/entrepot/sbom.spdx.json").read_text())


def files(root):
    return {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file() and not p.is_symlink()}


def test_the_program_runs_where_nothing_else_is(image):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # sanitizers read their options from /proc
    r = subprocess.run(["unshare", "--mount", "sh", "-c", 'mount --bind /proc "$0/proc" && exec chroot "$0" /usr/bin/entrepot version',
                        image], capture_output=True, text=True)
    assert r.returncode == 0 and r.stdout.startswith("entrepot "), r.stderr


def test_there_is_no_shell_and_nothing_that_runs_but_the_program(image):
    assert [p.name for p in (image / "usr/bin").iterdir()] == ["entrepot"]
    assert not (image / "bin").exists() and not (image / "usr/sbin").exists()
    for name, p in files(image).items():
        assert p.stat().st_mode & 0o6022 == 0, f"{name}: set-user-id, or others may write it"


def test_the_bill_lists_every_file_with_its_digest(image, bill):
    import hashlib
    listed = {f["fileName"][2:]: {c["algorithm"]: c["checksumValue"] for c in f["checksums"]} for f in bill["files"]}
    for name, p in files(image).items():
        if name.startswith(("usr/share/", "etc/passwd", "etc/group", "etc/nsswitch")):
            continue
        assert listed.pop(name)["SHA256"] == hashlib.sha256(p.read_bytes()).hexdigest()
    assert not listed


def test_the_bill_names_packages_as_scanners_look_for_them(image, bill):
    assert bill["spdxVersion"] == "SPDX-2.3" and bill["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    by_name = {p["name"]: p for p in bill["packages"]}
    assert by_name["entrepot"]["versionInfo"] == "1.2.3"
    for wanted in ("libc6", "ca-certificates", "libmicrohttpd12", "liblmdb0", "libssl3"):
        p = by_name[wanted]
        purl, = (r["referenceLocator"] for r in p["externalRefs"])
        assert purl.startswith(f"pkg:deb/debian/{wanted}@{p['versionInfo']}?arch=")
        assert (image / "usr/share/doc" / wanted / "copyright").stat().st_size > 0
    ids = {e["SPDXID"] for kind in ("packages", "files") for e in bill[kind]} | {"SPDXRef-DOCUMENT"}
    assert len(ids) == len(bill["packages"]) + len(bill["files"]) + 1, "each has its own"
    assert all(r["spdxElementId"] in ids and r["relatedSpdxElement"] in ids for r in bill["relationships"])


def test_the_containerfile_ends_in_an_image_of_nothing_else():
    last = (ROOT / "config/image/Containerfile").read_text().split("\nFROM ")[-1]
    assert last.startswith("scratch\n")
    assert re.search(r"^USER 65532:65532$", last, re.M) and not re.search(r"^(RUN|ADD)\b", last, re.M)


def test_the_containerfile_copies_what_the_build_reads(tmp_path):
    first = (ROOT / "config/image/Containerfile").read_text().split("\nFROM ")[1]
    copies = [m.split() for m in re.findall(r"^COPY (?!--)(.*)$", first, re.M)]
    assert len(copies) >= 4
    for *sources, target in copies:
        for s in sources:
            to = tmp_path / target / ("" if target != "./" else s)
            (shutil.copytree if (ROOT / s).is_dir() else shutil.copyfile)(ROOT / s, to)
    for needed in ("dev", "config/image/rootfs.py"):
        assert (tmp_path / needed).exists()
    r = subprocess.run(["meson", "setup", "build", "-Dtests=false"], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode == 0, r.stdout[-2000:] + r.stderr


def test_the_unit_is_right_and_shut_in(tmp_path):
    text = (ROOT / "config/entrepot.service").read_text()
    unit = tmp_path / "entrepot.service"
    unit.write_text(text.replace("/usr/bin/entrepot", "/usr/bin/true"))
    r = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert r.returncode == 0 and not r.stderr, r.stderr
    r = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout
