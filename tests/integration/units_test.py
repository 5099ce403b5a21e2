"""The units beyond their defaults: the drop-ins that are shipped as examples, and a user's own manager.

Needs root and the testbed, as systemd_test.py does.
"""

import json
import os
import re

import harness
import systemd_test

EXAMPLES = os.path.join(harness.SOURCE, "systemd", "examples")
SERVED_BY = 33  # www-data, whom unprivileged.conf names
SOMEBODY = 1000
SERVICE_UNIT = systemd_test.UNIT

# What `systemd-analyze security` may say at most: 0 is best, 10 worst, and 9.6 a unit without any protection.
EXPOSURE = {(): 7.7, ("unprivileged",): 7.4, ("strict",): 2.9, ("strict", "unprivileged"): 2.6}

STEERED = '[rollout]\nsharing = "steered"\n'


def example(name):
    with open(os.path.join(EXAMPLES, name + ".conf"), encoding="utf-8") as file:
        return file.read()


class UserManager(systemd_test.Systemd):
    """A user whose manager runs the service."""

    packages = systemd_test.RUNTIME

    def as_user(self, *command, check=True):
        return self.machine.run(
            "setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", "env", "HOME=/home/somebody",
            f"XDG_RUNTIME_DIR=/run/user/{SOMEBODY}", *command, check=check)

    def start_user(self):
        """A user with a manager that stays, as `loginctl enable-linger` has it."""
        self.machine.write("/usr/lib/sysusers.d/somebody.conf", f"u somebody {SOMEBODY} - /home/somebody /bin/sh\n")
        self.machine.run("systemd-sysusers", "somebody.conf")
        self.configure()
        self.machine.run("install", "-D", "--owner=somebody", "--group=somebody", "/etc/handoff/web.toml",
                         "/home/somebody/.config/handoff/web.toml")
        self.machine.run("chown", "-R", "somebody:", "/home/somebody")
        self.machine.run("systemctl", "start", f"user@{SOMEBODY}.service")
        self.addCleanup(self.machine.run, "systemctl", "stop", f"user@{SOMEBODY}.service")


