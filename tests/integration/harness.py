"""Drives the real programs: a supervisor with its configuration, its control socket, its events, and load.

Nothing here sleeps to synchronise: every wait is for an event, with a deadline.
"""

import contextlib
import errno
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BUILD = os.environ.get("HANDOFF_BUILD") or sys.exit("HANDOFF_BUILD must name the build directory")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HANDOFFD = os.path.join(BUILD, "src", "handoffd")
HANDOFF = os.path.join(BUILD, "src", "handoff")
HANDOFF_EXEC = os.path.join(BUILD, "src", "handoff-exec")
HANDOFF_PROBE = os.path.join(BUILD, "src", "handoff-probe")
DEMO_SERVICE = os.path.join(BUILD, "src", "handoff-demo-service")
LOAD = os.path.join(BUILD, "tests", "handoff-load")
SERVICES = os.path.join(SOURCE, "tests", "integration", "services")
PYTHON = "/usr/bin/python3"
NOBODY = 65534

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)

# Sanitizer builds on a busy machine are slow; a deadline is for what hangs, never for what is slow.
PATIENCE = float(os.environ.get("HANDOFF_TEST_PATIENCE", "60"))


class Refused(Exception):
    """An error reply of the control interface."""

    def __init__(self, error, parameters):
        super().__init__(f"{error}: {parameters}")
        self.error = error.rsplit(".", 1)[-1]
        self.parameters = parameters


def poll_until(predicate, what, patience=PATIENCE):
    """Waits for a state of the system that no event announces (a file in /proc, a kernel table)."""
    deadline = time.monotonic() + patience
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s for {what}")
        select.select([], [], [], 0.005)


reserved_ports = []


