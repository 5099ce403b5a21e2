"""handoff-probe alone, against a small HTTP server: what it says, and with which exit code."""

import contextlib
import http.server
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

import harness


PAGE = b'hits{code="200"} 90\nhits{code="503"} 3\nqueue 7\nseconds_sum{a="b"} 12.5\nseconds_count{a="b"} 50\n'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, self.headers["Host"], self.headers.get_all("X-A"), self.client_address))
        if self.path == "/hang":
            return self.server.over.wait(harness.PATIENCE)
        if self.path == "/endless":
            return self.endless()
        self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
        if self.path == "/302":
            self.send_header("Location", "/elsewhere")
        for n in range(2000 if self.path == "/headers" else 0):
            self.send_header(f"X-{n}", "y" * 100)
        body = PAGE if self.path == "/metrics" else b"all [is, well]"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        self.server.swallowed = 0
        with contextlib.suppress(OSError):
            while self.server.swallowed < 100 << 20:
                self.server.swallowed += self.wfile.write(b"x" * 65536)
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)

    def get_request(self):
        return self.socket.accept()[0], ("unix", 0)


class Probe(harness.TestCase):
    def setUp(self):
        self.server = self.serve(Server(("127.0.0.1", 0), Handler))
        self.address = f"127.0.0.1:{self.server.server_port}"

    def serve(self, server):
        server.seen = []
        server.over = threading.Event()
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.addCleanup(server.over.set)
        return server

    def run_probe(self, *arguments, **options):
        return subprocess.run([harness.HANDOFF_PROBE, *arguments], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=harness.PATIENCE, **options)

    def http(self, *arguments, address=None, **options):
        """What it said; nothing when it passed."""
        ended = self.run_probe("http", "--connect", address or self.address, *arguments, **options)
        self.assertEqual(ended.stderr, "")
        self.assertEqual(ended.returncode, 1 if ended.stdout else 0)
        self.assertLessEqual(ended.stdout.count("\n"), 1)
        return ended.stdout.rstrip("\n")

    def test_a_reply_is_judged_by_its_status_and_body(self):
        for arguments, expected in (
                ([], ""),
                (["--path=/503"], "status 503, expected 200-399"),
                (["--path=/503", "--status=200"], "status 503, expected 200"),
                (["--path=/503", "--status=503"], ""),
                (["--body=[is, well]"], ""),
                (["--body=bad"], "body does not contain 'bad'"),
                (["--body=a\x1b[2J\nb"], "body does not contain 'a?[2J b'"),
                (["--path=/503", "--body=bad"], "status 503, expected 200-399"),
                (["--path=/204", "--body=well"], "body does not contain 'well'"),
        ):
            with self.subTest(arguments):
                self.assertEqual(self.http(*arguments), expected)

    def test_a_page_of_metrics_is_read_into_numbers(self):
        for arguments, code, said in (
                (['--failures=hits{code=~"5.."}', "--all=hits"], 0, "3 93"),
                (['--failures=hits{code="404"}', "--all=hits"], 0, "0 93"),
                (["--failures=hits", "--all=misses"], 1, "nothing to read: no series matches misses"),
                (["--value=queue"], 0, "7"),
                (["--mean=seconds"], 0, "12.5 50"),
                (['--mean=seconds{a="b"}'], 0, "12.5 50"),
                (["--mean=hits"], 1, "nothing to read: no series matches hits_sum"),
                (["--value=queue", "--path=/404"], 1, "status 404, expected 200-399"),
                (["--value=queue", "--path=/"], 1, "no page of metrics: line 1: it has no end: the page was cut off"),
                (["--value=queue", "--path=/endless"], 1, "the body is longer than 8 MiB"),
                (["--value=queue", "--mean=queue"], 2, ""),
                (["--failures=hits"], 2, ""),
        ):
            with self.subTest(arguments):
                where = [] if "--path" in arguments[-1] else ["--path=/metrics"]
                ended = self.run_probe("metrics", "--connect", self.address, *where, *arguments)
                self.assertEqual((ended.returncode, ended.stdout.rstrip("\n")), (code, said), ended.stderr)

    def test_the_request_is_what_was_asked_for(self):
        self.assertEqual(self.http("--path=/a/../b?c=d", "--host=www.example.org", "--header=X-A: [1,2]",
                                   "--header=X-A: 3"), "")
        path, host, headers, _ = self.server.seen[0]
        self.assertEqual((path, host, headers), ("/a/../b?c=d", "www.example.org", ["[1,2]", "3"]))

    def test_no_redirect_is_followed_and_no_environment_obeyed(self):
        self.assertEqual(self.http("--path=/302", env={"http_proxy": "http://127.0.0.1:1", "HTTPS_PROXY": "x"}), "")
        self.assertEqual([seen[0] for seen in self.server.seen], ["/302"])

    def test_what_takes_too_long_ends_in_time(self):
        self.assertEqual(self.http("--path=/hang", "--timeout=200ms"), "timed out after 200ms")

    def test_what_is_read_is_bounded(self):
        self.assertEqual(self.http("--path=/headers"), "the headers are longer than 64 KiB")
        for arguments, expected in ((["--path=/endless"], ""),
                                    (["--path=/endless", "--body=well"],
                                     "the first MiB of the body does not contain 'well'")):
            self.assertEqual(self.http(*arguments), expected)
            self.assertLess(self.server.swallowed, 32 << 20)

    def test_who_does_not_listen_or_speaks_something_else_is_told(self):
        self.assertEqual(self.http(address=f"127.0.0.1:{harness.free_port()}"), "connecting: Connection refused")
        self.assertIn("SSL", self.http("--tls"))

    def test_it_comes_from_the_socket_that_it_is_given(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            self.assertEqual(self.http(f"--socket={bound.fileno()}", pass_fds=[bound.fileno()]), "")
            self.assertEqual(self.server.seen[0][3], bound.getsockname())

    def test_unix_sockets_are_asked_as_well(self):
        directory = tempfile.mkdtemp(prefix="handoff-probe-")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "socket")
        server = self.serve(UnixServer(path, Handler))
        self.assertEqual(self.http("--body=well", address=f"unix:{path}"), "")
        self.assertEqual(server.seen[0][1], "localhost")

    def test_a_connection_counts_once_it_was_accepted(self):
        for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            with self.subTest(host), socket.socket(family) as door:
                try:
                    door.bind((host, 0))
                except OSError:
                    continue  # no IPv6 here
                door.listen()
                address = f"[{host}]:{door.getsockname()[1]}" if ":" in host else f"{host}:{door.getsockname()[1]}"
                ended = self.run_probe("tcp", "--connect", address, "--timeout=200ms")
                self.assertEqual((ended.returncode, ended.stdout), (1, "timed out after 200ms\n"))
                kept = []
                threading.Thread(target=lambda: [kept.append(door.accept()) for _ in range(2)], daemon=True).start()
                ended = self.run_probe("tcp", "--connect", address)
                self.assertEqual((ended.returncode, ended.stdout), (0, ""))
                for connection, _ in kept:
                    connection.close()

    def test_wrong_use_is_its_own_exit_code(self):
        for arguments in ([], ["udp"], ["http"], ["http", "--connect=nowhere"], ["http", "--connect=udp://127.0.0.1:1"],
                          ["tcp", "--connect=unix:/x"], ["http", "--connect=127.0.0.1:1", "--status=7"],
                          ["http", "--connect=127.0.0.1:1", "--timeout=soon"],
                          ["tcp", "--connect=127.0.0.1:1", "--path=/"]):
            with self.subTest(arguments):
                ended = self.run_probe(*arguments)
                self.assertEqual((ended.returncode, ended.stdout), (2, ""))
                self.assertNotEqual(ended.stderr, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
