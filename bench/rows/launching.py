"""How fast a new process is there, and how fast its READY=1 counts."""

import os
import subprocess
import time

import steered
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


class Launches:
    """Upgrades of a service that notes its moments, and bare starts of the same program."""

    def __init__(self, bench, sharing="auto"):
        self.program = bench.tool("moments")
        self.notes, self.bare_notes = bench.path(f"notes-{sharing}"), bench.path("bare-notes")
        self.supervisor = bench.supervisor([self.program, self.notes], f"127.0.0.1:{harness.free_port()}",
                                           f'[rollout]\nsharing = "{sharing}"\n')
        self.triggers = []

    def upgrade(self, count):
        for _ in range(count):
            self.triggers.append(("trigger", time.monotonic_ns()))
            self.supervisor.events.wait("settled", rollout=self.supervisor.hup())

    def spawn_bare(self, count):
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        subprocess.run([self.program, self.bare_notes, "spawn", str(count)], check=True, env=environment)

    def of_upgrades(self):
        return sorted(moments(self.notes) + self.triggers, key=lambda one: one[1])

    def bare(self):
        return moments(self.bare_notes)


def launch(bench):
    launches = Launches(bench)
    for _ in range(10):  # in turns, so that what else the machine does meets both
        launches.upgrade(bench.pick(20, 5))
        launches.spawn_bare(bench.pick(20, 5))
    ours = gaps(launches.of_upgrades(), "trigger", "main")
    bare = gaps(launches.bare(), "spawn", "main")
    times = ratio(median(ours), median(bare))
    yield Line(f"HUP → main of the new binary entered, median of {len(ours)}",
               f"{median(ours):.0f} µs (p10 {quantile(ours, 0.1):.0f}, p90 {quantile(ours, 0.9):.0f})",
               f"posix_spawn of the same binary: {median(bare):.0f} µs (p10 {quantile(bare, 0.1):.0f}, p90 {quantile(bare, 0.9):.0f})",
               times, "≤ 3", at_most(times, 3))


HOW = {"shared": "shared: both answer until then", "steered": "steered: the weights moved before"}


@steered.both
def ready_to_switched(bench, sharing):
    launches = Launches(bench, sharing)
    launches.upgrade(bench.pick(200, 20))
    took = gaps(launches.of_upgrades(), "ready", "term")
    yield Line(f"READY=1 sent by the new → SIGTERM arrived at the old, median of {len(took)} ({HOW[sharing]})",
               f"{median(took):.0f} µs (p90 {quantile(took, 0.9):.0f})", bar="≤ 1 ms",
               met=median(took) <= 1000)
