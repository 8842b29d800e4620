"""The documents: configurations in them are good, links lead somewhere."""

import configparser
import json
import pathlib
import re
import subprocess
import textwrap
import tomllib

import pytest
import servers
import yaml

ROOT = servers.ROOT
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
REFERENCE = ROOT / "docs/configuration.md"
OF_THE_CHART = {ROOT / "docs/kubernetes.md"}  # its YAML is values and objects: tests/chart/test_shown.py
FENCE = re.compile(r"(?ms)^```(\S*)[^\n]*\n(.*?)^```\s*$")
INDENTED = re.compile(r"(?m)(?<=\n\n)(?:(?: {4}.*| *)\n)+")


def blocks(path):
    """What a document shows as code, fenced or indented."""
    text = path.read_text()
    yield from (m.group(2) for m in FENCE.finditer(text))
    yield from (textwrap.dedent(m.group(0)) for m in INDENTED.finditer(FENCE.sub("", text)) if m.group(0).strip())


def configurations():
    """The files of config/, and blocks of documents that are YAML with nothing but our sections at the top."""
    for path in sorted(ROOT.glob("config/*.yaml")):
        yield pytest.param(path.read_text(), id=str(path.relative_to(ROOT)))
    sections = set(re.findall(r"(?m)^## `(\w+)`$", REFERENCE.read_text())) if REFERENCE.exists() else set()
    for path in sorted(set(DOCUMENTS) - OF_THE_CHART):
        for n, text in enumerate(blocks(path)):
            try:
                read = yaml.safe_load(text)
            except yaml.YAMLError:
                continue
            if isinstance(read, dict) and read and set(read) <= sections:
                yield pytest.param(text, id=f"{path.relative_to(ROOT)}-{n}")


@pytest.mark.parametrize("text", configurations())
def test_a_configuration_that_is_shown_is_good(text, tmp_path):
    """Files that it names are there in the tree, or stand for some of the reader's."""
    if servers.binary() is None:
        pytest.skip("no entrepot binary: build first, or set ENTREPOT")
    path = tmp_path / "shown.yaml"
    path.write_text(re.sub(r"(?m)^(\s*ca_file:) /.*$", rf"\1 {path}", text))
    r = subprocess.run([servers.binary(), "check-config", path], capture_output=True, text=True, cwd=ROOT)
    assert r.returncode == 0, r.stderr


def snippets():
    """What says by its form, or by the file that it goes to, which language it is in."""
    for path in DOCUMENTS:
        text = path.read_text()
        found = [(m.group(1), m.group(2)) for m in FENCE.finditer(text)]
        for block in blocks(path):
            found += [("json", block)] if block.startswith("{") else [("toml", block)] if block.startswith("[[") else []
        found += [(m.group(1), textwrap.dedent(m.group(2))) for m in
                  re.finditer(r"(?ms)^ *cat > \S+\.(toml|yaml|json) <<END\n(.*?)^ *END$", text)]
        for n, (language, block) in enumerate(found):
            if language:
                yield pytest.param(language, block, id=f"{path.relative_to(ROOT)}-{language}-{n}")


def read_unit(text):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    assert parser.sections()


READERS = {"yaml": lambda text: list(yaml.safe_load_all(text)), "toml": tomllib.loads, "json": json.loads, "ini": read_unit}


@pytest.mark.parametrize("language,text", snippets())
def test_a_snippet_is_of_its_language(language, text):
    assert language in READERS, "nobody reads that"
    READERS[language](text)


@pytest.mark.parametrize("text", [pytest.param(p.values[1], id=p.id) for p in snippets() if "[host." in p.values[1]])
def test_a_hosts_toml_is_what_every_containerd_reads(text):
    """`referrers` would make an older one ignore the whole file."""
    hosts = tomllib.loads(text)
    assert hosts["server"].startswith("https://")
    for url, host in hosts["host"].items():
        assert url.startswith(("http://", "https://")) and host["capabilities"] == ["pull", "resolve"]


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


# --- commands that documents name -------------------------------------------------------------------------------------

PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/**/*.md"), *ROOT.glob("config/**/*.txt")])
COMMAND = re.compile(r"(?:^|[\s`|(/])entrepot ([a-z][a-z-]+)((?: [^`#|\n]*)?)", re.M)


def help_of(*args):
    return subprocess.run([servers.binary(), *args, "--help"], capture_output=True, text=True, check=True).stdout


def test_every_command_and_option_of_a_document_is_there():
    known = set(re.findall(r"^  ([a-z-]+) ", help_of().partition("Commands:")[2], re.M))
    wrong, seen = [], set()
    for page in PAGES:
        for line in page.read_text().splitlines():
            if not (line.startswith("    ") or "`" in line):
                continue
            for command, rest in COMMAND.findall(line):
                if command not in known:
                    if re.search(rf"`entrepot {command}", line):
                        wrong.append(f"{page.name}: entrepot {command}")
                    continue
                seen.add(command)
                text = help_of(command)
                wrong += [f"{page.name}: entrepot {command} {option}" for option in re.findall(r"--[a-z][a-z-]*", rest)
                          if option not in text and option != "--help"]
    assert not wrong, "\n".join(wrong)
    assert seen >= known - {"version", "reference", "completion", "manual"}, f"no document names {known - seen}"


# --- names that documents use ------------------------------------------------------------------------------------------

def reference(*what):
    return subprocess.run([servers.binary(), "reference", *what], capture_output=True, text=True, check=True).stdout


def test_every_option_of_a_document_is_there():
    """`section.key` is one of the configuration's; in the documents of the cluster it may be a value of the chart's."""
    keys = {k.replace("[]", "") for k in re.findall(r"(?m)^###? `([^`]+)`$", reference())}
    sections = {k for k in keys if "." not in k}
    keys.add("registries.NAME")
    values = yaml.safe_load((ROOT / "charts/entrepot/values.yaml").read_text())

    def is_value(name):
        at = values
        for part in name.split("."):
            if not isinstance(at, dict) or part not in at:
                return False
            at = at[part]
        return True

    wrong = []
    for page in PAGES:
        of_the_cluster = page.parent.name in ("runbooks", "entrepot") or page.name == "kubernetes.md"
        for name in re.findall(r"`((?:\w+)(?:\.[\w\[\]-]+)+)(?=[`:])", page.read_text()):
            if name.partition(".")[0] not in sections or re.search(r"\.(c|h|sock|yaml)$", name):
                continue
            plain = re.sub(r"^registries\.(docker\.io|[A-Z]+)\b", "registries.NAME", name.removeprefix("config.")).replace("[]", "")
            if plain not in keys and not (of_the_cluster and (is_value(name) or plain == "registries.NAME.secret")):
                wrong.append(f"{page.relative_to(ROOT)}: {name}")
    assert not wrong, "\n".join(wrong)


def test_every_metric_and_event_of_a_document_is_there():
    metrics = set(re.findall(r"entrepot_\w+", reference("metrics")))
    source = "\n".join(p.read_text() for p in [*ROOT.glob("src/**/*.c"), *ROOT.glob("blobstore/*.c")])
    wrong = []
    for page in PAGES:
        text = page.read_text()
        wrong += [f"{page.name}: {m}" for m in set(re.findall(r"`(entrepot_\w*[a-z0-9])\b", text)) - metrics]
        wrong += [f"{page.name}: event={e}" for e in set(re.findall(r"event=(\w+)", text)) if f'"{e}"' not in source]
    assert not wrong, "\n".join(wrong)
