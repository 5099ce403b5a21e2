"""Nothing is lost when a slot retires: what is under way in the old generation's socket is served by somebody.

Skipped where listeners are not steered; the half-open handshakes also where no network namespace can be made.
"""

import contextlib
import os
import re
import selectors
import signal
import socket
import threading
import time
import unittest

import handmade_tcp
import harness
import puppet
from steering_test import CANARY, SteeredCase, rollout

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
SLACK = max(0, harness.PATIENCE / 60 - 1)  # seconds over a bound; of sanitizers
ATTEMPTS = 6  # of which one has to keep a bound: a busy machine holds one up, a wrong constant all

# Old generations that accept nothing, and what they do when they are told to drain; the time is noted in a file.
IDLE = """
import threading
doors = listeners[:]; listeners.clear(); served.clear()
def note():
    with open(os.environ["PUPPET"] + "/left.new", "w") as f: f.write(repr(time.monotonic()))
    os.rename(f.name, os.environ["PUPPET"] + "/left")
def close(): [d.close() for d in doors]; note()
signal.signal(signal.SIGTERM, lambda *_: LEAVE)
"""
STOPS_ACCEPTING = IDLE.replace("LEAVE", "note()")
CLOSES = IDLE.replace("LEAVE", "close()")
CLOSES_LATE = IDLE.replace("LEAVE", "threading.Timer(1.3, close).start()")
EXITS = IDLE.replace("LEAVE", "(note(), os._exit(0))")
# The one that holds the listener leads a session of its own.
HAS_A_WORKER = """
if os.fork() == 0:
    os.setsid()
    while True: signal.pause()
""" + STOPS_ACCEPTING + "[d.close() for d in doors]"
SERVES_ON = STOPS_ACCEPTING.replace("served.clear()", "")
NOT_TAKEN, NOT_HELD = "is not taken by anybody", "is held by nobody any more"  # why a queue moves on


def say(text):
    """A figure that was measured, for the log of the run."""
    print(f"  measured: {text}", flush=True)


def lingering(text="", drain="1h"):
    return rollout(text).replace('timeout = "2s"', f'timeout = "{drain}"', 1)


def answer_in(reply):
    found = re.search(rb"X-Handoff-Generation: (\d+)", reply)
    return int(found[1]) if found else None


class RetireCase(SteeredCase):
    HOST = "127.0.0.1"

    def connect(self, count):
        """Connections that wait in a queue, each with a request."""
        waiting = []
        for _ in range(count):
            s = socket.create_connection((self.HOST, self.port), harness.PATIENCE)
            self.addCleanup(s.close)
            s.sendall(REQUEST)
            waiting.append(s)
        return waiting

    def collect(self, connections):
        """The generation that answered each, and when; the generation is the error if it failed."""
        answers = []
        with selectors.DefaultSelector() as selector:
            for s in connections:
                selector.register(s, selectors.EVENT_READ)
            deadline = time.monotonic() + harness.PATIENCE
            while selector.get_map() and time.monotonic() < deadline:
                for key, _ in selector.select(1):
                    try:
                        who = answer_in(key.fileobj.recv(4096)) or "an empty reply"
                    except OSError as e:
                        who = e.strerror
                    answers.append((who, time.monotonic()))
                    selector.unregister(key.fileobj)
            answers += [("no reply", deadline)] * len(selector.get_map())
        return answers

    def wait_for_one_slot(self, s):
        harness.poll_until(lambda: len(s.status()["listeners"][0]["slots"]) == 1, "the old slot to be gone")


class HalfOpen(RetireCase):
    """Handshakes that began in the old generation's slot, and whose clients take their time."""

    COUNT = 60  # of each address family

    def setUp(self):
        super().setUp()
        try:
            self.wire = handmade_tcp.Wire()
        except handmade_tcp.Unavailable as e:
            self.skipTest(str(e))
        self.addCleanup(self.wire.close)

    def begin(self):
        clients = [handmade_tcp.Client(self.wire, version, 8000, 20000 + n)
                   for n in range(self.COUNT) for version in (4, 6)]
        for c in clients:
            c.begin()
        self.assertTrue(self.wire.pump(lambda: all(c.answered for c in clients), harness.PATIENCE))
        return clients

    def assert_served(self, clients, by):
        self.wire.pump(lambda: all(c.ended or c.reset for c in clients), harness.PATIENCE)
        self.assertEqual(sum(c.reset for c in clients), 0)
        self.assertEqual({answer_in(c.reply) for c in clients}, by)

    def check(self, code, while_it_drains):
        addresses = [f"{handmade_tcp.THERE[4]}:8000", f"[{handmade_tcp.THERE[6]}]:8000"]
        s = self.supervise(self.puppets(code, rest=lingering(), addresses=addresses))
        clients = self.begin()
        third = len(clients) // 3
        s.write(self.puppets(rest=lingering(), addresses=addresses))
        s.upgrade(until=None)
        harness.poll_until(lambda: self.read("left"), "the old one to be told")

        for c in clients[:third]:
            c.complete(REQUEST)
        self.assert_served(clients[:third], while_it_drains)

        # One after another while it ends, so that some meet every moment of it.
        self.tell("os._exit(0)")
        coming = iter(clients[third:-third])
        for c in coming:
            c.complete(REQUEST)
            self.wire.pump(lambda: False, 0.001)
        self.assert_served(clients[third:-third], {2})

        s.events.wait("gone", generation=1)
        self.wait_for_one_slot(s)
        for c in clients[-third:]:
            c.complete(REQUEST)
        self.assert_served(clients[-third:], {2})

    def test_of_one_that_closes_and_lingers(self):
        self.check(CLOSES, {2})

    def test_of_one_that_serves_until_its_end(self):
        self.check(SERVES_ON, {1})


