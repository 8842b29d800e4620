"""What the chart makes of many sets of values: against the schemas of Kubernetes, and against its own promises."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import security
import yaml
from conftest import CHART, KUBERNETES, TOOLS, Refused, Rendered, binary, helm

ADMIN = {"admin": {"tokenSecret": {"name": "admin-token"}}}
TLS = {"tls": {"enabled": True, "secretName": "the-certificate"}}
EVERYTHING = {
    **ADMIN,
    "replicas": 2,
    "imagePullSecrets": ["pull"],
    "registries": {
        "docker.io": {"open": ["company/*"], "sources": [
            {"name": "account", "secret": "docker-account"}, {"name": "anonymous"},
            {"name": "aws", "url": "https://public.ecr.aws", "prefix": "docker", "tags": False}]},
        "ghcr.io": {"secret": "github-account"}, "nvcr.io": False, "registry.example:5000": {"secret": "github-account"}},
    "config": {"tags": {"ttl": "1m"}, "log": {"level": "debug"}},
    "service": {"type": "NodePort", "nodePort": 30500, "annotations": {"a": "b"}},
    "hostPort": 5000,
    "ingress": {"enabled": True, "className": "nginx", "host": "mirror.example", "tlsSecretName": "front"},
    "nodes": {"enabled": True},
    "seeds": {"base": {"images": "docker.io/library/alpine:3\n", "pin": True},
              "nightly": {"images": "quay.io/prometheus/prometheus:latest\n", "schedule": "0 2 * * *"}},
    "backup": {"enabled": True, "existingClaim": "backups"},
    "networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "upstreamPorts": [443, 3128]},
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
                "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}, "dashboard": {"enabled": True}},
    "extraEnv": [{"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}], "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical", "podAnnotations": {"c": "d"}, "podLabels": {"e": "f"},
    "serviceAccountName": "mirror",
}
CERT_MANAGER = {"tls": {"enabled": True, "certManager": {
    "enabled": True, "issuerRef": {"name": "ca", "kind": "ClusterIssuer"}, "dnsNames": ["mirror.example"],
    "ipAddresses": ["10.96.0.50"]}}, "service": {"clusterIP": "10.96.0.50"}}
NODES_TLS = {"enabled": True, "client": "crio", "directory": "/etc/containers", "mirrors": ["https://mirror.example:5443"],
             "caSecret": "ca", "keepOnStop": True}

VALUES = {
    "defaults": {},
    "two": {"replicas": 2},
    "two-log-in": {"replicas": 2, "siblings": {"secret": "replicas-login"},
                   "config": {"server": {"auth": {"rules": [{"users": ["replica", "jo"]}]}}}},
    "three": {"replicas": 3, "fullnameOverride": "mirror", "clusterDomain": "example.local"},
    "everything": EVERYTHING,
    "accounts": {"registries": {"docker.io": {"secret": "docker-account"}}},
    "accounts-with-dots": {"registries": {"docker.io": {"secret": "docker.io"}, "quay.io": {"secret": "docker-io"},
                                          "ghcr.io": {"secret": "github-" * 10 + "account"}}},
    "admin": ADMIN,
    "bare": {"networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}, "replicas": 2},
    "own-spread": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]},
    "load-balancer": {"service": {"type": "LoadBalancer", "loadBalancerClass": "x", "loadBalancerSourceRanges": ["10.0.0.0/8"],
                                  "externalTrafficPolicy": "Local"}},
    "account-in-a-file": {"replicas": 2, "registries": {"docker.io": {"credentials": "/vault/secrets/docker.json"}},
                          "podAnnotations": {"vault.hashicorp.com/agent-inject": "true"}},
    "image-by-digest": {"image": {"digest": "sha256:" + "0" * 64}},
    "ipv6": {"addresses": ["[::]"]},
    "nodes-crio": {"nodes": {**NODES_TLS, "caSecret": "", "caConfigMap": "ca"}},
    "tls": TLS,
    "tls-only": {**TLS, "http": {"enabled": False}, "replicas": 2, "nodes": NODES_TLS},
    "tls-cert-manager": CERT_MANAGER,
    "tls-everything": {**EVERYTHING, **CERT_MANAGER},
}


@pytest.fixture(params=VALUES)
def objects(request, render):
    return render(VALUES[request.param])


# --- form -----------------------------------------------------------------------------------------------------------

def test_helm_has_nothing_to_say_against_it():
    for values in VALUES.values():
        r = helm("lint", "--strict", "--kube-version", "1.34.0", CHART, "-f", "-", stdin=yaml.safe_dump(values))
        assert r.returncode == 0, r.stdout + r.stderr


def validate(objects, tmp_path, version):
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    return subprocess.run([sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version.rpartition(".")[0], file],
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(TOOLS / "python")})


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", VALUES)
def test_kubernetes_takes_every_object(render, tmp_path, name, version):
    """By its own schemas and those of the operators, without fields that they do not know."""
    objects, seen = render(VALUES[name], version), set()
    for o in objects:
        key = (o["kind"], o["metadata"]["name"])
        assert key not in seen, f"{key} twice"
        seen.add(key)
        assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", o["metadata"]["name"])
    r = validate(objects, tmp_path, version)
    assert r.returncode == 0 and r.stdout.count(" passed ") == len(objects) >= 5, r.stdout + r.stderr


def spoil(o, path, value):
    *way, last = path
    for key in way:
        o = o[key]
    o[last] = value


@pytest.mark.parametrize("kind, path, value, says", [
    ("Service", ("spec", "clusterIp"), "None", "clusterIp"),
    ("ServiceMonitor", ("spec", "endpoints", 0, "intervals"), "30s", "intervals"),
    ("ServiceMonitor", ("spec", "endpoints", 0, "interval"), "often", "often"),
    ("ServiceMonitor", ("metadata", "label"), {}, "label"),
    ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "summary"), "x", "summary"),
    ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "for"), "a while", "a while"),
    ("PrometheusRule", ("apiVersion",), "monitoring.coreos.com/v2", "find schema"),
    ("Certificate", ("spec", "dnsname"), [], "dnsname"),
    ("Certificate", ("spec", "privateKey", "algorithm"), "EC", "EC"),
    ("Certificate", ("spec", "secretName"), None, "secretName"),
])
def test_what_is_misspelt_is_found(render, tmp_path, kind, path, value, says):
    """The schemas are looked at, and are not too lenient."""
    o = render(VALUES["tls-everything"]).of(kind)[0]
    spoil(o, path, value)
    r = validate([o], tmp_path, "1.34.0")
    assert " passed " not in r.stdout and says in r.stdout, r.stdout + r.stderr


def test_what_operators_are_told_leads_to_the_mirror(render):
    o = render({**EVERYTHING, **CERT_MANAGER})
    monitor = o.one("ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1" and monitor["metadata"]["labels"]["release"] == "prometheus"
    wanted = monitor["spec"]["selector"]["matchLabels"]
    service, = (s for s in o.of("Service") if wanted.items() <= s["metadata"]["labels"].items())
    assert {e["port"] for e in monitor["spec"]["endpoints"]} <= {p["name"] for p in service["spec"]["ports"]}
    certificate = o.one("Certificate")
    assert certificate["apiVersion"] == "cert-manager.io/v1"
    assert certificate["spec"]["issuerRef"] == {"name": "ca", "kind": "ClusterIssuer"}
    assert "*.r-entrepot-replicas.ns.svc.cluster.local" in certificate["spec"]["dnsNames"]
    assert certificate["spec"]["ipAddresses"] == ["10.96.0.50"]


def test_rules_and_dashboard_are_those_that_are_tested_by_themselves(render):
    """tests/monitoring"""
    o = render({"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}})
    assert o.one("PrometheusRule")["spec"] == yaml.safe_load((CHART / "files/alerts.yaml").read_text())
    dashboard = o.one("ConfigMap", "r-entrepot-dashboard")
    assert json.loads(dashboard["data"]["entrepot.json"]) == json.loads((CHART / "files/dashboard.json").read_text())
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_that_it_is_down_is_seen_whatever_it_is_called(render):
    def down(values):
        o = render({"metrics": {"prometheusRule": {"enabled": True}, **values.pop("metrics", {})}, **values})
        return next(r["expr"] for g in o.one("PrometheusRule")["spec"]["groups"] for r in g["rules"] if r.get("alert") == "EntrepotDown")
    monitor = {"serviceMonitor": {"enabled": True}}
    assert down({"fullnameOverride": "mirror", "metrics": monitor}).count('up{job="mirror-replicas", namespace="ns"}') == 2
    assert down({}).count('up{job=~".*entrepot.*"}') == 2


# --- what is wrong is said ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("values, says", [
    # by the schema: the place, and what is wanted there
    ({"replica": 2}, "additional properties 'replica' not allowed"),
    ({"replicas": "2"}, "'/replicas': got string, want integer"),
    ({"siblings": {"password": "x"}}, "'/siblings': additional properties 'password'"),
    ({"replicas": 0}, "'/replicas': minimum: got 0, want 1"),
    ({"image": {"repo": "x"}}, "'/image': additional properties 'repo'"),
    ({"image": {"digest": "latest"}}, "'/image/digest': 'latest' does not match"),
    ({"image": {"pullPolicy": "always"}}, "'/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ({"imagePullSecrets": [{"name": "pull"}]}, "'/imagePullSecrets/0': got object, want string"),
    ({"fullnameOverride": "Mirror"}, "'/fullnameOverride'"),
    ({"registries": []}, "'/registries': got array, want object"),
    ({"registries": {"docker.io": {"urls": "x"}}}, "'/registries/docker.io': additional properties 'urls'"),
    ({"registries": {"docker.io": {"secret": {"name": "x"}}}}, "'/registries/docker.io/secret': got object, want string"),
    ({"registries": {"docker.io": {"credentials": "user:password"}}}, "'/registries/docker.io/credentials'"),
    ({"registries": {"docker.io": {"sources": [{"prefixes": "x"}]}}}, "'/registries/docker.io/sources/0': additional properties"),
    ({"config": {"tagz": {}}}, "'/config': additional properties 'tagz'"),
    ({"store": {"size": "100GB"}}, "'/store/size': '100GB' does not match"),
    ({"store": {"maxSize": "much"}}, "'/store/maxSize'"),
    ({"addresses": ["::"]}, "'/addresses/0'"),
    ({"tls": {"enabled": "yes"}}, "'/tls/enabled': got string, want boolean"),
    ({"service": {"type": "ExternalName"}}, "'/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'"),
    ({"service": {"annotations": {"a": 1}}}, "'/service/annotations/a': got number, want string"),
    ({"hostPort": 99999}, "'/hostPort': maximum"),
    ({"nodes": {"client": "docker"}}, "'/nodes/client': value must be one of 'containerd', 'crio'"),
    ({"nodes": {"mirrors": ["mirror:5000"]}}, "'/nodes/mirrors/0': 'mirror:5000' does not match"),
    ({"nodes": {"dialTimeout": 2}}, "'/nodes/dialTimeout': got number, want string"),
    ({"seeds": {"base": {"pin": True}}}, "'/seeds/base': missing property 'images'"),
    ({"backup": {"schedule": "daily"}}, "'/backup/schedule'"),
    ({"networkPolicy": {"upstreamPorts": ["443"]}}, "'/networkPolicy/upstreamPorts/0': got string, want integer"),
    ({"podDisruptionBudget": {"maxUnavailable": "some"}}, "'/podDisruptionBudget/maxUnavailable'"),
    ({"resources": {"limit": {}}}, "'/resources': additional properties 'limit'"),
    ({"podAnnotations": {"a": 1}}, "'/podAnnotations/a': got number, want string"),
    ({"extraVolumeMounts": [{"name": "x"}]}, "'/extraVolumeMounts/0': missing property 'mountPath'"),
    # by the templates
    ({"http": {"enabled": False}}, "must answer somewhere"),
    ({"tls": {"enabled": True}}, "needs tls.secretName"),
    ({"tls": {"certManager": {"enabled": True, "issuerRef": {"name": "ca"}}}}, "tls.certManager.enabled needs tls.enabled"),
    ({"tls": {"enabled": True, "certManager": {"enabled": True}}}, "issuerRef.name"),
    ({"seeds": {"base": {"images": "alpine"}}}, "need admin.tokenSecret.name"),
    ({**ADMIN, "seeds": {"Base": {"images": "alpine"}}}, "seeds.Base: a name has small letters"),
    ({**ADMIN, "fullnameOverride": "m" * 40, "seeds": {"n" * 20: {"images": "a", "schedule": "@daily"}}}, "and may have 52"),
    ({"backup": {"enabled": True}}, "needs admin.tokenSecret.name"),
    ({**ADMIN, "backup": {"enabled": True}}, "existingClaim"),
    ({"ingress": {"enabled": True}}, "ingress.host"),
    ({"service": {"nodePort": 30500}}, "service.nodePort needs service.type NodePort or LoadBalancer"),
    ({"service": {"type": "NodePort", "loadBalancerClass": "x"}}, "service.loadBalancerClass needs service.type LoadBalancer"),
    ({**TLS, "http": {"enabled": False}, "nodes": {"enabled": True}}, "nodes.mirrors"),
    ({"nodes": {"mirrors": ["http://a", "http://b", "http://a"]}}, "nodes.mirrors: http://a is named twice"),
    *[({"nodes": {"dialTimeout": d}}, f"nodes.dialTimeout: {d} is more than 1m")
      for d in ("61s", "1m1ms", "1h", "1d", "60001ms", "99999999999999999999s")],
    ({"nodes": {"caSecret": "a", "caConfigMap": "b"}}, "nodes.caSecret and nodes.caConfigMap: one of them"),
    ({"registries": {"docker.io": True}}, "registries.docker.io is true"),
    ({"registries": {"docker.io": {"secret": "a", "credentials": "/b"}}}, "registries.docker.io: secret or credentials, not both"),
    ({"registries": {"docker.io": {"secret": "a", "sources": [{"name": "hub"}]}}}, "registries.docker.io: where there are sources"),
    ({"config": {"server": {"tls": {"listen": "0.0.0.0:443"}}}}, "config.server.tls.listen is what the chart says"),
    ({"config": {"store": {"path": "/x"}}}, "config.store.path is what the chart says"),
    ({"config": {"registries": {"docker.io": {}}}}, "config.registries is what the chart says"),
    ({"config": {"upstream": {"proxy": "http://jo:secret@proxy:3128"}}}, "extraEnv"),
    ({"podLabels": {"app.kubernetes.io/name": "x"}}, "podLabels.app.kubernetes.io/name: pods are found by it"),
])
def test_values_that_are_wrong_are_refused_with_a_reason(render, values, says):
    with pytest.raises(Refused, match=re.escape(says)):
        render(values)


def test_all_that_the_templates_refuse_is_said_at_once(render):
    with pytest.raises(Refused) as e:
        render({"http": {"enabled": False}, "ingress": {"enabled": True}, "backup": {"enabled": True}})
    for says in ("must answer somewhere", "ingress.host", "tokenSecret", "existingClaim"):
        assert says in str(e.value)


def test_the_schema_knows_the_keys_of_the_configuration():
    """And no others: by the reference of the program."""
    keys = re.findall(r"(?m)^###? `([^`]+)`$", subprocess.run([binary(), "reference"], capture_output=True, text=True, check=True).stdout)
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(schema["config"]["properties"]) == {k for k in keys if "." not in k and "[" not in k}
    registry = schema["registries"]["additionalProperties"]["properties"]
    source = registry["sources"]["items"]["properties"]
    assert set(registry) - {"secret"} == {m.group(1) for k in keys if (m := re.fullmatch(r"registries\.NAME\.(\w+)", k))}
    assert set(source) - {"secret"} == {m.group(1) for k in keys if (m := re.fullmatch(r"registries\.NAME\.sources\[\]\.(\w+)", k))}


# --- the configuration ----------------------------------------------------------------------------------------------

def knows_tls():
    return "server.tls.listen" in subprocess.run([binary(), "reference"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", [n for n in VALUES if not n.startswith("tls") or knows_tls()])
def test_the_program_finds_its_configuration_good(render, name, tmp_path):
    """With the files that it names where the pod has them."""
    o = render(VALUES[name])
    replicas = o.one("StatefulSet")["spec"]["replicas"]
    assert len(o.configs()) == replicas
    for text in o.configs().values():
        for path in set(re.findall(r"/etc/entrepot/[\w./-]+", text)):
            here = tmp_path / path.lstrip("/")
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_bytes((CHART.parents[1] / "config/example-ca.pem").read_bytes())
        r = subprocess.run([binary(), "check-config", "-"], capture_output=True, text=True,
                           input=text.replace("/etc/entrepot", f"{tmp_path}/etc/entrepot"))
        assert r.returncode == 0, r.stdout + r.stderr + text


def test_each_replica_has_the_others_as_siblings_and_not_itself(render):
    o = render({"replicas": 3})
    service = o.one("StatefulSet")["spec"]["serviceName"]
    assert o.one("Service", service)["spec"]["clusterIP"] == "None"
    assert o.one("Service", service)["spec"]["publishNotReadyAddresses"]
    for me, text in o.configs().items():
        for registry in yaml.safe_load(text)["registries"].values():
            siblings = [s for s in registry["sources"] if s.get("sibling")]
            others = {n for n in o.configs() if n != me}
            assert {s["url"] for s in siblings} == {f"http://{n}.{service}.ns.svc.cluster.local:5000" for n in others}
            assert all(s["allow_private"] for s in siblings)
            assert {s["no_proxy"] for s in siblings} == {"*"}, "a registry's proxy would be theirs, too"
            assert len(registry["sources"]) == len(siblings) + 1, "and the registry itself"


def test_replicas_log_in_at_each_other_by_a_secret_that_is_named(render):
    o = render({"replicas": 2, "siblings": {"secret": "login"}, "registries": {"docker.io": {"secret": "hub"}, "nvcr.io": False}})
    for text in o.configs().values():
        for name, registry in yaml.safe_load(text)["registries"].items():
            for source in (registry or {}).get("sources", []):
                secret = "login" if source.get("sibling") else "hub" if name == "docker.io" else None
                assert source.get("credentials") == (secret and f"/etc/entrepot/accounts/{secret}/.dockerconfigjson")
    pod = o.one("StatefulSet")["spec"]["template"]["spec"]
    assert {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v} == {"login", "hub"}
    assert render({"siblings": {"secret": "login"}}).one("StatefulSet") == render().one("StatefulSet"), "one alone has none"


def test_one_replica_has_no_sibling(render):
    config, = render().configs().values()
    assert "sibling" not in config


def test_accounts_stay_with_their_source(render):
    config = yaml.safe_load(render(EVERYTHING).configs()["r-entrepot-0"])
    hub = config["registries"]["docker.io"]
    assert [s["name"] for s in hub["sources"]] == ["replica-1", "account", "anonymous", "aws"]
    assert hub["sources"][1]["credentials"] == "/etc/entrepot/accounts/docker-account/.dockerconfigjson"
    assert "credentials" not in hub["sources"][2]
    ghcr = config["registries"]["ghcr.io"]["sources"]
    assert [s.get("credentials", "") for s in ghcr] == ["", "/etc/entrepot/accounts/github-account/.dockerconfigjson"]
    assert config["registries"]["nvcr.io"] is False
    assert (config["tags"]["ttl"], config["log"]) == ("1m", {"format": "json", "level": "debug"})


def test_pods_have_time_for_the_drain(render):
    o = render({"drainSeconds": 100})
    config, = o.configs().values()
    assert yaml.safe_load(config)["server"]["drain_timeout"] == "100s"
    assert o.one("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 100


@pytest.mark.parametrize("version", KUBERNETES)
def test_a_pod_that_is_stopped_answers_until_nobody_is_led_to_it(render, version):
    """Which takes a moment from when it is to end. Kubernetes before 1.30 has no such sleep, and the image no shell."""
    pod = render({"drainSeconds": 100}, version).one("StatefulSet")["spec"]["template"]["spec"]
    sleep = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert (sleep > 0) == (version != "1.25.0")
    assert pod["terminationGracePeriodSeconds"] >= 100 + sleep + 20


def test_a_changed_configuration_rolls_the_pods(render):
    def stamp(values):
        return render(values).one("StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    assert stamp({}) == stamp({}) != stamp({"config": {"tags": {"ttl": "1m"}}})


# --- upgrades -------------------------------------------------------------------------------------------------------

def release_of_another_version(tmp_path):
    """What `helm template` makes of all values with a chart that differs in its own version alone."""
    chart = shutil.copytree(CHART, tmp_path / "entrepot")
    file = chart / "Chart.yaml"
    file.write_text(re.sub(r"(?m)^version: .*$", "version: 9.9.9+of-flux", file.read_text()))
    r = helm("template", "r", chart, "-n", "ns", "--kube-version", "1.34.0", "-f", "-", stdin=yaml.safe_dump(EVERYTHING))
    assert r.returncode == 0, r.stderr
    return Rendered(o for o in yaml.safe_load_all(r.stdout) if o)


def test_a_new_version_of_the_chart_restarts_nothing_by_itself(render, tmp_path):
    old, new = render(EVERYTHING), release_of_another_version(tmp_path)
    assert new.one("StatefulSet")["metadata"]["labels"]["helm.sh/chart"] == "entrepot-9.9.9_of-flux", "a label has no plus sign"
    for kind in ("StatefulSet", "DaemonSet"):
        assert old.one(kind)["spec"] == new.one(kind)["spec"]


def test_what_kubernetes_does_not_change_is_the_same_whatever_the_values(objects, render):
    """A StatefulSet's selector, claims and so on: an upgrade that changed them would be refused."""
    def fixed(o):
        spec = o.one("StatefulSet")["spec"]
        name = o.one("StatefulSet")["metadata"]["name"]
        return [spec["serviceName"].replace(name, ""), spec["podManagementPolicy"], spec["selector"], spec["volumeClaimTemplates"]]
    assert fixed(objects) == fixed(render())
    for d in objects.of("DaemonSet"):
        assert d["spec"]["selector"] == render({"nodes": {"enabled": True}}).one("DaemonSet")["spec"]["selector"]


