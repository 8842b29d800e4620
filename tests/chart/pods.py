"""Runs the containers of rendered pods as a node would: by runc, from the image that ./dev image makes.

What the kubelet and a runtime make of a specification is made here: user and groups, volumes and who may write them, mounts,
environment, memory, the default seccomp profile. Probes are the test's; the network is its namespace's loopback, where
/etc/hosts has the names of Services. Volumes that the image declares are left out, as some runtimes do: a root that is read-only is
all there is.
"""

import json
import os
import pathlib
import platform
import re
import subprocess

import servers

SERVICE_ADDRESS = "127.0.0.1"
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Of golang-github-containers-common, which podman needs: what CRI-O calls RuntimeDefault; containerd's is of the same origin
SECCOMP = pathlib.Path("/usr/share/containers/seccomp.json")


def run(*args):
    args = [str(a) for a in args]
    r = subprocess.run(args, capture_output=True, text=True)
    assert r.returncode == 0, f"{' '.join(args)}: {r.returncode}\n{r.stdout}{r.stderr}"
    return r.stdout


def default_seccomp():
    """The runtime's profile, for a container without capabilities."""
    profile = json.loads(SECCOMP.read_text())
    here = ARCHITECTURES[platform.machine()]

    def holds(rule):
        wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
        return not wanted.get("caps") and here in wanted.get("arches", [here]) and here not in unwanted.get("arches", [])

    native = "SCMP_ARCH_" + platform.machine().upper()
    return {
        "defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [a for m in profile["archMap"] if m["architecture"] == native for a in (native, *m["subArchitectures"])],
        "syscalls": [{k: r[k] for k in ("names", "action", "args", "errnoRet") if r.get(k) is not None}
                     for r in profile["syscalls"] if holds(r)],
    }


class Image:
    """An archive, unpacked: `rootfs`, and what it says of how it is run."""

    def __init__(self, archive, directory):
        layout = directory / "layout"
        run("skopeo", "copy", "-q", f"oci-archive:{archive}", f"oci:{layout}:it")
        self.rootfs = directory / "rootfs"
        run("umoci", "raw", "unpack", "--image", f"{layout}:it", self.rootfs)
        self.config = json.loads(run("skopeo", "inspect", "--config", f"oci:{layout}:it"))["config"]
        self.layers = [layout / "blobs" / d.replace(":", "/") for d in json.loads(run("skopeo", "inspect", f"oci:{layout}:it"))["Layers"]]


class Container(servers.Process):
    """A container that runs, and its log."""

    def __init__(self, runtime, name, bundle):
        super().__init__()
        self.runtime, self.name, self.bundle = runtime, name, bundle

    def start(self):
        with open(self.bundle / "stdout", "wb") as out:
            self.run([*self.runtime, "run", "--bundle", self.bundle, self.name], stdout=out)
        return self

    def signal(self, number):
        run(*self.runtime, "kill", self.name, number)

    def execute(self, *args):
        return subprocess.run([*self.runtime, "exec", self.name, *args], capture_output=True, text=True, timeout=60)

    @property
    def stdout(self):
        return (self.bundle / "stdout").read_text()

    def process(self, file):
        pid = json.loads(run(*self.runtime, "state", self.name))["pid"]
        return pathlib.Path(f"/proc/{pid}/{file}").read_text()

    def rights(self):
        """What the kernel says that it may: the fields of /proc/PID/status."""
        return {k: v.split() for k, v in (ln.split(":", 1) for ln in self.process("status").splitlines())}

    def mounts(self):
        """Where, and whether it may be written."""
        fields = [ln.split() for ln in self.process("mountinfo").splitlines()]
        return {f[4]: "rw" in f[5].split(",") for f in fields}

    def remove(self):
        if self.running():
            self.proc.kill()
            self.proc.wait()
        subprocess.run([*self.runtime, "delete", "--force", self.name], capture_output=True)