class FullQueue(RetireCase):
    """The old generation accepts nothing, and its queue is full when the traffic moves."""

    BACKLOG = 64
    FULL = BACKLOG + 1  # how many a queue of that length holds, listen(2)

    def longest_wait(self, code, retire_after, why):
        rest = lingering(f'retire-after = "{retire_after}"')
        backlog = f'address = "{self.address}"\nbacklog = {self.BACKLOG}'
        old, new = (self.puppets(c, rest=rest).replace(f'address = "{self.address}"', backlog) for c in (code, ""))
        s = self.supervise(old)
        waiting = self.connect(self.FULL)
        self.assertEqual(s.status()["listeners"][0]["slots"][0]["queued"], self.FULL)
        s.write(new)
        s.call("Upgrade")
        answers = self.collect(waiting)
        self.assertEqual([who for who, _ in answers], [2] * self.FULL)
        self.assertIn(why, s.log_text())
        left = float(self.read("left"))
        s.clean()
        os.unlink(self.path("left"))
        return max(at for _, at in answers) - left

    def check(self, what, longest_wait, bound):
        waits = []
        while not waits or min(waits) > bound + SLACK and len(waits) < ATTEMPTS:
            waits.append(longest_wait())
        say(f"a queue of an old generation that {what}: its last was served "
            f"{', '.join(f'{w * 1000:.0f}' for w in waits)} ms later (bound {bound * 1000:.0f} ms)")
        self.assertLessEqual(min(waits), bound + SLACK)

    def check_full(self, what, code, retire_after, bound, why=""):
        self.check(what, lambda: self.longest_wait(code, retire_after, why), bound)

    def test_of_one_that_stops_accepting(self):
        self.check_full("stops accepting", STOPS_ACCEPTING, "300ms", 0.4, NOT_TAKEN)

    def test_of_one_with_a_worker_that_stops_accepting(self):
        self.check_full("has a worker with a session of its own that stops accepting", HAS_A_WORKER, "300ms", 0.4,
                        NOT_TAKEN)

    def longest_wait_with_flows(self):
        port = harness.free_port(socket.SOCK_DGRAM)
        rest = lingering('retire-after = "300ms"')
        old, new = (self.puppets(code, rest=rest, addresses=[self.address, f"udp://127.0.0.1:{port}"])
                    for code in (STOPS_ACCEPTING, ""))
        s = self.supervise(old)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.sendto(b"a flow", ("127.0.0.1", port))
        waiting = self.connect(20)
        s.write(new)
        number = s.call("Upgrade")["rollout"]
        s.events.wait("verdict", rollout=number, verdict="promoted")
        promoted = time.monotonic()
        answers = self.collect(waiting)
        self.assertEqual([who for who, _ in answers], [2] * len(waiting))
        self.assertEqual(self.read("left"), "")
        self.assertEqual(s.status()["listeners"][0]["reopened"], 0)
        s.clean()
        return max(at for _, at in answers) - promoted

    def test_of_one_with_flows_that_stops_accepting(self):
        # Its flows keep it from being told to drain; that is no reason for its queue to wait.
        self.check("has UDP flows and stops accepting", self.longest_wait_with_flows, 0.7)

    def test_of_one_that_closes(self):
        self.check_full("closes its listener", CLOSES, "1h", 0.1, NOT_HELD)

    def test_of_one_that_closes_late(self):
        self.check_full("closes its listener late", CLOSES_LATE, "1h", 0.1, NOT_HELD)

    def test_of_one_that_exits(self):
        self.check_full("exits", EXITS, "1h", 0.1)

    def test_overflowing_at_the_switch(self):
        listener = f'address = "{self.address}"\nbacklog = 4'
        old, new = (text.replace(f'address = "{self.address}"', listener)
                    for text in (self.puppets(CLOSES, rest=lingering()), self.demos(rest=lingering())))
        s = self.supervise(old)
        s.write(new)
        outcomes = []

        def be_served():
            try:
                with socket.create_connection((self.HOST, self.port), harness.PATIENCE) as c:
                    c.sendall(REQUEST)
                    outcomes.append(answer_in(c.recv(4096)))
            except OSError as e:
                outcomes.append(str(e))

        clients = [threading.Thread(target=be_served) for _ in range(40)]
        began = time.monotonic()
        for c in clients[:20]:
            c.start()
        s.call("Upgrade")
        for c in clients[20:]:
            c.start()
        for c in clients:
            c.join(harness.PATIENCE)
        say(f"40 clients at a backlog of 4: the last was served after {time.monotonic() - began:.1f} s")
        self.assertEqual(outcomes, [2] * 40)


