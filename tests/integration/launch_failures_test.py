"""A new version that cannot start costs nothing: the old one serves, and who asked is told why."""

import contextlib
import os
import signal
import socket

import harness
import puppet


class LaunchFailures(puppet.TestCase):
    def test_what_cannot_be_executed_is_rolled_back_with_its_reason(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()

        def file(name, content, mode):
            with open(self.path(name), "wb") as f:
                f.write(content)
            os.chmod(self.path(name), mode)
            return self.path(name)

        for what, path, reason in (
            ("a missing file", self.path("missing"), "ENOENT"),
            ("a file that may not be executed", file("plain", b"#!/bin/sh\n", 0o644), "EACCES"),
            ("a file in a wrong format", file("garbage", b"\x7fELF but not really", 0o755), "ENOEXEC"),
            ("a script without its interpreter", file("script", b"#!/no/such/interpreter\n", 0o755), "ENOENT"),
            ("a directory", self.directory, "EACCES"),
        ):
            with self.subTest(what):
                s.write(puppet.configuration([path], self.address))
                event = s.upgrade("rolled_back")
                self.assertIn(reason, event["reason"])
                self.assertIn(reason, s.status()["last"]["reason"])
                self.assert_live_untouched(s, pids)
        s.write(self.demos())
        s.upgrade()

    def test_one_that_exits_at_once_is_told_with_its_last_lines(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.demos("--fail-start", "3"))
        event = s.upgrade("rolled_back")
        self.assertIn("exited 3 before ready", event["reason"])
        self.assertTrue(any("failing at start, as asked" in line for line in event["output"]), event)
        self.assertEqual(s.status()["last"]["output"], event["output"])
        self.assert_live_untouched(s, pids)

    def test_only_the_last_lines_of_much_output_are_kept(self):
        s = harness.Supervisor(self, self.demos())
        noisy = self.script("noisy", "seq 1 20000 | sed s/^/line-/\nexit 1")
        s.write(puppet.configuration([noisy], self.address))
        event = s.upgrade("rolled_back")
        self.assertEqual(event["output"][-1], "line-20000")
        self.assertLess(len("".join(event["output"])), 8192)

    def test_one_that_is_never_ready_is_given_up(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.demos("--never-ready", rest=puppet.BRISK + '[ready]\ntimeout = "300ms"\n'))
        event = s.upgrade("rolled_back")
        self.assertIn("not ready in", event["reason"])
        self.assert_live_untouched(s, pids)

    def test_one_instance_of_many_that_fails_fails_them_all(self):
        code = "if instance == 3: raise SystemExit(7)"
        s = harness.Supervisor(self, self.demos(service="instances = 3"))
        pids = s.pids()
        s.write(self.puppets(code, service="instances = 3"))
        self.assertIn("exited 7 before ready", s.upgrade("rolled_back")["reason"])
        self.assert_live_untouched(s, pids)
        harness.poll_until(lambda: sorted(harness.children(s.process.pid)) == sorted(pids), "nobody left over")

    def test_the_very_first_start_is_tried_until_it_succeeds(self):
        program = self.path("program")
        s = harness.Supervisor(self, puppet.configuration([program], self.address), start=False)
        s.start(until="rolled_back")
        harness.poll_until(lambda: s.status()["state"] == "degraded", "the state degraded")
        self.assertIn("ENOENT", s.status()["last"]["reason"])
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port))) as client:
            client.settimeout(harness.PATIENCE)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.install("program")
            self.assertIn(b"200 OK", client.recv(4096))  # it waited for the first who could serve
        s.events.wait("verdict", verdict="promoted")
        self.assertEqual(s.status()["state"], "serving")
        self.assertEqual(s.stop(), 0)

    def test_stopping_works_while_nothing_could_start(self):
        s = harness.Supervisor(self, self.demos("--fail-start", "1"), start=False)
        s.start(until="rolled_back")
        self.assertEqual(s.stop(), 0)

    # ---- the other kinds of readiness

    def test_ready_when_a_command_says_so(self):
        sign = self.path("sign")
        probe = self.script("probe", f'echo "$HANDOFF_GENERATION $HANDOFF_INSTANCE $MAINPID" >> {self.path("probes")}\n'
                                     f"test -e {sign}")
        exec_ready = puppet.BRISK + f'[ready]\nwhen = "exec"\ncommand = ["{probe}"]\ninterval = "20ms"\n'
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.puppets("ready = False", rest=exec_ready + 'timeout = "300ms"\n'))
        self.assertIn("not ready in", s.upgrade("rolled_back")["reason"])
        self.assert_live_untouched(s, pids)
        s.write(self.puppets("ready = False", rest=exec_ready))
        rollout = s.call("Upgrade")["rollout"]
        harness.poll_until(lambda: "\n3 1 " in self.read("probes"), "a first probe that failed")
        self.assertEqual(s.status()["live"], 1)
        open(sign, "w").close()
        s.events.wait("verdict", rollout=rollout, verdict="promoted")
        self.assertIn(f"3 1 {s.pids()[0]}", self.read("probes"))

    def test_ready_when_it_has_been_alive_for_some_time(self):
        alive = puppet.BRISK + '[ready]\nwhen = "alive"\nfor = "200ms"\n'
        s = harness.Supervisor(self, self.puppets("ready = False", rest=alive))
        s.write(puppet.configuration([self.script("short", "exit 4")], self.address,
                                     rest=alive.replace("200ms", "5s")))
        self.assertIn("exited 4 before ready", s.upgrade("rolled_back")["reason"])
        s.write(self.puppets("ready = False", rest=alive))
        s.upgrade()
        self.assertEqual(puppet.ask(self.port), 3)

    def test_a_signal_before_it_is_ready_is_told_by_name(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.puppets("import signal; os.kill(os.getpid(), signal.SIGSEGV)"))
        self.assertIn("killed by " + signal.SIGSEGV.name, s.upgrade("rolled_back")["reason"])


if __name__ == "__main__":
    harness.main()
