"""The examples in docs/service-authors.md, run as they stand there: passed a socket, upgraded under load."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from passing import PATIENCE, Service, listen

LOAD = os.environ["HANDOFF_LOAD"]
LIBRARY = os.environ["HANDOFF_LIBRARY"]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def example(kind):
    """The code block that opens with ```KIND."""
    with open(os.path.join(ROOT, "docs", "service-authors.md"), encoding="utf-8") as page:
        return re.search(rf"^```{re.escape(kind)}\n(.*?)^```$", page.read(), re.MULTILINE | re.DOTALL).group(1)


def is_sanitized(library):
    with open(library, "rb") as file:
        return b"__asan_" in file.read()


class Examples(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, kind, name):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(example(kind))
        return path

    def compile_c(self, kind, *options):
        source, program = self.write(kind, "service.c"), os.path.join(self.directory, "service")
        subprocess.run(["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program, source, *options], check=True)
        return [program]

    def start(self, command, listener, generation):
        service = Service(command, [listener], generation=generation)
        self.addCleanup(service.close)
        service.wait_for("READY=1")
        return service

    def check_upgrades(self, command, *load_options):
        listener = listen()
        self.addCleanup(listener.close)
        host, port = listener.getsockname()
        live = self.start(command, listener, 1)
        load = subprocess.Popen([LOAD, f"{host}:{port}", "-c", "8", "--version-pattern", "generation ([0-9]+)",
                                 *load_options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(load.stdout.close)
        for generation in range(2, 5):
            successor = self.start(command, listener, generation)
            self.assertEqual(live.stop(), 0)
            live = successor
        load.terminate()
        report = json.loads(load.communicate(timeout=PATIENCE)[0])
        self.assertGreater(report["total"], 0)
        self.assertEqual(report["failed"], 0, report)

    @unittest.skipIf(is_sanitized(LIBRARY), "a plain program cannot load a library built with sanitizers")
    def test_c_with_libhandoff(self):
        self.check_upgrades(self.compile_c(
            "c libhandoff", "-I" + os.path.join(ROOT, "include"), LIBRARY, "-Wl,-rpath," + os.path.dirname(LIBRARY)))

    def test_c_without_a_library(self):
        self.check_upgrades(self.compile_c("c plain"))

    def test_python(self):
        self.check_upgrades([sys.executable, self.write("python", "service.py")])

    @unittest.skipUnless(shutil.which("node") and shutil.which("systemd-notify"), "needs node and systemd-notify")
    def test_node(self):
        command = ["node", self.write("js", "service.mjs")]
        self.check_upgrades(command)
        self.check_upgrades(command, "--keep-alive")

    @unittest.skipUnless(shutil.which("go"), "needs a Go toolchain")
    def test_go(self):
        source, program = self.write("go", "service.go"), os.path.join(self.directory, "service")
        subprocess.run(["go", "build", "-o", program, source], check=True)
        self.check_upgrades([program])


if __name__ == "__main__":
    unittest.main()