class Units(UserManager):
    name = "units"

    def start_with(self, *examples, drop_in="", **configuration):
        """Starts the unit with these drop-ins; each is a file that users copy as it is."""
        for name in examples:
            path = f"/etc/systemd/system/{SERVICE_UNIT}.d/10-{name}.conf"
            self.machine.write(path, example(name))
            self.addCleanup(self.machine.run, "rm", path)
        self.start(drop_in=drop_in, **configuration)

    def listener(self, *, as_user=()):
        status = json.loads(self.machine.run(*as_user, "handoff", "status", "--json", "web").stdout)
        return status["listeners"][0]

    def assert_upgrades_lose_nothing(self):
        with self.load() as load:
            for _ in range(3):
                self.assertEqual(self.reload(), 0, self.journal())
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(self.served_by(), 4)

    def credentials(self, pid):
        """Real uid and effective capabilities."""
        with open(self.machine.path(f"/proc/{pid}/status"), encoding="utf-8") as file:
            text = file.read()
        return int(re.search(r"^Uid:\s+(\d+)", text, re.M)[1]), int(re.search(r"^CapEff:\s+(\S+)", text, re.M)[1], 16)

    def instance(self):
        status = json.loads(self.machine.run("handoff", "status", "--json", "web").stdout)
        return next(i["pid"] for g in status["generations"] if g["role"] == "live" for i in g["instances"])

    # ---- how tight

    def test_exposure_is_within_its_bounds(self):
        for examples, bound in EXPOSURE.items():
            with self.subTest(examples=examples):
                self.start_with(*examples)
                told = self.machine.run("systemd-analyze", "security", "--no-pager", SERVICE_UNIT).stdout
                self.assertLessEqual(float(re.search(r"Overall exposure level .*: (\d+\.\d)", told)[1]), bound)
                self.doCleanups()

    def test_the_sandbox_is_in_force(self):
        self.start()
        inside = ["nsenter", "--mount", "--target", self.main_pid]
        for path in ("/usr/bin/forbidden", "/boot/forbidden"):
            self.assertIn("Read-only", self.machine.run(*inside, "touch", path, check=False).stderr)
        self.machine.run(*inside, "touch", "/usr/local/allowed", "/etc/handoff/allowed", "/var/lib/allowed")

    def test_all_that_strict_leaves_works(self):
        self.start_with("strict", service='user = "www-data"\nlimits = { nofile = 512 }\n', rest=STEERED + """
[[listener]]
name = "privileged"
address = "127.0.0.1:80"
[[listener]]
name = "socket"
address = "unix:/run/web.sock"
user = "www-data"
group = "www-data"
mode = "0660"
steer = false
[control]
group = "www-data"
allow = ["Status"]
[[check]]
http = { listener = "http", path = "/" }
""")
        self.assertEqual(self.listener()["sharing"], "steered")
        self.assert_upgrades_lose_nothing()
        self.assertEqual(self.credentials(self.instance()), (SERVED_BY, 0))
        self.stop()
        self.assertEqual(self.show("Result"), "success", self.journal())

    # ---- without root

    def assert_runs_without_root(self, ambient):
        self.assertEqual(self.credentials(self.main_pid), (SERVED_BY, ambient))
        self.assertEqual(self.credentials(self.instance()), (SERVED_BY, 0), "the service gets none of them")

    def test_without_root_listeners_are_steered(self):
        for examples in (["unprivileged"], ["strict", "unprivileged"]):
            with self.subTest(examples=examples):
                self.start_with(*examples, rest=STEERED)
                self.assertEqual(self.listener()["sharing"], "steered")
                self.assert_runs_without_root(1 << 39 | 1 << 38 | 1 << 10)
                self.assert_upgrades_lose_nothing()
                self.doCleanups()

    def test_without_root_and_capabilities_classic_bpf_steers(self):
        self.start_with("unprivileged", drop_in="AmbientCapabilities=\n", rest=STEERED)
        self.assertEqual(self.listener()["sharing"], "steered_classic")
        self.assert_runs_without_root(0)
        self.assert_upgrades_lose_nothing()

    def test_without_root_a_killed_supervisor_comes_back(self):
        self.start_with("unprivileged")
        before = set(self.processes()) - {self.show("MainPID")}
        self.machine.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", SERVICE_UNIT)
        harness.poll_until(lambda: self.is_restarted(1), "the successor")
        self.assertEqual(set(self.processes()), before | {self.show("MainPID")}, self.journal())
        self.assertEqual(self.served_by(), 1)

    # ---- a user's own manager

    def test_a_users_own_manager_runs_it(self):
        self.start_user()
        started = self.as_user("systemctl", "--user", "start", SERVICE_UNIT, check=False)
        self.assertEqual(started.returncode, 0, started.stderr + self.machine.run("journalctl", "-n", "40").stdout)
        self.assertEqual(self.credentials(self.as_user(
            "systemctl", "--user", "show", "--value", "-p", "MainPID", SERVICE_UNIT).stdout.strip()), (SOMEBODY, 0))
        with self.load() as load:
            for _ in range(3):
                self.as_user("systemctl", "--user", "reload", SERVICE_UNIT)
            self.as_user("handoff", "upgrade", "--wait", "web")
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(self.served_by(), 5)
        self.as_user("systemctl", "--user", "stop", SERVICE_UNIT)
        shown = self.as_user("systemctl", "--user", "show", "-p", "Result,ActiveState", SERVICE_UNIT).stdout
        self.assertEqual(set(shown.split()), {"Result=success", "ActiveState=inactive"})
        self.assertEqual(self.machine.run("pgrep", "-u", "somebody", "-f", "handoff", check=False).stdout, "")


Trixie, Bookworm = systemd_test.in_each_release(Units)


if __name__ == "__main__":
    harness.main()
