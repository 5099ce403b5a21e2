"""handoffd under the real systemd: installed with its unit, in throwaway containers of two Debian releases.

Needs root and the testbed, a program that boots such a container: HANDOFF_TESTBED names it.
"""

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import deaths
import harness

TESTBED = os.environ.get("HANDOFF_TESTBED") or os.path.join(
    os.path.dirname(harness.SOURCE), "shared", "testbed", "systemd-testbed")
needs_testbed = unittest.skipUnless(os.path.exists(TESTBED) and os.geteuid() == 0,
                                    f"needs root and a testbed, as {TESTBED} would be: set HANDOFF_TESTBED")
RELEASES = ("trixie", "bookworm")
PROGRAMS = ("handoffd", "handoff", "handoff-demo-service")
UNIT = "handoff@web.service"
TARGET = "127.0.0.1:8080"
RUNTIME = "dbus-user-session libcurl4 libpam-systemd libuv1"  # what our package needs, and managers of users
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
    """A container with systemd; `name` tells it from those of other tests."""

    def __init__(self, suite, name="test", packages=""):
        self.environment = {**os.environ, "TESTBED_SUITE": suite, "TESTBED_NAME": f"handoff-{name}-{suite}",
                            "TESTBED_PACKAGES": packages}
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

    def install(self):
        """Installs what was built; the paths of its programs by name."""
        with tempfile.TemporaryDirectory(prefix="handoff-install-") as directory:
            programs = install(directory)
            self.testbed("copy", directory, "/")
        self.provide_libraries(programs)
        return programs

    def provide_libraries(self, programs):
        """Copies the libraries that the container lacks, or has in another version, from here."""
        self.run("ldconfig")
        for program in PROGRAMS:
            built = os.path.join(harness.BUILD, "src", program)
            ours = subprocess.run(["ldd", built], check=True, capture_output=True, text=True).stdout
            here = dict(re.findall(r"^\s+(\S+) => (/\S+)", ours, re.MULTILINE))
            lacking = self.run("ldd", programs[program]).stdout
            for name in re.findall(r"^\s+(\S+) => not found", lacking, re.MULTILINE):
                shutil.copy(here[name], self.path("/usr/local/lib/"))
        self.run("ldconfig")

    def load(self, target, *options):
        """The load generator inside, where `target` is."""
        load = harness.Load(target, *options)
        load.command = ["nsenter", "--net", "--target", str(self.pid), *load.command]
        return load

    def close(self):
        self.testbed("stop")


def in_each_release(tests):
    """A test case for each release of Debian, of `tests` that know theirs by `suite`."""
    return [type(suite.title(), (tests, harness.TestCase), {"suite": suite, "__module__": tests.__module__})
            for suite in RELEASES]


@needs_testbed
class OnMachine:
    """What tests ask about the unit in a container of their own."""

    suite = name = ""
    packages = ""

    @classmethod
    def setUpClass(cls):
        cls.machine = Machine(cls.suite, cls.name, cls.packages)
        cls.addClassCleanup(cls.machine.close)

    def show(self, name):
        return self.machine.run("systemctl", "show", "--value", "-p", name, UNIT).stdout.strip()

    def journal(self):
        return self.machine.run("journalctl", "--no-pager", "--output=cat", "--lines=40", "--unit=" + UNIT).stdout

    def status(self):
        connection = harness.Connection(self.machine.path("/run/handoff/web.sock"))
        try:
            return connection.call("Status")
        finally:
            connection.close()

    def load(self, *options):
        """Of eight clients, if nothing else is asked for."""
        return self.machine.load(TARGET, *(options or ("--clients", "8")))


class Systemd(OnMachine):
    """What tests of the unit begin with: the build, installed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.install()

    @classmethod
    def install(cls):
        cls.programs = cls.machine.install()
        cls.demo = cls.programs["handoff-demo-service"]

    def configure(self, *options, command=None, drain="10s", service="", rest=""):
        """Writes the configuration: `service` are lines for [service], `rest` stands behind it all."""
        command = command or [self.demo, *options]
        text = CONFIGURATION.format(command=json.dumps(command) + "\n" + service, drain=drain) + rest
        self.machine.write("/etc/handoff/web.toml", text)

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

    def reload(self):
        return self.machine.run("systemctl", "reload", UNIT, check=False).returncode

    def processes(self):
        """Of the unit's cgroup, handoffd among them; none when the cgroup is gone."""
        group = self.show("ControlGroup")
        command = f"find /sys/fs/cgroup{group} -name cgroup.procs -exec cat {{}} +" if group else ""
        return self.machine.run("sh", "-c", command, check=False).stdout.split()

    def served_by(self):
        """Sends one request; returns the generation that answered."""
        with self.load("--requests", "1", "--clients", "1", "--version-header", "X-Handoff-Generation") as load:
            load.process.wait(harness.PATIENCE)
        self.assert_nothing_failed(load)
        return int(load.result["versions"][0]["version"])

    def is_restarted(self, count):
        return self.show("NRestarts") == str(count) and self.show("ActiveState") == "active"


