"""Crashes: of a candidate while it bakes, of live with and without a rollout, of both. Last good means last good."""

import os
import shutil
import signal
import unittest

import harness
import puppet

BAKE = puppet.BRISK + '[rollout]\nbake = "{}"\n'


class Bake(puppet.TestCase):
    def test_a_candidate_that_crashes_while_baking_is_rolled_back(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.puppets(rest=BAKE.format("1h")))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)
        self.assertEqual(s.status()["live"], 1)
        os.kill(s.pids("candidate")[0], signal.SIGKILL)
        event = s.events.wait("verdict", rollout=rollout)
        self.assertEqual(event["verdict"], "rolled_back")
        self.assertIn("killed by SIGKILL during baking", event["reason"])
        self.assert_live_untouched(s, pids)

    def test_an_instance_that_ends_by_itself_while_baking_counts_as_a_crash(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos("--crash-after-ms", "50", rest=BAKE.format("1h")))
        self.assertIn("killed by SIGABRT", s.upgrade("rolled_back")["reason"])

    def test_after_the_bake_the_candidate_is_promoted_and_the_old_one_drains(self):
        s = harness.Supervisor(self, self.demos())
        old = s.pids()
        s.write(self.demos(rest=BAKE.format("200ms")))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)
        self.assertTrue(harness.is_alive(old[0]))
        s.events.wait("settled", rollout=rollout)
        self.assertEqual(puppet.ask(self.port), 2)
        self.assertFalse(harness.is_alive(old[0]))

    def test_a_candidate_may_crash_as_often_as_candidate_restarts_says(self):
        rest = BAKE.format("1h") + "candidate-restarts = 1\n"
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest=rest))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)
        first = s.pids("candidate")[0]
        os.kill(first, signal.SIGKILL)
        s.events.wait("instance_restarting", generation=2)
        second = harness.poll_until(
            lambda: [p for p in s.pids("candidate") if p and p != first], "the candidate's second process")[0]
        self.assertIsNotNone(s.status()["rollout"])
        os.kill(second, signal.SIGKILL)
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "rolled_back")

    def test_live_that_crashes_during_a_rollout_comes_back_as_the_old_version(self):
        s = harness.Supervisor(self, self.demos())
        old = s.pids()[0]
        s.write(self.demos(rest=BAKE.format("1h")))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)
        os.kill(old, signal.SIGKILL)
        s.events.wait("instance_restarting", generation=1)
        s.events.wait("instance_ready", instance="1.1")
        self.assertNotIn(old, s.pids())
        s.call("Promote")
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "promoted")
        self.assertEqual(s.status()["live"], 2)

    def test_when_both_are_bad_the_last_good_one_is_restarted(self):
        sick = self.path("sick")
        code = f"if generation == 1 and os.path.exists({sick!r}): sys.exit(5)"
        s = harness.Supervisor(self, self.puppets(code))
        s.write(self.puppets(code, rest=BAKE.format("1h")))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)
        open(sick, "w").close()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("degraded")
        os.kill(s.pids("candidate")[0], signal.SIGKILL)
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "rolled_back")
        self.assertEqual(s.status()["state"], "degraded")
        os.unlink(sick)
        self.assertEqual(puppet.ask(self.port), 1)