@pytest.mark.parametrize("values", [
    {"service": {"type": "NodePort", "nodePort": 30500}}, {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}},
    {"networkPolicy": {"enabled": False}}, {"nodes": {"enabled": True}}, {"ingress": {"enabled": True, "host": "a.example"}}])
def test_what_does_not_concern_the_pods_does_not_restart_them(render, values):
    assert render(values).one("StatefulSet") == render().one("StatefulSet")


# --- secrets --------------------------------------------------------------------------------------------------------

def test_secrets_are_referred_to_and_never_there(objects):
    assert not objects.of("Secret")
    for c in objects.of("ConfigMap"):
        for name, text in c["data"].items():
            if name.endswith(".yaml"):
                assert not re.search(r"password|passwd|auths|BEGIN [A-Z ]*PRIVATE KEY|://[^/\s]*@", text), name
    for name, pod in objects.pods():
        for c in pod["containers"]:
            for e in c.get("env", []):
                assert "value" not in e, f"{name}: {e['name']} says its value"


def test_each_mount_has_its_volume_and_each_volume_its_mount(objects):
    claims = {"r-entrepot": {"store"}, "mirror": {"store"}}
    for name, pod in objects.pods():
        names = [v["name"] for v in pod.get("volumes", [])]
        assert len(set(names)) == len(names) and all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", n) for n in names), names
        volumes = set(names) | claims.get(name, set())
        mounts = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", [])}
        assert volumes == mounts, name


