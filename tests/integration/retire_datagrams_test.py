"""Datagrams while slots retire: a flow keeps its generation until that one's deadline, and no switch loses any."""

import os
import selectors
import signal
import socket
import time
import unittest

import harness
from retire_test import lingering, say
from steering_test import SteeredCase, rollout

BATCH = 64  # datagrams in flight at once: few enough for any receive buffer
QUIET = 0.3 * harness.PATIENCE / 60 + 0.2  # seconds without a reply after which what is missing is lost


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

    def receive(self):
        """The generation that answered the last datagram; nothing for a reply to an earlier one."""
        number, _, generation = self.socket.recv(64).split()
        return int(generation) if int(number) == self.sent else None


class Datagrams(SteeredCase):
    def setUp(self):
        super().setUp()
        self.port = harness.free_port(socket.SOCK_DGRAM)
        self.address = f"udp://127.0.0.1:{self.port}"

    def echo(self, rest, flow_timeout="1s"):
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
            mark = s.events.mark()
            number = s.call("Upgrade")["rollout"]
            promoted = False
            while not promoted:  # the last round is after it
                promoted = s.events.count("verdict", rollout=number) > 0
                self.assertEqual(self.talk(flows), expected, "a flow was lost or moved")
                sent += len(flows)
            s.events.wait("verdict", since=mark, rollout=number, verdict="promoted")
            flows += self.flows(10)
            expected += [generation] * 10
        self.assertEqual(self.talk(flows), expected)
        say(f"{len(flows)} flows kept their generations through 20 upgrades; 0 of {sent} datagrams lost")

    def test_the_deadline_of_a_generation_moves_its_flows_to_live(self):
        s = self.echo(lingering(drain="1s"))
        flows = self.flows(20)
        self.assertEqual(self.talk(flows), [1] * 20)
        s.upgrade(until=None)
        sent, lost, moved = 0, 0, 0
        while moved < 3:  # rounds that live answered alone
            answers = self.talk(flows)
            sent += len(answers)
            lost += answers.count(None)
            moved += set(answers) == {2}
            self.assertLessEqual(set(answers), {None, 1, 2})
        self.assertEqual(s.events.count("gone", generation=1), 1)
        say(f"flows that talk through the deadline of their generation: {lost} of {sent} datagrams lost")
        self.assertLessEqual(lost, len(flows))

    def test_what_comes_while_live_is_dead_waits_for_it(self):
        s = self.echo(rollout(""))
        flows = self.flows(100)
        self.assertEqual(self.talk(flows), [1] * 100)
        os.kill(s.pids()[0], signal.SIGKILL)
        answers = self.talk(flows, harness.PATIENCE if False else 2 * QUIET + 1)
        say(f"live killed: {answers.count(None)} of {len(flows)} datagrams lost that were sent meanwhile")
        self.assertLessEqual(answers.count(None), BATCH)  # what the dead one had read
        self.assertEqual(self.talk(flows), [1] * 100)


if __name__ == "__main__":
    unittest.main(verbosity=2)
