"""The Pod Security Standards, levels `baseline` and `restricted`, as an API server's admission has them in Kubernetes 1.34, for Linux."""

ADDABLE = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
           "SETPCAP", "SETUID", "SYS_CHROOT"}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
           "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
           "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"}
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = ("RuntimeDefault", "Localhost")


def containers(pod):
    return [c for k in ("initContainers", "containers", "ephemeralContainers") for c in pod.get(k, [])]


def seccomp(context):
    return context.get("seccompProfile", {}).get("type")


def handlers(c):
    """What a kubelet asks or runs for a container."""
    return [h for h in (*(c.get(k) for k in ("startupProbe", "readinessProbe", "livenessProbe")), *c.get("lifecycle", {}).values()) if h]


def baseline(pod):
    """Yields the controls that a pod breaks."""
    contexts = [pod.get("securityContext", {}), *(c.get("securityContext", {}) for c in containers(pod))]
    for c, may in zip(containers(pod), contexts[1:]):
        if may.get("privileged"):
            yield "privileged"
        if not set(may.get("capabilities", {}).get("add", [])) <= ADDABLE:
            yield "capabilities"
        if any(p.get("hostPort") for p in c.get("ports", [])):
            yield "host ports"
        if any(h.get(k, {}).get("host") for h in handlers(c) for k in ("httpGet", "tcpSocket")):
            yield "host of a probe"
        if may.get("procMount", "Default") != "Default":
            yield "procMount"
    if any(pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")):
        yield "host namespaces"
    if any("hostPath" in v for v in pod.get("volumes", [])):
        yield "hostPath"
    for may in contexts:
        if may.get("windowsOptions", {}).get("hostProcess"):
            yield "hostProcess"
        if may.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
            yield "AppArmor"
        linux = may.get("seLinuxOptions", {})
        if linux.get("type") not in SELINUX_TYPES or linux.get("user") or linux.get("role"):
            yield "SELinux"
        if seccomp(may) not in (None, *SECCOMP):
            yield "seccomp"
        if any(s["name"] not in SYSCTLS for s in may.get("sysctls", [])):
            yield "sysctls"


def restricted(pod):
    """Yields the controls that a pod breaks besides."""
    whole = pod.get("securityContext", {})
    if any(not (set(v) - {"name"}) <= VOLUMES for v in pod.get("volumes", [])):
        yield "volume types"
    if whole.get("runAsUser") == 0:
        yield "runs as root"
    for c in containers(pod):
        may = c.get("securityContext", {})
        if may.get("allowPrivilegeEscalation") is not False:
            yield "privilege escalation"
        if may.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
            yield "may run as root"
        if may.get("runAsUser") == 0:
            yield "runs as root"
        if (seccomp(may) or seccomp(whole)) not in SECCOMP:
            yield "no seccomp"
        capabilities = may.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
            yield "all capabilities"


def broken(pod):
    """Everything between a pod and the level `restricted`."""
    return {*baseline(pod), *restricted(pod)}
