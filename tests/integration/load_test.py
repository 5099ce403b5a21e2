"""handoff-load must notice what goes wrong, tell its kind, and never blame the service for its own limits."""

import json
import os
import signal
import socket
import struct
import subprocess
import threading
import unittest

from passing import PATIENCE, listen

LOAD = os.environ["HANDOFF_LOAD"]


def load(*options, stdin=subprocess.DEVNULL):
    done = subprocess.run([LOAD, *options], stdin=stdin, stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    return json.loads(done.stdout.splitlines()[-1]), done.returncode


def reply(body=b"ok", status=b"200 OK", length=None):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body) if length is None else length, body)


class Server:
    """Gives each connection to `behave`, which may do anything."""

    def __init__(self, behave):
        self.listener = listen()
        self.target = "{}:{}".format(*self.listener.getsockname())
        self.behave = behave
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection:
                try:
                    self.behave(connection)
                except OSError:
                    pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def answer(*parts):
    def behave(connection):
        connection.recv(4096)
        for part in parts:
            connection.sendall(part)
    return behave


def reset_at_once(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_midway(connection):
    connection.recv(4096)
    connection.sendall(reply(b"half", length=100))
    reset_at_once(connection)


def never_answer(connection):
    while connection.recv(4096):
        pass


class FailureKinds(unittest.TestCase):
    def check_kind(self, kind, target, *options, requests=5):
        report, code = load(target, "-n", str(requests), "-c", "2", *options)
        self.assertEqual(report["total"], requests)
        self.assertEqual(report["failed"], requests)
        self.assertEqual({k: v for k, v in report["failures"].items() if v}, {kind: requests})
        self.assertEqual(code, 1)
        self.assertEqual(report["examples"][0]["kind"], kind)
        self.assertGreater(report["examples"][0]["at_ns"], 0)

    def server(self, behave):
        server = Server(behave)
        self.addCleanup(server.close)
        return server.target

    def test_refused(self):
        closed = listen()
        target = "{}:{}".format(*closed.getsockname())
        closed.close()
        self.check_kind("refused", target)
        self.check_kind("refused", "unix:/nowhere/at/all")
        self.check_kind("refused", "udp://" + target)

    def test_reset(self):
        self.check_kind("reset", self.server(reset_at_once))

    def test_reset_midway(self):
        self.check_kind("reset", self.server(reset_midway))

    def test_short(self):
        self.check_kind("short", self.server(answer(reply(b"half", length=100))))
        self.check_kind("short", self.server(answer(b"HTTP/1.1 200 OK\r\nContent-Le")))
        self.check_kind("short", self.server(answer()))

    def test_wrong(self):
        self.check_kind("wrong", self.server(answer(reply(status=b"500 Internal Server Error"))))
        self.check_kind("wrong", self.server(answer(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")))
        self.check_kind("wrong", self.server(answer(reply(b"too long", length=3))))
        self.check_kind("wrong", self.server(answer(reply(b"hello"))), "--expect", "goodbye")

    def test_timeout(self):
        self.check_kind("timeout", self.server(never_answer), "--timeout-ms", "50", requests=2)
        with socket.socket(type=socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            target = "udp://{}:{}".format(*deaf.getsockname())
            self.check_kind("timeout", target, "--timeout-ms", "50", requests=2)


class Reports(unittest.TestCase):
    def server(self, behave):
        server = Server(behave)
        self.addCleanup(server.close)
        return server.target

    def test_good_replies_are_no_failures(self):
        for parts in ((reply(),), (b"HTTP/1.1 200 OK\r\n\r\n", b"until ", b"close"),
                      (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", b"0\r\n\r\n")):
            report, code = load(self.server(answer(*parts)), "-n", "20", "-c", "1")
            self.assertEqual((report["total"], report["failed"], code), (20, 0, 0), parts)

    def test_versions_from_a_header_or_the_body(self):
        target = self.server(answer(b"HTTP/1.1 200 OK\r\nX-Release: 9\r\nContent-Length: 12\r\n\r\nrelease v10."))
        report, _ = load(target, "-n", "3", "--version-header", "x-release")
        self.assertEqual([(v["version"], v["count"]) for v in report["versions"]], [("9", 3)])
        report, _ = load(target, "-n", "3", "--version-pattern", "v([0-9]+)")
        self.assertEqual([(v["version"], v["count"]) for v in report["versions"]], [("10", 3)])

    def test_errors_count_for_the_version_that_answered_them(self):
        failed = (b"HTTP/1.1 500 Internal Server Error\r\nX-Handoff-Generation: 9\r\nContent-Length: 0\r\n\r\n",)
        report, _ = load(self.server(answer(*failed)), "-n", "3")
        self.assertEqual([(v["version"], v["count"], v["errors"]) for v in report["versions"]], [("9", 0, 3)])
        self.assertEqual((report["failed"], report["failures"]["wrong"]), (3, 3))
        report, _ = load(self.server(answer(b"HTTP/1.1 200 OK\r\nContent-Le")), "-n", "3")
        self.assertEqual(report["versions"], [])

    def test_kept_connections_that_the_server_closes_are_asked_again(self):
        report, code = load(self.server(answer(reply())), "-n", "20", "-c", "1", "--keep-alive")
        self.assertEqual((report["total"], report["failed"], code), (20, 0, 0))

    def test_a_planned_rate_tells_what_could_not_be_sent(self):
        report, _ = load(self.server(never_answer), "--rate", "1000", "-c", "2", "-d", "0.2", "--timeout-ms", "100")
        self.assertEqual(report["total"] + report["unsent"], 200)
        self.assertLess(report["total"], 20)

    def test_a_planned_rate_is_kept_and_stalls_count_from_the_planned_time(self):
        stalled, never = threading.Event(), threading.Event()

        def stall_once(connection):
            if not stalled.is_set():
                stalled.set()
                never.wait(0.3)
            answer(reply())(connection)
        report, _ = load(self.server(stall_once), "--rate", "100", "-c", "1", "-n", "50")
        self.assertEqual((report["total"], report["failed"], report["unsent"]), (50, 0, 0))
        # One client waited; the requests planned meanwhile were late as well, and say so.
        self.assertGreater(report["latency_ms"]["p50"], 1)
        self.assertGreaterEqual(report["latency_ms"]["max"], 290)

    def test_marks_divide_the_latency(self):
        target = self.server(answer(reply()))
        with subprocess.Popen([LOAD, target, "--events", "-c", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as run:
            for name in ("upgrade", "steady"):
                run.stdin.write(f"mark {name}\n")
                run.stdin.flush()
                while True:
                    event = json.loads(run.stdout.readline())
                    if event["event"] == "progress" and event["total"]:
                        break
            run.send_signal(signal.SIGINT)
            report = json.loads(run.communicate(timeout=PATIENCE)[0].splitlines()[-1])
        self.assertEqual(list(report["windows"]), ["steady", "upgrade"])
        self.assertGreater(report["windows"]["upgrade"]["requests"], 0)
        self.assertEqual(sum(w["requests"] for w in report["windows"].values()), report["total"])

    def test_out_of_descriptors_is_its_own(self):
        target = self.server(answer(reply()))
        done = subprocess.run(["sh", "-c", 'ulimit -n 16; exec "$@"', "sh", LOAD, target, "-n", "50", "-c", "40"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
        report = json.loads(done.stdout)
        self.assertEqual((report["total"], report["failed"]), (50, 0))
        self.assertGreater(report["own"], 0)

    def test_impossible_plans_are_refused(self):
        for options in (["nonsense"], ["127.0.0.1:1", "-c", "0"], ["127.0.0.1:1", "--threads", "65"],
                        ["127.0.0.1:1", "--path", "/ x"], ["127.0.0.1:1", "--version-pattern", "("]):
            done = subprocess.run([LOAD, *options], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
            self.assertEqual(done.returncode, 2, options)


if __name__ == "__main__":
    unittest.main()
