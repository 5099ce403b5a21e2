"""The operator's command against the supervisor that ships: exit codes, words, and what survives a restart."""

import json
import os
import signal
import subprocess

import harness
import puppet


PATIENT = '[drain]\ntimeout = "5s"\n[ready]\ntimeout = "20s"\n'


class Operator(puppet.TestCase):
    def configuration(self, *options):
        return self.demos(*options, rest=PATIENT)

    def assert_ends(self, run, code):
        self.assertEqual(run.returncode, code, f"{run.args}: {run.stdout}{run.stderr}")
        return run

    def test_upgrade_waits_and_tells_the_truth(self):
        s = harness.Supervisor(self, self.configuration())
        good = self.assert_ends(s.cli("upgrade", "--wait", "web"), 0)
        self.assertIn("generation 2", good.stdout)
        drained = self.assert_ends(s.cli("upgrade", "--wait", "--until", "drained", "web"), 0)
        self.assertIn("generation 3", drained.stdout)
        self.assertEqual([g["number"] for g in s.status()["generations"]], [3])

        s.write(self.configuration("--fail-start", "7"))
        bad = self.assert_ends(s.cli("upgrade", "--wait", "web"), 1)
        self.assertIn("exited 7 before ready", bad.stderr)
        self.assertEqual(s.status()["live"], 3)

        s.write("nonsense = 1\n" + self.configuration())
        refused = self.assert_ends(s.cli("upgrade", "--wait", "web"), 1)
        self.assertRegex(refused.stderr, r"web\.toml:3:1: .*nonsense")

    def test_giving_up_leaves_the_rollout_going(self):
        s = harness.Supervisor(self, self.configuration())
        s.write(self.configuration("--never-ready"))
        self.assert_ends(s.cli("upgrade", "--wait", "--timeout", "2s", "web"), 4)
        self.assertEqual(s.status()["rollout"]["number"], 2)
        self.assert_ends(s.cli("abort", "web"), 0)
        s.events.wait("verdict", rollout=2, verdict="rolled_back", reason="aborted")
        self.assert_ends(s.cli("abort", "web"), 5)

    def test_rollback_goes_to_the_pinned_release_before(self):
        s = harness.Supervisor(self, self.configuration())
        self.assert_ends(s.cli("rollback", "web"), 5)
        self.assert_ends(s.cli("upgrade", "--wait", "web"), 0)
        self.assert_ends(s.cli("rollback", "--wait", "web"), 0)
        self.assertEqual(s.status()["last"]["cause"], "rollback")

    def test_status_tells_people_and_programs(self):
        s = harness.Supervisor(self, self.configuration())
        told = self.assert_ends(s.cli("status", "web"), 0).stdout
        self.assertIn("generation 1", told)
        self.assertIn(self.address, told)
        table = self.assert_ends(s.cli("status"), 0).stdout
        self.assertIn("web", table)
        record = json.loads(self.assert_ends(s.cli("status", "--json", "web"), 0).stdout)
        self.assertEqual((record["service"], record["live"], record["state"]), ("web", 1, "serving"))
        self.assert_ends(s.cli("status", "nobody"), 3)

    def test_an_operator_moves_a_rollout_on(self):
        s = harness.Supervisor(self, self.configuration())
        for command in (["promote"], ["pause"], ["resume"]):
            self.assertIn("no rollout is under way", self.assert_ends(s.cli(*command, "web"), 5).stderr)
        s.write(self.configuration() + "[rollout]\nbake = \"10m\"\n")
        self.assert_ends(s.cli("upgrade", "--wait", "--until", "serving", "web"), 0)
        rollout = s.status()["rollout"]
        self.assertEqual(rollout["steps"], ["start 1 instance", "give it all traffic and watch it for 10m",
                                            "generation 1 drains for at most 5s"])
        self.assertEqual((rollout["position"], rollout["strategy"], rollout["paused"]), (1, "handoff", False))
        self.assertIn("paused at: baking", self.assert_ends(s.cli("pause", "web"), 0).stdout)
        self.assertTrue(s.status()["rollout"]["paused"])
        self.assertIn("step 2 of 3: give it all traffic and watch it for 10m\n    paused", s.cli("status", "web").stdout)
        self.assertIn("paused already", self.assert_ends(s.cli("pause", "web"), 5).stderr)
        self.assertIn("goes on: baking, waits for", self.assert_ends(s.cli("resume", "web"), 0).stdout)
        if s.status()["listeners"][0]["sharing"] == "shared":
            self.assertIn("no listener is steered", self.assert_ends(s.cli("set-weight", "web", "5"), 5).stderr)
        else:
            self.assertIn("takes 5 %", self.assert_ends(s.cli("set-weight", "web", "5"), 0).stdout)
        self.assertIn("is over: promoted", self.assert_ends(s.cli("promote", "web"), 0).stdout)
        s.events.wait("verdict", rollout=2, verdict="promoted")

    def test_a_plan_changes_nothing(self):
        s = harness.Supervisor(self, self.configuration())
        s.write("instances = 2\n" + self.configuration() + "[rollout]\nbake = \"10m\"\n")
        told = self.assert_ends(s.cli("plan", "web"), 0).stdout
        self.assertEqual(told, "web: an upgrade now, by strategy 'handoff':\n  1. start 2 instances\n"
                         "  2. give it all traffic and watch it for 10m\n  3. generation 1 drains for at most 5s\n")
        self.assertIn("start 2 instances\n    give it all traffic and watch it for 10m\n", s.cli("check", s.configuration).stdout)
        self.assertEqual((s.status()["live"], s.status()["rollout"]), (1, None))
        s.write("nonsense = 1\n" + self.configuration())
        self.assertRegex(self.assert_ends(s.cli("plan", "web"), 2).stderr, r"web\.toml:3:1: .*nonsense")
        with open(s.configuration, "w") as f:
            f.write('[service]\nname = "other"\n' + self.configuration())
        self.assertIn("name cannot change", self.assert_ends(s.cli("plan", "web"), 5).stderr)

    def test_parameters_are_answered_as_varlink_asks(self):
        s = harness.Supervisor(self, self.configuration())
        for method, parameters, wrong in (("SetWeight", {}, "weight"), ("SetWeight", {"weight": 100.5}, "weight"),
                                          ("SetWeight", {"weight": 0.125}, "weight"),
                                          ("SetWeight", {"weight": 5, "why": ""}, "why"),
                                          ("Promote", {"full": 1}, "full"), ("Plan", {"deep": True}, "deep")):
            with self.assertRaises(harness.Refused) as refused:
                s.call(method, **parameters)
            self.assertEqual((refused.exception.error, refused.exception.parameters),
                             ("InvalidParameter", {"parameter": wrong}))
        for method, parameters in (("SetWeight", {"weight": 5.25}), ("Promote", {"full": None}), ("Pause", {})):
            with self.assertRaises(harness.Refused) as refused:
                s.call(method, **parameters)
            self.assertEqual(refused.exception.error, "Refused")

    def test_history_survives_the_supervisor(self):
        s = harness.Supervisor(self, self.configuration())
        s.write(self.configuration("--fail-start", "7"))
        s.upgrade("rolled_back")
        self.assert_ends(s.cli("stop", "--wait", "web"), 0)
        self.assertEqual(s.process.wait(harness.PATIENCE), 0)
        s.write(self.configuration())
        s.launch()
        harness.poll_until(s._answers, "the control socket")
        harness.poll_until(lambda: s.status()["live"], "a generation that serves")
        lines = self.assert_ends(s.cli("history", "--json", "web"), 0).stdout.splitlines()
        records = [json.loads(line) for line in lines]
        self.assertEqual([(r["rollout"], r["verdict"]) for r in records],
                         [(3, "promoted"), (2, "rolled_back"), (1, "promoted")])
        self.assertIn("exited 7", records[1]["reason"])

    def test_a_rollout_that_the_supervisor_did_not_survive_was_rolled_back(self):
        s = harness.Supervisor(self, self.configuration())
        s.write(self.configuration("--never-ready"))
        with subprocess.Popen([harness.HANDOFF, "upgrade", "--wait", "web"], env=s.environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
            s.events.wait("instance_started", generation=2)
            self.assertEqual(self.history(s), [(1, "promoted", "")], "it has not ended")
            orphans = s.pids("live") + s.pids("candidate")
            s.process.kill()
            s.process.wait(harness.PATIENCE)
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
            for pid in orphans:
                harness.poll_until(lambda pid=pid: not harness.is_alive(pid), f"the end of {pid}")
            s.write(self.configuration())
            s.launch()
            _, told = waiting.communicate(timeout=harness.PATIENCE)
        self.assertEqual(waiting.returncode, 1, told)
        self.assertIn("rollout 2 rolled back: supervisor died", told)
        harness.poll_until(lambda: s.status()["live"], "a generation that serves")
        harness.poll_until(lambda: s.pids() and s.pids()[0] not in (None, *orphans), "live's instance, started again")
        self.assertEqual(s.status()["live"], 1)
        self.assertEqual(self.history(s), [(2, "rolled_back", "supervisor died"), (1, "promoted", "")])

    def history(self, s):
        lines = self.assert_ends(s.cli("history", "--json", "web"), 0).stdout.splitlines()
        return [(r["rollout"], r["verdict"], r["reason"]) for r in map(json.loads, lines)]

    def test_the_history_file_does_not_grow_for_ever(self):
        s = harness.Supervisor(self, self.configuration())
        s.write(self.configuration("--fail-start", "7"))
        for _ in range(60):  # two lines each
            s.upgrade("rolled_back")
        with open(os.path.join(s.environment["HANDOFF_STATE_DIR"], "web.history")) as f:
            lines = [json.loads(line) for line in f]
        self.assertLess(len(lines), 100)
        self.assertEqual({line["rollout"] for line in lines}, set(range(1, 62)))
        self.assertEqual(len(self.history(s)), 61)

    def test_a_history_that_cannot_be_read_is_left_alone(self):
        s = harness.Supervisor(self, self.configuration(), start=False)
        file = os.path.join(s.environment["HANDOFF_STATE_DIR"], "web.history")
        os.makedirs(file)  # a directory in its place
        s.start()
        self.assertIn("the history ends with us", s.log_text())
        self.assertEqual(self.history(s), [(1, "promoted", "")])
        self.assertTrue(os.path.isdir(file))

    def test_nothing_is_written_to_a_state_directory_of_somebody_else(self):
        s = harness.Supervisor(self, self.configuration(), start=False)
        elsewhere = os.path.join(s.directory, "elsewhere")
        os.mkdir(elsewhere)
        os.symlink(elsewhere, s.environment["HANDOFF_STATE_DIR"])
        s.start()
        self.assertIn("the history ends with us", s.log_text())
        self.assertEqual(self.history(s), [(1, "promoted", "")])
        self.assertEqual(os.listdir(elsewhere), [])

    def test_check_speaks_as_the_start_does(self):
        s = harness.Supervisor(self, self.configuration())
        self.assert_ends(s.cli("check", s.configuration), 0)
        s.write("instances = 0\n" + self.configuration())
        checked = self.assert_ends(s.cli("check", s.configuration), 2)
        self.assertEqual(s.stop(), 0)  # for who goes on with it, the file would change nothing
        started = subprocess.run([harness.HANDOFFD, s.configuration], env=s.environment, capture_output=True, text=True)
        self.assertEqual(started.returncode, 2)
        for said in (checked.stderr, started.stderr):
            self.assertIn("web.toml:3:", said)

    def test_the_demonstration(self):
        environment = {**os.environ, "HANDOFFD": harness.HANDOFFD, "HANDOFF_EXEC": harness.HANDOFF_EXEC,
                       "HANDOFF_DEMO_SERVICE": harness.DEMO_SERVICE}
        run = subprocess.run([harness.HANDOFF, "demo", "--json", "--upgrades", "3"], env=environment, text=True,
                             capture_output=True, timeout=harness.PATIENCE)
        self.assert_ends(run, 0)
        naive, ours = (json.loads(line) for line in run.stdout.splitlines())
        self.assertEqual(ours["failed"], 0)
        self.assertGreater(ours["requests"], 100)
        self.assertGreater(naive["requests"], 100)


if __name__ == "__main__":
    harness.main()