# --- what pods may --------------------------------------------------------------------------------------------------

NODES_BREAK = {"host namespaces", "SELinux", "hostPath", "volume types", "runs as root", "may run as root"}


def test_every_pod_is_restricted_but_what_touches_the_node(objects):
    """By Pod Security's level. The DaemonSet writes a directory of the node's, as root without rights; hostPort is wanted."""
    seen = 0
    for name, pod in objects.pods():
        ports = [p for c in pod["containers"] for p in c.get("ports", [])]
        wanted = {"host ports"} if any("hostPort" in p for p in ports) else set()
        if name.endswith("-nodes"):
            wanted = NODES_BREAK
        else:
            assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
        assert security.broken(pod) == wanted, name
        assert pod["automountServiceAccountToken"] is False
        assert all(c["securityContext"]["readOnlyRootFilesystem"] is True for c in pod["containers"])
        seen += 1
    assert seen >= 2, "the mirror, and the test of the release"


@pytest.mark.parametrize("path, value, breaks", [
    (("hostPID",), True, "host namespaces"),
    (("volumes", 0), {"name": "x", "hostPath": {"path": "/"}}, "hostPath"),
    (("volumes", 0), {"name": "x", "nfs": {"server": "x", "path": "/"}}, "volume types"),
    (("securityContext", "runAsNonRoot"), None, "may run as root"),
    (("securityContext", "runAsUser"), 0, "runs as root"),
    (("securityContext", "seccompProfile"), {}, "no seccomp"),
    (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccomp"),
    (("securityContext", "sysctls"), [{"name": "net.core.somaxconn", "value": "1"}], "sysctls"),
    (("initContainers",), [{"name": "x"}], "all capabilities"),
    (("containers", 0, "securityContext", "privileged"), True, "privileged"),
    (("containers", 0, "securityContext", "allowPrivilegeEscalation"), None, "privilege escalation"),
    (("containers", 0, "securityContext", "capabilities"), {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "capabilities"),
    (("containers", 0, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}, "all capabilities"),
    (("containers", 0, "ports", 0, "hostPort"), 5000, "host ports"),
    (("containers", 0, "livenessProbe", "httpGet", "host"), "127.0.0.1", "host of a probe"),
])
def test_what_pod_security_refuses_is_found(render, path, value, breaks):
    pod = render().one("StatefulSet")["spec"]["template"]["spec"]
    spoil(pod, path, value)
    assert breaks in security.broken(pod)


def selects(selector, labels):
    assert all(e["operator"] == "In" for e in selector.get("matchExpressions", []))
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))