def free_port(kind=socket.SOCK_STREAM, host="127.0.0.1"):
    """A port that stays this process's: no client is given one below ip_local_port_range (ip(7)), and an abstract name
    keeps the tests that run at the same time apart."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        candidates = range(10000, int(f.read().split()[0]))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.sample(candidates, min(100, len(candidates))):
        name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            name.bind(f"\0handoff-test-port-{port}")
            with socket.socket(family, kind) as s:
                s.bind((host, port))
            reserved_ports.append(name)
            return port
        except OSError as e:
            name.close()
            if e.errno != errno.EADDRINUSE:
                raise
    raise AssertionError(f"no free port in {candidates}")


class Connection:
    """A Varlink client of a few lines, not sharing any with ours."""

    def __init__(self, path, patience=PATIENCE):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.buffer = b""
        try:
            self.socket.connect(path)  # with a timeout it would not wait for its turn: EAGAIN, connect(2)
        except OSError:
            self.socket.close()
            raise
        self.socket.settimeout(patience)

    def send(self, method, more=False, **parameters):
        call = {"method": method if "." in method else f"io.handoff.Supervisor.{method}", "parameters": parameters}
        if more:
            call["more"] = True
        self.socket.sendall(json.dumps(call).encode() + b"\0")

    def receive(self):
        while b"\0" not in self.buffer:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError("the supervisor hung up")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        reply = json.loads(message)
        if "error" in reply:
            raise Refused(reply["error"], reply.get("parameters", {}))
        return reply.get("parameters", {})

    def call(self, method, **parameters):
        self.send(method, **parameters)
        return self.receive()

    def close(self):
        self.socket.close()


class Events:
    """Everything that the supervisor told since we began to watch; wait() finds an event, past or coming."""

    def __init__(self, path):
        self.connection = Connection(path)
        self.connection.socket.settimeout(None)
        self.connection.send("Watch", more=True)
        self.connection.receive()
        self.seen = []
        self.changed = threading.Condition()
        self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while True:
                event = self.connection.receive()["event"]
                with self.changed:
                    self.seen.append(event)
                    self.changed.notify_all()
        except (OSError, EOFError):
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    def wait(self, kind, patience=PATIENCE, since=0, **fields):
        def find():
            for event in self.seen[since:]:
                if event["kind"] == kind and all(event.get(k) == v for k, v in fields.items()):
                    return event
            return None

        with self.changed:
            found = self.changed.wait_for(lambda: find() or self.ended, timeout=patience)
            event = find()
        if event:
            return event
        told = "\n".join(f"  {e['kind']}: {e['text']}" for e in self.seen[-40:])
        why = "the supervisor hung up" if found else f"{patience:.0f} s went by"
        raise AssertionError(f"no event {kind} {fields}: {why}; told so far:\n{told}")

    def count(self, kind, **fields):
        with self.changed:
            return sum(1 for e in self.seen if e["kind"] == kind and all(e.get(k) == v for k, v in fields.items()))

    def mark(self):
        with self.changed:
            return len(self.seen)


class Supervisor:
    """A handoffd of its own in a directory of its own; `runtime` may lie elsewhere."""

    def __init__(self, test, configuration, name="web", environment=None, wrapper=(), start=True, runtime=None):
        self.test = test
        self.name = name
        self.directory = tempfile.mkdtemp(prefix="handoff-test-")
        os.chmod(self.directory, 0o755)
        self.configuration = os.path.join(self.directory, name + ".toml")
        self.log = os.path.join(self.directory, "log")
        self.runtime = runtime or os.path.join(self.directory, "run")
        self.socket = os.path.join(self.runtime, name + ".sock")
        self.environment = {
            **os.environ,
            "HANDOFF_RUNTIME_DIR": self.runtime,
            "HANDOFF_STATE_DIR": os.path.join(self.directory, "state"),
            "HANDOFF_EXEC": HANDOFF_EXEC,
            "HANDOFF_PROBE": HANDOFF_PROBE,
            **(environment or {}),
        }
        self.wrapper = list(wrapper)
        self.handoffd = HANDOFFD
        self.process = None
        self.events = None
        self.write(configuration)
        test.addCleanup(self.clean)
        if start:
            self.start()

    def write(self, configuration):
        """Replaces the configuration. `configuration` is TOML behind the [service] line with the name."""
        with open(self.configuration, "w") as f:
            f.write(f'[service]\nname = "{self.name}"\n{configuration}')

    def launch(self):
        """Starts the program without waiting for anything."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.wrapper + [self.handoffd, self.configuration], env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)

    def start(self, until="promoted"):
        """Starts, and waits for the first verdict (None: only for the control socket)."""
        self.launch()
        if self.events:
            self.events.connection.close()
        poll_until(lambda: self.process.poll() is not None or self._answers(), "the control socket")
        if self.process.poll() is not None:
            raise AssertionError(f"handoffd ended with {self.process.returncode}:\n{self.log_text()}")
        if until is None:
            return self.start_watching()
        # The first verdict may come before anybody can watch: the status knows. Watched is what comes after it.
        poll_until(lambda: self.status()["last"] is not None, "the first verdict")
        self.events = Events(self.socket)
        last = self.status()["last"]
        self.test.assertEqual(last["verdict"], until, f"{last}\n{self.log_text()}")

    def start_watching(self):
        self.events = poll_until(self._watch, "the first event's connection")

    def _watch(self):
        """Of a predecessor that was killed a child may still hold the socket for a moment, and resets us then."""
        with contextlib.suppress(OSError):
            return Events(self.socket)

    def _answers(self):
        try:
            Connection(self.socket, 5).close()
            return True
        except OSError:
            return False

    # ---- asking

    def call(self, method, **parameters):
        connection = Connection(self.socket)
        try:
            return connection.call(method, **parameters)
        finally:
            connection.close()

    def status(self):
        return self.call("Status")

    def generation(self, role="live"):
        return next((g for g in self.status()["generations"] if g["role"] == role), None)

    def pids(self, role="live"):
        generation = self.generation(role)
        return [i["pid"] for i in generation["instances"]] if generation else []

    def signal(self, number):
        os.kill(self.process.pid, number)

    def hup(self):
        """Triggers an upgrade and returns the number of its rollout. Only while none is under way."""
        mark = self.events.mark()
        self.signal(signal.SIGHUP)
        return self.events.wait("started", since=mark)["rollout"]

    def upgrade(self, verdict="promoted", until="settled"):
        """Upgrades, and returns the verdict event; with `until`, waits for that event of the rollout too."""
        rollout = self.call("Upgrade")["rollout"]
        event = self.events.wait("verdict", rollout=rollout)
        self.test.assertEqual(event["verdict"], verdict, f"{event}\n{self.log_text()[-4000:]}")
        if until:
            self.events.wait(until, rollout=rollout)
        return event

    def cli(self, *arguments, patience=PATIENCE, **options):
        """Runs `handoff` against this supervisor."""
        return subprocess.run([HANDOFF, *arguments], env=self.environment, capture_output=True, text=True,
                              timeout=patience, stdin=subprocess.DEVNULL, **options)

    def log_text(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, errors="replace") as f:
            return f.read()

    # ---- ending

    def die(self):
        """Killed, so that nothing is tidied up. `start` is the successor's."""
        self.process.kill()
        self.process.wait()
        for pid in self.left_behind():
            self.test.addCleanup(end, pid)

    def left_behind(self):
        """The services that were started here and run, whoever started them."""
        mark = f"NOTIFY_SOCKET={self.runtime}/".encode()
        return [pid for pid in processes() if mark in environment_of(pid)]

    def stop(self):
        """Stops gracefully and returns the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def clean(self):
        if self.process and self.process.poll() is None:
            for patience in (0.2, PATIENCE):  # the second TERM kills at once; two at the same time would be one
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    self.signal(signal.SIGTERM)
                    self.process.wait(patience)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        if self.events:
            self.events.connection.close()
        log = self.log_text()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.process:
            self.test.assertNotIn(-self.process.returncode, CRASHES, f"handoffd crashed:\n{log[-4000:]}")
        for mark in ("AddressSanitizer", "LeakSanitizer", "runtime error:"):
            self.test.assertNotIn(mark, log, "a sanitizer complained")


class Load:
    """The load generator, a new connection for each request by default. Use as a context; `result` is there after."""

    def __init__(self, target, *options):
        self.command = [LOAD, "--events", *options, target]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            self.wait_for("the load to start", lambda line: line.get("event") == "started")
        except AssertionError:
            self.process.kill()
            self.__exit__()
            raise
        return self

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, what, is_it):
        with self.changed:
            self.changed.wait_for(lambda: self.ended or any(map(is_it, self.lines)), timeout=PATIENCE)
            if not any(map(is_it, self.lines)):
                how = "ended without" if self.ended else f"{PATIENCE:.0f} s without"
                raise AssertionError(f"handoff-load: {how} {what}: {self.lines[-5:]}")

    def mark(self, name):
        """Begins a new window of latencies."""
        self.process.stdin.write(f"mark {name}\n")
        self.process.stdin.flush()

    def wait_for_version(self, version):
        """Until the first reply of a version has come."""
        self.wait_for(f"a reply of version {version}", lambda line: line.get("version") == str(version))

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()
        self.result = self.lines[-1] if self.lines else None


class TestCase(unittest.TestCase):
    maxDiff = None

    def assert_nothing_failed(self, load, at_least=1):
        self.assertEqual(load.result["failed"], 0, load.result)
        self.assertGreaterEqual(load.result["total"], at_least, load.result)


def descriptors(pid):
    return sorted(int(n) for n in os.listdir(f"/proc/{pid}/fd"))


def without_boot_id(test):
    """The beginning of a command that may not read /proc/sys, as with ProcSubset=pid of systemd.exec(5)."""
    hide = "mount --make-rprivate / && mount -t proc -o subset=pid proc /proc"
    if subprocess.run(["unshare", "-m", "sh", "-c", hide], capture_output=True).returncode != 0:
        test.skipTest("needs root and Linux 5.8")
    return ["unshare", "-m", "sh", "-c", hide + ' && exec "$0" "$@"']


def children(pid):
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                found += [int(n) for n in f.read().split()]
    return found


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def environment_of(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as f:
        return f.read()
    return b""


def end(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kernel_release():
    return tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())


# PIDFD_GET_INFO tells who is not the parent since Linux 6.15.
ENDING_OF_A_STRANGER = "killed by SIGKILL" if kernel_release() >= (6, 15) else "ended, nobody knows how"


def as_nobody(work, groups=()):
    """What work() returns (or the name of what it raises), run in a child that is nobody."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            os.setgroups(list(groups))
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            try:
                result = work()
            except BaseException as e:  # noqa: BLE001 -- told to the parent
                result = type(e).__name__
            os.write(write, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as f:
        text = f.read()
    os.waitpid(child, 0)
    return json.loads(text)


def is_alive(pid):
    """False for a process that ended, a zombie included."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def main():
    unittest.main(verbosity=2)
