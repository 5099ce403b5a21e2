"""Steering without privileges, by classic BPF: the supervisor runs as a user who may not load eBPF."""

import contextlib
import json
import os
import shutil
import signal
import socket
import unittest

import harness
import puppet
from retire_datagrams_test import Flow

AS_NOBODY = ["setpriv", f"--reuid={harness.NOBODY}", f"--regid={harness.NOBODY}", "--clear-groups", "--"]
MIGRATES = open("/proc/sys/net/ipv4/tcp_migrate_req", encoding="ascii").read().strip() == "1"


def rollout(text="", drain="10s"):
    """By classic BPF, unless `text` says how to share."""
    sharing = "" if "sharing" in text else 'sharing = "steered"\n'
    return puppet.BRISK.replace('timeout = "2s"', f'timeout = "{drain}"', 1) + f"[rollout]\n{sharing}{text}"


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root to give privileges away")
class Unprivileged(puppet.TestCase):
    def supervise(self, configuration, sharing="steered_classic"):
        s = harness.Supervisor(self, configuration, wrapper=AS_NOBODY, start=False)
        os.chown(s.directory, harness.NOBODY, harness.NOBODY)
        s.start()
        listener = s.status()["listeners"][0]
        if listener["sharing"] == "steered":
            self.skipTest("everybody may load eBPF here")
        self.assertEqual(listener["sharing"], sharing, listener)
        self.assertIn("loading the steering program: Operation not permitted", listener["sharing_reason"])
        return s


class Telling(Unprivileged):
    def test_status_says_how_and_why(self):
        s = self.supervise(self.demos(rest=rollout()))
        slot = s.status()["listeners"][0]["slots"][0]
        self.assertEqual((slot["generation"], slot["queued"], slot["connections"]), (1, 0, None))
        for arguments in (["status", "web"], ["status", "--json", "web"]):
            shown = s.cli(*arguments)
            self.assertEqual(shown.returncode, 0, shown.stderr)
            self.assertIn("steered_classic", shown.stdout)
            self.assertIn("Operation not permitted (needs CAP_BPF", shown.stdout)

    def test_a_plain_handoff_shares_and_says_what_would_steer(self):
        # Unless the kernel moves what waits: then nothing is lost by slots.
        s = self.supervise(self.demos(rest=rollout('sharing = "auto"\n')), "steered_classic" if MIGRATES else "shared")
        if not MIGRATES:
            self.assertIn("[rollout] sharing = 'steered' steers it by classic BPF",
                          s.status()["listeners"][0]["sharing_reason"])

    def test_a_metric_of_connections_is_refused_because_classic_bpf_counts_none(self):
        canary = 'strategy = "canary"\nsteps = [{ weight = 50, hold = "1m" }]\n'
        s = self.supervise(self.demos(rest=rollout(canary)))
        for listener, who in (("", "no listener is"), ('listener = "l0"\n', "listener 'l0' is not")):
            metric = f'[[metric]]\nname = "comings"\nsteering = "connections"\n{listener}max = 1000\n'
            s.write(self.demos(rest=rollout(canary) + metric))
            self.assertIn(f"metric]] 'comings': {who} steered where connections are counted",
                          s.upgrade("refused")["reason"])

    def test_a_strategy_that_needs_steering_is_enough_to_get_it(self):
        self.supervise(self.demos(rest=rollout('sharing = "auto"\nstrategy = "canary"\n'
                                               "steps = [{ weight = 50, pause = true }]\n")))


class Switching(Unprivileged):
    def test_upgrades_under_load_fail_no_request(self):
        s = self.supervise(self.demos("--version", "1", rest=rollout()))
        with harness.Load(self.address, "--threads", "2") as load:
            for n in range(2, 22):
                s.write(self.demos("--version", str(n), rest=rollout()))
                s.upgrade(until=None)
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(s.status()["live"], 21)

    def test_a_canary_under_load_fails_no_request_and_gets_its_part(self):
        steps = rollout('strategy = "canary"\nsteps = [{ weight = 0, pause = true }, { weight = 50, pause = true }]\n')
        s = self.supervise(self.demos(rest=steps))
        with harness.Load(self.address, "--threads", "2") as load:
            number = s.call("Upgrade")["rollout"]
            s.events.wait("holding", rollout=number, weight=0)
            self.assertEqual(self.shares(50), {1: 50})
            s.call("Promote")
            s.events.wait("holding", rollout=number, weight=50)
            self.assert_half_each()
            self.weigh_by_hand_and_promote(s, number)
            s.events.wait("settled", rollout=number)
        self.assert_nothing_failed(load, 100)

    def test_an_abort_gives_everything_back_under_load(self):
        s = self.supervise(self.demos(rest=rollout('strategy = "canary"\nsteps = [{ weight = 50, pause = true }]\n')))
        with harness.Load(self.address, "--threads", "2") as load:
            for _ in range(3):
                number = s.call("Upgrade")["rollout"]
                s.events.wait("holding", rollout=number)
                s.call("Abort")
                s.events.wait("verdict", rollout=number, verdict="rolled_back")
                self.assertEqual(self.shares(50), {1: 50})
        self.assert_nothing_failed(load, 100)

    def test_a_sticky_client_stays_on_its_side(self):
        s = self.supervise(self.demos(rest=rollout('strategy = "canary"\nsteps = [{ weight = 50, pause = true }]\n'
                                                   "sticky = true\n")))
        s.events.wait("holding", rollout=s.call("Upgrade")["rollout"])
        self.assertEqual(len(self.shares(60)), 1)

    def test_a_live_that_crashes_for_a_while_keeps_what_waits(self):
        s = self.supervise(self.puppets(rest=rollout()))
        os.kill(s.pids()[0], signal.SIGKILL)
        self.assertEqual(self.shares(20), {1: 20})

    def test_a_first_generation_that_fails_leaves_its_clients_to_the_next(self):
        s = harness.Supervisor(self, self.demos("--fail-start", "3", rest=rollout()), wrapper=AS_NOBODY, start=False)
        os.chown(s.directory, harness.NOBODY, harness.NOBODY)
        s.start(until="rolled_back")
        with socket.create_connection(("127.0.0.1", self.port), harness.PATIENCE) as waiting:
            waiting.sendall(b"GET / HTTP/1.0\r\n\r\n")
            s.write(self.demos(rest=rollout()))
            self.assertIn(b"X-Handoff-Generation:", waiting.recv(4096))


    def test_a_rollout_that_begins_at_once_takes_over_what_waits(self):
        s = self.supervise(self.puppets(rest=rollout('strategy = "canary"\nsteps = [{ weight = 50, pause = true }]\n')))
        first = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=first)
        self.tell("kept.extend(served); served.clear()", generation=2)
        with contextlib.ExitStack() as all_of_them:
            waiting = []
            for _ in range(24):
                one = all_of_them.enter_context(socket.create_connection(("127.0.0.1", self.port), harness.PATIENCE))
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")
                waiting.append(one)
            second = s.call("Upgrade")["rollout"]
            os.kill(s.pids("candidate")[0], signal.SIGKILL)
            s.events.wait("holding", rollout=second)
            for one in waiting:
                self.assertIn(b"X-Handoff-Generation:", one.recv(4096))
        self.assertNotIn("they were reset", s.log_text())


