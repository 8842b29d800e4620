"""Alerts, runbooks and the dashboard: that they ask for what there is, mean what they say, and lead somewhere."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
FILES = ROOT / "charts/entrepot/files"
TOOLS = pathlib.Path(os.environ.get("ENTREPOT_TOOLS", ROOT / ".tools"))

sys.path.insert(0, str(HERE))

import dashboard  # noqa: E402

RULES = [r for g in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"] for r in g["rules"]]
ALERTS = [r for r in RULES if "alert" in r]
PANELS = [p for p in json.loads((FILES / "dashboard.json").read_text())["panels"] if p["type"] != "row"]
TARGETS = [(p["title"], t["expr"]) for p in PANELS for t in p["targets"]]


def families():
    """What the program has, with labels; of a histogram, its three series."""
    page = (ROOT / "docs/metrics.md").read_text()
    found = {}
    for name, kind, labels in re.findall(r"## `(\w+)`\n\n\*(\w+)\*(?: · labels: ([^·\n]+))?", page):
        names = [name + s for s in ("_bucket", "_sum", "_count")] if kind == "histogram" else [name]
        for n in names:
            found[n] = set(re.findall(r"`(\w+)`", labels)) | ({"le"} if kind == "histogram" else set())
    return found


def promtool(*args):
    done = subprocess.run([TOOLS / "deb/prometheus/usr/bin/promtool", *args], capture_output=True, text=True, cwd=HERE)
    return done.returncode, done.stdout + done.stderr


def test_the_rules_are_rules():
    status, said = promtool("check", "rules", FILES / "alerts.yaml")
    assert status == 0, said


@pytest.mark.parametrize("file", ["alerts_test.yaml", "slow_alerts_test.yaml"])
def test_the_alerts_come_when_they_should_and_not_otherwise(file):
    status, said = promtool("test", "rules", file)
    assert status == 0, said


def test_every_alert_is_tried_where_it_comes_and_where_it_does_not():
    tests = [t for f in ("alerts_test.yaml", "slow_alerts_test.yaml")
             for t in yaml.safe_load((HERE / f).read_text())["tests"]]
    tried = [a for t in tests for a in t["alert_rule_test"]]
    for rule in ALERTS:
        mine = [bool(a.get("exp_alerts")) for a in tried if a["alertname"] == rule["alert"]]
        assert True in mine, f"{rule['alert']} is never seen"
        assert False in mine, f"{rule['alert']} is never seen to be silent"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda r: r["alert"])
def test_every_alert_says_what_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    runbook = (ROOT / rule["annotations"]["runbook"]).read_text()
    assert rule["alert"] in runbook, f"{rule['annotations']['runbook']} does not mention {rule['alert']}"


def metrics_of(expr):
    expr = re.sub(r"\$__rate_interval", "5m", expr)
    return set(re.findall(r"\bentrepot_\w+", expr))


@pytest.mark.parametrize("expr", [r["expr"] for r in RULES] + [e for _, e in TARGETS])
def test_what_is_asked_for_is_there(expr):
    known = families()
    for name in metrics_of(expr):
        assert name in known, name
    for name, matchers in re.findall(r"\b(entrepot_\w+)\{([^}]*)\}", expr):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=|!~)", matchers)) - {"job", "instance", "namespace"}
        assert labels <= known[name], f"{name} has no {labels - known[name]}"


def test_the_dashboards_questions_are_understood(tmp_path):
    """Each as a rule of its own, which has promtool parse it; Grafana's variables stand for anything."""
    rules = [{"record": f"panel:q{i}", "expr": e.replace("$__rate_interval", "5m")} for i, (_, e) in enumerate(TARGETS)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    status, said = promtool("check", "rules", file)
    assert status == 0, said
    assert f"{len(TARGETS)} rules found" in said


def test_the_dashboard_is_the_one_that_is_described():
    assert (FILES / "dashboard.json").read_text() == dashboard.text(), "tests/monitoring/dashboard.py writes it"


def test_panels_do_not_lie_on_each_other():
    taken = set()
    ids = [p["id"] for p in json.loads((FILES / "dashboard.json").read_text())["panels"]]
    assert len(set(ids)) == len(ids)
    for p in json.loads((FILES / "dashboard.json").read_text())["panels"]:
        g = p["gridPos"]
        assert 0 <= g["x"] and g["x"] + g["w"] <= 24
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not cells & taken, p["title"]
        taken |= cells
