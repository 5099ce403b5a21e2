"""handoff upgrade --outdated: whoever does not run what is on disk is upgraded, and nobody else."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import fake_supervisor
import harness
import puppet

LIBRARY = "libhandoff.so.0"
AS_CHILD = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0"']  # the listeners are for it and not for its parent


def build_id_note(binary):
    """Where the build-id stands in an ELF file."""
    return binary.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16


def install(source, target, as_new_build=False):
    """Puts a file where another one may be in use, as package managers do: beside it, then renamed over it."""
    with open(source, "rb") as file:
        content = bytearray(file.read())
    if as_new_build:
        content[build_id_note(content)] ^= 0xFF
    with open(target + ".new", "wb") as file:
        file.write(content)
    os.chmod(target + ".new", 0o755)
    os.rename(target + ".new", target)


def await_another_second():
    """What changes then is newer than a rollout whose time is known to a second."""
    later = time.time() + 2
    harness.poll_until(lambda: time.time() > later, "another second")


class Outdated(harness.TestCase):
    def service(self, name="web", command=None, extra="", prefix=()):
        """A supervisor of the demonstration's service, with a program and a library of its own."""
        port = harness.free_port()
        s = harness.Supervisor(self, "", name=name, start=False)
        s.port = port
        s.program = os.path.join(s.directory, "service")
        s.library = os.path.join(s.directory, LIBRARY)
        install(harness.DEMO_SERVICE, s.program)
        install(os.path.join(harness.BUILD, "src", LIBRARY), s.library)
        s.command = [*prefix, *(command(s) if command else [s.program])]
        self.configure(s, extra)
        s.start()
        return s

    @staticmethod
    def configure(s, extra=""):
        service = f'environment = {{ LD_LIBRARY_PATH = "{s.directory}" }}\n{extra}'
        rest = '[drain]\ntimeout = "10s"\n'
        s.write(puppet.configuration(s.command, f"127.0.0.1:{s.port}", service=service, rest=rest))

    def outdated(self, s, *options, code=0):
        done = s.cli("upgrade", "--outdated", *options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def assert_current(self, s):
        self.assertIn("1 service: 1 up to date", self.outdated(s, "--dry-run"))

    @staticmethod
    def maps(pid, path):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
            return path in maps.read()
        return False

    def replace_library(self, s):
        harness.poll_until(lambda: any(self.maps(pid, s.library) for pid in s.left_behind()), "its library to be mapped")
        install(s.library, s.library, as_new_build=True)

    def test_who_runs_what_is_on_disk_is_left_alone(self):
        s = self.service()
        self.assertEqual(self.outdated(s), "1 service: 1 up to date\n")
        self.assertEqual(self.outdated(s, "--dry-run"), "web: up to date\n1 service: 1 up to date\n")
        self.assertEqual(s.status()["live"], 1)

    def test_a_replaced_library_is_told_and_taken_under_load(self):
        s = self.service()
        before = os.stat(s.library).st_ino
        self.replace_library(s)
        after = os.stat(s.library).st_ino
        told = self.outdated(s, "--dry-run")
        self.assertIn(f"{s.library} replaced: inode {before} -> {after}", told)
        self.assertIn("1 service: 1 outdated (web)", told)
        self.assertEqual(s.status()["live"], 1)
        with harness.Load(f"127.0.0.1:{s.port}", "--clients", "4") as load:
            told = self.outdated(s)
        self.assert_nothing_failed(load)
        self.assertRegex(told, "web: generation 2 (serves|promoted)")
        self.assertIn("1 service: 1 upgraded (web)", told)
        s.events.wait("settled")
        self.assert_current(s)

    @unittest.skipUnless(os.geteuid() == 0, "only root may read what was deleted")
    def test_the_same_build_installed_again_is_the_same_code(self):
        s = self.service()
        for path in (s.library, s.program):
            install(path, path)
        self.assert_current(s)

    def test_a_replaced_program_is_taken(self):
        s = self.service()
        install(s.program, s.program, as_new_build=True)
        self.assertIn(f"{s.program} replaced: inode", self.outdated(s, "--wait"))
        self.assertEqual(s.status()["live"], 2)
        self.assert_current(s)

    def test_a_bad_program_is_rolled_back_and_said(self):
        s = self.service()
        install("/bin/false", s.program)
        told = self.outdated(s, code=1)
        self.assertIn("rolled back", told)
        self.assertIn("1 service: 1 failed (web)", told)
        self.assertEqual(s.status()["live"], 1)

    def test_what_was_tried_is_not_tried_again_before_something_changes(self):
        s = self.service()
        install("/bin/false", s.program)
        self.outdated(s, code=1)
        rollout = s.status()["last"]["rollout"]
        self.assertIn(f"rollout {rollout} tried it: exited 1 before ready", self.outdated(s))
        self.assertEqual(s.status()["last"]["rollout"], rollout)
        install(harness.DEMO_SERVICE, s.program, as_new_build=True)
        await_another_second()
        self.configure(s)
        self.outdated(s, "--wait")
        self.assert_current(s)

    def test_a_program_that_is_gone_is_nothing_to_upgrade_to(self):
        s = self.service()
        os.unlink(s.program)
        told = self.outdated(s)
        self.assertIn("web: left alone\n  " + s.program + " names nothing that could be started", told)
        self.assertIsNone(s.status()["rollout"])
        self.assertEqual(s.status()["last"]["rollout"], 1)

    def test_a_link_that_leads_elsewhere_is_followed(self):
        def linked(s):
            os.mkdir(os.path.join(s.directory, "1"))
            install(s.program, os.path.join(s.directory, "1", "service"))
            os.symlink("1", os.path.join(s.directory, "current"))
            return [os.path.join(s.directory, "current", "service")]
        s = self.service(command=linked)
        self.assert_current(s)
        os.mkdir(os.path.join(s.directory, "2"))
        install(s.program, os.path.join(s.directory, "2", "service"))
        os.symlink("2", os.path.join(s.directory, "next"))
        os.rename(os.path.join(s.directory, "next"), os.path.join(s.directory, "current"))
        self.assertIn(f"leads to {s.directory}/2/service", self.outdated(s, "--wait"))
        self.assert_current(s)

    def script(self, s):
        path = os.path.join(s.directory, "start.py")
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/usr/bin/python3\nimport subprocess, sys\n"
                       f"sys.exit(subprocess.call({AS_CHILD + [s.program]!r}, close_fds=False))\n")
        os.chmod(path, 0o755)
        return path

    def test_a_script_is_looked_at_and_what_it_started(self):
        for pinned in (True, False):
            with self.subTest(pinned=pinned):
                def command(s, pinned=pinned):
                    path = self.script(s)
                    return [path] if pinned else [harness.PYTHON, "-u", path]
                s = self.service(command=command, extra='[ready]\nwhen = "alive"\nfor = "300ms"')
                self.assert_current(s)
                install(os.path.join(s.directory, "start.py"), os.path.join(s.directory, "start.py"))
                expected = "start.py replaced" if pinned else "start.py has changed since it was started"
                self.assertIn(expected, self.outdated(s, "--dry-run"))
                self.outdated(s, "--until", "drained")
                self.assert_current(s)
                self.replace_library(s)  # of a child
                self.assertIn("libhandoff", self.outdated(s, "--dry-run"))

    def test_an_orphan_counts_as_well(self):
        """A process that left its session and lost its parent."""
        s = self.service(prefix=["/bin/sh", "-c", '(setsid "$@" &); exec sleep 86399', "sh", *AS_CHILD],
                         extra='[ready]\nwhen = "alive"\nfor = "300ms"')
        self.assert_current(s)
        self.replace_library(s)
        self.assertIn("libhandoff", self.outdated(s, "--dry-run"))

    def test_who_went_back_on_purpose_is_left_alone(self):
        s = self.service()
        install(s.program, s.program, as_new_build=True)
        s.upgrade()
        self.assertEqual(s.cli("rollback", "web", "--wait").returncode, 0)
        self.replace_library(s)
        self.assertIn("it was rolled back by hand", self.outdated(s))
        self.assertEqual(s.cli("upgrade", "web", "--wait").returncode, 0)
        self.assert_current(s)

    def test_a_broken_configuration_fails_like_a_rollout(self):
        s = self.service()
        self.replace_library(s)
        s.write("command = 7\n")
        self.assertIn("refused", self.outdated(s, code=1))
        self.assertEqual(s.status()["live"], 1)

    # ---- several

    def side_by_side(self, *names, **options):
        made = [self.service(name, **options) for name in names]
        for s in made[1:]:
            os.link(s.socket, os.path.join(os.path.dirname(made[0].socket), s.name + ".sock"))  # links are not followed
        return made

    def several(self):
        """Three services in one runtime directory: one current, one outdated, one outdated and broken."""
        made = self.side_by_side("api", "shop", "web")
        self.replace_library(made[1])
        install("/bin/false", made[2].program)
        return made

    def test_each_has_its_turn_whatever_became_of_the_others(self):
        api, shop, web = self.several()
        told = self.outdated(api, "--jobs", "2", code=1)
        self.assertIn("3 services: 1 upgraded (shop), 1 failed (web), 1 up to date", told)
        self.assertEqual([s.status()["live"] for s in (api, shop, web)], [1, 2, 1])

    def test_no_more_at_a_time_than_asked_for(self):
        gates = tempfile.mkdtemp(prefix="handoff-gates-")
        self.addCleanup(shutil.rmtree, gates)
        behind_its_gate = ["/bin/sh", "-c", f'while [ -e {gates}/$HANDOFF_SERVICE ]; do sleep 0.05; done; exec "$0"']
        left = self.side_by_side("api", "blog", "shop", "web", prefix=behind_its_gate)
        for s in left:
            self.replace_library(s)
            os.mkdir(os.path.join(gates, s.name))
        with subprocess.Popen([harness.HANDOFF, "upgrade", "--outdated", "--jobs", "2"], env=left[0].environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as upgrade:
            while left:
                under_way = harness.poll_until(lambda: self.under_way(left, min(2, len(left))), "the next rollout")
                self.assertLessEqual(len(under_way), 2)
                left.remove(under_way[0])
                os.rmdir(os.path.join(gates, under_way[0].name))
                under_way[0].events.wait("verdict", rollout=2, verdict="promoted")
            self.assertEqual(upgrade.wait(harness.PATIENCE), 0)

    @staticmethod
    def under_way(supervisors, least):
        """Those with a rollout; none while they are fewer than that."""
        found = [s for s in supervisors if s.status()["rollout"]]
        return found if len(found) >= least else []

    def test_only_those_that_are_named(self):
        api, _, web = self.several()
        self.assertIn("2 services: 1 upgraded (shop), 1 up to date", self.outdated(api, "api", "shop"))
        self.assertEqual(web.status()["last"]["rollout"], 1)
        self.outdated(api, "api", "nobody", code=3)

    def test_json_has_a_line_for_each_and_a_summary(self):
        api, _, _ = self.several()
        done = api.cli("upgrade", "--outdated", "--dry-run", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(line["service"], line["state"]) for line in lines[:-1]],
                         [("api", "current"), ("shop", "outdated"), ("web", "outdated")])
        self.assertEqual(lines[-1]["summary"]["outdated"], ["shop", "web"])
        done = api.cli("upgrade", "--outdated", "--json")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        of = {line["service"]: line for line in lines[:-1]}
        self.assertEqual((of["shop"]["reached"], of["shop"]["exit"], of["shop"]["generation"]), ("serving", 0, 2))
        self.assertEqual((of["web"]["verdict"], of["web"]["exit"]), ("rolled_back", 1))
        self.assertEqual(lines[-1]["summary"]["failed"], ["web"])

    def test_giving_up_is_told(self):
        s = self.service()
        s.command = ["/bin/sh", "-c", "exec sleep 86399"]
        self.configure(s, '[ready]\ntimeout = "1m"')
        self.replace_library(s)
        told = self.outdated(s, "--timeout", "2s", code=4)
        self.assertIn("1 service: 1 gave up (web)", told)
        s.call("Abort")

    # ---- what cannot be

    def test_without_a_supervisor_there_is_nothing_to_do(self):
        s = self.service()
        self.assertEqual(s.stop(), 0)
        self.assertEqual(self.outdated(s), "no supervisor runs\n")

    def test_it_has_options_of_its_own(self):
        s = self.service()
        for arguments in (["--jobs", "2", "web"], ["--dry-run", "web"], ["--outdated", "--jobs", "0"], []):
            self.assertEqual(s.cli("upgrade", *arguments).returncode, 2)
        self.assertEqual(s.cli("rollback", "--outdated", "web").returncode, 2)

    @unittest.skipUnless(os.geteuid() == 0, "needs another user")
    def test_what_may_not_be_seen_is_not_guessed(self):
        directory = tempfile.mkdtemp(prefix="handoff-outdated-")
        self.addCleanup(shutil.rmtree, directory)
        other = subprocess.Popen(["sleep", "86399"])
        self.addCleanup(other.wait)
        self.addCleanup(other.send_signal, signal.SIGKILL)
        fake = fake_supervisor.FakeSupervisor(directory)
        self.addCleanup(fake.close)
        fake.answers["Status"]["generations"][0]["instances"][0]["pid"] = other.pid
        fake.answers["Plan"] = ("Refused", {"reason": "no"})
        os.chmod(directory, 0o755)
        os.chmod(fake.path, 0o777)
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", harness.HANDOFF, "upgrade",
                               "--outdated"], env={"HANDOFF_RUNTIME_DIR": directory}, capture_output=True, text=True)
        self.assertEqual(done.returncode, 5, done.stdout + done.stderr)
        self.assertIn(f"web: cannot be told\n  opening /proc/{other.pid}/maps: Permission denied", done.stderr)
        self.assertNotIn("Upgrade", fake.calls)


if __name__ == "__main__":
    harness.main()
