"""Rendering the chart, and reading what came out."""

import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("ENTREPOT_TOOLS", ROOT / ".tools"))
CHART = ROOT / "charts/entrepot"
sys.path.append(str(ROOT / "tests/e2e"))     # for its servers and clients
KUBERNETES = ("1.25.0", "1.34.0", "1.37.0")


class Refused(Exception):
    """Helm's own words."""


class Rendered(list):
    """The objects, in order."""

    def of(self, kind):
        return [o for o in self if o["kind"] == kind]

    def one(self, kind, name=None):
        found = [o for o in self.of(kind) if name in (None, o["metadata"]["name"])]
        assert len(found) == 1, (kind, name, [o["metadata"]["name"] for o in self.of(kind)])
        return found[0]

    def templates(self):
        """What makes each pod, with the pod that it makes."""
        for o in self:
            spec = o.get("spec", {})
            if o["kind"] == "Pod":
                yield o, o
            elif o["kind"] == "CronJob":
                yield o, spec["jobTemplate"]["spec"]["template"]
            elif "template" in spec:
                yield o, spec["template"]

    def pods(self):
        """The specification of every pod, with the name of what makes it."""
        for o, template in self.templates():
            yield o["metadata"]["name"], template["spec"]

    def configs(self):
        """The configuration of each replica, as text, by the name of its pod."""
        return {name.removesuffix(".yaml"): text for c in self.of("ConfigMap") for name, text in c["data"].items()
                if name.endswith(".yaml")}


def helm(*args, stdin=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HELM_", "KUBE"))}
    return subprocess.run([TOOLS / "bin/helm", *map(str, args)], capture_output=True, text=True, input=stdin, env=env)


@pytest.fixture(scope="session")
def render():
    """render(values, kubernetes): what `helm template` makes of them in namespace ns as release r."""
    def run(values=None, kubernetes="1.34.0"):
        r = helm("template", "r", CHART, "-n", "ns", "--kube-version", kubernetes, "-f", "-",
                 stdin=yaml.safe_dump(values or {}))
        if r.returncode:
            raise Refused(r.stderr)
        return Rendered(o for o in yaml.safe_load_all(r.stdout) if o)
    return run


def binary():
    given = os.environ.get("ENTREPOT")
    return pathlib.Path(given) if given else ROOT / "build-asan/entrepot"
