"""handoff-demo-service, and libhandoff inside it, with sockets passed as a supervisor passes them."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from passing import PATIENCE, Service, listen

SERVICE = os.environ["HANDOFF_DEMO_SERVICE"]
LOAD = os.environ["HANDOFF_LOAD"]


def connect(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    client.connect(address)
    return client


def read_reply(client):
    """One whole reply: status line, headers by lower-case name, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = client.recv(1)
        if not received:
            raise EOFError("closed before a reply")
        data += received
    lines = data.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
    body = b""
    while len(body) < int(headers["content-length"]):
        body += client.recv(int(headers["content-length"]) - len(body))
    return lines[0], headers, body.decode()


def get(address, extra=""):
    with connect(address) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode())
        return read_reply(client)


class DemoService(unittest.TestCase):
    def setUp(self):
        self.listener = listen()
        self.addCleanup(self.listener.close)
        self.address = self.listener.getsockname()

    def start(self, *options, sockets=None, ready=True, **more):
        service = Service([SERVICE, *options], sockets or [self.listener], **more)
        self.addCleanup(service.close)
        if ready:
            service.wait_for("READY=1")
        return service

    def test_answers_with_version_generation_and_pid(self):
        service = self.start("--version", "8.1", generation=7)
        status, headers, body = get(self.address)
        self.assertEqual(status, "HTTP/1.1 200 OK")
        self.assertEqual(headers["x-handoff-generation"], "7")
        self.assertEqual(body, f"version 8.1 generation 7 pid {service.process.pid}\n")

    def test_serves_every_listener_it_was_given(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "http.sock")
            with socket.socket(socket.AF_UNIX) as unix, socket.socket(type=socket.SOCK_DGRAM) as udp, \
                 socket.socket(type=socket.SOCK_DGRAM) as client:
                unix.bind(path)
                unix.listen()
                udp.bind(("127.0.0.1", 0))
                self.start(sockets=[self.listener, unix, udp], names=["http", "local", "echo"], generation=3)
                self.assertEqual(get(self.address)[0], "HTTP/1.1 200 OK")
                self.assertEqual(get(path)[0], "HTTP/1.1 200 OK")
                client.settimeout(PATIENCE)
                client.sendto(b"hello", udp.getsockname())
                self.assertEqual(client.recv(100), b"hello generation 3")

    def test_keeps_connections_and_answers_pipelined_requests_in_order(self):
        self.start()
        with connect(self.address) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n")
            self.assertEqual(read_reply(client)[0], "HTTP/1.1 200 OK")
            self.assertEqual(read_reply(client)[0], "HTTP/1.1 404 Not Found")
            client.sendall(b"Connection: close\r\n\r\n")
            rest = b""
            while received := client.recv(4096):
                rest += received
            self.assertTrue(rest.startswith(b"HTTP/1.1 200 OK\r\n"))
            self.assertTrue(rest.endswith(b"Connection: close\r\n\r\n"), rest)

    def test_refuses_what_it_does_not_understand(self):
        self.start()
        for request, status in ((b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "501"),
                                (b"nonsense\r\n\r\n", "400"),
                                (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, "431")):
            with self.subTest(status), connect(self.address) as client:
                client.sendall(request)
                self.assertIn(status, read_reply(client)[0])
                self.assertEqual(client.recv(1), b"")

    def test_says_ready_only_after_its_start(self):
        began = time.monotonic()
        service = self.start("--start-delay", "200")
        self.assertGreaterEqual(time.monotonic() - began, 0.2)
        never = self.start("--never-ready", ready=False)
        service.stop()
        self.assertEqual(get(self.address)[0], "HTTP/1.1 200 OK")  # by the one that never said so
        self.assertTrue(never.notify.silent())

    def test_fails_and_crashes_as_told(self):
        failing = self.start("--fail-start", "3", ready=False, stderr=subprocess.PIPE, text=True)
        self.assertEqual(failing.process.wait(PATIENCE), 3)
        self.assertIn("failing at start", failing.process.stderr.read())
        crashing = self.start("--crash-after-ms", "1")
        self.assertEqual(crashing.process.wait(PATIENCE), -signal.SIGABRT)

    def test_drain_leaves_the_listener_open_for_others(self):
        service = self.start()
        self.assertEqual(get(self.address)[0], "HTTP/1.1 200 OK")
        self.assertEqual(service.stop(), 0)
        self.assertIn("STOPPING=1", service.notify.next())
        waiting = connect(self.address)  # not refused: it waits in the queue for the next generation
        self.addCleanup(waiting.close)
        waiting.sendall(b"GET / HTTP/1.1\r\n\r\n")
        self.start(generation=2)
        self.assertEqual(read_reply(waiting)[1]["x-handoff-generation"], "2")

    def test_drain_finishes_what_was_accepted_and_closes_what_is_idle(self):
        service = self.start()
        idle, begun, silent = (connect(self.address) for _ in range(3))
        for client in (idle, begun, silent):
            self.addCleanup(client.close)
        for client in (idle, begun):
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            read_reply(client)
        begun.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        # A later reply proves that the part before it was read, and that `silent` was accepted.
        get(self.address)
        service.process.send_signal(signal.SIGTERM)
        self.assertEqual(idle.recv(1), b"")
        for client, rest in ((begun, b"yes\r\n\r\n"), (silent, b"GET / HTTP/1.1\r\n\r\n")):
            client.sendall(rest)
            status, headers, _ = read_reply(client)
            self.assertEqual((status, headers["connection"]), ("HTTP/1.1 200 OK", "close"))
            self.assertEqual(client.recv(1), b"")
            client.close()
        self.assertEqual(service.process.wait(PATIENCE), 0)

    def test_ignores_the_drain_when_told_to(self):
        service = self.start("--ignore-drain")
        service.process.send_signal(signal.SIGTERM)
        self.assertEqual(get(self.address)[0], "HTTP/1.1 200 OK")
        self.assertIsNone(service.process.poll())

    def test_cuts_clients_that_are_too_slow(self):
        self.start("--patience-ms", "50")
        with connect(self.address) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
            self.assertEqual(slow.recv(1), b"")

    def test_out_of_descriptors_clients_wait_instead_of_being_cut(self):
        service = Service(["sh", "-c", 'ulimit -n 24; exec "$@"', "sh", SERVICE], [self.listener])
        self.addCleanup(service.close)
        service.wait_for("READY=1")
        clients = [connect(self.address) for _ in range(60)]
        for client in clients:
            self.addCleanup(client.close)
            client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n")
        # Each one's request ends only now, so the first ones held all descriptors.
        for client in clients:
            client.sendall(b"\r\n")
            self.assertEqual(read_reply(client)[0], "HTTP/1.1 200 OK")
            client.close()
        self.assertIsNone(service.process.poll())

    def test_several_threads_drain_together(self):
        service = self.start("--threads", "3")
        for _ in range(20):
            self.assertEqual(get(self.address)[0], "HTTP/1.1 200 OK")
        self.assertEqual(service.stop(), 0)

    def test_binds_for_itself_when_nothing_was_passed(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "own.sock")
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("LISTEN_", "NOTIFY_"))}
            with subprocess.Popen([SERVICE, "--bind", f"unix:{path}"], env=environment) as alone:
                load = subprocess.run([LOAD, f"unix:{path}", "-n", "1", "--timeout-ms", "100"],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
                while load.returncode != 0 and alone.poll() is None:
                    load = subprocess.run(load.args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
                self.assertEqual(json.loads(load.stdout)["versions"][0]["version"], "0")
                alone.terminate()
                self.assertEqual(alone.wait(PATIENCE), 0)
            nothing = subprocess.run([SERVICE], env=environment, stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(nothing.returncode, 1)
            self.assertIn("no listener was passed", nothing.stderr)

    def hand_over_under_load(self, *load_options):
        """Twenty generations, each replaced as a supervisor does it, while every reply is verified."""
        live = self.start(generation=1)
        host, port = self.address
        load = subprocess.Popen([LOAD, f"{host}:{port}", "--events", "-c", "16", *load_options],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(load.wait)
        self.addCleanup(load.terminate)
        self.addCleanup(load.stdin.close)
        self.addCleanup(load.stdout.close)
        seen = 0
        for generation in range(1, 21):
            if generation > 1:
                successor = self.start(generation=generation)
                self.assertEqual(live.stop(), 0)
                live = successor
            while seen < generation:  # until somebody was answered by it
                line = load.stdout.readline()
                event = json.loads(line)
                self.assertIn("event", event, "nobody answered any more: " + line)
                self.assertFalse(event.get("failed"), line)
                if event["event"] == "version":
                    seen = int(event["version"])
        load.terminate()
        report = json.loads(load.communicate(timeout=PATIENCE)[0].splitlines()[-1])
        self.assertEqual(report["failed"], 0, report)
        self.assertEqual([v["version"] for v in report["versions"]], [str(n) for n in range(1, 21)])
        return report

    def test_no_new_connection_is_lost_over_twenty_generations(self):
        self.hand_over_under_load()

    def test_kept_connections_survive_twenty_generations(self):
        self.hand_over_under_load("--keep-alive")


if __name__ == "__main__":
    unittest.main()