def passes(policies, direction, me, other, port):
    """Whether NetworkPolicies let a pod have a connection with another of its namespace; `port`: its name and number."""
    mine = [p["spec"] for p in policies if selects(p["spec"]["podSelector"], me) and direction in p["spec"]["policyTypes"]]
    peers = {"Ingress": "from", "Egress": "to"}[direction]
    return not mine or any(
        ("ports" not in rule or set(port) & {p["port"] for p in rule["ports"]})
        and (peers not in rule or any("ipBlock" not in peer and selects(peer.get("podSelector", {}), other) for peer in rule[peers]))
        for spec in mine for rule in spec.get(direction.lower(), []))


def asked(objects, name, pod):
    """The ports of mirrors that a pod asks: those of siblings, or what its arguments name."""
    text = " ".join(pod["containers"][0]["args"])
    if name == objects.one("StatefulSet")["metadata"]["name"]:
        text = " ".join(s["url"] for c in objects.configs().values() for r in yaml.safe_load(c)["registries"].values() if r
                        for s in r.get("sources", []) if s.get("sibling"))
    return {int(p) for p in re.findall(r"\.svc\.[\w.]+:(\d+)", text)}


def test_each_pod_reaches_what_it_asks_and_nothing_else(objects):
    labels = {o["metadata"]["name"]: t["metadata"]["labels"] for o, t in objects.templates()}
    policies, mirror = objects.of("NetworkPolicy"), objects.one("StatefulSet")
    mirrors = labels[mirror["metadata"]["name"]]
    container, = mirror["spec"]["template"]["spec"]["containers"]
    for name, pod in objects.pods():
        if not policies or pod.get("hostNetwork"):
            continue    # none is wanted; and nodes are no pods
        for p in container["ports"]:
            port = (p["name"], p["containerPort"])
            reached = passes(policies, "Egress", labels[name], mirrors, port) and passes(policies, "Ingress", mirrors, labels[name], port)
            assert reached or port[1] not in asked(objects, name, pod), (name, port)
            assert port[0] != "admin" or reached == (port[1] in asked(objects, name, pod)), (name, port)


