"""Datagrams while slots retire: a flow keeps its generation until that one's deadline, and no switch loses any."""

import itertools
import os
import select
import selectors
import signal
import socket
import time
import unittest

import harness
from retire_test import lingering, say
from steering_test import CANARY, SteeredCase, rollout

BATCH = 64  # datagrams in flight at once: few enough for any receive buffer
QUIET = 0.3 * harness.PATIENCE / 60 + 0.2  # seconds without a reply after which what is missing is lost
EVERY = 0.0005  # seconds, that one flow waits for a reply before it sends on
AFTERWARDS = 300  # datagrams; many more than fit into the moment in which a slot is removed


class Flow:
    """One client's socket, as a QUIC connection has one; counts what it was answered by whom."""

    def __init__(self, test, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        test.addCleanup(self.socket.close)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.generation = None
        self.sent = 0

    def send(self):
        self.sent += 1
        self.socket.send(b"%d" % self.sent)

    def has_reply(self):
        return bool(select.select([self.socket], [], [], 0)[0])

    def receive(self):
        """The generation that answered the last datagram; nothing for a reply to an earlier one."""
        number, _, generation = self.socket.recv(64).split()
        return int(generation) if int(number) == self.sent else None


class Datagrams(SteeredCase):
    def setUp(self):
        super().setUp()
        self.port = harness.free_port(socket.SOCK_DGRAM)
        self.address = f"udp://127.0.0.1:{self.port}"

    def echo(self, rest, flow_timeout="1m"):
        listener = f'address = "{self.address}"'
        return self.supervise(self.demos(rest=rest).replace(listener, f'{listener}\nflow-timeout = "{flow_timeout}"'))

    def flows(self, count):
        return [Flow(self, self.port) for _ in range(count)]

    def talk(self, flows, patience=QUIET):
        """Each flow sends one datagram; who answered it, in their order. None where nobody did."""
        answers = {}
        with selectors.DefaultSelector() as selector:
            for start in range(0, len(flows), BATCH):
                for flow in flows[start:start + BATCH]:
                    selector.register(flow.socket, selectors.EVENT_READ, flow)
                    flow.send()
                while selector.get_map() and (ready := selector.select(patience)):
                    for key, _ in ready:
                        who = key.data.receive()
                        if who is not None:
                            answers[key.data] = who
                            selector.unregister(key.fileobj)
                for key in list(selector.get_map().values()):
                    selector.unregister(key.fileobj)
        return [answers.get(flow) for flow in flows]

    def test_a_thousand_flows_keep_their_generations_through_twenty_upgrades(self):
        s = self.echo(lingering("max-draining = 24"))
        flows = self.flows(1000)
        expected = [1] * 1000
        self.assertEqual(self.talk(flows), expected)
        sent = 0
        for generation in range(2, 22):
            number = s.call("Upgrade")["rollout"]
            promoted = False
            while not promoted:  # the last round is after it
                promoted = s.events.count("verdict", rollout=number) > 0
                self.assertEqual(self.talk(flows), expected)
                sent += len(flows)
            s.events.wait("verdict", rollout=number, verdict="promoted")
            new = self.flows(10)
            self.assertEqual(self.talk(new), [generation] * 10)
            flows += new
            expected += [generation] * 10
        say(f"{len(flows)} flows kept their generations through 20 upgrades; 0 of {sent} datagrams lost")

    def test_a_quic_client_that_moves_stays_with_its_generation(self):
        listener = f'address = "{self.address}"'
        s = self.supervise(self.demos(rest=lingering("max-draining = 24")).replace(
            listener, f"{listener}\nconnection-id-byte = 1"))

        def ask(packet):
            flow = Flow(self, self.port)  # from another port each time
            flow.socket.send(packet)
            self.assertTrue(select.select([flow.socket], [], [], harness.PATIENCE)[0], "no reply")
            reply = flow.socket.recv(256)
            self.assertTrue(reply.startswith(packet))
            flow.socket.close()
            return int(reply.split()[-1])

        connections = []  # the short-header packet of each, and whose it is
        for generation in range(1, 6):
            initial = b"\xc0\0\0\0\1\4" + bytes([90, generation % 2 + 1, 90, 90])  # with an id of the client's invention
            self.assertEqual(ask(initial), generation)
            connections.append((b"\x40" + bytes([7, generation, 7, 7]), generation))
            for packet, owner in connections * 20:
                self.assertEqual(ask(packet), owner)
            s.upgrade(until=None)
        for packet, owner in connections * 20:
            self.assertEqual(ask(packet), owner)
        say(f"{len(connections)} QUIC-like connections of 5 generations: each packet from another port came to its own")

    def talk_past_the_end(self, s, flow):
        """Sends one datagram after the other until the old generation is gone, and AFTERWARDS more. Who answered
        each, by its number, and the number of the first one after the end."""
        answered, end = {}, None
        deadline = time.monotonic() + harness.PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(flow.socket, selectors.EVENT_READ)
            while end is None or flow.sent < end + AFTERWARDS or selector.select(QUIET):
                if end is None and s.events.count("gone", generation=1):
                    end = flow.sent + 1
                if end is None or flow.sent < end + AFTERWARDS:
                    flow.send()
                for _ in selector.select(EVERY):
                    number, _, generation = flow.socket.recv(64).split()
                    answered[int(number)] = int(generation)
                self.assertLess(time.monotonic(), deadline)
        return answered, end

    def test_the_deadline_of_a_generation_moves_its_flows_to_live(self):
        s = self.echo(lingering(drain="1s"))
        flow = self.flows(1)[0]
        self.assertEqual(self.talk([flow]), [1])
        s.upgrade(until=None)
        first = flow.sent + 1
        answered, end = self.talk_past_the_end(s, flow)
        lost = [n for n in range(first, flow.sent + 1) if n not in answered]
        say(f"a flow that talks through the deadline of its generation: {len(lost)} of {end - first} datagrams lost, "
            f"one each {EVERY * 1000} ms from when its service closed the socket until it had ended")
        # Not one that came after its end; and the new one answers none before the old one has stopped to.
        self.assertEqual([n for n in lost if n >= end], [])
        in_order = [answered[n] for n in sorted(answered)]
        self.assertEqual(in_order, sorted(in_order))
        self.assertEqual(set(in_order), {1, 2})

    def gather(self, flows):
        """Who answered each datagram, by its flow and number, until nothing has come for a while."""
        answered = {}
        with selectors.DefaultSelector() as selector:
            for flow in flows:
                selector.register(flow.socket, selectors.EVENT_READ, flow)
            while ready := selector.select(QUIET):
                for key, _ in ready:
                    number, _, generation = key.fileobj.recv(64).split()
                    answered[key.data, int(number)] = int(generation)
        return answered

    def test_nothing_is_lost_of_what_comes_after_the_verdict_on_a_canary_that_was_killed(self):
        s = self.echo(rollout(CANARY))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        flows = self.flows(2 * BATCH)
        theirs = [flow for flow, who in zip(flows, self.talk(flows)) if who == 2]
        self.assertTrue(theirs)
        os.kill(s.pids("candidate")[0], signal.SIGKILL)
        began = time.monotonic()
        for flow in itertools.cycle(theirs):
            if s.events.count("verdict", rollout=number):
                break
            flow.send()
            select.select([], [], [], EVERY)  # the pace is the subject
        told = time.monotonic() - began
        before = {(flow, n) for flow in theirs for n in range(2, flow.sent + 1)}
        after = set()
        for flow in theirs:  # at once, so that some meet every moment of the slot's end
            flow.send()
            after.add((flow, flow.sent))
            select.select([], [], [], EVERY)
        answered = self.gather(theirs)
        say(f"a canary killed with {len(theirs)} flows: {len(before - answered.keys())} of {len(before)} datagrams lost in "
            f"the {told * 1000:.1f} ms to the verdict, {len(after - answered.keys())} of {len(after)} later")
        self.assertEqual({answered.get(one) for one in after}, {1})
        self.assertEqual(s.events.wait("verdict", rollout=number)["verdict"], "rolled_back")
        self.assertEqual(self.talk(flows), [1] * len(flows))

    def test_what_comes_while_live_is_dead_waits_for_it(self):
        s = self.echo(rollout(""))
        flows = self.flows(100)
        self.assertEqual(self.talk(flows), [1] * 100)
        pid = s.pids()[0]
        for flow in flows[:BATCH]:
            flow.send()
        os.kill(pid, signal.SIGKILL)
        harness.poll_until(lambda: not harness.is_alive(pid), "its end")
        self.assertEqual(self.talk(flows[BATCH:], harness.PATIENCE), [1] * (100 - BATCH))
        answered = sum(flow.receive() is not None for flow in flows[:BATCH] if flow.has_reply())
        say(f"live killed with {BATCH} datagrams on their way: {BATCH - answered} lost, which it had read; none of those "
            "that came later")


if __name__ == "__main__":
    unittest.main(verbosity=2)
