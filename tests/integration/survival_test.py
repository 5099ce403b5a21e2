"""handoffd is killed, without systemd: its successor adopts what runs, and nobody notices."""

import collections
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import deaths
import harness
import puppet

KEPT = 100  # rollouts, by the history


# Its workers have nothing of it but the environment, as those of nginx or gunicorn.
PREFORKING = """
import os, signal, socket
for worker in range(2):
    if os.fork() == 0:
        while True: signal.pause()
ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ear.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""


@deaths.add_tests
class Survival(puppet.TestCase):
    def succeed(self, s):
        """Kills it, and starts a successor, which has come to rest when this returns."""
        s.die()
        s.start(until=None)
        harness.poll_until(lambda: self.is_resting(s.status()), f"a state of rest\n{s.log_text()[-3000:]}")

    def is_resting(self, status):
        return status["rollout"] is None and [g["role"] for g in status["generations"]] == ["live"]

    def is_replaced(self, s, victim):
        pids = s.pids()  # None for one that is not there yet
        return len(pids) == 2 and not {None, victim} & set(pids)

    def assert_runs_what_it_says(self, s):
        def told():
            return {i["pid"] for g in s.status()["generations"] for i in g["instances"]}
        with self.subTest(told=told(), found=s.left_behind(), log=s.log_text()[-3000:]):
            harness.poll_until(lambda: set(s.left_behind()) == told(), "no other processes than those told of")

    def assert_one_verdict_each(self, s, rollouts):
        told = s.cli("history", s.name, "--json")
        self.assertEqual(told.returncode, 0, told.stderr)
        verdicts = collections.Counter(json.loads(line)["rollout"] for line in told.stdout.splitlines())
        oldest = max(1, max(verdicts) + 1 - KEPT)
        wrong = {n: verdicts[n] for n in range(oldest, rollouts + 1) if verdicts[n] != 1}
        self.assertEqual(wrong, {})

    def assert_lines_are_there(self, s, deaths):
        """The numbered lines of each instance, each once. A death may cost those that were just read, and what was in the
        pipe of an instance that ended while nobody held its other end; if it always did, nobody kept the pipe."""
        gaps = 0
        lines = collections.defaultdict(list)
        for instance, line in re.findall(r"web\[([\d.]+)\]: (line \d+|\d+ lines)$", s.log_text(), re.MULTILINE):
            lines[instance].append(line)
        self.assertTrue(lines, s.log_text()[-2000:])
        for instance, all_of_it in lines.items():
            numbers = [int(line.removeprefix("line ")) for line in all_of_it if line.startswith("line")]
            self.assertEqual(numbers, sorted(set(numbers)), instance)
            gaps += sum(after != before + 1 for before, after in zip([0, *numbers], numbers))
        self.assertLessEqual(gaps, deaths / 2 + 1)

    # ---- at any moment

    def test_killed_at_any_moment_under_load(self):
        deaths = int(os.environ.get("HANDOFF_TEST_DEATHS", "20"))
        seed = int(os.environ.get("HANDOFF_TEST_SEED", random.randrange(10**6)))
        chance = random.Random(seed)
        s = self.supervisor("--log-every-ms", "3")
        with harness.Load(self.address, "--clients", "8", "--sources", "8") as load:
            for n in range(deaths):
                with self.subTest(death=n, seed=seed):
                    self.do_something(s, chance)
                    time.sleep(chance.uniform(0, 0.06))  # the moment is what is drawn; nothing waits on it
                    self.succeed(s)
                    self.assert_runs_what_it_says(s)
        self.assert_nothing_failed(load, at_least=100)
        s.upgrade()
        last = s.status()["last"]["rollout"]
        self.assertEqual(s.stop(), 0)
        self.assert_lines_are_there(s, deaths)
        s.start(until=None)
        self.assert_one_verdict_each(s, last)

    def do_something(self, s, chance):
        what = chance.randrange(4)
        if what == 1:
            s.signal(signal.SIGUSR2)
        elif what > 1:
            s.signal(signal.SIGHUP)

    # ---- in every state of a rollout

    def survive(self, moment):
        s = self.supervisor(start=False)

        def configure(before, rest):
            run = ["/bin/sh", "-c", before + "exec " + harness.DEMO_SERVICE]
            s.write(puppet.configuration(run, self.address, service="instances = 2", rest='[drain]\ntimeout = "10s"\n' + rest))

        scene = deaths.Scene(self, self.directory, self.directory, configure)
        scene.prepare(moment)
        s.start()
        scene.attend(s.socket)
        last = moment.reach(scene)
        s.die()
        scene.open_gate()
        self.come_to_rest(s, last, moment.verdict)
        self.assertEqual(s.status()["live"], moment.live)
        self.assert_it_goes_on(s, last)

    def test_degraded_between_two_tries(self):
        s = self.supervisor("--fail-start", "3", extra='[restart]\nbackoff = "1s..1s"\n' + deaths.STEERED, start=False)
        s.start("rolled_back")
        harness.poll_until(lambda: s.status()["state"] == "degraded", "the state degraded")
        s.die()
        s.write(self.demos(service="instances = 2", rest=deaths.STEERED))
        s.start(until=None)
        harness.poll_until(lambda: self.is_resting(s.status()), f"a try that succeeds\n{s.log_text()[-3000:]}")
        self.assert_it_goes_on(s, s.status()["last"]["rollout"])

    def come_to_rest(self, s, last, verdict):
        s.start(until=None)

        harness.poll_until(lambda: deaths.is_over(s.status(), last), f"the end of rollout {last}\n{s.log_text()[-3000:]}")
        told = s.status()["last"]
        self.assertEqual(told["verdict"], verdict, told)
        if verdict == "rolled_back":
            self.assertIn(deaths.DIED, told["reason"])

    def assert_it_goes_on(self, s, last):
        """Nobody is left over, nothing was told twice, and traffic follows what is said."""
        self.assert_runs_what_it_says(s)
        self.assertEqual(len(s.pids()), 2)
        mark = f"HANDOFF_COMMAND={s.directory}/".encode()
        harness.poll_until(lambda: not [p for p in harness.processes() if mark in harness.environment_of(p)],
                           "no command of before")
        self.assert_one_verdict_each(s, last)
        live = s.status()["live"]
        self.assertEqual(self.shares(20), {live: 20})
        s.write(self.demos(service="instances = 2", rest=puppet.BRISK + deaths.STEERED + deaths.STEPS))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=rollout)
        self.assert_weights_move_traffic(s)
        s.call("Promote", full=True)
        s.events.wait("verdict", rollout=rollout, verdict="promoted")
        self.assertEqual(self.shares(20), {s.status()["live"]: 20})

    def assert_weights_move_traffic(self, s):
        """Of a rollout that holds."""
        sides = {0: s.status()["live"], 100: s.status()["rollout"]["generation"]}
        for weight, who in sides.items():
            s.call("SetWeight", weight=weight)
            self.assertEqual(self.shares(20), {who: 20})

    # ---- in the middle of a rollout

    def test_in_each_step_of_a_canary(self):
        s = self.supervisor(extra=deaths.STEERED + deaths.STEPS)
        with harness.Load(self.address, "--clients", "8", "--sources", "8") as load:
            for step in (0, 1):
                rollout = s.call("Upgrade")["rollout"]
                s.events.wait("holding", rollout=rollout)
                if step == 1:
                    mark = s.events.mark()
                    s.call("Promote")
                    s.events.wait("holding", since=mark, rollout=rollout)
                self.succeed(s)
                last = s.status()["last"]
                self.assertEqual((last["verdict"], last["rollout"]), ("rolled_back", rollout))
                self.assertIn(deaths.DIED, last["reason"])
                self.assertEqual(s.status()["live"], 1)
                self.assert_runs_what_it_says(s)
            rollout = s.call("Upgrade")["rollout"]
            s.events.wait("holding", rollout=rollout)
            self.assert_weights_move_traffic(s)  # what steers came over as well
            for _ in range(2):
                s.call("Promote")
            s.events.wait("settled", rollout=rollout)
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(s.status()["live"], 2 + 2)

    def test_while_the_candidate_starts(self):
        s = self.supervisor(instances=1)
        s.write(self.demos("--never-ready"))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("instance_started", generation=2)
        self.succeed(s)
        self.assertEqual(s.status()["last"]["verdict"], "rolled_back")
        self.assertEqual(s.status()["last"]["rollout"], rollout)
        self.assert_runs_what_it_says(s)

    def test_while_it_bakes_it_is_promoted(self):
        s = self.supervisor(extra='[rollout]\nbake = "1s"\n')
        with harness.Load(self.address, "--clients", "4") as load:
            rollout = s.call("Upgrade")["rollout"]
            s.events.wait("serving", rollout=rollout)
            self.succeed(s)
        self.assert_nothing_failed(load)
        self.assertEqual(s.status()["last"]["verdict"], "promoted")
        self.assertEqual(s.status()["last"]["rollout"], rollout)
        self.assertEqual(s.status()["live"], 2)

    def test_while_the_old_one_drains(self):
        s = self.supervisor("--ignore-drain", drain="5s", instances=1)
        s.upgrade(until=None)
        self.assertEqual(len(s.left_behind()), 2)
        self.succeed(s)
        self.assertEqual(s.status()["live"], 2)
        self.assert_runs_what_it_says(s)

    def test_a_standby_generation_can_still_be_gone_back_to(self):
        s = self.supervisor(extra='[rollout]\nstrategy = "blue-green"\nauto-promote = true\nstandby = "1h"\n')
        s.upgrade(until=None)
        s.die()
        s.start(until=None)
        s.call("Rollback")
        s.events.wait("verdict", rollout=3)
        self.assertEqual(s.status()["live"], 1)

    def test_a_hook_that_ran_is_ended_before_it_runs_again(self):
        gate = open(self.path("gate"), "w")
        self.addCleanup(gate.close)
        fcntl.flock(gate, fcntl.LOCK_EX)
        daemon = self.script("daemon", f"echo $$ >{self.path('leaves')}; exec sleep 1000 >/dev/null 2>&1")
        hook = self.script("hook", f"""
