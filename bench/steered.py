"""Rows that need steered listeners, where they can be had."""

import functools

from table import Line
from workbench import harness


def why_not(bench):
    """Why listeners cannot be steered here; nothing when they can."""
    s = bench.supervisor([harness.DEMO_SERVICE], f"127.0.0.1:{harness.free_port()}")
    listener = s.status()["listeners"][0]
    s.stop()
    return "" if listener["sharing"] == "steered" else listener["sharing_reason"]


def skipped(why):
    return Line("with steered listeners", f"skipped: {why}")


def only(row):
    """Makes a row one line, which says why, where nothing can be steered."""
    @functools.wraps(row)
    def run(bench):
        why = why_not(bench)
        if why:
            yield skipped(why)
        else:
            yield from row(bench)
    return run


def both(row):
    """Runs a row that takes how generations share a listener, first shared, then steered."""
    @functools.wraps(row)
    def run(bench):
        yield from row(bench, "shared")
        why = why_not(bench)
        if why:
            yield skipped(why)
        else:
            yield from row(bench, "steered")
    return run