class Restarts(puppet.TestCase):
    def crash(self, s):
        """Kills live's only instance; returns when another is ready."""
        mark = s.events.mark()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_restarting", since=mark)
        s.events.wait("instance_ready", since=mark)

    def test_live_restarts_from_the_pinned_executable_after_a_failed_upgrade(self):
        program = self.install("program")
        s = harness.Supervisor(self, puppet.configuration([program], self.address))
        self.install("program", "/bin/false")
        self.assertIn("exited 1 before ready", s.upgrade("rolled_back")["reason"])
        self.assertEqual(s.generation()["executable_state"], "replaced")
        self.crash(s)
        self.assertEqual(puppet.ask(self.port), 1)
        self.assertEqual(s.generation()["instances"][0]["restarts"], 1)
        os.unlink(program)
        self.crash(s)
        self.assertEqual(puppet.ask(self.port), 1)

    def test_the_settings_are_as_frozen_as_the_executable(self):
        s = harness.Supervisor(self, self.puppets())
        s.write(self.puppets("sys.exit(1)"))
        s.upgrade("rolled_back")
        self.crash(s)
        self.assertEqual(puppet.ask(self.port), 1)

    def test_a_file_that_was_rolled_back_from_is_said_to_have_diverged(self):
        s = harness.Supervisor(self, self.puppets())
        s.write(self.puppets("pass"))
        s.upgrade()
        self.assertNotIn("diverged", str(s.status()["notes"]))
        s.events.wait("settled", rollout=s.call("Rollback")["rollout"])
        self.assertIn("has diverged from what serves, generation 3", str(s.status()["notes"]))
        s.upgrade()
        self.assertNotIn("diverged", str(s.status()["notes"]))

    def test_a_file_with_another_address_has_diverged_and_one_that_is_being_begun_has_not(self):
        s = harness.Supervisor(self, self.puppets())
        elsewhere = [f"127.0.0.1:{harness.free_port()}"]
        s.write(self.puppets(addresses=elsewhere, rest=BAKE.format("1h")))
        s.events.wait("serving", rollout=s.call("Upgrade")["rollout"])
        self.assertNotIn("diverged", str(s.status()["notes"]))
        s.call("Promote")
        s.events.wait("settled")
        back = s.call("Rollback")["rollout"]
        s.events.wait("serving", rollout=back)
        s.call("Promote")
        s.events.wait("settled", rollout=back)
        self.assertIn("has diverged from what serves, generation 3", str(s.status()["notes"]))

    def test_an_executable_overwritten_in_place_is_said_to_be_lost(self):
        program = self.install("program")
        s = harness.Supervisor(self, puppet.configuration(
            [program], self.address, rest='[restart]\nbackoff = "1h..1h"\n'))
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_restarting")  # until then the kernel refuses: text file busy
        shutil.copyfile("/bin/sleep", program)
        self.assertEqual(s.generation()["executable_state"], "overwritten")
        self.assertTrue(any("last good is lost" in note for note in s.status()["notes"]))

    def test_a_crash_loop_backs_off_is_degraded_and_recovers(self):
        rest = '[restart]\nbackoff = "20ms..80ms"\nburst = 3\nwindow = "5s"\n[drain]\ntimeout = "1s"\n'
        sick = self.path("sick")
        s = harness.Supervisor(self, self.puppets(f"if os.path.exists({sick!r}): sys.exit(5)", rest=rest))
        open(sick, "w").close()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("degraded")
        self.assertEqual(s.status()["state"], "degraded")
        with s.events.changed:
            waits = [e["text"] for e in s.events.seen if e["kind"] == "instance_restarting"]
        self.assertTrue(any("in 20ms" in w for w in waits) and any("in 40ms" in w for w in waits), waits)
        os.unlink(sick)
        self.assertEqual(puppet.ask(self.port), 1)  # who came meanwhile is served
        s.events.wait("recovered")
        self.assertEqual(s.status()["state"], "serving")

    def test_an_upgrade_is_the_way_out_of_a_crash_loop(self):
        sick = self.path("sick")
        s = harness.Supervisor(self, self.puppets(f"if generation == 1 and os.path.exists({sick!r}): sys.exit(5)"))
        open(sick, "w").close()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("degraded")
        s.upgrade()
        self.assertEqual(puppet.ask(self.port), 2)
        self.assertEqual(s.status()["state"], "serving")

    def test_live_that_cannot_be_launched_any_more_is_tried_again(self):
        """A crash of live whose working directory is gone is a failed launch, not the end."""
        directory = self.path("cwd")
        os.mkdir(directory)
        s = harness.Supervisor(self, self.demos(service=f'working-directory = "{directory}"'))
        os.rmdir(directory)
        mark = s.events.mark()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_exited", since=mark)
        harness.poll_until(lambda: s.events.count("instance_restarting") >= 3, "some tries")
        os.mkdir(directory)
        self.assertEqual(puppet.ask(self.port), 1)


