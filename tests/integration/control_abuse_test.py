"""Nothing that a client of the control socket does has an effect on a rollout, and an abort always gets in."""

import contextlib
import grp
import os
import select
import signal
import socket

import harness
import puppet

BAKE = puppet.BRISK + '[rollout]\nbake = "1h"\n'


class Abuse(puppet.TestCase):
    def setUp(self):
        super().setUp()
        self.open = contextlib.ExitStack()
        self.addCleanup(self.open.close)

    def connect(self, s):
        client = self.open.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(s.socket)  # waits for its turn, which one with a timeout would not
        client.settimeout(harness.PATIENCE)
        return client

    def baking(self):
        """A supervisor with a rollout that only an abort ends."""
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest=BAKE))
        self.rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=self.rollout)
        return s

    def assert_abort_gets_in(self, s):
        self.assertEqual(s.call("Abort")["rollout"], self.rollout)
        self.assertEqual(s.events.wait("verdict", rollout=self.rollout)["reason"], "aborted")
        s.events.wait("settled", rollout=self.rollout)
        self.assertEqual(puppet.ask(self.port), 1)

    def test_garbage_is_answered_or_cut_and_has_no_effect(self):
        s = self.baking()
        for what, data in (
            ("no JSON", b"hello\0"), ("nothing", b"\0"), ("a number", b"7\0"), ("a list", b"[]\0"),
            ("no method", b"{}\0"), ("a wrong type", b'{"method":7}\0'),
            ("control characters", bytes(range(1, 256)) + b"\0"),
            ("deep nesting", b"[" * 60000 + b"\0"), ("half a message", b'{"method":'),
            ("an unknown method", b'{"method":"io.handoff.Supervisor.Explode"}\0'),
            ("a wrong parameter", b'{"method":"io.handoff.Supervisor.History","parameters":{"limit":-1}}\0'),
            ("many of them", b"x\0" * 1000),
        ):
            with self.subTest(what):
                client = self.connect(s)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    answer = b""
                    while part := client.recv(65536):
                        answer += part
                    self.assertTrue(answer == b"" or b'"error"' in answer, answer)
                self.assertEqual(s.status()["rollout"]["number"], self.rollout)
        self.assert_abort_gets_in(s)

    def test_a_message_without_an_end_is_cut(self):
        s = self.baking()
        client = self.connect(s)
        with self.assertRaises((BrokenPipeError, ConnectionResetError)):
            for _ in range(1024):  # a MiB
                client.sendall(b"x" * 1024)
            client.recv(1)
            self.fail("it was not cut")
        self.assert_abort_gets_in(s)

    def test_a_slow_trickle_holds_nobody_up(self):
        s = self.baking()
        clients = [self.connect(s) for _ in range(10)]
        message = b'{"method":"io.handoff.Supervisor.Status"}\0'
        for n in range(len(message)):
            for client in clients:
                client.send(message[n:n + 1])
            if n == len(message) // 2:
                self.assertEqual(s.status()["rollout"]["number"], self.rollout)
        for client in clients:
            self.assertIn(b'"state":"upgrading"', client.recv(65536).replace(b": ", b":"))
        self.assert_abort_gets_in(s)

    def test_an_abort_gets_in_among_many_idle_clients_of_root(self):
        s = self.baking()
        for _ in range(300):
            self.connect(s)
        self.assertEqual(s.call("Abort")["rollout"], self.rollout)
        self.assertEqual(s.status()["last"]["reason"], "aborted")
        self.assertLess(len(harness.descriptors(s.process.pid)), 150)

    def test_an_abort_gets_in_among_many_watchers_of_root(self):
        s = self.baking()
        for _ in range(100):
            self.connect(s).sendall(b'{"method":"io.handoff.Supervisor.Watch","more":true}\0')
        self.assertEqual(s.call("Abort")["rollout"], self.rollout)
        self.assertIsNone(s.status()["rollout"])
        self.assertEqual(s.status()["last"]["reason"], "aborted")

    def test_a_watcher_that_never_reads_is_cut_off_while_rollouts_proceed(self):
        s = harness.Supervisor(self, self.demos())
        deaf = self.connect(s)
        deaf.sendall(b'{"method":"io.handoff.Supervisor.Watch","more":true}\0')
        s.write(puppet.configuration([self.script("noisy", "exit 1")], self.address))
        hung_up = select.poll()
        hung_up.register(deaf, 0)
        self.assertEqual(hung_up.poll(0), [])

        def is_cut():
            for _ in range(20):
                s.upgrade("rolled_back")
            return hung_up.poll(0)

        harness.poll_until(is_cut, "the deaf watcher to be cut off")
        s.write(self.demos())
        s.upgrade()

    def test_a_client_that_leaves_before_its_answer_does_no_harm(self):
        s = self.baking()
        for _ in range(50):
            client = socket.socket(socket.AF_UNIX)
            client.connect(s.socket)
            client.sendall(b'{"method":"io.handoff.Supervisor.Upgrade"}\0')
            client.close()
        harness.poll_until(lambda: s.status()["pending"] == self.rollout + 1, "the one more trigger")
        self.assertEqual(s.call("Abort")["rollout"], self.rollout)


