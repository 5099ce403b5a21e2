"""What the tests of the failure table share: configurations, services on strings, and asking who serves."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import tempfile

import harness

SERVICE = os.path.join(harness.SERVICES, "puppet_service.py")

# Deadlines short enough to be waited for.
BRISK = """
[drain]
timeout = "2s"
kill-timeout = "500ms"
[restart]
backoff = "20ms..100ms"
"""


def command(code=""):
    """The command line of a service on strings that runs `code` before it is ready."""
    return [harness.PYTHON, "-ISu", SERVICE, code]


def demo(*options):
    return [harness.DEMO_SERVICE, *options]


def http_service(name):
    """The command line of a service in services/ that imports what it shares with others."""
    return [harness.PYTHON, "-BSu", os.path.join(harness.SERVICES, name)]


def configuration(run, *addresses, service="", rest=BRISK):
    """TOML: a service that runs `run` with listeners at `addresses` (named l0, l1, …)."""
    listeners = "".join(f'[[listener]]\nname = "l{n}"\naddress = "{a}"\n' for n, a in enumerate(addresses))
    return f"command = {json.dumps(run)}\n{service}\n{listeners}{rest}"


def ask(address, client="127.0.0.1", patience=harness.PATIENCE):
    """The number of the generation that answers a request at a Unix path, or at a port from a loopback address."""
    if isinstance(address, str):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(patience)
        s.connect(address)
    else:
        s = socket.create_connection(("::1" if ":" in client else "127.0.0.1", address), patience, (client, 0))
    with contextlib.closing(s):
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        response = http.client.HTTPResponse(s)
        response.begin()
        response.read()
        return int(response.getheader("X-Handoff-Generation"))


class TestCase(harness.TestCase):
    def setUp(self):
        self.port = harness.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.directory = tempfile.mkdtemp(prefix="handoff-puppets-")
        os.chmod(self.directory, 0o777)
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        """What a hook or a check wrote, or nothing yet."""
        with contextlib.suppress(FileNotFoundError), open(self.path(name)) as f:
            return f.read()
        return ""

    def puppets(self, code="", service="", rest=BRISK, addresses=None):
        """A configuration of services on strings. `service` may not set the environment."""
        service = f'environment = {{ PUPPET = "{self.directory}" }}\n{service}'
        return configuration(command(code), *(addresses or [self.address]), service=service, rest=rest)

    def demos(self, *options, service="", rest=BRISK):
        return configuration(demo(*options), self.address, service=service, rest=rest)

    def supervisor(self, *options, instances=2, drain="10s", extra="", **how):
        """A supervisor of demo services that have time to drain, for what replaces them, or it, under load."""
        rest = f'[drain]\ntimeout = "{drain}"\n{extra}'
        return harness.Supervisor(self, self.demos(*options, service=f"instances = {instances}", rest=rest), **how)

    def tell(self, code, generation=1, instance=1):
        """Runs `code` in a service on strings; what it left in `answer`."""
        path = self.path(f"{generation}.{instance}")
        harness.poll_until(lambda: os.path.exists(path), f"puppet {generation}.{instance}")
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(harness.PATIENCE)
            s.connect(path)
            s.sendall(code.encode())
            s.shutdown(socket.SHUT_WR)
            text = b""
            while part := s.recv(65536):
                text += part
        return text.decode()

    def script(self, name, text):
        """An executable shell script in our directory; its path."""
        with open(self.path(name), "w") as f:
            f.write("#!/bin/sh\n" + text + "\n")
        os.chmod(self.path(name), 0o755)
        return self.path(name)

    def install(self, name, program=harness.DEMO_SERVICE):
        """Puts a copy of a program at a path of its own, by rename as a package manager does; the path."""
        library = self.path("libhandoff.so.0")  # beside it, where the demo service looks
        if not os.path.exists(library):
            os.symlink(os.path.join(harness.BUILD, "src", "libhandoff.so.0"), library)
        shutil.copy(program, self.path(name + ".new"))
        os.rename(self.path(name + ".new"), self.path(name))
        return self.path(name)

    def shares(self, count=400):
        """How many of so many connections each generation answered."""
        seen = {}
        for _ in range(count):
            generation = ask(self.port)
            seen[generation] = seen.get(generation, 0) + 1
        return seen

    def assert_half_each(self):
        seen = self.shares()
        self.assertEqual(set(seen), {1, 2})
        self.assertTrue(140 <= seen[2] <= 260, seen)  # six standard deviations
        return seen

    def weigh_by_hand_and_promote(self, s, rollout):
        """Of a canary that holds at its last step."""
        for weight, seen in ((0, {1: 50}), (100, {2: 50})):
            s.call("SetWeight", weight=weight)
            self.assertEqual(self.shares(50), seen)
        s.call("SetWeight", weight=50)
        s.call("Promote")
        s.events.wait("verdict", rollout=rollout, verdict="promoted")
        self.assertEqual(self.shares(50), {2: 50})

    def assert_rolled_back_under_load(self, s, reason):
        with harness.Load(self.address, "--threads", "2"):
            self.assertRegex(s.upgrade("rolled_back", until=None)["reason"], reason)
        self.assertEqual(s.status()["live"], 1)

    def assert_live_untouched(self, s, pids, generation=1):
        # What failed holds the shared listener, and may answer, until it is gone.
        harness.poll_until(lambda: len(s.status()["generations"]) == 1, "the failed generation to be gone")
        self.assertEqual(s.status()["live"], generation)
        self.assertEqual(s.pids(), pids)
        self.assertEqual(ask(self.port), generation)