if [ $HANDOFF_ROLLOUT = 1 ]; then
    setsid {daemon} & while ! [ -s {self.path("leaves")} ]; do :; done
    exit
fi
echo $$ >>{self.path("pids")}
flock {gate.name} true""")
        s = self.supervisor(extra=f'[hooks]\nswitched = ["{hook}"]\n')
        rollout = s.call("Upgrade")["rollout"]

        def run():
            return [int(pid) for pid in self.read("pids").split()]

        harness.poll_until(run, "the hook")
        left = int(self.read("leaves"))  # by a hook that has ended
        self.addCleanup(harness.end, left)
        harness.poll_until(lambda: harness.children(run()[0]), "what it waits for")
        first = [*run(), *harness.children(run()[0])]
        s.die()
        s.start(until=None)
        harness.poll_until(lambda: len(run()) == 2, f"the hook again\n{s.log_text()[-3000:]}")
        self.assertEqual([pid for pid in first if harness.is_alive(pid)], [])
        self.assertTrue(harness.is_alive(left))
        fcntl.flock(gate, fcntl.LOCK_UN)
        harness.poll_until(lambda: s.status()["last"]["rollout"] == rollout, "the verdict")
        self.assertEqual(s.status()["last"]["verdict"], "promoted")
        self.assertEqual(len(run()), 2)

    # ---- what is known, and what is not

    def test_an_instance_that_ended_meanwhile_ended_nobody_knows_how(self):
        s = self.supervisor()
        victim, other = s.pids()
        s.die()
        os.kill(victim, signal.SIGKILL)
        harness.poll_until(lambda: not harness.is_alive(victim), "its end")
        s.start(until=None)
        harness.poll_until(lambda: self.is_replaced(s, victim), "another one in its place")
        self.assertIn(other, s.pids())
        harness.poll_until(lambda: "nobody knows how" in s.log_text(), "a word about its end")

    def test_one_that_is_adopted_is_watched(self):
        s = self.supervisor()
        self.succeed(s)
        victim = s.pids()[0]
        os.kill(victim, signal.SIGKILL)
        harness.poll_until(lambda: self.is_replaced(s, victim), "another one in its place")
        self.assertRegex(s.log_text(), "ended: (killed by SIGKILL|ended, nobody knows how)")
        self.assert_runs_what_it_says(s)

    def test_what_an_instance_started_belongs_to_it(self):
        s = self.supervisor()
        s.write(puppet.configuration([harness.PYTHON, "-Sc", PREFORKING], self.address))
        s.upgrade()
        before = s.left_behind()
        self.assertEqual(len(before), 3)
        self.succeed(s)
        s.signal(signal.SIGUSR1)  # read after what the successor does at first
        s.status()
        self.assertNotIn("belongs to no instance", s.log_text())
        self.assertEqual(s.left_behind(), before)

    def test_a_configuration_that_cannot_be_read_changes_nothing(self):
        s = self.supervisor()
        with open(s.configuration) as f:
            good = f.read()
        before = s.pids()

        def spoil():
            with open(s.configuration, "w") as f:
                f.write(good + "[rollout\n")

        for break_it in (spoil, lambda: os.unlink(s.configuration)):
            break_it()
            self.succeed(s)
            self.assertEqual(s.pids(), before)
            s.upgrade("refused", until=None)
        self.assertRegex(s.log_text(), f"handoffd: {s.configuration}:.*\\n")
        with open(s.configuration, "w") as f:
            f.write(good)
        s.upgrade()
        self.assertFalse(set(s.pids()) & set(before))
        self.assertEqual(puppet.ask(self.port), s.status()["live"])
        self.assert_runs_what_it_says(s)

    def test_what_a_candidate_wrote_is_in_its_verdict(self):
        s = self.supervisor(instances=1)
        s.write(self.puppets(rest='[rollout]\nbake = "1h"\n'))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)
        for line in ("it begins to fail", "it fails for good"):
            self.tell(f"print('{line}')", generation=2)
        memory = s.socket.replace(".sock", ".memory")

        def remembered():
            with open(memory, "rb") as f:
                return b"it fails for good" in f.read()

        harness.poll_until(remembered, "its words to be remembered")
        victim = s.pids("candidate")[0]
        s.die()
        os.kill(victim, signal.SIGKILL)
        harness.poll_until(lambda: not harness.is_alive(victim), "its end")
        s.start(until=None)
        harness.poll_until(lambda: s.status()["last"]["rollout"] == rollout, "the verdict")
        last = s.status()["last"]
        self.assertEqual(last["verdict"], "rolled_back")
        self.assertEqual(last["output"][-2:], ["it begins to fail", "it fails for good"])

    def test_what_was_reloaded_is_remembered(self):
        s = self.supervisor()
        rest = '[drain]\ntimeout = "10s"\n[rollout]\nbake = "7s"\n'
        s.write(self.demos(service="instances = 2", rest=rest))
        self.assertIn("rollout", s.cli("reload", s.name).stdout)
        self.succeed(s)
        self.assertNotIn("rollout", s.cli("reload", s.name).stdout)

    def test_what_was_answered_is_remembered(self):
        s = self.supervisor()
        for _ in range(20):
            rollout = s.call("Upgrade")["rollout"]
            self.succeed(s)
            self.assertEqual(s.status()["last"]["rollout"], rollout)

    def test_a_full_promotion_is_remembered(self):
        gate = open(self.path("gate"), "w")
        self.addCleanup(gate.close)
        wait = f"[ $HANDOFF_ROLLOUT = 1 ] || exec flock {gate.name} true"
        hook = f'switched = {{ command = ["/bin/sh", "-c", "{wait}"] }}'
        s = self.supervisor(extra=f'[rollout]\nbake = "1h"\n[hooks]\n{hook}\n')
        fcntl.flock(gate, fcntl.LOCK_EX)
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("stage", rollout=rollout, text=f"rollout {rollout}: the switched hook")
        s.call("Promote", full=True)
        s.die()
        fcntl.flock(gate, fcntl.LOCK_UN)
        s.start(until=None)
        harness.poll_until(lambda: s.status()["last"]["rollout"] == rollout, f"the verdict\n{s.log_text()[-3000:]}")
        self.assertEqual(s.status()["last"]["verdict"], "promoted")

    def test_after_an_orderly_stop_nothing_is_adopted(self):
        s = self.supervisor()
        self.assertEqual(s.stop(), 0)
        self.assertEqual(s.left_behind(), [])
        self.assertEqual([n for n in os.listdir(os.path.dirname(s.socket)) if n.endswith(".memory")], [])
        s.start()

    def test_killed_while_it_stopped_the_next_start_is_a_start(self):
        s = self.supervisor("--ignore-drain", drain="1h", instances=1)
        s.signal(signal.SIGTERM)
        harness.poll_until(lambda: s.status()["state"] == "stopping", "the stop")
        s.die()
        for pid in s.left_behind():
            os.kill(pid, signal.SIGKILL)
        s.start()
        self.assert_runs_what_it_says(s)

    def test_a_log_that_cannot_be_written_any_more_is_no_obstacle(self):
        logs = self.path("logs")
        s = self.supervisor(extra=f'[log]\nfile = "{logs}/web.log"\n')
        pids = s.pids()
        s.die()
        shutil.rmtree(logs)
        open(logs, "w", encoding="ascii").close()
        s.start(until=None)
        self.assertEqual(s.pids(), pids)
        self.assertIn(f"{logs}/web.log", s.log_text())

    def test_a_slot_that_nobody_held_is_opened_again(self):
        extra = '[restart]\nbackoff = "1s..1s"\n[rollout]\nstrategy = "blue-green"\nauto-promote = true\nstandby = "1h"\n'
        s = self.supervisor(instances=1, extra=extra)
        s.upgrade(until=None)
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_restarting", generation=2)
        s.die()
        s.start(until=None)
        self.assertEqual(puppet.ask(self.port), 2)

    def test_live_that_became_ready_meanwhile_stays(self):
        gate = self.path("gate")
        os.mkfifo(gate)
        code = f"""