class Watchdog(puppet.TestCase):
    def test_silent_live_is_aborted_and_restarted(self):
        s = harness.Supervisor(self, self.puppets(service='watchdog = "1m"'))
        self.assertEqual(self.tell("answer = os.environ['WATCHDOG_USEC']"), "'60000000'")
        self.assertEqual(self.tell("answer = int(os.environ.get('WATCHDOG_PID', os.getpid())) - os.getpid()"), "0")
        mark = s.events.mark()
        self.tell("notify('WATCHDOG_USEC=100000')")
        killed = s.events.wait("instance_killed", since=mark)
        self.assertIn("watchdog: silent for 100ms", killed["text"])
        self.assertIn("SIGABRT", s.events.wait("instance_exited", since=mark)["text"])
        s.events.wait("instance_ready", since=mark)
        self.assertEqual(puppet.ask(self.port), 1)

    def test_a_candidate_whose_watchdog_bites_is_rolled_back(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.puppets(service='watchdog = "100ms"', rest=BAKE.format("1h")))
        self.assertIn("watchdog", s.upgrade("rolled_back")["reason"])
        self.assert_live_untouched(s, pids)

    def test_a_service_may_pull_the_trigger_itself(self):
        s = harness.Supervisor(self, self.puppets())
        mark = s.events.mark()
        self.tell("notify('WATCHDOG=trigger')")
        self.assertIn("triggered by the service", s.events.wait("instance_killed", since=mark)["text"])
        s.events.wait("instance_ready", since=mark)

    def test_one_that_ignores_sigabrt_is_killed(self):
        s = harness.Supervisor(self, self.puppets("signal.signal(signal.SIGABRT, signal.SIG_IGN)"))
        mark = s.events.mark()
        self.tell("notify('WATCHDOG=trigger')")
        self.assertIn("SIGKILL", s.events.wait("instance_exited", since=mark)["text"])
        s.events.wait("instance_ready", since=mark)


