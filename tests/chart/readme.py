"""The table of values in the chart's README, from the comments of values.yaml: readme.py --write"""

import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts/entrepot"
HEAD = "| value | default | |\n|---|---|---|\n"


def comments(lines):
    """The path of each key that has a `# --` comment, with the comment."""
    path, said = [], None
    for line in lines:
        text = line.strip()
        if text.startswith("# -- "):
            said = text[5:]
        elif text.startswith("#") and said is not None:
            said += " " + text[1:].strip()
        else:
            m = re.match(r"( *)([\w.]+):", line)
            if m:
                path = path[:len(m.group(1)) // 2] + [m.group(2)]
                if said:
                    yield list(path), said
            elif said and text == "{}":  # a map of which only the comment is there
                yield list(path), said
            said = None


def table():
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    out = HEAD
    for path, said in comments(text.splitlines()):
        value = values
        for key in path:
            value = value[key]
        shown = "…" if isinstance(value, (dict, list)) and value else yaml.safe_dump(
            value, default_flow_style=True, width=1000).replace("\n...", "").strip()
        out += f"| `{'.'.join(path)}` | `{shown}` | {said} |\n"
    return out


def readme(text):
    """The README with the table anew: from its head to the end."""
    return text[:text.index(HEAD)] + table() if HEAD in text else text + table()


if __name__ == "__main__":
    file = CHART / "README.md"
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    file.write_text(readme(file.read_text(encoding="utf-8")), encoding="utf-8")