if os.environ["HANDOFF_INCARNATION"] != "1":
    open({gate!r}).close()
    def notify(text):
        try:
            told(text)
        finally:
            open({self.path("told")!r}, "w").close()
"""
        s = harness.Supervisor(self, self.puppets("told = notify" + code))
        mark = s.events.mark()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_started", since=mark)
        s.die()
        open(gate, "w").close()
        harness.poll_until(lambda: os.path.exists(self.path("told")), "a word to nobody")
        s.start(until=None)
        pids = s.pids()
        harness.poll_until(lambda: s.generation()["instances"][0]["state"] == "ready", "that it counts as ready")
        self.assertEqual(s.pids(), pids)

    def test_what_a_stranger_claims_delays_no_start(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        s = self.supervisor(drain="60s", start=False)
        claim = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": s.socket.replace(".sock", ".notify/x")}
        stranger = subprocess.Popen(["setpriv", f"--reuid={harness.NOBODY}", f"--regid={harness.NOBODY}", "--clear-groups",
                                     "sleep", "1000"], env=claim)
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        harness.poll_until(lambda: os.readlink(f"/proc/{stranger.pid}/exe").endswith("/sleep"), "the stranger")
        s.start()
        self.assertIsNone(stranger.poll())
        self.assertNotIn("belongs to no instance", s.log_text())

    def test_what_nobody_remembers_is_told_to_end(self):
        s = self.supervisor()
        before = s.pids()
        s.die()
        with open(s.socket.replace(".sock", ".memory"), "wb") as f:
            f.write(b"nonsense")
        s.start()
        self.assertIn("belongs to no instance: it is told to end", s.log_text())
        self.assertFalse(set(before) & set(s.pids()))
        self.assert_runs_what_it_says(s)

    def test_a_memory_that_others_may_write_is_not_believed(self):
        s = self.supervisor()
        before = s.pids()
        s.die()
        memory = s.socket.replace(".sock", ".memory")
        os.chmod(memory, 0o666)
        s.start()
        self.assertIn(f"{memory}: others may have written it", s.log_text())
        self.assertFalse(set(before) & set(s.pids()))
        self.assert_runs_what_it_says(s)

    def test_a_memory_that_is_damaged_is_said_so(self):
        s = self.supervisor()
        s.stop()
        with open(s.socket.replace(".sock", ".memory"), "w") as f:
            f.write("nonsense")
        s.start()
        self.assertIn("web.memory", s.log_text())
        s.upgrade()


if __name__ == "__main__":
    harness.main()
