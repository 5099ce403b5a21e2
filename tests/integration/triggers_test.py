"""What people ask for, one at a time, too often, and at the wrong moment."""

import os
import signal

import harness
import puppet


class Triggers(puppet.TestCase):
    BAKE = puppet.BRISK + '[rollout]\nbake = "1h"\n'

    def test_a_hundred_hups_during_a_rollout_become_exactly_one_more(self):
        s = harness.Supervisor(self, self.demos())
        gate = self.path("gate")
        os.mkfifo(gate)
        s.write(self.puppets(f"open({gate!r}).close()"))
        first = s.hup()
        s.events.wait("instance_started", generation=2)
        for _ in range(100):
            s.signal(signal.SIGHUP)
            s.call("Status")  # each is a signal of its own
        self.assertEqual(s.status()["pending"], first + 1)
        self.assertEqual(s.call("Upgrade")["rollout"], first + 1)
        s.write(self.demos())
        open(gate, "w", encoding="ascii").close()
        s.events.wait("settled", rollout=first + 1)
        self.assertEqual(s.events.count("started"), 2)
        self.assertEqual(s.status()["live"], 3)
        self.assertIsNone(s.status()["pending"])

    def test_signals_that_mean_nothing_are_ignored_and_logged(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        for name in ("QUIT", "TSTP", "TTIN", "WINCH", "ALRM", "PROF"):
            s.signal(getattr(signal, "SIG" + name))
            harness.poll_until(lambda name=name: f"ignored SIG{name}" in s.log_text(), f"SIG{name} to be logged")
        self.assert_live_untouched(s, pids)

    def test_an_abort_during_a_bake_leaves_live_as_it_was(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.demos(rest=self.BAKE))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)
        self.assertEqual(s.call("Abort")["rollout"], rollout)
        event = s.events.wait("verdict", rollout=rollout)
        self.assertEqual((event["verdict"], event["reason"]), ("rolled_back", "aborted"))
        s.events.wait("settled", rollout=rollout)
        self.assert_live_untouched(s, pids)

    def test_abort_and_rollback_with_nothing_to_act_on_are_refused(self):
        s = harness.Supervisor(self, self.demos())
        for method, reason in (("Abort", "no rollout is under way"), ("Rollback", "no generation to go back to")):
            with self.assertRaises(harness.Refused) as refused:
                s.call(method)
            self.assertEqual(refused.exception.error, "Refused")
            self.assertIn(reason, refused.exception.parameters["reason"])
        s.upgrade()
        with self.assertRaises(harness.Refused) as refused:
            s.call("Abort")
        self.assertIn("use rollback", refused.exception.parameters["reason"])

    def test_rollback_brings_the_previous_pinned_generation_back_whatever_is_on_disk(self):
        program = self.install("program")
        s = harness.Supervisor(self, puppet.configuration([program, "--version", "one"], self.address))
        self.install("program", harness.PYTHON)
        s.write(self.puppets())
        s.upgrade()
        rollout = s.call("Rollback")["rollout"]
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "promoted")
        self.assertEqual(puppet.ask(self.port), 3)
        with open(f"/proc/{s.pids()[0]}/cmdline", "rb") as f:
            self.assertIn(b"\0one\0", f.read())
        self.assertEqual(s.status()["last"]["cause"], "rollback")
        # Twice is there and back again.
        s.events.wait("settled", rollout=rollout)
        rollout = s.call("Rollback")["rollout"]
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "promoted")
        self.assertEqual(s.status()["live"], 4)
        with open(f"/proc/{s.pids()[0]}/cmdline", "rb") as f:
            self.assertIn(b"puppet_service.py", f.read())

    def test_rollback_during_a_rollout_is_refused(self):
        s = harness.Supervisor(self, self.demos())
        s.upgrade()
        s.write(self.demos(rest=self.BAKE))
        s.events.wait("serving", rollout=s.call("Upgrade")["rollout"])
        with self.assertRaises(harness.Refused) as refused:
            s.call("Rollback")
        self.assertIn("abort it first", refused.exception.parameters["reason"])


if __name__ == "__main__":
    harness.main()
