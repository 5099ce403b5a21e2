"""Whoever does not read what the supervisor tells cannot hold it up."""

import os
import socket
import subprocess

import harness
import puppet


class StalledReader(puppet.TestCase):
    def test_a_service_manager_that_never_reads(self):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(self.path("notify"))
        environment = {"NOTIFY_SOCKET": manager.getsockname(), "FDSTORE": "4096"}
        s = harness.Supervisor(self, self.demos(rest=""), environment=environment)
        for _ in range(10):  # far more messages than its queue takes
            s.upgrade()
        manager.settimeout(harness.PATIENCE)
        while b"READY=1" not in manager.recv(4096):
            continue
        self.assertEqual(s.stop(), 0)

    def test_a_log_that_nobody_reads(self):
        s = harness.Supervisor(self, self.demos(rest=""), start=False)
        unread, log = os.pipe()
        self.addCleanup(os.close, unread)
        s.process = subprocess.Popen([harness.HANDOFFD, s.configuration], env=s.environment,
                                     stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        os.close(log)
        harness.poll_until(s._answers, "the control socket")
        harness.poll_until(lambda: s.status()["last"], "the first verdict")
        s.events = harness.Events(s.socket)
        for _ in range(60):  # more lines than the pipe takes
            s.upgrade()
        self.assertEqual(s.status()["live"], 61)
        self.assertEqual(s.stop(), 0)


if __name__ == "__main__":
    harness.main()