class FullQueueInIPv6(FullQueue):
    HOST = "::1"

    def setUp(self):
        super().setUp()
        try:
            self.port = harness.free_port(host=self.HOST)
        except OSError:
            self.skipTest("no IPv6 here")
        self.address = f"[{self.HOST}]:{self.port}"


class ManySwitches(RetireCase):
    UPGRADES = 50
    EVERY = 0.1  # seconds
    WINDOW = 5  # upgrades, the best of which have to keep that pace

    def best_rate(self, ends):
        return max(self.WINDOW / (after - before) for before, after in zip(ends, ends[self.WINDOW:]))

    def test_ten_a_second_under_load_fail_no_request_of_any_family(self):
        ports = {"127.0.0.1": self.port, "[::1]": harness.free_port(host="::1"), "[::]": harness.free_port(host="::")}
        addresses = [f"{host}:{port}" for host, port in ports.items()]
        text = puppet.configuration(puppet.demo(), *addresses, rest=rollout("max-draining = 24"))
        s = self.supervise(text)
        targets = [*addresses[:2], *(f"{host}:{ports['[::]']}" for host in ("127.0.0.1", "[::1]"))]
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(harness.Load(t, "--clients", "8")) for t in targets]
            began = time.monotonic()
            ends = [began]
            for n in range(1, self.UPGRADES + 1):
                s.upgrade(until=None)
                ends.append(time.monotonic())
                threading.Event().wait(max(0, began + n * self.EVERY - time.monotonic()))  # the pace is the subject
            took = time.monotonic() - began
        for target, load in zip(targets, loads):
            self.assert_nothing_failed(load, self.UPGRADES)
            say(f"{self.UPGRADES / took:.1f} upgrades a second under load of {target}: {load.result['failed']} of "
                f"{load.result['total']} failed")
        say(f"{self.best_rate(ends):.1f} upgrades a second in the best {self.WINDOW} in a row")
        self.assertGreaterEqual(self.best_rate(ends) * (1 + SLACK), 0.95 / self.EVERY)


class Crash(RetireCase):
    """A generation that is killed while both have traffic."""

    def stopped_under_load(self, role, count=100):
        s = self.supervise(self.demos(rest=rollout(CANARY)))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        pid = s.pids(role)[0]
        os.kill(pid, signal.SIGSTOP)
        return s, number, pid, self.connect(count)

    def kill(self, s, pid):
        with contextlib.closing(os.fdopen(os.pidfd_open(pid))) as end:
            mark = s.events.mark()
            os.kill(pid, signal.SIGKILL)
            with selectors.DefaultSelector() as selector:
                selector.register(end, selectors.EVENT_READ)
                selector.select(harness.PATIENCE)
            return mark, time.monotonic()

    def test_what_waits_for_a_canary_that_is_killed_is_served_by_live(self):
        s, number, pid, waiting = self.stopped_under_load("candidate")
        _, died = self.kill(s, pid)
        s.events.wait("verdict", rollout=number, verdict="rolled_back")
        told = time.monotonic() - died
        answers = self.collect(waiting)
        self.assertEqual([who for who, _ in answers], [1] * len(waiting))
        say(f"a canary that died: the verdict was told {told * 1000:.1f} ms later, the last connection in its queue was "
            f"served {(max(at for _, at in answers) - died) * 1000:.0f} ms later")
        self.assertEqual(self.shares(50), {1: 50})

    def test_what_waits_for_live_that_is_killed_during_a_canary_is_served(self):
        s, number, pid, waiting = self.stopped_under_load("live")
        mark, died = self.kill(s, pid)
        answers = self.collect(waiting)
        self.assertEqual({who for who, _ in answers}, {1, 2})
        s.events.wait("instance_ready", since=mark, generation=1)
        say(f"live that died during a canary: the last connection in its queue was served "
            f"{(max(at for _, at in answers) - died) * 1000:.0f} ms later")
        s.call("Promote")
        s.events.wait("verdict", rollout=number, verdict="promoted")

    def test_under_load_only_what_the_dead_one_had_accepted_is_lost(self):
        s = self.supervise(self.demos(rest=rollout(CANARY)))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        clients = 16
        with harness.Load(self.address, "--clients", str(clients)) as load:
            load.mark("crash")
            _, died = self.kill(s, s.pids("candidate")[0])
            s.events.wait("verdict", rollout=number, verdict="rolled_back")
            told = time.monotonic() - died
            for _ in range(200):
                self.assertEqual(puppet.ask(self.port), 1)
        say(f"a canary killed under load: verdict {told * 1000:.1f} ms later, {load.result['failed']} of "
            f"{load.result['total']} requests failed")
        self.assertGreater(load.result["total"], clients)
        self.assertLessEqual(load.result["failed"], clients)


if __name__ == "__main__":
    unittest.main(verbosity=2)
