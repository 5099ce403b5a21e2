"""What every row stands on: the harness of the integration tests, a directory, tools, and an end to it all."""

import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests", "integration"))

import harness  # noqa: E402 (it is found by the line above)

VERSION_HEADER = "X-Handoff-Generation"


class Workbench:
    """The tools of one row. It stands where the harness expects a test case, and cleans up as one does."""

    def __init__(self, quick):
        self.quick = quick
        self.stack = contextlib.ExitStack()
        self.directory = None

    def __enter__(self):
        self.directory = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="handoff-bench-"))
        os.chmod(self.directory, 0o755)
        return self

    def __exit__(self, *_):
        self.stack.close()

    def pick(self, full, quick):
        return quick if self.quick else full

    def say(self, text):
        print(f"   {text}", file=sys.stderr, flush=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def tool(self, name):
        """Compiles bench/tools/NAME.c and returns its path."""
        out = self.path(name)
        if not os.path.exists(out):
            source = os.path.join(HERE, "tools", name + ".c")
            subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", out, source], check=True)
        return out

    def supervisor(self, command, address=None, extra=""):
        """A handoffd with this command, by default with one listener."""
        listener = f'[[listener]]\nname = "http"\naddress = "{address}"\n' if address else ""
        words = ", ".join(f'"{word}"' for word in command)
        return self.supervise(f"command = [{words}]\n{extra}\n{listener}")

    def supervise(self, configuration):
        """A handoffd with this configuration, its runtime directory in memory, as /run is (file-hierarchy(7))."""
        runtime = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="handoff-bench-", dir="/dev/shm"))
        os.chmod(runtime, 0o755)
        return harness.Supervisor(self, configuration, runtime=runtime)

    # What the harness asks of a test case.

    def addCleanup(self, function, *arguments):
        self.stack.callback(function, *arguments)

    def assertEqual(self, seen, wanted, message=None):
        if seen != wanted:
            raise AssertionError(f"{seen!r} is not {wanted!r}: {message}")

    def assertNotIn(self, part, whole, message=None):
        if part in whole:
            raise AssertionError(f"{part!r} was found: {message}")


@contextlib.contextmanager
def on_core(core):
    """What is started meanwhile runs on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def median(values):
    return statistics.median(values) if values else float("nan")


def median_interval(values):
    """Between which two of `values` the median of all that could be measured lies, in 95 of 100 such runs."""
    ordered = sorted(values)
    off = 0.98 * math.sqrt(len(ordered))  # ranks off the middle: 1.96 deviations of half of so many coins
    middle = len(ordered) / 2
    return ordered[max(0, math.floor(middle - off))], ordered[min(len(ordered) - 1, math.ceil(middle + off))]


def spell_confidence(ratios, control):
    """How sure the median of `ratios` is, and what comes out where nothing differs."""
    least, most = median_interval(ratios)
    same_least, same_most = median_interval(control)
    return (f"the ratio is from {least:.3f} to {most:.3f} with a confidence of 95 % (bare against bare: "
            f"{median(control):.3f}, from {same_least:.3f} to {same_most:.3f})")


def quantile(values, fraction):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * fraction), len(ordered) - 1)]