def test_the_budget_of_disruptions_is_the_mirrors(objects):
    for budget in objects.of("PodDisruptionBudget"):
        found = [o["metadata"]["name"] for o, t in objects.templates() if selects(budget["spec"]["selector"], t["metadata"]["labels"])]
        assert found == [objects.one("StatefulSet")["metadata"]["name"]]
        assert budget["spec"]["maxUnavailable"] < objects.one("StatefulSet")["spec"]["replicas"]


def test_all_is_denied_but_what_is_needed(render):
    policy = render(EVERYTHING).one("NetworkPolicy", "r-entrepot")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    by_port = {p["port"]: r.get("from", r.get("to")) for kind in ("ingress", "egress") for r in policy[kind]
               for p in r["ports"]}
    assert by_port["http"][0] == {"ipBlock": {"cidr": "10.0.0.0/8"}}
    assert by_port["admin"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "job"
    assert by_port["ops"] == [{"namespaceSelector": {}}]
    assert {53, 443, 3128, 5000} <= set(by_port)
    assert "admin" not in json.dumps(render().one("NetworkPolicy", "r-entrepot"))
    dns, = (r for r in policy["egress"] if {"port": 53, "protocol": "UDP"} in r["ports"])
    assert "to" not in dns, "a cache of DNS on the node is no pod that a selector finds"
    jobs = render(EVERYTHING).one("NetworkPolicy", "r-entrepot-jobs")["spec"]
    assert jobs["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in jobs
    assert jobs["egress"][1]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "mirror"


def test_a_list_of_nobody_allows_nobody(render):
    """In a NetworkPolicy an empty list stands for everybody."""
    policy = render({"networkPolicy": {"metrics": [], "upstreamPorts": []}}).one("NetworkPolicy", "r-entrepot")["spec"]
    assert [p["port"] for r in policy["ingress"] for p in r["ports"]] == ["http"]
    assert {p["port"] for r in policy["egress"] for p in r["ports"]} == {53}


def test_whoever_looks_up_names_may_ask_the_dns_that_values_name(render):
    """OpenShift's is at port 5353: a job that cannot ask it never finds its replica, and Helm waits for it in vain."""
    dns = {"ports": [{"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"}]}
    policies = render({**EVERYTHING, "networkPolicy": {"extraEgress": [dns]}}).of("NetworkPolicy")
    assert len(policies) == 2 and all(dns in p["spec"]["egress"] for p in policies)


def test_https_is_insisted_on_where_the_ingress_has_a_certificate(render):
    """Strict-Transport-Security: by the annotations of the controller that has some, and by the mirror itself."""
    def said(ingress):
        o = render({"ingress": {"enabled": True, "host": "mirror.example", **ingress}})
        annotations = o.one("Ingress")["metadata"]["annotations"]
        config, = o.configs().values()
        assert not [a for a in annotations if a.startswith("nginx.ingress.kubernetes.io/hsts")], "there are none of that name"
        return annotations.get("nginx.org/hsts-max-age"), yaml.safe_load(config)["server"].get("tls", {}).get("hsts")
    assert said({"tlsSecretName": "front"}) == ("31536000", "31536000s")
    assert said({"tlsSecretName": "front", "hstsMaxAge": 60}) == ("60", "60s")
    assert said({"tlsSecretName": "front", "hstsMaxAge": 0}) == (None, None)
    assert said({}) == (None, None)


def test_an_annotation_of_the_values_goes_before_that_of_the_chart(render):
    o = render({"ingress": {"enabled": True, "host": "mirror.example",
                            "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "60", "x.example/y": "z"}}})
    annotations = o.one("Ingress")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "60" and annotations["x.example/y"] == "z"
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"


def test_a_budget_of_disruptions_is_there_for_two_and_not_for_one(render):
    assert not render().of("PodDisruptionBudget"), "a node with the only replica could never be drained"
    assert render({"replicas": 2}).one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_replicas_are_spread_over_nodes(render):
    def spread(values):
        return render(values).one("StatefulSet")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    constraint, = spread({"replicas": 2})
    assert constraint["topologyKey"] == "kubernetes.io/hostname" and constraint["whenUnsatisfiable"] == "DoNotSchedule"
    labels = render({"replicas": 2}).one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()
    assert spread(VALUES["own-spread"]) == VALUES["own-spread"]["topologySpreadConstraints"]


def test_what_is_said_of_pods_is_there(render):
    template = render(EVERYTHING).one("StatefulSet")["spec"]["template"]
    pod = template["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "disk": "ssd"}
    for key in ("tolerations", "affinity", "priorityClassName", "serviceAccountName"):
        assert pod[key] == EVERYTHING[key], key
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert template["metadata"]["labels"]["e"] == "f" and template["metadata"]["annotations"]["c"] == "d"
    for name, other in render(EVERYTHING).pods():
        if not name.endswith("-nodes"):
            assert (other["nodeSelector"], other["tolerations"]) == (pod["nodeSelector"], pod["tolerations"]), name
    container, = pod["containers"]
    assert EVERYTHING["extraEnv"][0] in container["env"]
    assert EVERYTHING["extraVolumeMounts"][0] in container["volumeMounts"] and EVERYTHING["extraVolumes"][0] in pod["volumes"]
    assert {p["name"]: p.get("hostPort") for p in container["ports"]}["http"] == 5000


def test_each_probe_asks_what_it_is_for(render):
    container, = render().one("StatefulSet")["spec"]["template"]["spec"]["containers"]
    for probe, path in (("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "ops"}
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300, "a store that was not stopped in order is looked through"


def test_services_lead_to_the_mirrors_only(objects):
    mirror = objects.one("StatefulSet")["spec"]["template"]
    ports = {p["name"] for p in mirror["spec"]["containers"][0]["ports"]}
    for s in objects.of("Service"):
        assert s["spec"]["selector"].items() <= mirror["metadata"]["labels"].items()
        assert {p["targetPort"] for p in s["spec"]["ports"]} <= ports
        for name, labels in (("job", {"app.kubernetes.io/component": "job"}), ("nodes", {"app.kubernetes.io/component": "nodes"})):
            assert not s["spec"]["selector"].items() <= {**mirror["metadata"]["labels"], **labels}.items(), name


# --- nodes, jobs ----------------------------------------------------------------------------------------------------

def test_nodes_find_the_mirror_by_the_address_of_its_service(render):
    o = render({"nodes": {"enabled": True}, "registries": {"docker.io": {}, "ghcr.io": False, "quay.io": {}}})
    pod = o.one("DaemonSet")["spec"]["template"]["spec"]
    args = pod["containers"][0]["args"]
    assert "--service=r-entrepot" in args and pod["enableServiceLinks"] is True
    assert o.one("Service", "r-entrepot")["spec"]["ports"][0]["port"] == 5000, "the first is the one in the environment"
    assert "--registry=docker.io" in args and "--registry=quay.io" in args and "--registry=ghcr.io" not in args


@pytest.mark.parametrize("values", [{"enabled": True}, NODES_TLS])
def test_the_program_understands_what_nodes_are_told(render, values, tmp_path):
    args = render({"nodes": values}).one("DaemonSet")["spec"]["template"]["spec"]["containers"][0]["args"]
    authority = CHART.parents[1] / "config/example-ca.pem"
    args = [a.replace("/host", str(tmp_path)).replace("/ca/ca.crt", str(authority)) for a in args]
    r = subprocess.run([binary(), *args, "--remove"], capture_output=True, text=True, timeout=30,
                       env={"R_ENTREPOT_SERVICE_HOST": "10.96.0.50", "R_ENTREPOT_SERVICE_PORT": "5000"})
    assert r.returncode == 0, r.stderr


@pytest.mark.parametrize("values, path", [
    ({}, "/etc/containerd/certs.d"), ({"client": "crio"}, "/etc/containers"), ({"directory": "/var/lib/rancher/k3s/x"}, "/var/lib/rancher/k3s/x")])
def test_nodes_write_where_their_client_reads(render, values, path):
    o = render({"nodes": {"enabled": True, **values}})
    assert o.one("DaemonSet")["spec"]["template"]["spec"]["volumes"][0]["hostPath"]["path"] == path


def test_the_test_of_the_release_asks_the_mirror(render):
    pod = render().one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    args = [a.replace("http://r-entrepot.ns.svc.cluster.local:5000", "http://127.0.0.1:9") for a in pod["spec"]["containers"][0]["args"]]
    assert "--mirror=http://127.0.0.1:9" in args
    r = subprocess.run([binary(), *args], capture_output=True, text=True, timeout=30)
    assert r.returncode == 1 and "mirror=silent" in r.stderr


@pytest.mark.parametrize("timeout", ["1m", "60s", "59s1000ms", "60000ms", "500ms"])
def test_the_longest_wait_of_a_client_is_a_minute(render, timeout):
    args = render({"nodes": {"enabled": True, "dialTimeout": timeout}}).one("DaemonSet")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--dial-timeout={timeout}" in args


ONLY_HTTPS = {**TLS, "http": {"enabled": False}}


@pytest.mark.parametrize("nodes, mirrors", [
    ({}, ["https://r-entrepot.ns.svc.cluster.local:5443"]),
    ({"mirrors": ["https://10.96.0.50:5443"], "caSecret": "ca"}, ["https://r-entrepot.ns.svc.cluster.local:5443"]),
    ({"mirrors": ["https://10.96.0.50:5443"], "caConfigMap": "ca"}, ["https://r-entrepot.ns.svc.cluster.local:5443"]),
    ({"mirrors": ["https://mirror.example", "https://mirror.example:8443"]}, ["https://mirror.example", "https://mirror.example:8443"]),
])
def test_the_test_of_the_release_asks_by_a_name_that_the_certificate_has(render, nodes, mirrors):
    """One of a public authority does not name the Service, and its Secret has no ca.crt, which a pod would wait for."""
    pod = render({**ONLY_HTTPS, "nodes": nodes}).one("Pod")["spec"]
    args = pod["containers"][0]["args"]
    assert [a.removeprefix("--mirror=") for a in args if a.startswith("--mirror=")] == mirrors
    volumes = pod.get("volumes", [])
    is_own = mirrors[0].endswith(".svc.cluster.local:5443")
    assert is_own == ("--ca=/tls/ca.crt" in args) == bool(pod["containers"][0].get("volumeMounts")) == bool(volumes)
    assert all(v["secret"] == {"secretName": "the-certificate", "items": [{"key": "ca.crt", "path": "ca.crt"}], "optional": True}
               for v in volumes)


def test_jobs_speak_to_each_replica(render):
    o = render(EVERYTHING)
    jobs = {x["metadata"]["name"]: x for x in o.of("Job") + o.of("CronJob")}
    assert set(jobs) == {f"r-entrepot-{n}-{i}" for n in ("seed-base", "seed-nightly", "backup") for i in (0, 1)}
    for name, pod in o.pods():
        if name in jobs:
            args = pod["containers"][0]["args"]
            assert args[1].startswith(f"--admin=r-entrepot-{name[-1]}.r-entrepot-replicas.ns.svc")
            assert args[2] == "--token-file=/etc/entrepot/admin/token"
    assert "--pin" in jobs["r-entrepot-seed-base-0"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert jobs["r-entrepot-seed-nightly-1"]["kind"] == "CronJob"


# --- the notes ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("values, says", [
    ({}, ["http://r-entrepot.ns.svc:5000", "kubectl -n ns exec r-entrepot-0 -- entrepot status", "set nodes.enabled", "set image.repository"]),
    ({**TLS, "http": {"enabled": False}}, ["https://r-entrepot.ns.svc:5443"]),
    ({"nodes": {"enabled": True, "client": "crio"}}, ["Each node's crio is told of it in /etc/containers", "logs daemonset/r-entrepot-nodes"]),
    ({"ingress": {"enabled": True, "host": "mirror.example", "tlsSecretName": "front"}}, ["https://mirror.example"]),
    ({"service": {"type": "LoadBalancer"}}, ["reachable from outside"]),
    ({"replicas": 2, "config": {"server": {"auth": {"htpasswd": "/users"}}}}, ["each fetches all for itself"]),
    ({"replicas": 2, "config": {"server": {"auth": {"rules": [{"users": "jo"}]}}}}, ["each fetches all for itself. See siblings.secret"]),
    ({"replicas": 2, "siblings": {"secret": "login"}, "config": {"server": {"auth": {"htpasswd": "/users"}}}}, []),
    ({"replicas": 2, "config": {"server": {"auth": {"rules": [{"anonymous": True}, {"users": "jo", "may": "admin"}]}}}}, []),
    ({"replicas": 2, "config": {"server": {"auth": {"rules": [{"anonymous": True, "may": ["pull"]}]}}}}, []),
    ({"image": {"repository": "registry.example/entrepot"}, "registries": {"docker.io": False}}, ["mirrors gcr.io ghcr.io"]),
])
def test_the_notes_say_where_it_is_and_what_is_left_to_do(tmp_path, values, says):
    """`helm template` leaves them out: here they are a ConfigMap of a copy of the chart."""
    chart = shutil.copytree(CHART, tmp_path / "entrepot")
    (chart / "templates/NOTES.txt").rename(chart / "notes")
    (chart / "templates/notes.yaml").write_text(
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  notes: |\n{{ tpl (.Files.Get "notes") . | indent 4 }}\n')
    r = helm("template", "r", chart, "-n", "ns", "--kube-version", "1.34.0", "-s", "templates/notes.yaml", "-f", "-", stdin=yaml.safe_dump(values))
    assert r.returncode == 0, r.stderr
    notes = yaml.safe_load(r.stdout)["data"]["notes"]
    assert all(s in notes for s in says), notes
    assert ("for itself" in notes) == any("for itself" in s for s in says)
    assert ("set image.repository" in notes) == ("image" not in values)


# --- the README -----------------------------------------------------------------------------------------------------

def test_the_readme_says_what_the_values_say():
    import readme
    text = (CHART / "README.md").read_text()
    assert text == readme.readme(text), "tests/chart/readme.py --write"
    said = {path[0] for path, _ in readme.comments((CHART / "values.yaml").read_text().splitlines())}
    assert len(said) > 20


def test_every_value_is_in_the_readme():
    """Itself, or the map that it is in; but for what every chart has under that name."""
    import readme
    text = (CHART / "values.yaml").read_text()
    said = {tuple(path) for path, _ in readme.comments(text.splitlines())}
    usual = {"resources", "podSecurityContext", "nodeSelector", "tolerations", "affinity", "priorityClassName", "podAnnotations", "podLabels",
             "extraVolumeMounts", "annotations", "labels", "interval"}

    def leaves(value, path=()):
        if isinstance(value, dict) and value and path[-1:] not in {(k,) for k in usual}:
            for k, v in value.items():
                yield from leaves(v, (*path, k))
        else:
            yield path
    missing = [".".join(p) for p in leaves(yaml.safe_load(text))
               if p[-1] not in usual and not any(p[:n] in said for n in range(1, len(p) + 1))]
    assert not missing
