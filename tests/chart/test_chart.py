"""What the chart makes of many sets of values: against the schemas of Kubernetes, and against its own promises."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from conftest import CHART, KUBERNETES, TOOLS, Refused, binary, helm

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
}
CERT_MANAGER = {"tls": {"enabled": True, "certManager": {
    "enabled": True, "issuerRef": {"name": "ca", "kind": "ClusterIssuer"}, "dnsNames": ["mirror.example"],
    "ipAddresses": ["10.96.0.50"]}}, "service": {"clusterIP": "10.96.0.50"}}
NODES_TLS = {"enabled": True, "client": "crio", "directory": "/etc/containers", "mirrors": ["https://mirror.example:5443"],
             "caSecret": "ca", "keepOnStop": True}

VALUES = {
    "defaults": {},
    "two": {"replicas": 2},
    "three": {"replicas": 3, "fullnameOverride": "mirror", "clusterDomain": "example.local"},
    "everything": EVERYTHING,
    "accounts": {"registries": {"docker.io": {"secret": "docker-account"}}},
    "admin": ADMIN,
    "bare": {"networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}, "replicas": 2},
    "own-spread": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]},
    "load-balancer": {"service": {"type": "LoadBalancer", "loadBalancerClass": "x", "loadBalancerSourceRanges": ["10.0.0.0/8"]}},
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


@pytest.mark.parametrize("kind, path, value, says", [
    ("Service", ("spec", "clusterIp"), "None", "clusterIp"),
    ("ServiceMonitor", ("spec", "endpoints", 0, "intervall"), "30s", "intervall"),
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
    *way, last = path
    spoilt = o
    for key in way:
        spoilt = spoilt[key]
    spoilt[last] = value
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


# --- what is wrong is said ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("values, says", [
    ({"replica": 2}, "replica"),
    ({"replicas": "2"}, "replicas"),
    ({"replicas": 0}, "replicas"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"service": {"type": "ExternalName"}}, "type"),
    ({"store": {"maxSize": "much"}}, "maxSize"),
    ({"nodes": {"client": "docker"}}, "client"),
    ({"nodes": {"mirrors": ["mirror:5000"]}}, "mirrors"),
    ({"registries": {"docker.io": {"credentials": "/etc/x"}}}, "docker.io"),
    ({"seeds": {"base": {"pin": True}}}, "images"),
    ({"http": {"enabled": False}}, "must answer somewhere"),
    ({"tls": {"enabled": True}}, "needs tls.secretName"),
    ({"tls": {"enabled": True, "certManager": {"enabled": True}}}, "issuerRef.name"),
    ({"seeds": {"base": {"images": "alpine"}}}, "need admin.tokenSecret.name"),
    ({"backup": {"enabled": True}}, "needs admin.tokenSecret.name"),
    ({**ADMIN, "backup": {"enabled": True}}, "existingClaim"),
    ({"ingress": {"enabled": True}}, "ingress.host"),
    ({**TLS, "http": {"enabled": False}, "nodes": {"enabled": True}}, "nodes.mirrors"),
    ({"config": {"upstream": {"proxy": "http://jo:secret@proxy:3128"}}}, "extraEnv"),
])
def test_values_that_are_wrong_are_refused_with_a_reason(render, values, says):
    with pytest.raises(Refused, match=re.escape(says)):
        render(values)


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
            assert len(registry["sources"]) == len(siblings) + 1, "and the registry itself"


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


def test_a_changed_configuration_rolls_the_pods(render):
    def stamp(values):
        return render(values).one("StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    assert stamp({}) == stamp({}) != stamp({"config": {"tags": {"ttl": "1m"}}})


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
        volumes = {v["name"] for v in pod.get("volumes", [])} | claims.get(name, set())
        mounts = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", [])}
        assert volumes == mounts, name


# --- what pods may --------------------------------------------------------------------------------------------------

def test_pods_are_restricted_but_for_the_nodes(objects):
    """As Pod Security's level `restricted` asks; the DaemonSet writes a directory of the node's, as root without rights."""
    for name, pod in objects.pods():
        nodes = name.endswith("-nodes")
        assert pod["automountServiceAccountToken"] is False
        assert pod.get("hostNetwork", False) == nodes
        for c in pod["containers"]:
            may = c["securityContext"]
            assert may["allowPrivilegeEscalation"] is False and may["readOnlyRootFilesystem"] is True
            assert may["capabilities"] == {"drop": ["ALL"]} and not may.get("privileged")
        for v in pod.get("volumes", []):
            assert "hostPath" not in v or nodes
        if not nodes:
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_all_is_denied_but_what_is_needed(render):
    policy = render(EVERYTHING).one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    by_port = {p["port"]: r.get("from", r.get("to")) for kind in ("ingress", "egress") for r in policy[kind]
               for p in r["ports"]}
    assert by_port["http"][0] == {"ipBlock": {"cidr": "10.0.0.0/8"}}
    assert by_port["admin"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "job"
    assert by_port["ops"] == [{"namespaceSelector": {}}]
    assert {53, 443, 3128, 5000} <= set(by_port)
    assert "admin" not in json.dumps(render().one("NetworkPolicy"))


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


def test_the_test_of_the_release_asks_the_mirror(render):
    pod = render().one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    args = [a.replace("http://r-entrepot.ns.svc.cluster.local:5000", "http://127.0.0.1:9") for a in pod["spec"]["containers"][0]["args"]]
    assert "--mirror=http://127.0.0.1:9" in args
    r = subprocess.run([binary(), *args], capture_output=True, text=True, timeout=30)
    assert r.returncode == 1 and "mirror=silent" in r.stderr


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


# --- the README -----------------------------------------------------------------------------------------------------

def test_the_readme_says_what_the_values_say():
    import readme
    text = (CHART / "README.md").read_text()
    assert text == readme.readme(text), "tests/chart/readme.py --write"
    said = {path[0] for path, _ in readme.comments((CHART / "values.yaml").read_text().splitlines())}
    assert len(said) > 20
