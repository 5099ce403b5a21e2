"""Two variants side by side: started, compared and concluded by `handoff experiment`. Skipped where nothing is steered."""

import json
import os
import signal

import harness
import puppet
from steering_test import SteeredCase

CLIENTS = "60"  # addresses; more make shares nearer to the weights


def environment_of(pid):
    return dict(v.split("=", 1) for v in harness.environment_of(pid).decode().split("\0") if "=" in v)


class ExperimentCase(SteeredCase):
    def rest(self, more="", metric=""):
        return f'{puppet.BRISK}\n[rollout]\nstrategy = "experiment"\n{more}\n{metric}'

    def begun(self, s, *options):
        done = s.cli("experiment", "start", "web", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def report(self, s):
        done = s.cli("experiment", "report", "web", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def ended(self, s, code, *arguments):
        done = s.cli("experiment", *arguments)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def clients_seen(self, s):
        return sum(side["connections"] for side in self.report(s)["variants"])


class Life(ExperimentCase):
    def test_either_variant_may_be_kept_and_no_request_fails(self):
        s = self.supervise(self.demos(rest=self.rest()))
        with harness.Load(self.address, "--threads", "2", "--sources", CLIENTS) as load:
            said = self.begun(s)
            self.assertIn("'control' (generation 1, 50 %) and 'treatment' (generation 2, 50 %)", said)
            self.assertNotIn("note:", said)
            harness.poll_until(lambda: self.clients_seen(s) > 1000, "some traffic")
            shares = {side["name"]: side["share"] for side in self.report(s)["variants"]}
            self.assertTrue(15 < shares["treatment"] < 85, shares)  # five standard deviations of 60 draws
            said = self.ended(s, 0, "conclude", "web", "--keep", "treatment")
            self.assertIn("VARIANT", said)  # the last report
            self.assertIn("'treatment' is kept: generation 2 serves; 'control', generation 1,", said)
            self.assertEqual(s.status()["live"], 2)
            s.events.wait("gone", generation=1)

            self.assertIn("generation 2, now 'control', still has HANDOFF_VARIANT=treatment", self.begun(s))
            told = json.loads(self.ended(s, 0, "conclude", "web", "--keep", "3", "--json").splitlines()[0])
            self.assertEqual((told["kept"], told["generation"], told["verdict"]), ("treatment", 3, "promoted"))
            self.assertEqual([v["name"] for v in told["report"]["variants"]], ["control", "treatment"])

            self.begun(s)
            said = self.ended(s, 0, "conclude", "web", "--keep", "control")
            self.assertIn("'control' is kept: generation 3 serves; 'treatment', generation 4,", said)
            self.assertEqual(s.status()["live"], 3)
            self.assertEqual(s.status()["last"]["verdict"], "rolled_back")
        self.assert_nothing_failed(load, at_least=100)

    def test_a_client_stays_on_its_side_and_only_what_came_since_counts(self):
        s = self.supervise(self.demos(rest=self.rest()))
        for _ in range(30):
            puppet.ask(self.port, "127.0.1.1")
        self.begun(s)
        sides = {}
        for client in range(2, 34):
            seen = {puppet.ask(self.port, f"127.0.1.{client}") for _ in range(5)}
            self.assertEqual(len(seen), 1, client)
            sides.setdefault(seen.pop(), []).append(client)
        self.assertEqual(set(sides), {1, 2})
        report = self.report(s)
        counted = {side["generation"]: side["connections"] for side in report["variants"]}
        self.assertEqual(counted, {1: 5 * len(sides[1]), 2: 5 * len(sides[2])})
        self.assertAlmostEqual(sum(side["share"] for side in report["variants"]), 100)

    def test_a_client_moves_about_where_the_file_says_so(self):
        s = self.supervise(self.demos(rest=self.rest("sticky = false")))
        self.begun(s)
        self.assertEqual({puppet.ask(self.port, "127.0.1.1") for _ in range(64)}, {1, 2})

    def test_the_variant_is_in_the_environment_of_every_instance_and_of_those_that_replace_it(self):
        s = self.supervise(self.demos(service="instances = 2",
                                      rest=self.rest('variants = ["old", "new"]\ncandidate-restarts = 1')))
        self.assertNotIn("HANDOFF_VARIANT", environment_of(s.pids()[0]))
        self.begun(s)
        for pid in s.pids("candidate"):
            self.assertEqual(environment_of(pid)["HANDOFF_VARIANT"], "new")
        self.assertEqual([g["variant"] for g in s.status()["generations"]], [None, "new"])
        for keep in ("candidate", "live"):
            mark, victim = s.events.mark(), s.pids("candidate" if keep == "candidate" else "live")[0]
            os.kill(victim, signal.SIGKILL)
            s.events.wait("instance_ready", since=mark, generation=2)
            self.assertNotIn(victim, s.pids(keep))
            for pid in s.pids(keep):
                self.assertEqual(environment_of(pid)["HANDOFF_VARIANT"], "new")
            if keep == "candidate":
                self.ended(s, 0, "conclude", "web", "--keep", "new")

    def test_another_weight_is_there_from_the_first_connection_on(self):
        s = self.supervise(self.demos(rest=self.rest("weight = 90")))
        self.assertIn("'treatment' (generation 2, 12.5 %)", self.begun(s, "--weight", "12.5"))
        self.assertEqual(s.events.wait("holding")["weight"], 12.5)
        self.assertEqual(s.events.count("weighted"), 0)

    def test_a_trigger_meanwhile_is_kept_and_told(self):
        s = self.supervise(self.demos(rest=self.rest()))
        self.begun(s)
        s.signal(signal.SIGHUP)
        next_one = s.events.wait("queued")["rollout"]
        self.assertIn(f"rollout {next_one} comes next", s.cli("status", "web").stdout)
        self.ended(s, 0, "conclude", "web", "--keep", "control")
        s.events.wait("started", rollout=next_one)

    def test_status_tells_the_variants(self):
        s = self.supervise(self.demos(rest=self.rest()))
        self.begun(s)
        told = s.cli("status", "web").stdout
        self.assertIn("live, control", told)
        self.assertIn("candidate, treatment", told)

    def test_who_gives_up_leaves_it_going(self):
        s = self.supervise(self.demos(rest=self.rest()))
        s.write(self.demos("--never-ready", rest=self.rest()))
        self.assertIn("goes on", self.ended(s, 4, "start", "web", "--timeout", "2s"))
        s.call("Abort")

    def test_a_candidate_that_fails_is_no_experiment(self):
        s = self.supervise(self.demos(rest=self.rest()))
        s.write(self.demos("--fail-start", "3", rest=self.rest()))
        self.assertIn("exited 3", self.ended(s, 1, "start", "web"))


class Refusals(ExperimentCase):
    def test_another_strategy_is_told_what_to_write_where(self):
        s = self.supervise(self.demos(rest=f'{puppet.BRISK}\n[rollout]\nsharing = "steered"\n'))
        said = self.ended(s, 5, "start", "web")
        self.assertIn(f"write strategy = \"experiment\" into [rollout] of {s.configuration}", said)
        self.assertEqual(len(s.call("History")["rollouts"]), 1)
        number = s.call("Upgrade", experiment=True)["rollout"]
        verdict = s.events.wait("verdict", rollout=number)
        self.assertEqual(verdict["verdict"], "refused")
        self.assertIn(s.configuration, verdict["reason"])

    def test_one_at_a_time(self):
        s = self.supervise(self.demos(rest=self.rest()))
        self.begun(s)
        self.assertIn("an experiment runs already, rollout 2", self.ended(s, 5, "start", "web"))
        with self.assertRaises(harness.Refused):
            s.call("Upgrade", weight=5)

    def test_there_must_be_one(self):
        s = self.supervise(self.demos(rest=self.rest()))
        self.assertIn("handoff experiment start web", self.ended(s, 5, "report", "web"))
        self.ended(s, 5, "conclude", "web", "--keep", "control")

    def test_a_variant_must_be_one(self):
        s = self.supervise(self.demos(rest=self.rest('variants = ["blue", "green"]')))
        self.begun(s)
        self.assertIn("expected 'blue' (generation 1) or 'green' (generation 2), found 'control'",
                      self.ended(s, 2, "conclude", "web", "--keep", "control"))
        self.ended(s, 2, "conclude", "web")
        self.assertEqual(len(self.report(s)["variants"]), 2)

    def test_wrong_usage(self):
        s = self.supervise(self.demos())
        for arguments in ((), ("start",), ("nonsense", "web"), ("start", "web", "--weight", "101"), ("start", "web", "x")):
            self.ended(s, 2, *arguments)


class Metrics(ExperimentCase):
    """The treatment fails each 20th request, the control none."""

    def configuration(self, *options, bound=""):
        counters = self.path("counters")
        read = json.dumps(["/bin/sh", "-c", f"cat {counters}.$HANDOFF_GENERATION"])
        metric = f'[[metric]]\nname = "errors"\ncommand = {read}\ninterval = "200ms"\nmin-count = 200\n{bound}'
        return self.demos("--counters", counters, *options, rest=self.rest(metric=metric))

    def test_a_difference_is_told_and_ends_nothing(self):
        s = self.supervise(self.configuration())
        s.write(self.configuration("--fail-every", "20"))
        with harness.Load(self.address, "--threads", "2", "--sources", CLIENTS):
            self.begun(s)

            def told():
                metric = self.report(s)["metrics"][0]
                return metric["difference"] and metric["difference"]["significant"] and metric

            metric = harness.poll_until(told, "a significant difference")
            text = s.cli("experiment", "report", "web").stdout
        self.assertTrue(metric["difference"]["low"] < 0.05 < metric["difference"]["high"], metric)
        self.assertEqual(metric["live"]["failures"], 0)
        self.assertFalse(metric["bounded"])
        self.assertRegex(text, r"errors +0 % of \d+ +[45](\.\d+)? % of \d+ +\+[45]\S* points \(\S+\) +treatment is worse")
        self.assertIsNotNone(s.status()["rollout"])

    def test_a_bound_ends_it(self):
        s = self.supervise(self.configuration())
        s.write(self.configuration("--fail-every", "20", bound="max = 1"))
        with harness.Load(self.address, "--threads", "2", "--sources", CLIENTS):
            self.begun(s)
            verdict = s.events.wait("verdict", rollout=2)
        self.assertEqual(verdict["verdict"], "rolled_back")
        self.assertIn("metric 'errors'", verdict["reason"])

    def test_live_that_cannot_be_read_disables_no_bound(self):
        s = self.supervise(self.configuration())
        text = self.configuration("--fail-every", "20", bound="max = 1").replace("cat ", "test $HANDOFF_GENERATION != 1 && cat ")
        s.write(text)
        with harness.Load(self.address, "--threads", "2", "--sources", CLIENTS):
            self.begun(s)
            verdict = s.events.wait("verdict", rollout=2)
        self.assertIn("metric 'errors'", verdict["reason"])


if __name__ == "__main__":
    harness.main()
