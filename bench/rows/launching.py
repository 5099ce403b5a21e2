"""How fast a new process is there, and how fast its READY=1 counts."""

import os
import subprocess
import time

from table import Line, at_most, ratio
from workbench import harness, median, quantile


def moments(path):
    """The lines of tools/moments.c as (what, nanoseconds), by time."""
    with open(path) as f:
        found = [line.split() for line in f]
    return sorted(((what, int(at)) for what, at in found), key=lambda one: one[1])


def gaps(told, first, then):
    """Microseconds from each `first` to the next `then`, where no other `first` comes between."""
    found, began = [], None
    for what, at in told:
        if what == first:
            began = at
        elif what == then and began is not None:
            found.append((at - began) / 1000)
            began = None
    return found


def upgrade_moments(bench, upgrades):
    """Upgrades a service that notes its moments; returns them, with each "trigger" among them."""
    notes = bench.path("notes")
    s = bench.supervisor([bench.tool("moments"), notes], f"127.0.0.1:{harness.free_port()}")
    triggers = []
    for _ in range(upgrades):
        triggers.append(("trigger", time.monotonic_ns()))
        s.events.wait("settled", rollout=s.hup())
    return sorted(moments(notes) + triggers, key=lambda one: one[1])


def launch(bench):
    count = bench.pick(100, 20)
    ours = gaps(upgrade_moments(bench, count), "trigger", "main")
    bare_notes = bench.path("bare")
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    subprocess.run([bench.tool("moments"), bare_notes, "spawn", str(count)], check=True, env=environment)
    # A note of ours, "spawn", is written after the child began; its time is from before.
    bare = gaps(moments(bare_notes), "spawn", "main")
    times = ratio(median(ours), median(bare))
    yield Line(f"HUP → main of the new binary entered, median of {len(ours)}",
               f"{median(ours):.0f} µs (p90 {quantile(ours, 0.9):.0f})",
               f"posix_spawn of the same binary: {median(bare):.0f} µs (p90 {quantile(bare, 0.9):.0f})",
               times, "≤ 3", at_most(times, 3))


def ready_to_switched(bench):
    took = gaps(upgrade_moments(bench, bench.pick(100, 20)), "ready", "term")
    yield Line(f"READY=1 sent by the new → SIGTERM arrived at the old, median of {len(took)} (shared sockets: both "
               "answer until then)", f"{median(took):.0f} µs (p90 {quantile(took, 0.9):.0f})", bar="≤ 1 ms",
               met=median(took) <= 1000)
