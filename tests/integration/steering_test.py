"""Steered listeners: each generation has a slot of its own, and the kernel chooses.

Skipped where eBPF may not be loaded; with HANDOFF_TEST_STEERING=1 that is a failure.
"""

import contextlib
import json
import os
import re
import signal
import socket
import threading
import unittest

import harness
import puppet

CANARY = 'strategy = "canary"\nsteps = [{ weight = 50, pause = true }]\n'
DETACH = 68  # SO_DETACH_REUSEPORT_BPF
# Joins the group, and attaches a classic program (SO_ATTACH_REUSEPORT_CBPF) that returns the number of the third
# member: behind the anchor and the first slot, that is the second slot.
TAKES_ALL = """
import ctypes, struct
own = socket.socket()
own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
own.bind(served[0].getsockname())
own.listen()
kept.append(own)
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 2))  # BPF_RET
own.setsockopt(socket.SOL_SOCKET, 51, struct.pack("HP", 1, ctypes.addressof(code)))
"""


def rollout(text, more=""):
    return f"{puppet.BRISK}\n[rollout]\n{text}{more}"


class SteeredCase(puppet.TestCase):
    def supervise(self, configuration, until="promoted", **how):
        s = harness.Supervisor(self, configuration, start=False, **how)
        try:
            s.start(until)
        except AssertionError:
            if re.search("cannot be steered|is shared", s.log_text()):
                self.skip_unless_demanded(s.log_text())
            raise
        listener = s.status()["listeners"][0]
        if listener["sharing"] != "steered":
            self.skip_unless_demanded("not steered here: " + listener["sharing_reason"])
        return s

    def skip_unless_demanded(self, why):
        if os.environ.get("HANDOFF_TEST_STEERING"):
            self.fail(why)
        self.skipTest(why)

    def assert_served_by_the_second(self, waiting):
        for connection in waiting:
            with contextlib.closing(connection):
                connection.settimeout(harness.PATIENCE)
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.assertIn(b"X-Handoff-Generation: 2", connection.recv(4096))

    def connections(self, s):
        return {slot["generation"]: slot["connections"] for slot in s.status()["listeners"][0]["slots"]}


class Switch(SteeredCase):
    def test_upgrades_under_load_fail_no_request(self):
        s = self.supervise(self.demos("--version", "1"))
        with harness.Load(self.address, "--threads", "2") as load:
            for n in range(2, 22):
                s.write(self.demos("--version", str(n)))
                s.upgrade(until=None)
        self.assert_nothing_failed(load, at_least=100)

    def test_the_old_generation_answers_nothing_new_once_the_new_one_serves(self):
        s = self.supervise(self.demos(rest=rollout('bake = "30s"')))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=number)
        self.assertEqual(self.shares(50), {2: 50})
        s.call("Abort")
        s.events.wait("verdict", rollout=number, verdict="rolled_back")
        self.assertEqual(self.shares(50), {1: 50})

    def test_what_waits_for_a_generation_that_stops_accepting_is_served_by_live(self):
        # It never accepts, and lingers when it is told to drain.
        idle = "served.clear(); signal.signal(signal.SIGTERM, lambda *_: None)"
        s = self.supervise(self.puppets(idle, rest=rollout('retire-after = "300ms"')))
        waiting = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(50)]
        s.write(self.puppets(rest=rollout('retire-after = "300ms"')))
        s.call("Upgrade")
        self.assert_served_by_the_second(waiting)
        self.assertEqual(s.generation("draining")["number"], 1)  # it is still there
        slots = {slot["generation"]: slot for slot in s.status()["listeners"][0]["slots"]}
        self.assertEqual(slots[2]["migrations"], 50)

    def test_what_waits_for_a_generation_that_closes_its_listener_moves_on_at_once(self):
        # It fills its queue, and closes its listener but stays when it is told to drain.
        s = self.supervise(self.puppets("doors = listeners[:]; listeners.clear(); served.clear(); "
                                        "signal.signal(signal.SIGTERM, lambda *_: [d.close() for d in doors])",
                                        rest=rollout('retire-after = "30s"')))
        waiting = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(20)]
        s.write(self.puppets(rest=rollout('retire-after = "30s"')))
        s.call("Upgrade")
        self.assert_served_by_the_second(waiting)
        self.assertIn("held by nobody any more", s.log_text())

    def test_connections_before_the_first_generation_is_ready_are_served(self):
        s = harness.Supervisor(self, self.puppets(), start=False)
        s.launch()
        harness.poll_until(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0, "the door")
        self.assertEqual(puppet.ask(self.port), 1)