class Survival(Unprivileged):
    def test_a_socket_that_only_handoffd_held_is_no_obstacle(self):
        port = harness.free_port(socket.SOCK_DGRAM)
        self.address = f"udp://127.0.0.1:{port}"
        s = self.supervise(self.demos(rest=rollout(drain="1s")))
        s.upgrade()
        pids = s.pids()
        for _ in range(2):
            s.die()
            s.start(until=None)
            self.assertEqual(s.pids(), pids)
        s.upgrade()


class Room(Unprivileged):
    # It stays until it is killed.
    DEAF = "signal.signal(signal.SIGTERM, lambda *_: None)"

    def test_a_third_generation_waits_for_the_one_that_drains(self):
        s = self.supervise(self.puppets(self.DEAF, rest=rollout(drain="1h")))
        deaf = s.pids()
        s.write(self.puppets(rest=rollout()))
        s.upgrade(until=None)
        mark = s.events.mark()
        number = s.call("Upgrade")["rollout"]
        self.assertIn("waiting for a generation to drain",
                      s.events.wait("stage", since=mark, rollout=number)["text"])
        self.assertEqual(self.shares(20), {2: 20})
        os.kill(deaf[0], signal.SIGKILL)
        s.events.wait("gone", generation=1)
        s.events.wait("verdict", rollout=number, verdict="promoted")
        self.assertEqual(self.shares(20), {3: 20})

    def test_a_rollback_brings_the_last_good_one_back(self):
        s = self.supervise(self.demos("--version", "1", rest=rollout()))
        s.write(self.demos("--version", "2", rest=rollout()))
        with harness.Load(self.address, "--threads", "2") as load:
            load.wait_for_version(1)
            s.upgrade()
            load.wait_for_version(2)
            number = s.call("Rollback")["rollout"]
            s.events.wait("verdict", rollout=number, verdict="promoted")
            s.events.wait("settled", rollout=number)
        self.assert_nothing_failed(load)
        self.assertEqual(self.shares(20), {3: 20})


class Datagrams(Unprivileged):
    def test_a_switch_moves_every_flow_and_loses_no_datagram(self):
        port = harness.free_port(socket.SOCK_DGRAM)
        self.address = f"udp://127.0.0.1:{port}"
        s = self.supervise(self.demos(rest=rollout()))
        flows = [Flow(self, port) for _ in range(50)]

        def ask():
            answers = []
            for flow in flows:
                flow.send()
                flow.socket.settimeout(harness.PATIENCE)
                answers.append(flow.receive())
                flow.socket.setblocking(False)
            return answers

        self.assertEqual(ask(), [1] * 50)
        for generation in range(2, 8):
            number = s.call("Upgrade")["rollout"]
            while not s.events.count("verdict", rollout=number, verdict="promoted"):
                self.assertLessEqual(set(ask()), {generation - 1, generation})
            self.assertEqual(ask(), [generation] * 50)


class Probing(Unprivileged):
    def test_a_candidate_is_probed_at_its_own_slot(self):
        ready = '[ready]\nwhen = "http"\npath = "/health"\ntimeout = "20s"\ninterval = "20ms"\n'
        text = puppet.configuration(puppet.http_service("probed_service.py"), self.address,
                                    service=f"environment = {{ PROBED = {json.dumps(self.directory)} }}",
                                    rest=ready + rollout())
        s = self.supervise(text)
        asked = self.read("asked.1")
        self.assertNotEqual(asked, "")
        s.upgrade()
        self.assertEqual(self.read("asked.1"), asked)
        self.assertNotEqual(self.read("asked.2"), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
