"""The main job: a service is upgraded under full load, and nobody notices."""

import os
import signal
import socket

import harness
import puppet


class Upgrade(puppet.TestCase):
    def test_twenty_upgrades_by_hup_under_load_lose_nothing(self):
        s = self.supervisor()
        with harness.Load(self.address, "--clients", "16", "--sources", "8") as load:
            for _ in range(20):
                rollout = s.hup()
                self.assertEqual(s.events.wait("verdict", rollout=rollout)["verdict"], "promoted")
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(s.status()["live"], 21)
        self.assertEqual(s.stop(), 0)

    def test_nothing_piles_up(self):
        s = self.supervisor()
        s.upgrade()
        before = len(harness.descriptors(s.process.pid))  # one of them may be closed in a moment
        for _ in range(10):
            s.upgrade()
        harness.poll_until(lambda: len(harness.descriptors(s.process.pid)) <= before, "no descriptor more than before")
        harness.poll_until(lambda: sorted(harness.children(s.process.pid)) == sorted(s.pids()), "no other child")

    def test_a_waiting_connection_is_served_by_the_successor(self):
        s = self.supervisor()
        for pid in s.pids():  # nobody accepts any more
            os.kill(pid, signal.SIGSTOP)
        client = socket.create_connection(("127.0.0.1", self.port))
        self.addCleanup(client.close)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("verdict", rollout=rollout, verdict="promoted")
        client.settimeout(harness.PATIENCE)
        self.assertIn(b"X-Handoff-Generation: 2", client.recv(4096))


if __name__ == "__main__":
    harness.main()
