"""Both sides of the control socket together, and strangers at its door."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import unittest

HANDOFF = os.environ["HANDOFF"]
SERVER = os.environ["CONTROL_SERVER"]


class ControlSocketTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "web.sock")
        self.environment = dict(os.environ, HANDOFF_RUNTIME_DIR=directory.name)
        self.server = subprocess.Popen([SERVER, self.path], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self._end_server)
        self.assertEqual(self.server.stdout.readline(), "listening\n")

    def _end_server(self):
        if self.server.poll() is None:
            self.server.kill()
        self.server.communicate()

    def start(self, *arguments):
        return subprocess.Popen([HANDOFF, *arguments], env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def finish(self, process, code=0):
        said, complained = process.communicate(timeout=60)
        self.assertEqual(process.returncode, code, said + complained)
        return said

    def connect(self):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(link.close)
        link.settimeout(20)
        link.connect(self.path)
        return link

    def call(self, method, **parameters):
        link = self.connect()
        link.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
        return json.loads(self.read_message(link))

    @staticmethod
    def read_message(link):
        message = b""
        while not message.endswith(b"\0"):
            block = link.recv(65536)
            if not block:
                raise AssertionError("closed after " + repr(message))
            message += block
        return message[:-1]

    def test_the_service_describes_itself(self):
        interfaces = self.call("org.varlink.service.GetInfo")["parameters"]["interfaces"]
        self.assertEqual(interfaces, ["org.varlink.service", "io.handoff.Supervisor"])
        for name in interfaces:
            told = self.call("org.varlink.service.GetInterfaceDescription", interface=name)
            text = told["parameters"]["description"]
            self.assertIn("interface " + name, text)
            self.read_by_another_implementation(name, text)

    def read_by_another_implementation(self, name, text):
        """Another project's reader of the language takes our descriptions."""
        generator = shutil.which("varlink-go-interface-generator")
        if generator is None:
            return
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, name + ".varlink")
            with open(path, "w", encoding="utf-8") as file:
                # That reader knows no capital letters in the name of an interface; io.systemd.* has them as
                # well.
                file.write(text.replace("interface " + name, "interface " + name.lower()))
            made = subprocess.run([generator, path], cwd=directory, capture_output=True, text=True,
                                  timeout=60)
            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertTrue([file for file in os.listdir(directory) if file.endswith(".go")], made.stderr)

    def test_garbage_is_answered_and_cut(self):
        link = self.connect()
        link.sendall(b"GET / HTTP/1.1\r\n\0" + b'{"method":"org.varlink.service.GetInfo"}\0')
        self.assertEqual(json.loads(self.read_message(link))["error"], "org.varlink.service.InvalidParameter")
        self.assertEqual(link.recv(1), b"")

    def test_calls_in_a_row_are_answered_in_order(self):
        link = self.connect()
        calls = [{"method": "io.handoff.Supervisor.Status"}, {"method": "io.handoff.Supervisor.Nothing"},
                 {"method": "io.handoff.Supervisor.Status", "oneway": True},
                 {"method": "io.handoff.Supervisor.Abort"}] * 50
        link.sendall(b"".join(json.dumps(c).encode() + b"\0" for c in calls))
        for _ in range(50):
            self.assertEqual(json.loads(self.read_one(link))["parameters"]["service"], "web")
            self.assertEqual(json.loads(self.read_one(link))["error"], "org.varlink.service.MethodNotFound")
            self.assertEqual(json.loads(self.read_one(link))["error"], "io.handoff.Supervisor.Refused")

    @staticmethod
    def read_one(link):
        message = b""
        while not message.endswith(b"\0"):
            message += link.recv(1)
        return message[:-1]

    def test_the_command_and_the_socket_understand_each_other(self):
        self.assertIn("serving", self.finish(self.start("status")))
        for goal in ("serving", "promoted", "drained"):
            self.finish(self.start("upgrade", "web", "--until", goal))
        self.assertIn("promoted", self.finish(self.start("history", "web")))
        self.finish(self.start("abort", "web"), 5)

    def test_more_waiters_than_places_all_learn_the_verdict(self):
        for process in [self.start("upgrade", "web", "--wait") for _ in range(100)]:
            self.finish(process)

    def test_stop_ends_it(self):
        process = self.start("stop", "web")
        self.server.wait(timeout=20)
        self.finish(process)

    def test_root_gets_in_past_a_crowd_that_sends_nothing(self):
        crowd = [self.connect() for _ in range(100)]
        for link in crowd:
            try:
                link.send(b'{"method":')
            except OSError:
                pass
        self.finish(self.start("status", "web"))
        self.finish(self.start("upgrade", "web", "--wait"))


if __name__ == "__main__":
    unittest.main()
