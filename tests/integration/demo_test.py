"""The demonstration of a canary: told in a pipe, as JSON and on a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import tempfile
import termios
import time
import unittest

import harness

HOLD = f"{max(2, round(harness.PATIENCE / 30))}s"  # long enough for 200 requests at 5 % on a slow machine


def environment(**more):
    return {**os.environ, "HANDOFFD": harness.HANDOFFD, "HANDOFF_EXEC": harness.HANDOFF_EXEC,
            "HANDOFF_DEMO_SERVICE": harness.DEMO_SERVICE, "TERM": "xterm", **more}


def command(*options):
    return [harness.HANDOFF, "demo", "--canary", "--hold", HOLD, *options]


def run(*options, wrapper=(), **more):
    return subprocess.run([*wrapper, *command(*options)], env=environment(**more), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=2 * harness.PATIENCE)


class DemoCase(unittest.TestCase):
    maxDiff = None

    def assert_ends(self, done, code):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)


class Told(DemoCase):
    def test_one_line_a_stage_in_a_pipe_and_sentences_at_the_end(self):
        done = run()
        self.assert_ends(done, 0)
        self.assertNotIn("\x1b", done.stdout)
        stages = [line.split(" s  ", 1)[1] for line in done.stdout.splitlines() if " s  " in line[:10]]
        expected = ["version 1 serves", "version 2 is released", "version 2 takes 5 %", "version 2 is rolled back",
                    "version 3 is released", "version 3 takes 5 %", "version 3 takes 25 %", "version 3 takes 100 %",
                    "version 3 is promoted"]
        # The bad one is caught at 5 % unless the machine was too slow to count enough.
        stages = [line for line in stages if not line.startswith("version 2 takes 25 %")]
        self.assertEqual([s[:len(e)] for s, e in zip(stages, expected)], expected, done.stdout)
        self.assertEqual(len(stages), len(expected), done.stdout)
        verdict = stages[3]
        self.assertRegex(verdict, r"metric 'errors': [0-9.]+ % of \d+, live: 0 % of \d+")
        self.assertRegex(verdict, r"\d+ of all \d+ requests met an error, all of them its own")
        self.assertRegex(done.stdout, r"was caught [0-9.]+ s after its first traffic, at (5|25) %")
        self.assertIn("none failed otherwise: none refused, none reset.", done.stdout)

    def test_json_tells_the_same_in_numbers(self):
        done = run("--json", "--clients", "8")
        self.assert_ends(done, 0)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        first, bad, good = [r for r in records if r["record"] == "release"]
        outcome = records[-1]
        self.assertEqual([r["version"] for r in (first, bad, good)], [1, 2, 3])
        self.assertEqual((bad["verdict"], good["verdict"]), ("rolled_back", "promoted"))
        self.assertEqual((first["errors"], good["errors"]), (0, 0))
        self.assertGreater(bad["errors"], 0)
        self.assertLessEqual(bad["errors"], bad["requests"] // 12)
        self.assertEqual(outcome["failed"], bad["errors"])
        self.assertEqual(outcome["failed_otherwise"], 0)
        self.assertEqual(outcome["requests"], sum(r["requests"] for r in (first, bad, good)))
        self.assertEqual((outcome["failures"]["refused"], outcome["failures"]["reset"]), (0, 0))
        self.assertTrue(outcome["went_well"])
        self.assertIn(bad["weight_at_most"], (5, 25))
        self.assertEqual(good["weight_at_most"], 100)
        kinds = [r["kind"] for r in records if r["record"] == "stage"]
        self.assertEqual((kinds[0], kinds.count("verdict")), ("serving", 2))

    @unittest.skipUnless(os.geteuid() == 0, "needs root to give privileges away")
    def test_without_the_right_to_load_ebpf_classic_bpf_divides(self):
        done = run(wrapper=["setpriv", "--bounding-set", "-bpf,-sys_admin,-net_admin,-perfmon"])
        self.assert_ends(done, 0)
        self.assertIn("version 3 is promoted", done.stdout)
        self.assertIn("none failed otherwise: none refused, none reset.", done.stdout)

    def test_a_bad_release_that_is_not_caught_is_no_success(self):
        with tempfile.TemporaryDirectory(prefix="handoff-demo-test-") as directory:
            harmless = os.path.join(directory, "service")
            with open(harmless, "w") as f:
                f.write(f'#!/bin/sh\nexec {harness.DEMO_SERVICE} "$1" "$2" "$3" "$4"\n')  # without --fail-every
            os.chmod(harmless, 0o755)
            done = run(HANDOFF_DEMO_SERVICE=harmless)
        self.assert_ends(done, 1)
        self.assertIn("Version 2 should have been rolled back by the metric, but was: promoted", done.stdout)

    def test_what_does_not_go_together_is_refused(self):
        for options in (["--canary", "--upgrades", "3"], ["--hold", "2s"], ["--canary", "--hold", "soon"]):
            done = subprocess.run([harness.HANDOFF, "demo", *options], env=environment(), capture_output=True)
            self.assertEqual(done.returncode, 2, options)


class Terminal(DemoCase):
    def start(self):
        """Runs it on a terminal of its own; the terminal's settings before are kept."""
        self.outer, inner = pty.openpty()
        self.addCleanup(os.close, self.outer)
        self.before = termios.tcgetattr(inner)
        self.shown = ""

        def take_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(command(), env=environment(), stdin=inner, stdout=inner, stderr=inner,
                                        start_new_session=True, preexec_fn=take_terminal)
        self.inner = inner
        self.addCleanup(os.close, inner)

    def read_until(self, wanted):
        """Until the screen has shown `wanted`, or until the program ended (None)."""
        deadline = time.monotonic() + 2 * harness.PATIENCE
        while wanted is None or not re.search(wanted, self.shown):
            ready, _, _ = select.select([self.outer], [], [], 0.05)
            if ready:
                self.shown += os.read(self.outer, 65536).decode(errors="replace")
            elif self.process.poll() is not None:
                self.assertIsNone(wanted, f"ended with {self.process.returncode}:\n{self.shown[-3000:]}")
                return
            self.assertLess(time.monotonic(), deadline, self.shown[-3000:])

    def assert_restored(self):
        self.assertEqual(termios.tcgetattr(self.inner), self.before)
        self.assertGreater(self.shown.rfind("\x1b[?25h"), self.shown.rfind("\x1b[?25l"))  # the cursor is there
        self.assertGreater(self.shown.rfind("\x1b[?7h"), self.shown.rfind("\x1b[?7l"))  # and lines wrap

    def test_the_split_is_drawn_live_and_the_terminal_put_back(self):
        self.start()
        self.read_until(None)
        self.assertEqual(self.process.returncode, 0, self.shown[-3000:])
        self.assert_restored()
        for part in (r"\[#{19}\.\] 95 %", r"\[#\.{19}\] 5 %", r"\[#{5}\.{15}\] 25 %", r"\[#{20}\] 100 %"):
            self.assertRegex(self.shown, part)
        self.assertIn("none failed otherwise", self.shown)

    def test_an_interrupted_one_puts_the_terminal_back_too(self):
        self.start()
        self.read_until(r"version 2, bad")
        os.write(self.outer, b"\x03")
        self.read_until(None)
        self.assertEqual(self.process.returncode, 1)
        self.assertIn("interrupted", self.shown)
        self.assert_restored()


if __name__ == "__main__":
    harness.main()
