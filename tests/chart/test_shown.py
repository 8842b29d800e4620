"""What the documents show of the cluster's side: values, commands and objects, by helm, the program and Kubernetes' schemas."""

import itertools
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from conftest import CHART, KUBERNETES, ROOT, TOOLS, Rendered, binary, helm

PAGES = [ROOT / "README.md", CHART / "README.md", ROOT / "docs/kubernetes.md", *sorted(ROOT.glob("docs/runbooks/*.md"))]
FENCE = re.compile(r"(?ms)^```yaml\n(.*?)^```$")
FOREIGN = {"tunnel"}  # the first key of what is neither a value nor an object: cloudflared's file


def shown():
    """Each YAML document of the pages of the cluster, with where it is."""
    for page in PAGES[1:]:
        for n, block in enumerate(FENCE.findall(page.read_text())):
            for k, text in enumerate(yaml.safe_load_all(block)):
                yield text, f"{page.relative_to(ROOT)}-{n}-{k}"


VALUES = [pytest.param(v, id=name) for v, name in shown() if "apiVersion" not in v and next(iter(v)) not in FOREIGN]
OBJECTS = [pytest.param(v, id=name) for v, name in shown() if "apiVersion" in v]


def values_of(o):
    """Those that an object of a tool that installs the chart has in it."""
    if o["kind"] == "Application":
        assert o["spec"]["source"]["path"] == "charts/entrepot"
        return o["spec"]["source"]["helm"]["valuesObject"]
    if o["kind"] == "HelmRelease":
        assert o["spec"]["chart"]["spec"]["chart"] == "charts/entrepot"
        return o["spec"]["values"]
    return None


def check_renders(values):
    r = helm("template", "r", CHART, "-n", "ns", "--kube-version", KUBERNETES[-1], "-f", "-", stdin=yaml.safe_dump(values))
    assert r.returncode == 0, r.stderr
    for text in Rendered(o for o in yaml.safe_load_all(r.stdout) if o).configs().values():
        text = re.sub(r"(?m)^(\s*ca_file:) /.*$", rf"\1 {ROOT}/config/example-ca.pem", text)
        r = subprocess.run([binary(), "check-config", "-"], capture_output=True, text=True, input=text)
        assert r.returncode == 0, r.stdout + r.stderr


def test_there_is_something_to_look_at():
    assert len(VALUES) >= 6 and len(OBJECTS) >= 6


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("replicas", [1, 2])
def test_values_that_are_shown_make_a_configuration_that_is_good(values, replicas):
    check_renders({"replicas": replicas, **values})


@pytest.mark.parametrize("o", OBJECTS)
def test_an_object_that_is_shown_is_one(o, tmp_path):
    assert {"apiVersion", "kind", "metadata", "spec"} <= set(o)
    values = values_of(o)
    if values is not None:
        check_renders(values)
    elif o["kind"] == "SecretProviderClass":
        objects = yaml.safe_load(o["spec"]["parameters"]["objects"])
        assert all(set(x) == {"objectName", "secretPath", "secretKey"} for x in objects)
    elif "." not in o["apiVersion"].partition("/")[0] or o["apiVersion"].endswith(".k8s.io/v1"):
        file = tmp_path / "object.yaml"
        file.write_text(yaml.safe_dump(o))
        r = subprocess.run([sys.executable, "-m", "kubernetes_validate", "--strict", "-k", KUBERNETES[-1].rpartition(".")[0], file],
                           capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(TOOLS / "python")})
        assert r.returncode == 0 and "passed" in r.stdout, r.stdout + r.stderr


def installs():
    """The `helm install` of each page, its continued lines together."""
    for page in PAGES:
        for n, line in enumerate(re.findall(r"(?m)^    (helm install .*)$", page.read_text().replace("\\\n", " "))):
            yield pytest.param(line, id=f"{page.relative_to(ROOT)}-{n}")


@pytest.mark.parametrize("line", installs())
def test_what_is_written_installs(line):
    r = subprocess.run([TOOLS / "bin/helm", "template", *shlex.split(line)[2:], "--kube-version", KUBERNETES[-1]],
                       capture_output=True, text=True, cwd=ROOT)
    assert r.returncode == 0, r.stderr
    assert "localhost/entrepot" not in r.stdout, "an image that no node has"


def test_it_is_installed_in_ten_lines():
    lines = (ROOT / "docs/kubernetes.md").read_text().splitlines()
    block = list(itertools.takewhile(lambda line: line.startswith("    "), lines[2:]))
    assert block[-1].strip().startswith("helm test") and len(block) <= 10


def test_claims_and_containers_are_called_as_the_runbooks_say(render):
    """`store-entrepot-0`, `entrepot-tls` and so on: the names that a release `entrepot` has."""
    r = helm("template", "entrepot", CHART, "-n", "entrepot", "--kube-version", KUBERNETES[-1], "-f", "-", stdin=yaml.safe_dump({
        "tls": {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "ca"}}}, "admin": {"tokenSecret": {"name": "a"}},
        "backup": {"enabled": True, "existingClaim": "backups"}, "nodes": {"enabled": True}}))
    o = Rendered(x for x in yaml.safe_load_all(r.stdout) if x)
    mirror = o.one("StatefulSet", "entrepot")
    claims = {f"{c['metadata']['name']}-entrepot-0" for c in mirror["spec"]["volumeClaimTemplates"]} | {"backups"}
    text = "\n".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"(?:patch pvc |claimName: )([\w-]+)", text)) <= claims
    assert o.one("Certificate", "entrepot")["spec"]["secretName"] == "entrepot-tls"
    assert "entrepot-0.yaml" in o.one("ConfigMap", "entrepot")["data"]
    job = o.one("CronJob", "entrepot-backup-0")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert "/backup/entrepot-0.tar.zst" in job["args"]
