"""What the supervisor weighs, and whether it grows."""

import os
import time

from table import Line
from workbench import harness

FLAT_KIB = 64  # growth of private memory over the second half that still counts as none: allocators breathe


def memory(pid):
    """The sums of /proc/PID/smaps_rollup in KiB, by name."""
    found = {}
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f.readlines()[1:]:
            name, value = line.split(":")
            found[name] = int(value.split()[0])
    return found


def supervise(bench):
    os.sync()  # pages of a program that was just built, and is not on disk yet, would count as private dirty
    return bench.supervisor([harness.DEMO_SERVICE], f"127.0.0.1:{harness.free_port()}")


def footprint(bench):
    s = supervise(bench)
    for _ in range(3):
        s.upgrade()
    seen = memory(s.process.pid)
    pss, dirty = seen["Pss"], seen["Private_Dirty"]
    yield Line("handoffd, one service, steady: PSS", f"{pss} KiB (RSS {seen['Rss']} KiB)", bar="≤ 4 MiB",
               met=pss <= 4096)
    yield Line("handoffd, one service, steady: private dirty", f"{dirty} KiB", bar="≤ 1.5 MiB", met=dirty <= 1536)


def least(count):
    """The least of some counts in a row: what is just being closed does not count."""
    seen = []
    for _ in range(20):
        seen.append(count())
        time.sleep(0.005)
    return min(seen)


def look(s):
    pid = s.process.pid
    seen = memory(pid)
    return {"descriptors": least(lambda: len(harness.descriptors(pid))),
            "children": least(lambda: len(harness.children(pid))), "pss": seen["Pss"], "dirty": seen["Private_Dirty"]}


def upgrade_times(s, count):
    for _ in range(count):
        rollout = s.hup()
        s.events.wait("settled", rollout=rollout)
        with s.events.changed:
            s.events.seen.clear()


def many_upgrades(bench):
    upgrades = bench.pick(10_000, 200)
    s = supervise(bench)
    s.upgrade()
    start = look(s)
    began = time.monotonic()
    samples = []
    for tenth in range(10):
        upgrade_times(s, upgrades // 10)
        samples.append(look(s))
        bench.say(f"{(tenth + 1) * upgrades // 10} upgrades: {samples[-1]}")
    rate = upgrades / (time.monotonic() - began)
    middle, end = samples[4], samples[-1]
    for what in ("descriptors", "children"):
        growth = end[what] - start[what]
        yield Line(f"{what} after {upgrades:,} upgrades, grown by", f"{growth} (from {start[what]} to {end[what]})",
                   bar="0", met=growth == 0)
    growth = end["dirty"] - middle["dirty"]
    yield Line(f"memory over {upgrades:,} upgrades ({rate:.0f} a second)",
               f"private dirty {start['dirty']} → {middle['dirty']} (half) → {end['dirty']} KiB, that is "
               f"{growth * 1024 / (upgrades / 2):.1f} bytes an upgrade in the second half; "
               f"PSS {start['pss']} → {end['pss']} KiB",
               bar=f"flat: second half ≤ {FLAT_KIB} KiB", met=growth <= FLAT_KIB)