@deaths.add_tests
class Supervision(Systemd):
    """The tests, for each release of Debian."""

    name = "test"

    def test_the_unit_is_understood(self):
        self.configure()
        told = self.machine.run("systemd-analyze", "verify", "--man=no", UNIT)
        self.assertEqual(told.stdout + told.stderr, "")

    # ---- reload

    def test_a_good_reload_under_load_succeeds_and_loses_nothing(self):
        self.start()
        with self.load() as load:
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
        with self.load() as load:
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

    def kill_supervisor(self, signal="KILL"):
        self.machine.run("systemctl", "kill", "--signal=" + signal, "--kill-who=main", UNIT)

    def instances(self):
        return {str(i["pid"]) for g in self.status()["generations"] for i in g["instances"]}

    def test_kills_of_the_supervisor_never_end_the_unit(self):
        self.start(service="instances = 2")
        before = self.instances()
        with self.load() as load:
            for count in range(1, 2 * DEFAULT_START_LIMIT):
                self.kill_supervisor()
                harness.poll_until(lambda: self.is_restarted(count), "the successor")
                self.assertEqual(set(self.processes()), before | {self.show("MainPID")})
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual((self.instances(), self.served_by()), (before, 1))
        self.assertEqual(self.reload(), 0)
        self.stop()
        self.assertEqual(self.processes(), [])
        self.assertEqual(self.show("NFileDescriptorStore"), "0")

    def test_a_successor_that_fails_costs_nothing(self):
        self.start()
        before = self.instances()
        self.machine.write(f"/run/systemd/system/{UNIT}.d/fails.conf", "[Service]\nExecStartPre=sh -c '! rm /run/fails'\n")
        self.machine.run("touch", "/run/fails")
        self.machine.run("systemctl", "daemon-reload")
        with self.load("--clients", "4") as load:
            self.kill_supervisor()
            harness.poll_until(lambda: self.is_restarted(2), "the successor of one that failed")
        self.assert_nothing_failed(load, at_least=1)
        self.assertEqual(self.instances(), before, self.journal())

    def test_a_group_that_is_gone_is_no_obstacle(self):
        self.machine.run("sh", "-c", "echo web-operators:x:4711: >> /etc/group")
        self.start(rest='[control]\ngroup = "web-operators"\nallow = ["Status"]\n')
        before = self.instances()
        self.machine.run("sed", "-i", "/^web-operators:/d", "/etc/group")
        self.kill_supervisor()
        harness.poll_until(lambda: self.is_restarted(1), "the successor")
        self.assertEqual(self.instances(), before, self.journal())
        self.assertIn("nobody is of it", self.journal())

    def test_how_an_adopted_instance_ended_is_what_the_kernel_knows(self):
        self.start()
        self.kill_supervisor()
        harness.poll_until(lambda: self.is_restarted(1), "the successor")
        self.kill_instance()
        self.assertIn(harness.ENDING_OF_A_STRANGER, self.journal())
        victim = self.instances().pop()
        self.machine.run("kill", "-KILL", self.show("MainPID"), victim)
        harness.poll_until(lambda: self.is_restarted(2), "the successor's successor")
        harness.poll_until(lambda: self.served_by() == 1 and victim not in self.instances(), "another instance")
        self.assertEqual(self.journal().count("ended: " + harness.ENDING_OF_A_STRANGER), 2, self.journal())

    def test_killed_at_any_moment_under_load(self):
        seed = int(os.environ.get("HANDOFF_TEST_SEED", random.randrange(10**6)))
        chance = random.Random(seed)
        self.start("--log-every-ms", "5", service="instances = 2")
        with self.load("--clients", "8", "--sources", "8") as load:
            for count in range(1, 1 + int(os.environ.get("HANDOFF_TEST_DEATHS", "20"))):
                if what := chance.choice(("", "HUP", "HUP", "USR2")):
                    self.kill_supervisor(what)
                time.sleep(chance.uniform(0, 0.06))  # the moment is what is drawn; nothing waits on it
                self.kill_supervisor()
                with self.subTest(death=count, seed=seed):
                    harness.poll_until(lambda: self.is_restarted(count), "the successor")
                    harness.poll_until(self.is_resting, "a state of rest")
                    self.assertEqual(set(self.processes()), self.instances() | {self.show("MainPID")}, self.journal())
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(self.reload(), 0)

    def is_resting(self):
        status = self.status()
        return status["rollout"] is None and [g["role"] for g in status["generations"]] == ["live"]

    def survive(self, moment):
        def configuration(before="", rest=""):
            return {"command": ["/bin/sh", "-c", f"{before}exec {self.demo}"], "service": "instances = 2", "rest": rest}

        inside = "/run/" + self.id()
        scene = deaths.Scene(self, inside, self.machine.path(inside),
                             lambda before, rest: self.configure(**configuration(before, rest)))
        scene.prepare(moment)
        self.machine.run("rm", "-rf", "/var/lib/handoff")  # so that the start is rollout 1
        self.start(**configuration(rest=scene.rest))
        scene.attend(self.machine.path("/run/handoff/web.sock"))
        with self.load("--clients", "8", "--sources", "8") as load:
            last = moment.reach(scene)
            self.kill_supervisor()
            scene.open_gate()
            harness.poll_until(lambda: self.is_restarted(1), "the successor")
            harness.poll_until(lambda: deaths.is_over(self.status(), last), f"the end of rollout {last}")
            told = self.status()
            self.assertEqual((told["last"]["verdict"], told["live"]), (moment.verdict, moment.live), self.journal())
            if moment.verdict == "rolled_back":
                self.assertIn(deaths.DIED, told["last"]["reason"])
            self.assertEqual(set(self.processes()), self.instances() | {self.show("MainPID")}, self.journal())
            self.assert_it_steers_on(configuration(rest=deaths.STEERED + deaths.STEPS))
        self.assert_nothing_failed(load, at_least=100)

    def assert_it_steers_on(self, configuration):
        self.configure(**configuration)
        before = self.status()["live"]
        self.assertEqual(self.reload(), 0)  # and its first step holds
        self.assertEqual(self.handoff("set-weight", "web", "100"), self.status()["rollout"]["generation"])
        self.assertEqual(self.handoff("set-weight", "web", "0"), before)
        self.handoff("promote", "--full", "web")
        self.assertGreater(self.served_by(), before)

    def handoff(self, *arguments):
        """Who serves after such a command."""
        told = self.machine.run(self.programs["handoff"], *arguments, check=False)
        self.assertEqual(told.returncode, 0, told.stderr)
        return self.served_by()

    def test_upgrades_of_the_supervisor_itself(self):
        self.start(drop_in="WatchdogSec=2s\n")
        with self.load() as load:
            for _ in range(3):
                told = self.machine.run(self.programs["handoff"], "reexec", "web", check=False)
                self.assertEqual(told.returncode, 0, told.stderr)
                fed = self.show("WatchdogTimestampMonotonic")
                harness.poll_until(lambda: self.show("WatchdogTimestampMonotonic") != fed, "a word for the watchdog")
                self.assertEqual(self.reload(), 0)
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual((self.show("MainPID"), self.show("NRestarts")), (self.main_pid, "0"))
        self.assertEqual(self.show("ActiveState"), "active")
        stored = int(self.show("NFileDescriptorStore"))
        self.kill_supervisor()
        harness.poll_until(lambda: self.is_restarted(1), "the successor")
        self.assertEqual(self.reload(), 0)
        harness.poll_until(lambda: int(self.show("NFileDescriptorStore")) == stored, f"{stored} stored descriptors")
        self.assertEqual(self.served_by(), 5)

    def test_killed_while_it_stops_it_leaves_nothing(self):
        self.start("--ignore-drain", drain="1h")
        self.machine.run("systemctl", "stop", "--no-block", UNIT)
        harness.poll_until(lambda: self.show("ActiveState") == "deactivating", "the beginning of the stop")
        self.kill_supervisor()
        harness.poll_until(lambda: self.show("ActiveState") not in ("active", "deactivating"), "the end of it")
        self.assertEqual(self.processes(), [])
        self.assertIn("left processes, which end now", self.journal())

    def test_a_hung_supervisor_is_found_by_the_watchdog(self):
        self.start(drop_in="WatchdogSec=2s\n")
        before = self.instances()
        self.kill_supervisor("STOP")
        harness.poll_until(lambda: self.is_restarted(1), "the successor")
        self.assertIn("watchdog", self.journal())
        self.assertEqual((self.instances(), self.served_by()), (before, 1))


class Trixie(Supervision, harness.TestCase):
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


class Bookworm(Supervision, harness.TestCase):
    suite = "bookworm"


if __name__ == "__main__":
    harness.main()
