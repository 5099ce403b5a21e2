"""Completion of the handoff command in real shells."""

import os
import pty
import select
import shutil
import subprocess
import tempfile
import time
import unittest

import harness

COMPLETIONS = os.path.join(os.path.dirname(__file__), "..", "..", "completions")


class CompletionCase(unittest.TestCase):
    SHELL = None

    def setUp(self):
        if self.SHELL and not shutil.which(self.SHELL):
            self.skipTest(f"there is no {self.SHELL} here")
        directory = tempfile.mkdtemp(prefix="handoff-completion-")
        self.addCleanup(shutil.rmtree, directory)
        for service in ("shop", "shipping", "blog"):
            self.touch(directory, service + ".sock")
        self.touch(directory, "own", "own.sock")  # of a service as another user
        self.touch(directory, "shop.notify", "one.sock")
        self.touch(directory, ".config", "handoff", "of-a-user.toml")
        with open(os.path.join(directory, "systemctl"), "w") as f:
            f.write("#!/bin/sh\necho 'nginx.service enabled enabled'\necho 'nginx-debug.service disabled enabled'\n")
        os.chmod(os.path.join(directory, "systemctl"), 0o755)
        path = ":".join([directory, os.path.dirname(harness.HANDOFF), os.environ["PATH"]])
        self.environment = {**os.environ, "HANDOFF_RUNTIME_DIR": directory, "PATH": path, "HOME": directory}
        self.environment.pop("XDG_CONFIG_HOME", None)

    @staticmethod
    def touch(*path):
        os.makedirs(os.path.join(*path[:-1]), exist_ok=True)
        with open(os.path.join(*path), "w"):
            pass

    def run_shell(self, *command):
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=harness.PATIENCE)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout.split("\n")[:-1]

    def assert_all_shells_agree(self):
        commands = self.complete("handoff ")
        for command in ("status", "upgrade", "set-weight", "demo"):
            self.assertIn(command, commands)
        self.assertNotIn("NAME", commands)
        self.assertEqual(self.complete("handoff sta"), ["status"])
        self.assertEqual(self.complete("handoff upgrade s"), ["shipping", "shop"])
        self.assertEqual(self.complete("handoff upgrade --wait sho"), ["shop"])
        self.assertEqual(self.complete("handoff upgrade o"), ["of-a-user", "own"])
        self.assertEqual(self.complete("handoff upgrade --w"), ["--wait"])
        self.assertEqual(self.complete("handoff experiment c"), ["conclude"])
        self.assertEqual(self.complete("handoff experiment report b"), ["blog"])
        self.assertEqual(self.complete("handoff demo s"), [])
        self.assertEqual(self.complete("handoff wrap --write ng"), ["nginx", "nginx-debug"])
        self.assertEqual(self.complete("handoff wrap --dry"), ["--dry-run"])


class Bash(CompletionCase):
    SHELL = "bash"

    def complete(self, line):
        words = line.split(" ")
        script = (f". {COMPLETIONS}/handoff.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _handoff; "
                  "for reply in \"${COMPREPLY[@]}\"; do echo \"$reply\"; done")
        return sorted(self.run_shell("bash", "--norc", "-c", script, "bash", *words))

    def test_what_is_offered(self):
        self.assert_all_shells_agree()
        self.assertEqual(self.complete("handoff upgrade --until "), ["drained", "promoted", "serving"])


class Fish(CompletionCase):
    SHELL = "fish"

    def complete(self, line):
        script = f"source {COMPLETIONS}/handoff.fish; complete -C '{line}'"
        return sorted(reply.split("\t")[0] for reply in self.run_shell("fish", "--no-config", "-c", script))

    def test_what_is_offered(self):
        self.assert_all_shells_agree()


class Zsh(CompletionCase):
    """A zsh at a terminal: it completes in its line editor only."""

    SHELL = "zsh"

    def setUp(self):
        super().setUp()
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.execvpe("zsh", ["zsh", "-f"], {**self.environment, "TERM": "dumb", "PS1": ""})
        self.addCleanup(self.end)
        self.seen = ""
        self.type(f"fpath=({os.path.abspath(COMPLETIONS)} $fpath); autoload -Uz compinit; compinit -u -D; bindkey -e; "
                  "print -r -- R'EADY'\r")
        self.wait_for("READY\r\n")

    def end(self):
        os.close(self.terminal)  # hangs it up
        os.waitpid(self.child, 0)

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def wait_for(self, text):
        deadline = time.monotonic() + harness.PATIENCE
        while text not in self.seen:
            left = deadline - time.monotonic()
            self.assertTrue(select.select([self.terminal], [], [], max(left, 0))[0], f"no {text!r} in {self.seen!r}")
            self.seen += os.read(self.terminal, 65536).decode()
        self.seen = self.seen[self.seen.index(text) + len(text):]

    def assert_completes(self, line, completed):
        self.type(f"{line}\t\x01print -r -- D'ONE': \r")  # to the beginning of the line, which is then printed
        self.wait_for(f"DONE: {completed}\r\n")

    def test_what_is_offered(self):
        self.assert_completes("handoff sta", "handoff status")
        self.assert_completes("handoff upgrade --wait sho", "handoff upgrade --wait shop")
        self.assert_completes("handoff upgrade of", "handoff upgrade of-a-user")
        self.assert_completes("handoff upgrade ow", "handoff upgrade own")
        self.assert_completes("handoff upgrade --w", "handoff upgrade --wait")
        self.assert_completes("handoff experiment c", "handoff experiment conclude")
        self.assert_completes("handoff experiment report b", "handoff experiment report blog")
        self.assert_completes("handoff wrap --write nginx-", "handoff wrap --write nginx-debug")


if __name__ == "__main__":
    unittest.main(verbosity=2)
