"""The documents: configurations in them are good, links lead somewhere."""

import pathlib
import re
import subprocess

import pytest
import servers
import yaml

ROOT = servers.ROOT
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SECTIONS = {"version", "server", "store", "log", "tags", "upstream", "default_registry", "registries"}
FENCE = re.compile(r"(?ms)^```(\S*)[^\n]*\n(.*?)^```\s*$")


def configurations():
    """YAML of documents and of config/ that is an entrepot configuration: a map of its sections."""
    texts = [(p.relative_to(ROOT), n, m.group(2)) for p in DOCUMENTS
             for n, m in enumerate(FENCE.finditer(p.read_text())) if m.group(1) in ("yaml", "yml")]
    texts += [(p.relative_to(ROOT), 0, p.read_text()) for p in sorted(ROOT.glob("config/*.yaml"))]
    for path, n, text in texts:
        read = yaml.safe_load(text) if "{{" not in text else None
        if isinstance(read, dict) and read and set(read) <= SECTIONS | {"example"}:
            yield pytest.param(text, id=f"{path}-{n}")


@pytest.mark.parametrize("text", configurations())
def test_a_configuration_that_is_shown_is_good(text, tmp_path):
    if servers.binary() is None:
        pytest.skip("no entrepot binary: build first, or set ENTREPOT")
    path = tmp_path / "shown.yaml"
    path.write_text(re.sub(r"(?m)^(\s*(?:ca_file|credentials):).*$", rf"\1 {path}", text))
    r = subprocess.run([servers.binary(), "check-config", path], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


def anchor(heading):
    text = re.sub(r"[`*]", "", heading.strip()).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def links():
    for path in DOCUMENTS:
        text = FENCE.sub("", path.read_text())
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
            if not re.match(r"[a-z]+:", target):
                yield pytest.param(path, target, id=f"{path.relative_to(ROOT)}-{target}")


@pytest.mark.parametrize("path,target", links())
def test_a_link_leads_somewhere(path, target):
    name, _, fragment = target.partition("#")
    there = pathlib.Path(path.parent, name).resolve() if name else path
    assert there.exists(), f"{target} in {path}"
    if fragment:
        headings = re.findall(r"(?m)^#+ (.*)$", FENCE.sub("", there.read_text()))
        assert fragment in {anchor(h) for h in headings}, f"{target} in {path}"