class Permissions(puppet.TestCase):
    def call(self, path, method, **parameters):
        """A call as nobody: what came back, or the error's name."""
        try:
            with contextlib.closing(harness.Connection(path, 10)) as connection:
                return connection.call(method, **parameters)
        except harness.Refused as e:
            return e.error

    def opened(self, s):
        """Lets nobody reach the socket's directory, which protects it as well."""
        directory = os.path.dirname(s.socket)
        self.assertEqual(os.stat(s.socket).st_mode & 0o007, 0)
        os.chmod(directory, os.stat(directory).st_mode | 0o011)

    def test_without_a_group_others_cannot_even_connect(self):
        s = harness.Supervisor(self, self.demos())
        self.opened(s)
        self.assertEqual(harness.as_nobody(lambda: self.call(s.socket, "Status")), "PermissionError")

    def test_who_got_in_all_the_same_may_call_nothing(self):
        s = harness.Supervisor(self, self.demos())
        self.opened(s)
        os.chmod(s.socket, 0o666)
        for method in ("Status", "Upgrade", "Stop", "History"):
            self.assertEqual(harness.as_nobody(lambda m=method: self.call(s.socket, m)), "NotAllowed")
        self.assertEqual(s.status()["rollout"], None)
        self.assertEqual(s.status()["state"], "serving")

    def test_members_of_the_group_may_call_what_is_allowed(self):
        group = grp.getgrnam("games")
        control = f'[control]\ngroup = "{group.gr_name}"\nallow = ["Status", "Upgrade"]\n'
        s = harness.Supervisor(self, self.demos(rest=puppet.BRISK + control))
        self.opened(s)
        self.assertEqual(os.stat(s.socket).st_mode & 0o777, 0o660)
        member = [group.gr_gid]
        self.assertEqual(harness.as_nobody(lambda: self.call(s.socket, "Status")["live"], member), 1)
        self.assertEqual(harness.as_nobody(lambda: self.call(s.socket, "Stop"), member), "NotAllowed")
        self.assertEqual(harness.as_nobody(lambda: self.call(s.socket, "Abort"), member), "NotAllowed")
        self.assertEqual(harness.as_nobody(lambda: self.call(s.socket, "Status")), "PermissionError")
        rollout = harness.as_nobody(lambda: self.call(s.socket, "Upgrade"), member)["rollout"]
        s.events.wait("settled", rollout=rollout)
        s.write(self.demos(rest=puppet.BRISK + control.replace(', "Upgrade"', "")))
        self.assertEqual(s.call("Reload")["applied"], ["control"])
        self.assertEqual(harness.as_nobody(lambda: self.call(s.socket, "Upgrade"), member), "NotAllowed")

    def test_a_flood_of_clients_of_another_user_leaves_places_for_root(self):
        s = harness.Supervisor(self, self.demos())
        self.opened(s)
        os.chmod(s.socket, 0o666)
        s.write(self.demos(rest=BAKE))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("serving", rollout=rollout)

        def flood():
            clients = []
            for _ in range(200):
                with contextlib.suppress(OSError):
                    clients.append(harness.Connection(s.socket, 10))
                    clients[-1].socket.send(b'{"method":')
            os.write(write, b"flooded")
            signal.pause()

        read, write = os.pipe()
        self.addCleanup(os.close, read)
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setuid(harness.NOBODY)
                flood()
            finally:
                os._exit(0)
        os.close(write)
        try:
            self.assertEqual(os.read(read, 100), b"flooded")
            self.assertEqual(s.call("Abort")["rollout"], rollout)
            self.assertEqual(s.events.wait("verdict", rollout=rollout)["reason"], "aborted")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    harness.main()
