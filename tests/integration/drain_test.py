"""Everything ends: deaf services, their descendants, draining generations beyond the cap, and the supervisor."""

import os
import signal

import harness
import puppet

DEAF = "deaf = True"
SHORT = '[drain]\ntimeout = "300ms"\nkill-timeout = "500ms"\n'
LONG = '[drain]\ntimeout = "1h"\n'

# What a service forks notes its pid in a file, and the service waits for so many of them.
RECORDING = """
recorded, noted = os.pipe()
def record(path):
    with open(path, "a") as f: f.write(f"{os.getpid()}\\n")
    os.write(noted, b".")
def await_records(count):
    for _ in range(count): os.read(recorded, 1)
"""


class Drain(puppet.TestCase):
    def test_one_that_is_deaf_is_killed_at_the_deadline_with_its_group_and_orphans(self):
        # A child in its group, and one that left: forked twice, in a session of its own.
        code = f"""{DEAF}
{RECORDING}
kept.append(socket.socketpair())
def stay():
    signal.signal(signal.SIGTERM, signal.SIG_IGN); record({self.path('children')!r}); signal.pause()
if os.fork() == 0: stay()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: stay()
    os._exit(0)
os.wait()
await_records(2)
"""
        s = harness.Supervisor(self, self.puppets(code, rest=SHORT))
        pids = s.pids() + [int(n) for n in self.read("children").split()]
        self.assertEqual(len(pids), 3)
        s.write(self.demos(rest=SHORT))
        s.upgrade()
        harness.poll_until(lambda: not any(harness.is_alive(p) for p in pids), "all of the old generation to end")
        self.assertIn("still there after 300ms", s.log_text())
        self.assertRegex(s.log_text(), r"is killed with [2-9] open connections")
        harness.poll_until(lambda: harness.children(s.process.pid) == s.pids(), "no zombie")

    def test_descendants_of_a_service_that_drains_well_end_too(self):
        code = f"""{RECORDING}
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        record({self.path('child')!r}); signal.pause()
    os._exit(0)
os.wait()
await_records(1)
"""
        s = harness.Supervisor(self, self.puppets(code))
        child = int(self.read("child"))
        s.write(self.demos())
        s.upgrade()
        harness.poll_until(lambda: not harness.is_alive(child), "the old generation's daemon to end")

    def test_a_rollout_waits_for_room_among_the_draining_and_says_for_whom(self):
        rest = '[drain]\ntimeout = "3s"\n[rollout]\nmax-draining = 1\n'
        s = harness.Supervisor(self, self.puppets(DEAF, rest=rest))
        oldest = s.pids()[0]
        s.upgrade(until=None)
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("stage", rollout=rollout)
        status = s.status()
        self.assertEqual(status["rollout"]["stage"], "waiting for a generation to drain")
        self.assertEqual(status["waiting_for"], "generation 1 to drain")
        self.assertGreater(status["deadline_in_ms"], 0)
        self.assertTrue(harness.is_alive(oldest))
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "promoted")
        self.assertFalse(harness.is_alive(oldest))
        self.assertEqual(s.status()["live"], 3)

    def test_an_instance_of_a_draining_generation_that_crashes_is_not_restarted(self):
        s = harness.Supervisor(self, self.puppets(DEAF, service="instances = 2", rest=LONG))
        s.write(self.demos(rest=LONG))
        s.upgrade(until="draining")
        first, second = s.pids("draining")
        mark = s.events.mark()
        os.kill(first, signal.SIGKILL)
        s.events.wait("instance_exited", since=mark)
        self.assertEqual(s.pids("draining")[1], second)
        os.kill(second, signal.SIGKILL)
        s.events.wait("gone", generation=1)
        self.assertEqual(s.events.count("instance_restarting"), 0)
        self.assertEqual(s.status()["live"], 2)

    def test_the_configured_signal_asks_to_drain(self):
        code = "signal.signal(signal.SIGUSR2, drain); deaf = False; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        s = harness.Supervisor(self, self.puppets(code, rest='[drain]\nsignal = "SIGUSR2"\ntimeout = "1h"\n'))
        s.upgrade()  # it settles only when the old one went by itself

    def test_the_drain_settings_are_those_of_the_generation_that_drains(self):
        s = harness.Supervisor(self, self.puppets(DEAF, rest=SHORT))
        old = s.pids()[0]
        s.write(self.demos(rest=LONG))
        s.upgrade()
        self.assertFalse(harness.is_alive(old))


class Stop(puppet.TestCase):
    def test_stop_during_a_rollout_ends_it_and_all(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos("--never-ready"))
        old = s.pids()
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("instance_started", generation=2)
        queued = s.call("Upgrade")["rollout"]
        new = s.pids("candidate")
        s.signal(signal.SIGTERM)
        event = s.events.wait("verdict", rollout=rollout)
        self.assertEqual((event["verdict"], event["reason"]), ("rolled_back", "stopped"))
        self.assertEqual(s.events.wait("verdict", rollout=queued)["verdict"], "refused")
        self.assertEqual(s.process.wait(harness.PATIENCE), 0)
        self.assertFalse(any(harness.is_alive(p) for p in old + new))
        self.assertFalse(os.path.exists(s.socket))

    def test_an_upgrade_while_stopping_is_refused(self):
        s = harness.Supervisor(self, self.puppets(DEAF, rest=LONG))
        s.call("Stop")
        self.assertEqual(s.status()["state"], "stopping")
        for method in ("Upgrade", "Rollback"):
            with self.assertRaises(harness.Refused) as refused:
                s.call(method)
            self.assertIn("stopping", refused.exception.parameters["reason"])
        s.signal(signal.SIGHUP)
        self.assertEqual(s.status()["rollout"], None)

    def test_a_second_term_kills_at_once(self):
        s = harness.Supervisor(self, self.puppets(DEAF, rest=LONG))
        pids = s.pids()
        s.signal(signal.SIGTERM)
        s.events.wait("draining")
        s.signal(signal.SIGTERM)
        self.assertEqual(s.process.wait(harness.PATIENCE), 0)
        self.assertFalse(any(harness.is_alive(p) for p in pids))

    def test_a_deaf_service_is_killed_at_the_deadline_of_a_stop(self):
        s = harness.Supervisor(self, self.puppets(DEAF, rest=SHORT))
        pids = s.pids()
        self.assertEqual(s.stop(), 0)
        self.assertFalse(any(harness.is_alive(p) for p in pids))

    def test_a_stopped_process_is_killed_all_the_same(self):
        s = harness.Supervisor(self, self.demos(rest=SHORT))
        pids = s.pids()
        os.kill(pids[0], signal.SIGSTOP)
        self.assertEqual(s.stop(), 0)
        self.assertFalse(harness.is_alive(pids[0]))

    def test_a_daemon_of_the_service_and_its_own_daemons_do_not_outlive_the_stop(self):
        # Each is a session of its own and the next one's parent: killing one makes an orphan of the next.
        code = f"""{RECORDING}
if os.fork() == 0:
    for depth in range(4):
        os.setsid()
        if os.fork() != 0:
            if depth == 0: os._exit(0)
            break
    record({self.path('children')!r}); signal.pause()
os.wait()
await_records(4)
"""
        s = harness.Supervisor(self, self.puppets(code))
        children = [int(n) for n in self.read("children").split()]
        self.assertEqual(s.stop(), 0)
        self.assertEqual([p for p in children if harness.is_alive(p)], [])


if __name__ == "__main__":
    harness.main()
