"""The recipes of docs/recipes.md with the real services of Debian, upgraded several times under load.

Each test takes the files from the page as they stand there, and opens a new connection for every request.
"""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

import harness

UPGRADES = 5
CLIENTS = 16
ASKED = 20  # requests after each upgrade, beside the load
ENOUGH = CLIENTS * UPGRADES  # requests of the load; fewer would say little
PAGE = os.path.join(harness.SOURCE, "docs", "recipes.md")
VERSION = "generation ([0-9]+)"


def files_of(recipe):
    """The code blocks of a section, by the name of the file; the configuration is "toml"."""
    with open(PAGE, encoding="utf-8") as page:
        sections = re.split(r"^## (.*)\n", page.read(), flags=re.MULTILINE)
    section = sections[sections.index(recipe) + 1]
    blocks = re.findall(r"^```(\S* ?\S+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return {opening.split()[-1]: text for opening, text in blocks}


def needs(*programs):
    missing = [p for p in programs if not shutil.which(p, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


needs_uvicorn = unittest.skipIf(
    subprocess.call([harness.PYTHON, "-c", "import uvicorn"], stderr=subprocess.DEVNULL), "not installed: python3-uvicorn")

needs_root_for_nginx = unittest.skipIf(os.geteuid() != 0, "Debian's nginx writes to directories of root")


class RealServices(harness.TestCase):
    def lay_out(self, recipe, port):
        """Writes the files of a recipe into a directory of this test."""
        self.port = port
        self.directory = tempfile.mkdtemp(prefix="handoff-recipe-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        files = files_of(recipe)
        self.configuration = self.localize(files.pop("toml"))
        for name, text in files.items():
            self.write(name, self.localize(text))

    def localize(self, text):
        """Puts this test's port and directory in place of the page's; drops a user that cannot be had here."""
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}").replace("/srv/app", self.directory)
        user = re.search(r'^user = "(.*)"\n', text, re.MULTILINE)
        if user and (os.geteuid() != 0 or not is_account(user[1])):
            text = text.replace(user[0], "")
        return text

    def write(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self):
        """Starts the supervisor; the harness writes the head of the configuration itself."""
        head = re.match(r'\[service\]\nname = "(.*)"\n', self.configuration)
        return harness.Supervisor(self, self.configuration[head.end():], name=head[1])

    def upgrade_under_load(self, target, ask, before=lambda generation: None):
        """Upgrades several times under load; returns the load, whose result tells what the clients saw."""
        before(1)
        supervisor = self.start()
        with harness.Load(target, "--clients", str(CLIENTS), "--version-pattern", VERSION) as load:
            load.wait_for_version(1)
            for generation in range(2, UPGRADES + 2):
                before(generation)
                supervisor.upgrade()
                for _ in range(ASKED):
                    self.assertEqual(ask(), generation, "the generation before is gone, but another one answers")
                load.wait_for_version(generation)
        self.assertEqual([v["version"] for v in load.result["versions"]], [str(g) for g in range(1, UPGRADES + 2)])
        self.assertEqual(supervisor.stop(), 0)
        return load

    def upgrade_over_tcp(self, recipe, **options):
        self.lay_out(recipe, harness.free_port())
        return self.upgrade_under_load(f"127.0.0.1:{self.port}", self.ask_by_tcp, **options)

    # ---- one request, of a client that has nothing to do with the load

    def ask(self, address, family=socket.AF_INET):
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(harness.PATIENCE)
            client.connect(address)
            client.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            reply = b"".join(iter(lambda: client.recv(65536), b""))
        return int(re.search(VERSION, reply.decode())[1])

    def ask_by_tcp(self):
        return self.ask(("127.0.0.1", self.port))

    def ask_by_path(self):
        return self.ask(os.path.join(self.directory, "web.sock"), socket.AF_UNIX)

    def ask_by_udp(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(harness.PATIENCE)
            client.sendto(b"hello", ("127.0.0.1", self.port))
            return int(re.search(VERSION, client.recv(65536).decode())[1])

    # ---- the services

    @needs("gunicorn")
    def test_gunicorn(self):
        self.assert_nothing_failed(self.upgrade_over_tcp("gunicorn"), ENOUGH)

    @needs_uvicorn
    def test_uvicorn(self):
        """A connection that was accepted may be cut.

        On SIGTERM uvicorn 0.17 closes every connection without a request in progress (`shutdown()` in its
        protocols/http/h11_impl.py), also one that it accepted just now. Nobody who passes sockets can help that.
        What is ours: nobody is refused, nobody hangs, no reply is wrong, and what is cut is at most one
        connection of each client for each generation that leaves.
        """
        load = self.upgrade_over_tcp("uvicorn")
        failures = load.result["failures"]
        self.assertLessEqual(failures.pop("short") + failures.pop("reset"), CLIENTS * UPGRADES, load.result)
        self.assertEqual(sum(failures.values()), 0, load.result)
        self.assertGreaterEqual(load.result["total"], ENOUGH)

    @needs_uvicorn
    def test_uvicorn_that_drains(self):
        self.assert_nothing_failed(self.upgrade_over_tcp("uvicorn that drains"), ENOUGH)

    @needs("haproxy")
    def test_haproxy(self):
        self.assert_nothing_failed(self.upgrade_over_tcp("HAProxy"), ENOUGH)

    @needs_root_for_nginx
    @needs("nginx", "pgrep")
    def test_nginx(self):
        """A release of nginx is what its configuration says: here a file that it includes."""
        def release(generation):
            self.write("release.conf", f'map "" $release {{ default {generation}; }}\n')

        self.assert_nothing_failed(self.upgrade_over_tcp("nginx", before=release), ENOUGH)

    @needs("node", "systemd-notify")
    def test_node(self):
        self.assert_nothing_failed(self.upgrade_over_tcp("Node"), ENOUGH)

    @needs_root_for_nginx
    @needs("gunicorn", "haproxy", "nginx", "pgrep", "node", "systemd-notify")
    def test_a_release_that_cannot_start_costs_nothing(self):
        for recipe, file in (("gunicorn", "app.py"), ("HAProxy", "haproxy.cfg"), ("nginx", "nginx.conf"),
                             ("Node", "server.js")):
            with self.subTest(recipe):
                self.lay_out(recipe, harness.free_port())
                self.write("release.conf", 'map "" $release { default 1; }\n')
                supervisor = self.start()
                self.write(file, "this is (no program")
                verdict = supervisor.upgrade(verdict="rolled_back", until=None)
                self.assertTrue(verdict["output"], "what it said before it ended is told")
                self.assertEqual(self.ask_by_tcp(), 1)
                self.assertEqual(supervisor.stop(), 0)

    def test_python_socketserver(self):
        self.lay_out("Python socketserver", port=None)
        load = self.upgrade_under_load(f"unix:{self.directory}/web.sock", self.ask_by_path)
        self.assert_nothing_failed(load, ENOUGH)

    def test_udp(self):
        self.lay_out("UDP", harness.free_port(socket.SOCK_DGRAM))
        load = self.upgrade_under_load(f"udp://127.0.0.1:{self.port}", self.ask_by_udp)
        self.assert_nothing_failed(load, ENOUGH)


def is_account(name):
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


if __name__ == "__main__":
    harness.main()