class Gates(puppet.TestCase):
    """Checks and hooks."""

    def hooks(self, failing=None):
        def hook(kind):
            told = f"{kind} $HANDOFF_HOOK $HANDOFF_SERVICE $HANDOFF_GENERATION $HANDOFF_ROLLOUT"
            line = f'echo "{told}" >> {self.path("hooks")}'
            return self.script(kind, line + ("\necho because >&2; exit 9" if kind == failing else ""))
        kinds = ("preflight", "ready", "switched", "drained", "failed")
        return puppet.BRISK + "[hooks]\n" + "".join(f'{k} = ["{hook(k)}"]\n' for k in kinds)

    def told(self):
        return self.read("hooks").splitlines()

    def test_hooks_run_in_order_with_the_rollout_in_their_environment(self):
        s = harness.Supervisor(self, self.demos(rest=self.hooks()))
        self.assertEqual(self.told(), [f"{k} {k} web 1 1" for k in ("preflight", "ready", "switched")])
        s.upgrade()
        harness.poll_until(lambda: len(self.told()) == 7, "the drained hook")
        self.assertEqual(self.told()[3:6], [f"{k} {k} web 2 2" for k in ("preflight", "ready", "switched")])
        self.assertEqual(self.told()[6], "drained drained web 1 2")

    def test_a_failing_hook_fails_the_rollout_and_the_failed_hook_runs(self):
        for kind in ("preflight", "ready", "switched"):
            with self.subTest(kind):
                s = harness.Supervisor(self, self.demos(), name=kind)
                pids = s.pids()
                s.write(self.demos(rest=self.hooks(failing=kind)))
                reason = s.upgrade("rolled_back")["reason"]
                self.assertIn(f"{kind} hook: exited 9: because", reason)
                self.assert_live_untouched(s, pids)
                harness.poll_until(lambda: f"failed failed {kind} 2 2" in self.told(), "the failed hook")
                if kind == "preflight":
                    self.assertEqual(s.events.count("instance_started", generation=2), 0)
                self.assertEqual(s.stop(), 0)

    def test_a_hook_that_hangs_is_ended_at_its_timeout_with_its_children(self):
        child = self.path("child")
        hang = self.script("hang", f"sleep 1000 & echo $! > {child}; wait")
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest=puppet.BRISK + f'[hooks]\nready = {{ command = ["{hang}"], timeout = "3s" }}\n'))
        self.assertIn("ready hook: no end in time", s.upgrade("rolled_back")["reason"])
        harness.poll_until(lambda: not harness.is_alive(int(self.read("child"))), "the hook's child to end")

    def test_a_hook_is_told_its_own_rollout_and_not_the_one_that_waits_behind(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest=self.hooks() + '[rollout]\nbake = "1h"\n'))
        s.events.wait("serving", rollout=s.call("Upgrade")["rollout"])
        self.assertEqual(s.call("Upgrade")["rollout"], 3)
        s.call("Abort")
        harness.poll_until(lambda: any(line.startswith("failed ") for line in self.told()), "the failed hook")
        self.assertIn("failed failed web 2 2", self.told())

    @unittest.skipUnless(os.geteuid() == 0, "only root may run a hook as somebody else")
    def test_a_hook_runs_as_the_user_that_it_names_and_else_as_the_services(self):
        def hook(name):
            return self.script(name, f"(id -un; id -Gn) > {self.path(name)}.said")
        os.chmod(self.directory, 0o777)
        hooks = f'preflight = {{ command = ["{hook("named")}"], user = "daemon" }}\nready = ["{hook("unnamed")}"]\n'
        s = harness.Supervisor(self, self.demos(rest=puppet.BRISK + "[hooks]\n" + hooks, service='user = "nobody"'))
        self.assertEqual(self.read("named.said").split(), ["daemon", "daemon"])
        self.assertEqual(self.read("unnamed.said").split(), ["nobody", "nogroup"])
        self.assertEqual(s.stop(), 0)

    @unittest.skipUnless(os.geteuid() == 0, "only root may run a service as somebody else")
    def test_the_failed_hook_of_a_release_that_is_gone_runs_as_that_release_says(self):
        os.chmod(self.directory, 0o777)
        hook = self.script("failed", f"id -un > {self.path('said.new')}; mv {self.path('said.new')} {self.path('said')}")
        s = harness.Supervisor(self, self.demos())
        s.write(self.puppets("sys.exit(1)", service='user = "nobody"', rest=f'{puppet.BRISK}[hooks]\nfailed = ["{hook}"]\n'))
        s.upgrade("rolled_back", until=None)
        harness.poll_until(lambda: os.path.exists(self.path("said")), "the failed hook")
        self.assertEqual(self.read("said").strip(), "nobody")
        harness.poll_until(lambda: [g["number"] for g in s.status()["generations"]] == [1], "the candidate to be gone")

    def test_the_failed_hook_of_a_first_start_that_fails_runs(self):
        s = harness.Supervisor(self, self.puppets("sys.exit(1)", rest=self.hooks()), start=False)
        s.start(until="rolled_back")
        harness.poll_until(lambda: os.path.exists(self.path("hooks")) and "failed failed web 1 1" in self.told(),
                           "the failed hook")

    def test_a_missing_hook_is_a_failed_hook(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest=puppet.BRISK + '[hooks]\npreflight = ["/no/such/hook"]\n'))
        self.assertIn("preflight hook", s.upgrade("rolled_back")["reason"])

    def check(self, text, more=""):
        return f'[[check]]\nname = "sane"\ncommand = ["{self.script("check", text)}"]\ninterval = "20ms"\n{more}\n'

    def test_a_failing_check_before_traffic_moves_rolls_back(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.demos(rest=puppet.BRISK + self.check("echo not sane; exit 1")))
        event = s.upgrade("rolled_back")
        self.assertIn("check 'sane': exited 1: not sane", event["reason"])
        self.assertEqual(s.events.count("serving", generation=2), 0)
        self.assert_live_untouched(s, pids)

    def test_forgiven_failures_are_forgiven(self):
        third_time = f'echo x >> {self.path("tries")}; test $(wc -l < {self.path("tries")}) -ge 3'
        s = harness.Supervisor(self, self.demos(rest=puppet.BRISK + self.check(third_time, "failures = 2")))
        self.assertEqual(self.read("tries"), "x\n" * 3)
        self.assertEqual(s.status()["live"], 1)

    def test_a_check_that_fails_during_the_bake_rolls_back(self):
        rest = BAKE.format("1h") + self.check(f'test ! -e {self.path("worse")}', "during-bake = true")
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.demos(rest=rest))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)
        open(self.path("worse"), "w").close()
        event = s.events.wait("verdict", rollout=rollout)
        self.assertIn("check 'sane'", event["reason"])
        self.assert_live_untouched(s, pids)


if __name__ == "__main__":
    harness.main()
