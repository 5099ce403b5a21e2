"""handoffd becomes another handoffd in place: same process, same sockets, same services, nothing lost."""

import os
import re
import shutil
import signal
import time

import harness
import puppet

CANARY = """
[rollout]
strategy = "canary"
sharing = "steered"
steps = [{ weight = 25, pause = true }]
"""


class Reexec(puppet.TestCase):
    def reexec(self, s):
        told = s.cli("reexec", s.name)
        self.assertEqual(told.returncode, 0, told.stderr + s.log_text()[-2000:])
        return told

    def test_same_process_same_services_same_connections(self):
        s = self.supervisor()
        before, pids = s.process.pid, s.pids()
        mark = s.events.mark()
        self.assertIn("goes on as handoffd", self.reexec(s).stdout)
        self.assertEqual(s.status()["pid"], before)
        self.assertEqual(s.pids(), pids)
        rollout = s.hup()
        # On the connection that began before.
        event = s.events.wait("verdict", since=mark, rollout=rollout)
        self.assertEqual(event["verdict"], "promoted")
        self.assertEqual(rollout, 2)
        sequence = [e["sequence"] for e in s.events.seen]
        self.assertEqual(sequence, sorted(set(sequence)))
        self.assertEqual(s.stop(), 0)

    def test_many_mixed_with_upgrades_under_load_lose_nothing(self):
        self.reexec_often("shared")

    def test_many_with_steered_listeners(self):
        self.reexec_often("steered")

    def reexec_often(self, sharing):
        s = self.supervisor(extra=f'[rollout]\nsharing = "{sharing}"\n')
        times = int(os.environ.get("HANDOFF_TEST_REEXECS", "100"))
        with harness.Load(self.address, "--clients", "16", "--sources", "8") as load:
            for _ in range(times):
                s.call("Reexec")
                s.upgrade(until=None)
                s.signal(signal.SIGUSR2)
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(s.status()["live"], 1 + times)
        self.assertGreaterEqual(s.log_text().count("goes on with"), times)
        self.assertNotIn("FileDescriptorStoreMax", s.log_text())  # there is no store

    def test_nothing_piles_up(self):
        s = self.supervisor()
        self.reexec(s)
        s.upgrade()
        before = len(harness.descriptors(s.process.pid))
        for _ in range(8):
            self.reexec(s)
            s.upgrade()
        harness.poll_until(lambda: len(harness.descriptors(s.process.pid)) <= before, "no descriptor more than before")
        harness.poll_until(lambda: sorted(harness.children(s.process.pid)) == sorted(s.pids()), "no other child")

    def test_a_trigger_beside_it_is_not_lost(self):
        s = self.supervisor(instances=1)
        for n in range(20):
            mark = s.events.mark()
            s.signal(signal.SIGUSR2)
            if n % 2:
                time.sleep(n / 400)  # another moment of it each time is what is tried; nothing waits on it
            s.signal(signal.SIGHUP)
            s.events.wait("verdict", since=mark, verdict="promoted")

    # ---- programs that cannot go on

    def refused(self, s):
        told = s.cli("reexec", s.name)
        self.assertEqual(told.returncode, 1, told.stdout)
        s.upgrade()
        return told.stderr

    def with_own_program(self):
        """A supervisor whose program the test may replace, and where it is."""
        s = self.supervisor(start=False)
        s.handoffd = self.install("handoffd", harness.HANDOFFD)
        s.start()
        return s, s.handoffd

    def replace(self, program, text):
        with open(program + ".new", "w") as f:
            f.write(text)
        os.chmod(program + ".new", 0o755)
        os.rename(program + ".new", program)

    def test_one_that_is_of_no_use_is_refused_and_the_old_one_goes_on(self):
        s, program = self.with_own_program()
        self.install("handoffd", harness.HANDOFF)
        self.assertIn("fails its trial run: exited 2: Run with --help", self.refused(s))
        self.replace(program, "no program at all\n")
        self.assertIn("ENOEXEC", self.refused(s))
        os.unlink(program)
        self.assertIn("No such file", self.refused(s))
        shutil.copy(harness.HANDOFFD, program)
        self.reexec(s)
        self.assertEqual(s.stop(), 0)

    def test_it_is_the_program_on_disk_that_goes_on(self):
        s, program = self.with_own_program()
        before = os.stat(f"/proc/{s.process.pid}/exe").st_ino
        os.rename(program, program + ".old")  # there /proc/PID/exe leads
        self.install("handoffd", harness.HANDOFFD)
        self.reexec(s)
        after = os.stat(f"/proc/{s.process.pid}/exe").st_ino
        self.assertNotEqual(before, after)
        self.assertEqual(after, os.stat(program).st_ino)
        self.reexec(s)

    def test_what_is_installed_during_the_wait_goes_on(self):
        s, program = self.with_own_program()
        gate = self.path("gate")
        os.mkfifo(gate)
        with open(s.configuration, "a") as f:
            f.write(f'\n[hooks]\nswitched = {{ command = ["/bin/sh", "-c", "read x <{gate}"] }}\n')
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("stage", rollout=rollout, text=f"rollout {rollout}: the switched hook")
        asked = [harness.Connection(s.socket) for _ in range(2)]
        for one in asked:
            self.addCleanup(one.close)
            self.install("handoffd", harness.HANDOFFD)
            one.send("Reexec")
            harness.poll_until(lambda: "waits for a moment" in str(s.status()["notes"]), "the end of the trial")
        with open(gate, "w") as f:
            f.write("\n")
        for one in asked:
            self.assertIn("version", one.receive())
        self.assertEqual(os.stat(f"/proc/{s.process.pid}/exe").st_ino, os.stat(program).st_ino)

    def test_while_stopping_it_is_refused(self):
        s = self.supervisor("--ignore-drain")
        s.signal(signal.SIGTERM)
        s.events.wait("stopping")
        told = s.cli("reexec", s.name)
        self.assertEqual(told.returncode, 1)
        self.assertIn("stopping", told.stderr)

    # ---- in the middle of a rollout

    def test_a_canary_holds_on_and_weights_can_be_changed(self):
        s = self.supervisor("--version", "old", extra=CANARY)
        with harness.Load(self.address, "--clients", "8", "--sources", "8") as load:
            rollout = s.call("Upgrade")["rollout"]
            s.events.wait("holding", rollout=rollout)
            self.reexec(s)
            self.assertEqual(s.status()["rollout"]["weight"], 25)
            s.call("SetWeight", weight=60)
            self.reexec(s)
            self.assertEqual(s.status()["rollout"]["weight"], 60)
            s.call("Pause")
            self.reexec(s)
            self.assertTrue(s.status()["rollout"]["paused"])
            s.call("Resume")
            s.call("Promote")
            s.events.wait("settled", rollout=rollout)
        self.assert_nothing_failed(load)
        self.assertEqual(s.status()["last"]["verdict"], "promoted")
        self.assertEqual(s.status()["last"]["cause"], "request")

    def test_a_canary_can_be_aborted_afterwards(self):
        s = self.supervisor(extra=CANARY)
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=rollout)
        self.reexec(s)
        s.call("Abort")
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "rolled_back")
        self.assertEqual(s.status()["live"], 1)

    def test_a_candidate_that_starts_slowly_becomes_ready_afterwards(self):
        s = self.supervisor("--start-delay", "1500", instances=1)
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("instance_started", generation=2)
        self.reexec(s)
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "promoted")

    def test_a_standby_generation_can_still_be_gone_back_to(self):
        s = self.supervisor(extra="""
[rollout]
strategy = "blue-green"
auto-promote = true
standby = "1h"
""")
        s.upgrade(until=None)
        self.reexec(s)
        s.call("Rollback")
        s.events.wait("verdict", rollout=3)
        self.assertEqual(s.status()["live"], 1)

    def beside_a_hook(self):
        """A supervisor in a hook that ends when something is written into `gate`, and a call that waits for it."""
        s = self.supervisor(start=False)
        gate = self.path("gate")
        os.mkfifo(gate)
        with open(s.configuration, "a") as f:
            f.write(f'\n[hooks]\nswitched = {{ command = ["/bin/sh", "-c", "[ $HANDOFF_ROLLOUT = 1 ] || read x <{gate}"], timeout = "1h" }}\n')
        s.start()
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("stage", rollout=rollout, text=f"rollout {rollout}: the switched hook")
        asked = harness.Connection(s.socket)
        self.addCleanup(asked.close)
        asked.send("Reexec")
        return s, gate, rollout, asked

    def test_a_hook_is_awaited(self):
        s, gate, rollout, asked = self.beside_a_hook()
        waits = "a moment.* without a hook, a check, a metric or a probe that runs"
        harness.poll_until(lambda: re.search(waits, str(s.status()["notes"])), "a word about the wait")
        self.assertEqual(len(re.findall(waits, s.log_text())), 1)
        with open(gate, "w") as f:
            f.write("\n")
        self.assertIn("version", asked.receive())
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "promoted")

    def test_who_finds_no_moment_says_so_and_goes_on(self):
        s, gate, rollout, asked = self.beside_a_hook()
        with self.assertRaisesRegex(harness.Refused, "no moment in 30s without a hook, a check, a metric or a probe that runs"):
            asked.receive()
        self.assertIn("goes on as handoffd", s.log_text())
        with open(gate, "w") as f:
            f.write("\n")
        self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "promoted")
        self.reexec(s)

    # ---- what services have with us

    def test_lines_notices_and_stored_descriptors_go_over(self):
        heirloom = [harness.PYTHON, os.path.join(harness.SERVICES, "heirloom.py")]
        s = harness.Supervisor(self, puppet.configuration(heirloom, self.address, service="fd-store-max = 4", rest=""))
        first = s.pids()[0]
        os.kill(first, signal.SIGUSR1)  # writes half a line and stores a memory
        harness.poll_until(lambda: s.generation()["instances"][0]["status"] == "half", "its status")
        self.reexec(s)
        os.kill(first, signal.SIGUSR2)  # writes the rest
        harness.poll_until(lambda: "one half, other half" in s.log_text(), "the whole line")
        s.upgrade()
        harness.poll_until(lambda: "found: what was stored" in s.log_text(), "the stored descriptor")

    def test_the_child_that_ended_meanwhile_is_restarted(self):
        s = self.supervisor(instances=1)
        victim = s.pids()[0]
        s.signal(signal.SIGUSR2)
        os.kill(victim, signal.SIGKILL)
        s.events.wait("instance_exited")
        harness.poll_until(lambda: s.pids() and s.pids()[0] not in (None, victim), "a new instance")
        harness.poll_until(lambda: "goes on with" in s.log_text(), "the word of the one that goes on")

    # ---- after a death, without systemd

    def die(self, s, *victims):
        s.die()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        s.start(until=None)
        harness.poll_until(lambda: self.are_there(s.pids(), victims), "instances")

    def are_there(self, pids, victims):
        """A victim that nobody has collected yet is adopted for the moment that it takes to see that it ended."""
        return pids and all(pids) and not set(pids) & set(victims)

    def test_listeners_that_nobody_survived_with_are_opened_again(self):
        s = self.supervisor(extra='[rollout]\nsharing = "steered"\n')
        self.die(s, *s.pids())
        with harness.Load(self.address, "--clients", "2") as load:
            s.upgrade()
        self.assert_nothing_failed(load, at_least=1)

    def test_a_namesake_of_another_supervisor_is_left_alone(self):
        other = self.supervisor(instances=1)
        self.address = f"127.0.0.1:{harness.free_port()}"
        s = self.supervisor(instances=1)
        pids, first = other.pids(), s.pids()
        self.die(s)
        self.assertEqual(s.pids(), first)
        os.kill(first[0], signal.SIGKILL)
        harness.poll_until(lambda: s.pids() and s.pids() != first and s.pids()[0], "a new instance")
        self.assertEqual(other.pids(), pids)


if __name__ == "__main__":
    harness.main()
