"""handoffd under the real systemd: installed with its unit, in throwaway containers of two Debian releases.

Needs root and the testbed, a program that boots such a container: HANDOFF_TESTBED names it.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness

TESTBED = os.environ.get("HANDOFF_TESTBED") or os.path.join(
    os.path.dirname(harness.SOURCE), "shared", "testbed", "systemd-testbed")
UNIT = "handoff@web.service"
TARGET = "127.0.0.1:8080"
DEFAULT_START_LIMIT = 5  # of systemd: so many starts in ten seconds

CONFIGURATION = """
[service]
name = "web"
command = {command}
[[listener]]
name = "http"
address = "127.0.0.1:8080"
[ready]
timeout = "30s"
[drain]
timeout = "{drain}"
kill-timeout = "1s"
[restart]
backoff = "1ms..1ms"
burst = 1000
"""


def install(directory):
    """Puts there what `meson install` would put on a machine; returns the paths of its programs by name."""
    done = subprocess.run(["meson", "install", "-C", harness.BUILD, "--destdir", directory, "--no-rebuild"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise AssertionError("installing what was built: " + done.stdout)
    found = (os.path.join(folder, name) for folder, _, names in os.walk(directory) for name in names)
    return {os.path.basename(path): path.removeprefix(directory) for path in found if os.access(path, os.X_OK)}


class Machine:
    """A container with systemd."""

    def __init__(self, suite):
        self.environment = {**os.environ, "TESTBED_SUITE": suite, "TESTBED_NAME": f"handoff-test-{suite}"}
        self.testbed("boot")
        self.pid = int(self.testbed("pid").stdout)

    def testbed(self, *arguments, check=True):
        done = subprocess.run([TESTBED, *arguments], env=self.environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=harness.PATIENCE * 3)
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def run(self, *command, check=True):
        return self.testbed("run", *command, check=check)

    def path(self, inside):
        """The same file seen from here."""
        return f"/proc/{self.pid}/root{inside}"

    def write(self, inside, text):
        os.makedirs(os.path.dirname(self.path(inside)), exist_ok=True)
        with open(self.path(inside), "w", encoding="utf-8") as file:
            file.write(text)

    def provide_libraries(self, program):
        """Copies the libraries that the container lacks, or has in another version, from here."""
        self.run("ldconfig")
        built = os.path.join(harness.BUILD, "src", os.path.basename(program))
        ours = subprocess.run(["ldd", built], check=True, capture_output=True, text=True).stdout
        here = dict(re.findall(r"^\s+(\S+) => (/\S+)", ours, re.MULTILINE))
        for name in re.findall(r"^\s+(\S+) => not found", self.run("ldd", program).stdout, re.MULTILINE):
            shutil.copy(here[name], self.path("/usr/local/lib/"))
        self.run("ldconfig")

    def close(self):
        self.testbed("stop")


@unittest.skipUnless(os.path.exists(TESTBED), f"no testbed at {TESTBED}: set HANDOFF_TESTBED")
@unittest.skipUnless(os.geteuid() == 0, "the testbed needs root")
class Systemd:
    """The tests, for each release of Debian."""

    suite = ""

    @classmethod
    def setUpClass(cls):
        cls.machine = Machine(cls.suite)
        cls.addClassCleanup(cls.machine.close)
        with tempfile.TemporaryDirectory(prefix="handoff-install-") as directory:
            programs = install(directory)
            cls.machine.testbed("copy", directory, "/")
        cls.demo = programs["handoff-demo-service"]
        for name in ("handoffd", "handoff", "handoff-demo-service"):
            cls.machine.provide_libraries(programs[name])

    def configure(self, *options, command=None, drain="10s"):
        command = command or [self.demo, *options]
        self.machine.write("/etc/handoff/web.toml", CONFIGURATION.format(command=json.dumps(command), drain=drain))

    def start(self, *options, drop_in="", **configuration):
        """Starts the unit, and stops it when the test ends."""
        self.configure(*options, **configuration)
        self.machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", "[Service]\n" + drop_in)
        self.machine.run("systemctl", "daemon-reload")
        self.addCleanup(self.stop)
        started = self.machine.run("systemctl", "start", UNIT, check=False)
        self.assertEqual(started.returncode, 0, self.journal())
        self.main_pid = self.show("MainPID")

    def stop(self):
        self.machine.run("systemctl", "stop", UNIT)

    def show(self, name):
        return self.machine.run("systemctl", "show", "--value", "-p", name, UNIT).stdout.strip()

    def reload(self):
        return self.machine.run("systemctl", "reload", UNIT, check=False).returncode

    def journal(self):
        return self.machine.run("journalctl", "--no-pager", "--output=cat", "--lines=40", "--unit=" + UNIT).stdout

    def status(self):
        connection = harness.Connection(self.machine.path("/run/handoff/web.sock"))
        try:
            return connection.call("Status")
        finally:
            connection.close()

    def processes(self):
        """Of the unit's cgroup, handoffd among them; none when the cgroup is gone."""
        group = self.show("ControlGroup")
        command = f"find /sys/fs/cgroup{group} -name cgroup.procs -exec cat {{}} +" if group else ""
        return self.machine.run("sh", "-c", command, check=False).stdout.split()

    def load(self, *options):
        load = harness.Load(TARGET, *options)
        load.command = ["nsenter", "--net", "--target", str(self.machine.pid), *load.command]
        return load

    def served_by(self):
        """Sends one request; returns the generation that answered."""
        with self.load("--requests", "1", "--clients", "1", "--version-header", "X-Handoff-Generation") as load:
            load.process.wait(harness.PATIENCE)
        self.assert_nothing_failed(load)
        return int(load.result["versions"][0]["version"])

    def test_the_unit_is_understood(self):
        self.configure()
        told = self.machine.run("systemd-analyze", "verify", "--man=no", UNIT)
        self.assertEqual(told.stdout + told.stderr, "")

    # ---- reload

    def test_a_good_reload_under_load_succeeds_and_loses_nothing(self):
        self.start()
        with self.load("--clients", "8") as load:
            for _ in range(3):
                self.assertEqual(self.reload(), 0)
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(self.served_by(), 4)
        self.assertEqual(self.show("MainPID"), self.main_pid)
        self.assertEqual(self.show("ActiveState"), "active")
        self.assertIn("generation 4", self.show("StatusText"))

    def test_a_bad_reload_fails_and_the_old_release_serves(self):
        self.start()
        self.configure("--fail-start", "3")
        with self.load("--clients", "8") as load:
            self.assertNotEqual(self.reload(), 0)
        self.assert_nothing_failed(load)
        self.assertEqual(self.served_by(), 1)
        self.assertEqual((self.show("ActiveState"), self.show("SubState")), ("active", "running"))
        self.assertEqual(self.show("MainPID"), self.main_pid)
        told = self.machine.run("systemctl", "status", "--no-pager", UNIT).stdout
        self.assertRegex(told, r'Status: "rolled-back.*generation 1')
        self.configure()
        self.assertEqual(self.reload(), 0)
        self.assertEqual(self.served_by(), self.status()["live"])
        self.assertNotIn("rolled", self.show("StatusText"))

    def test_a_broken_configuration_fails_the_reload(self):
        self.start()
        self.machine.write("/etc/handoff/web.toml", "[service\n")
        self.assertNotEqual(self.reload(), 0)
        self.assertEqual(self.served_by(), 1)
        self.assertIn("refused", self.show("StatusText"))
        self.assertEqual((self.show("ActiveState"), self.show("SubState")), ("active", "running"))

    def test_a_reload_may_last_longer_than_the_start_timeout(self):
        self.start(drop_in="TimeoutStartSec=2s\n")
        self.configure("--start-delay", "6000")
        self.assertEqual(self.reload(), 0, self.journal())
        self.assertEqual(self.served_by(), 2)

    def test_a_start_may_last_longer_than_the_start_timeout(self):
        self.start("--start-delay", "6000", drop_in="TimeoutStartSec=2s\n")
        self.assertEqual(self.served_by(), 1)

    # ---- stop

    def test_stop_leaves_nothing_of_a_deaf_service(self):
        self.start("--ignore-drain", drain="500ms")
        self.assertEqual(len(self.processes()), 2)
        self.stop()
        self.assertEqual(self.show("Result"), "success")
        self.assertEqual(self.processes(), [])

    def test_a_drain_may_last_longer_than_the_stop_timeout(self):
        self.start("--ignore-drain", drain="6s", drop_in="TimeoutStopSec=2s\n")
        self.stop()
        self.assertEqual(self.show("Result"), "success", self.journal())
        self.assertEqual(self.processes(), [])

    def test_a_hidden_descendant_dies_at_the_drain_deadline(self):
        hidden = f"(env -i setsid sleep 86399 &); exec {self.demo} --ignore-drain"
        self.start(command=["/bin/sh", "-c", hidden], drain="500ms")
        harness.poll_until(lambda: self.sleepers(), "the hidden process")
        self.configure()
        self.assertEqual(self.reload(), 0)
        harness.poll_until(lambda: not self.sleepers(), "the end of the hidden process")
        self.assertEqual(self.served_by(), 2)

    def sleepers(self):
        return self.machine.run("pgrep", "-x", "sleep", check=False).stdout.split()

    # ---- crashes

    def test_crashes_of_the_service_never_end_the_unit(self):
        self.start()
        for _ in range(2 * DEFAULT_START_LIMIT):
            self.kill_instance()
        self.assertEqual(self.served_by(), 1)
        self.assertEqual((self.show("MainPID"), self.show("NRestarts")), (self.main_pid, "0"))
        self.assertEqual(self.show("ActiveState"), "active")

    def kill_instance(self):
        def ready():
            instances = self.status()["generations"][0]["instances"]
            return instances[0]["pid"] if instances and instances[0]["state"] == "ready" else None

        pid = harness.poll_until(ready, "an instance")
        self.machine.run("kill", "-KILL", str(pid))
        harness.poll_until(lambda: ready() not in (None, pid), "its successor")

    def test_kills_of_the_supervisor_never_end_the_unit(self):
        """Until a successor adopts what runs, the service ends with its supervisor and comes back with it."""
        self.start()
        for count in range(1, 2 * DEFAULT_START_LIMIT):
            before = self.processes()
            self.machine.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", UNIT)
            harness.poll_until(lambda: self.is_restarted(count), "the successor")
            self.assertEqual(set(self.processes()) & set(before), set(), "nothing of the predecessor is left")
            self.assertEqual(len(self.processes()), 2)
        self.assertEqual(self.served_by(), 1)
        self.assertIn("left processes, which end now", self.journal())

    def is_restarted(self, count):
        return self.show("NRestarts") == str(count) and self.show("ActiveState") == "active"

    def test_a_hung_supervisor_is_found_by_the_watchdog(self):
        self.start(drop_in="WatchdogSec=2s\n")
        self.machine.run("systemctl", "kill", "--signal=STOP", "--kill-who=main", UNIT)
        harness.poll_until(lambda: self.is_restarted(1), "the successor")
        self.assertIn("watchdog", self.journal())
        self.assertEqual(self.served_by(), 1)


class Trixie(Systemd, harness.TestCase):
    suite = "trixie"

    def test_varlinkctl_speaks_with_us(self):
        self.start()
        address = "/run/handoff/web.sock"
        told = json.loads(self.machine.run(
            "varlinkctl", "call", "--json=short", address, "io.handoff.Supervisor.Status", "{}").stdout)
        self.assertEqual((told["service"], told["live"]), ("web", 1))
        described = self.machine.run("varlinkctl", "introspect", address, "io.handoff.Supervisor").stdout
        self.assertIn("method Upgrade(", described)
        self.assertIn("io.handoff.Supervisor", self.machine.run("varlinkctl", "list-interfaces", address).stdout)
        self.assertIn("handoff", self.machine.run("varlinkctl", "info", address).stdout)


class Bookworm(Systemd, harness.TestCase):
    suite = "bookworm"


if __name__ == "__main__":
    harness.main()