class Node:
    """A node that runs pods of rendered objects. `secrets`: the content of each Secret by its name."""

    def __init__(self, directory, image, objects, secrets):
        self.dir, self.image, self.objects, self.secrets = directory, image, objects, secrets
        self.addresses = {}     # of replicas, where they are not the Service's
        self.runtime = ["runc", "--root", str(directory / "runc")]
        self.containers = []
        self.dir.mkdir(exist_ok=True)
        run("runc", "spec", "--bundle", self.dir)
        self.base = json.loads((self.dir / "config.json").read_text())

    # --- volumes --------------------------------------------------------------------------------------------------

    def path(self, *parts):
        """A directory that outlives the pods: a claim, or one of the node's own."""
        p = self.dir.joinpath(*(part.strip("/") for part in parts))
        p.mkdir(parents=True, exist_ok=True)
        return p

    @staticmethod
    def _projected(path, data, source, group):
        """A ConfigMap or Secret as the kubelet mounts it: names that link through ..data."""
        names = {i["key"]: i["path"] for i in source["items"]} if "items" in source else {k: k for k in data}
        assert set(names) <= set(data), f"{names} of {set(data)}"
        (path / "..1").mkdir(parents=True)
        (path / "..data").symlink_to("..1")
        for key, name in names.items():
            file = path / "..1" / name
            file.write_text(data[key])
            file.chmod(source.get("defaultMode", 0o644) | (0o440 if group is not None else 0))
            os.chown(file, 0, group or 0)
            (path / name).symlink_to(f"..data/{name}")
        return path

    def _volume(self, pod, v, group):
        kept = self.dir / "pods" / pod / v["name"]
        if "configMap" in v:
            return self._projected(kept, self.objects.one("ConfigMap", v["configMap"]["name"])["data"], v["configMap"], group)
        if "secret" in v:
            secret = self.secrets.get(v["secret"]["secretName"])
            assert secret is not None or v["secret"].get("optional"), f"no Secret {v['secret']['secretName']}: the pod waits"
            return self._projected(kept, secret or {}, v["secret"], group)
        if "hostPath" in v:
            return self.path("node", v["hostPath"]["path"])
        path = self.path("claims", v["persistentVolumeClaim"]["claimName"])
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o2775)
        return path

    def _hosts(self):
        """Services, by every name that the cluster's DNS would know, and the replicas."""
        names = {"localhost": "127.0.0.1"}
        for s in self.objects.of("Service"):
            full = f"{s['metadata']['name']}.ns.svc.cluster.local"
            if s["spec"].get("clusterIP") == "None":
                names.update({f"{n}.{full}": self.addresses.get(n, SERVICE_ADDRESS) for n in self.objects.configs()})
            else:
                names.update(dict.fromkeys((full, full.removesuffix(".cluster.local")), SERVICE_ADDRESS))
        return "".join(f"{address} {n}\n" for n, address in names.items())

    # --- processes ------------------------------------------------------------------------------------------------

    def _environment(self, pod, spec, container):
        env = dict(e.split("=", 1) for e in self.image.config.get("Env", []))
        env["HOSTNAME"] = pod
        if spec.get("enableServiceLinks", True):
            for s in self.objects.of("Service"):
                if s["spec"].get("clusterIP") != "None":
                    name = s["metadata"]["name"].upper().replace("-", "_")
                    env[f"{name}_SERVICE_HOST"] = SERVICE_ADDRESS
                    env[f"{name}_SERVICE_PORT"] = str(s["spec"]["ports"][0]["port"])
        own = {}
        for e in container.get("env", []):
            assert "value" in e or e["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}, e
            own[e["name"]] = e.get("value", pod)
        return {**env, **own}, own

    def _process(self, pod, spec, container, may):
        env, own = self._environment(pod, spec, container)
        args = [*container.get("command", self.image.config["Entrypoint"]), *container.get("args", self.image.config.get("Cmd", []))]
        user, _, own_group = self.image.config.get("User", "0").partition(":")
        uid = may.get("runAsUser", int(user))
        assert uid != 0 or not may.get("runAsNonRoot"), "the kubelet refuses it"
        assert may["capabilities"] == {"drop": ["ALL"]}
        return {
            "terminal": False, "cwd": self.image.config.get("WorkingDir", "/"), "env": [f"{k}={v}" for k, v in env.items()],
            "args": [re.sub(r"\$\((\w+)\)", lambda m: own[m[1]], a) for a in args],
            "user": {"uid": uid, "gid": may.get("runAsGroup", int(own_group or 0)),
                     "additionalGids": [may["fsGroup"]] if "fsGroup" in may else []},
            "capabilities": {k: [] for k in ("bounding", "effective", "permitted")},
            "noNewPrivileges": not may.get("allowPrivilegeEscalation", True),
        }

    def bundle(self, pod, spec, claims=()):
        """The directory of an OCI runtime bundle for a pod's one container. `claims`: of templates, by name."""
        container, = spec["containers"]
        may = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        group = may.get("fsGroup")
        volumes = {c: self._volume(pod, {"name": c, "persistentVolumeClaim": {"claimName": f"{c}-{pod}"}}, group) for c in claims}
        volumes.update({v["name"]: self._volume(pod, v, group) for v in spec.get("volumes", [])})
        etc = self.path("pods", pod, "etc")
        (etc / "hosts").write_text(self._hosts())
        (etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")

        def bind(source, target, read_only):
            return {"type": "bind", "source": str(source), "destination": target,
                    "options": ["rbind", "rprivate", "ro" if read_only else "rw"]}

        config = {**self.base, "hostname": pod, "root": {"path": str(self.image.rootfs), "readonly": may["readOnlyRootFilesystem"]}}
        config["process"] = self._process(pod, spec, container, may)
        config["mounts"] = [*self.base["mounts"], *(bind(etc / f, f"/etc/{f}", True) for f in ("hosts", "resolv.conf")), *(
            bind(volumes[m["name"]], m["mountPath"], m.get("readOnly", False)) for m in container.get("volumeMounts", []))]
        linux = config["linux"] = dict(self.base["linux"])
        linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "network"]
        linux["cgroupsPath"] = f"/entrepot-test-{os.getpid()}-{pod}"
        limit = container.get("resources", {}).get("limits", {}).get("memory")
        if limit:
            linux["resources"] = {**linux["resources"], "memory": {"limit": int(limit[:-2]) * UNITS[limit[-2:]]}}
        if may.get("seccompProfile") == {"type": "RuntimeDefault"}:
            linux["seccomp"] = default_seccomp()
        out = self.path("pods", pod)
        (out / "config.json").write_text(json.dumps(config))
        return out

    def start(self, pod, spec, claims=()):
        self.containers.append(Container(self.runtime, pod, self.bundle(pod, spec, claims)))
        return self.containers[-1].start()

    def of(self, kind, name):
        """The specification of a pod that this object makes."""
        return dict(self.objects.pods())[self.objects.one(kind, name)["metadata"]["name"]]

    def close(self):
        for c in self.containers:
            c.remove()