class Canary(SteeredCase):
    def test_half_of_the_traffic_until_somebody_promotes(self):
        s = self.supervise(self.demos(rest=rollout(CANARY)))
        number = s.call("Upgrade")["rollout"]
        self.assertEqual(s.events.wait("holding", rollout=number)["generation"], 2)
        seen = self.assert_half_each()
        self.assertEqual(self.connections(s)[2], seen[2])
        self.weigh_by_hand_and_promote(s, number)

    def test_a_canary_that_crashes_gives_its_share_back_under_load(self):
        s = self.supervise(self.demos(rest=rollout(CANARY)))
        with harness.Load(self.address, "--threads", "2") as load:
            number = s.call("Upgrade")["rollout"]
            s.events.wait("holding", rollout=number)
            load.mark("crash")
            os.kill(s.pids("candidate")[0], signal.SIGKILL)
            verdict = s.events.wait("verdict", rollout=number)
            self.assertEqual(verdict["verdict"], "rolled_back")
            self.assertIn("killed by SIGKILL", verdict["reason"])
            s.events.wait("settled", rollout=number)
        # What the dead one had accepted is lost with it; nobody was refused.
        self.assertLessEqual(load.result["failed"], 16, load.result)
        self.assertEqual(self.shares(50), {1: 50})

    def test_live_that_crashes_is_started_again_and_the_canary_goes_on(self):
        s = self.supervise(self.demos(rest=rollout(CANARY)))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        mark = s.events.mark()
        os.kill(s.pids("live")[0], signal.SIGKILL)
        s.events.wait("instance_ready", since=mark, generation=1)
        self.assertEqual(set(self.shares()), {1, 2})
        s.call("Promote")
        self.assertEqual(s.events.wait("verdict", rollout=number)["verdict"], "promoted")

    def test_a_sticky_client_stays_on_its_side(self):
        s = self.supervise(self.demos(rest=rollout(CANARY, "sticky = true")))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        self.assertEqual(len(self.shares(60)), 1)

    def test_a_routed_network_sees_the_candidate_first_and_another_one_never(self):
        route = 'route = [{ from = "127.0.0.1", to = "candidate" }]'
        steps = 'strategy = "canary"\nsteps = [{ weight = 0, pause = true }]\n'
        s = self.supervise(self.demos(rest=rollout(steps, route)))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        self.assertEqual(self.shares(50), {2: 50})
        s.call("Abort")
        s.events.wait("verdict", rollout=number)
        self.assertEqual(self.shares(50), {1: 50})

    def test_more_than_32_listeners_are_steered_where_the_strategy_needs_it(self):
        others = "".join(f'[[listener]]\nname = "more{n}"\naddress = "127.0.0.1:{harness.free_port()}"\n' for n in range(32))
        for strategy, sharing in (("blue-green", "steered"), ("rolling", "shared")):
            with self.subTest(strategy=strategy):
                s = harness.Supervisor(self, self.demos(rest=f'{others}[rollout]\nstrategy = "{strategy}"\n'))
                told = {listener["sharing"].removesuffix("_classic") for listener in s.status()["listeners"]}
                self.assertEqual(told, {sharing})
                self.assertIn(sharing, s.cli("check", s.configuration).stdout)
                s.stop()

    def test_routes_of_both_families_divide_the_clients_of_a_dual_stack_listener(self):
        port = harness.free_port()
        routes = ('route = [{ from = "::1", to = "candidate" }, { from = "127.0.0.2/31", to = "candidate" }, '
                  '{ from = "0.0.0.0/0", to = "live" }]')
        steps = 'strategy = "canary"\nsteps = [{ weight = 100, pause = true }]\n'
        address = f'address = "{self.address}"'
        s = self.supervise(self.demos(rest=rollout(steps, routes)).replace(address, f'address = "[::]:{port}"'))
        s.call("Upgrade")
        s.events.wait("serving")
        answered = {client: {puppet.ask(port, client) for _ in range(20)}
                    for client in ("::1", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")}
        self.assertEqual(answered, {"::1": {2}, "127.0.0.1": {1}, "127.0.0.2": {2}, "127.0.0.3": {2}, "127.0.0.4": {1}})


class Metrics(SteeredCase):
    """A canary is judged by what it answers, under load."""

    STEPS = 'strategy = "canary"\nsteps = [{ weight = 20, hold = "HOLD" }]\n'

    def configuration(self, *options, hold="2s", metric='max-ratio = 1\nmin-count = 200\n'):
        counters = self.path("counters")
        read = json.dumps(["/bin/sh", "-c", f"cat {counters}.$HANDOFF_GENERATION"])
        gate = f'[[metric]]\nname = "errors"\ncommand = {read}\ninterval = "200ms"\n{metric}'
        return self.demos("--counters", counters, *options,
                          rest=rollout(self.STEPS.replace("HOLD", hold)) + gate)

    def test_a_canary_that_answers_errors_is_rolled_back_within_its_first_step(self):
        s = self.supervise(self.configuration("--fail-every", "1000", hold="30s"))
        s.write(self.configuration("--fail-every", "20", hold="30s"))
        self.assert_rolled_back_under_load(s, "metric 'errors':.*, live: ")

    def test_a_canary_that_equals_live_is_promoted(self):
        s = self.supervise(self.configuration("--fail-every", "100"))
        with harness.Load(self.address, "--threads", "2"):
            s.upgrade(until=None)
        self.assertEqual(s.status()["live"], 2)

    def test_with_too_little_traffic_it_holds_longer_says_so_and_fails(self):
        s = self.supervise(self.configuration(hold="1s", metric="max-ratio = 1\nmin-count = 1000000\n"))
        with harness.Load(self.address):
            verdict = s.upgrade("rolled_back")
        self.assertRegex(verdict["reason"], "^metric 'errors': 0 % of [1-9][0-9]*, live: 0 % of [1-9][0-9]*, "
                                            "at least 1000000 are needed; that is inconclusive")
        self.assertIn("holds for up to 1s more", s.events.wait("note")["text"])

    def test_a_metric_that_cannot_be_read_does_not_pass(self):
        bad = 'command = ["/bin/echo", "many"]'
        text = self.configuration(hold="300ms")
        s = self.supervise(text)
        lines = [bad if "counters.$" in line else line for line in text.splitlines()]
        s.write("\n".join(lines))
        verdict = s.upgrade("rolled_back")
        self.assertIn("expected two numbers", verdict["reason"])

    def test_a_person_may_promote_in_spite_of_a_metric(self):
        s = self.supervise(self.configuration(hold="1h"))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        s.call("Promote")
        self.assertEqual(s.events.wait("verdict", rollout=number)["verdict"], "promoted")


class BlueGreen(SteeredCase):
    BLUE = 'strategy = "blue-green"\nstandby = "1h"\n'

    def test_nothing_moves_before_it_is_promoted_and_the_way_back_is_one_change(self):
        s = self.supervise(self.demos(rest=rollout(self.BLUE)))
        with harness.Load(self.address, "--threads", "2") as load:
            number = s.call("Upgrade")["rollout"]
            s.events.wait("holding", rollout=number)
            self.assertEqual(self.shares(30), {1: 30})
            s.call("Promote")
            s.events.wait("verdict", rollout=number, verdict="promoted")
            self.assertEqual(self.shares(30), {2: 30})
            self.assertEqual(s.generation("standby")["number"], 1)
            pids = s.pids("standby")
            back = s.call("Rollback")["rollout"]
            s.events.wait("verdict", rollout=back, verdict="promoted")
            self.assertEqual(self.shares(30), {1: 30})
            self.assertEqual(s.pids(), pids)  # the same processes: nothing was started
            s.events.wait("settled", rollout=back)
        self.assert_nothing_failed(load)

    def test_an_upgrade_waits_until_the_standby_has_left(self):
        s = self.supervise(self.demos(rest=rollout(self.BLUE, "auto-promote = true")))
        s.upgrade(until=None)
        self.assertEqual(s.generation("standby")["number"], 1)
        number = s.call("Upgrade")["rollout"]
        gone = s.events.wait("gone", generation=1)
        ready = s.events.wait("instance_ready", generation=3)
        self.assertLess(gone["sequence"], ready["sequence"])
        s.events.wait("verdict", rollout=number, verdict="promoted")


class Rolling(SteeredCase):
    def replaced_under_load(self, surge, unavailable):
        """The fewest of four instances that were ready, and the most that ran, during an upgrade."""
        rest = rollout(f'strategy = "rolling"\nmax-surge = {surge}\nmax-unavailable = {unavailable}')
        s = self.supervise(self.demos(service="instances = 4", rest=rest))
        ready, running = [], []
        stop = threading.Event()

        def count():
            while not stop.is_set():
                instances = [i for g in s.status()["generations"] for i in g["instances"]]
                ready.append(sum(i["state"] == "ready" for i in instances))
                running.append(sum(i["pid"] is not None for i in instances))

        counter = threading.Thread(target=count)
        counter.start()
        try:
            with harness.Load(self.address, "--threads", "2") as load:
                s.upgrade()
        finally:
            stop.set()
            counter.join()
        self.assert_nothing_failed(load)
        self.assertEqual(len(s.pids()), 4)
        return min(ready), max(running)

    def test_instances_are_replaced_one_by_one_under_load(self):
        fewest, most = self.replaced_under_load(surge=1, unavailable=0)
        self.assertEqual(fewest, 4)
        self.assertTrue(4 <= most <= 5, f"{most} were counted at the most")

    def test_without_room_for_more_one_is_missing_at_a_time(self):
        fewest, most = self.replaced_under_load(surge=0, unavailable=1)
        self.assertTrue(3 <= fewest <= 4, f"{fewest} were counted at the least")
        # What is told to leave may still be going when its successor starts.
        self.assertLessEqual(most, 5)

    def test_a_bad_one_brings_all_old_instances_back(self):
        rest = rollout('strategy = "rolling"\nmax-surge = 0\nmax-unavailable = 1')
        s = self.supervise(self.puppets(service="instances = 3", rest=rest))
        bad = "instance == 2 and sys.exit(7)"
        s.write(self.puppets(bad, service="instances = 3", rest=rest))
        verdict = s.upgrade("rolled_back")
        self.assertIn("exited 7", verdict["reason"])
        harness.poll_until(
            lambda: [i["state"] for i in s.generation()["instances"]] == ["ready"] * 3, "three live instances")
        self.assertEqual(s.status()["live"], 1)
        self.assertEqual(self.shares(20), {1: 20})


class Refusals(SteeredCase):
    def test_a_strategy_that_needs_steering_is_refused_where_a_listener_is_shared(self):
        s = self.supervise(self.demos())
        s.write(self.demos(rest=rollout('sharing = "shared"\n' + CANARY)))
        self.assertIn("sharing", s.upgrade("refused")["reason"])

    def test_how_generations_share_a_listener_cannot_change_while_it_is_open(self):
        s = self.supervise(self.demos())
        s.write(self.demos(rest=rollout('sharing = "shared"')))
        self.assertIn("how its generations share it cannot change", s.upgrade("refused")["reason"])

    def test_weights_by_hand_are_refused_where_there_is_nothing_to_weigh(self):
        s = self.supervise(self.demos())
        with self.assertRaises(harness.Refused) as refused:
            s.call("SetWeight", weight=5)
        self.assertIn("no rollout is under way", str(refused.exception))
        for method in ("Promote", "Pause", "Resume"):
            with self.assertRaises(harness.Refused):
                s.call(method)


class Program(SteeredCase):
    def test_a_service_that_shuts_its_slot_has_it_opened_again_and_is_named(self):
        s = self.supervise(self.puppets())
        mark = s.events.mark()
        self.tell("served[0].shutdown(socket.SHUT_RDWR)")
        self.assertEqual(s.events.wait("listener_reopened", since=mark)["generation"], 1)
        for _ in range(20):
            self.assertEqual(puppet.ask(self.port), 1)

    def test_a_service_that_takes_the_program_away_is_noticed_and_it_is_put_back(self):
        s = self.supervise(self.puppets(rest=rollout(CANARY)))
        self.tell(f"served[0].setsockopt(socket.SOL_SOCKET, {DETACH}, 0)")
        replies = []

        def ask_on():
            for _ in range(60):
                replies.append(puppet.ask(self.port))

        asking = threading.Thread(target=ask_on)
        asking.start()
        self.assertEqual(s.events.wait("steering_restored")["generation"], 1)
        self.assertIn("a service took it away; it is back, suspected: generation 1", s.log_text())
        asking.join(harness.PATIENCE)
        self.assertEqual(replies, [1] * 60)
        self.assertEqual(self.shares(20), {1: 20})

    def hold_a_candidate(self):
        s = self.supervise(self.puppets(rest=rollout(CANARY)))
        s.events.wait("holding", rollout=s.call("Upgrade")["rollout"])
        return s

    def test_a_candidate_that_takes_the_program_away_is_named(self):
        s = self.hold_a_candidate()
        self.tell(f"served[0].setsockopt(socket.SOL_SOCKET, {DETACH}, 0)", generation=2)
        harness.poll_until(lambda: puppet.ask(self.port) and s.events.count("steering_restored"), "the word of it")
        self.assertEqual(s.events.wait("steering_restored")["generation"], 2)
        s.call("SetWeight", weight=0)
        self.assertEqual(self.shares(50), {1: 50})

    def test_a_candidate_that_chooses_by_a_program_of_its_own_does_so_until_weights_move(self):
        s = self.hold_a_candidate()
        self.assertEqual(self.tell(TAKES_ALL, generation=2), "None")
        self.assertEqual(self.shares(50), {2: 50})
        s.call("SetWeight", weight=0)
        self.assertEqual(self.shares(50), {1: 50})

    def test_nothing_piles_up_in_fifty_upgrades(self):
        s = self.supervise(self.demos())
        for _ in range(3):
            s.upgrade()
        harness.poll_until(lambda: len(s.status()["listeners"][0]["slots"]) == 1, "one slot")
        before = harness.descriptors(s.process.pid)
        for _ in range(50):
            s.upgrade()
        harness.poll_until(lambda: len(s.status()["listeners"][0]["slots"]) == 1, "one slot")
        # Fewer than before, too: what the first upgrades left was still on its way out.
        harness.poll_until(lambda: len(harness.descriptors(s.process.pid)) <= len(before), "as few descriptors")


class Datagrams(SteeredCase):
    SERVICE = ("udp = [l for l in listeners if l.type == socket.SOCK_DGRAM][0]; udp.setblocking(True); "
               "__import__('threading').Thread(daemon=True, target=lambda: [udp.sendto(b'%d' % generation, a) "
               "for _, a in iter(lambda: udp.recvfrom(64), None)]).start()")

    def echo(self, flow):
        flow.send(b"?")
        return int(flow.recv(64))

    def flow(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.settimeout(harness.PATIENCE)
        s.connect(("127.0.0.1", self.udp))
        return s

    def test_established_flows_keep_their_generation_and_new_ones_go_to_the_new(self):
        self.udp = harness.free_port(socket.SOCK_DGRAM)
        text = self.puppets(self.SERVICE, addresses=[f"udp://127.0.0.1:{self.udp}"])
        text = text.replace(f'address = "udp://127.0.0.1:{self.udp}"',
                            f'address = "udp://127.0.0.1:{self.udp}"\nflow-timeout = "5s"')
        s = self.supervise(text.replace('timeout = "2s"', 'timeout = "30s"', 1))
        old = [self.flow() for _ in range(100)]
        self.assertEqual({self.echo(f) for f in old}, {1})
        s.upgrade(until=None)
        for _ in range(5):
            self.assertEqual([self.echo(f) for f in old], [1] * 100)
        new = [self.flow() for _ in range(100)]
        self.assertEqual({self.echo(f) for f in new}, {2})
        # Silent now: the old generation is told to drain, and goes.
        s.events.wait("gone", generation=1)
        self.assertEqual({self.echo(f) for f in old}, {2})


if __name__ == "__main__":
    unittest.main(verbosity=2)
