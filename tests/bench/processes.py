"""Processes of the bench: started in their own session, watched in /proc, always ended again."""

import ctypes
import http.client
import os
import shutil
import signal
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

started = []


class BenchError(Exception):
    """The bench itself could not be run; measured failures are reported in the table instead."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def new_network_namespace():
    """Moves this process into an empty network namespace. Returns an error text or None.

    Debian's default congestion control, cubic, is set on the loopback routes: another default of
    the machine (BBR paces even on loopback) would make the figures those of the pacing.
    """
    if LIBC.unshare(CLONE_NEWNET) != 0:
        return "unshare: %s" % os.strerror(ctypes.get_errno())
    commands = [["ip", "link", "set", "lo", "up"]]
    for net in ("127.0.0.1", "127.0.0.0/8"):
        commands.append(["ip", "route", "replace", "local", net, "dev", "lo", "table", "local", "proto",
                         "kernel", "scope", "host", "src", "127.0.0.1", "congctl", "cubic"])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        if done.returncode != 0:
            raise BenchError("%s: %s" % (" ".join(command), done.stderr.strip()))
    return None


def stat_of(pid):
    """Fields of /proc/PID/stat after the name: [0] state, [1] ppid, [11..14] the four times."""
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as f:
        return f.read().rpartition(")")[2].split()


def tree_of(root):
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(stat_of(int(name))[1])
            except OSError:
                pass
    tree = [root]
    for pid in tree:
        tree.extend(child for child, parent in parents.items() if parent == pid)
    return tree


def machine_busy_seconds():
    """User and system time of the whole machine; interrupts left out, nobody can be charged for them."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(x) for x in f.readline().split()[1:4]]
    return sum(fields) / TICK


class Server:
    """One server under test: a command, its log, its port."""

    def __init__(self, name, argv, port, log):
        self.name = name
        self.argv = argv
        self.port = port
        self.log = log
        self.process = None
        self.ready_seconds = None  # from the start of the process to the first answer

    def start(self, timeout=20):
        begin = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=die_with_parent)
        started.append(self.process)
        deadline = time.monotonic() + timeout
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BenchError("%s does not answer on port %d; its log ends:\n%s"
                                 % (self.name, self.port, self.log_tail()))
            time.sleep(0.001)
        self.ready_seconds = time.monotonic() - begin
        return self

    def answers(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def log_tail(self):
        with open(self.log, "rb") as f:
            return f.read()[-2000:].decode(errors="replace")

    def stop(self):
        if self.process is not None:
            end_process(self.process)
            self.process = None

    def kill(self):
        self.process.kill()
        self.stop()

    def cpu_seconds(self):
        """utime + stime of the whole tree, children that have ended included."""
        total = 0
        for pid in tree_of(self.process.pid):
            try:
                fields = stat_of(pid)
            except OSError:
                continue
            total += sum(int(x) for x in (fields[11:15] if pid == self.process.pid else fields[11:13]))
        return total / TICK

    def memory_kib(self, field):
        """VmRSS or VmHWM, summed over the tree."""
        total = 0
        for pid in tree_of(self.process.pid):
            try:
                with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
                    lines = [line for line in f if line.startswith(field + ":")]
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines)
        return total


def end_process(process, grace=5):
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            # The leader first: a master that is told to stop ends its own workers in order.
            if sig == signal.SIGTERM:
                process.send_signal(sig)
            else:
                os.killpg(process.pid, sig)
        except OSError:
            pass
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            continue
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            pass
        break
    if process in started:
        started.remove(process)


def end_all():
    for process in list(started):
        end_process(process, grace=3)


def run_bounded(argv, timeout):
    """A short-lived child: its stdout, or BenchError. Registered, so that end_all finds it."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, start_new_session=True, preexec_fn=die_with_parent)
    started.append(process)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end_process(process, grace=1)
        raise BenchError("%s: no end after %d s" % (argv[0], timeout)) from None
    finally:
        if process.returncode is not None and process in started:
            started.remove(process)
    if process.returncode != 0:
        raise BenchError("%s: exit %d: %s" % (argv[0], process.returncode, err.strip()))
    return out


def empty_directory(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path
