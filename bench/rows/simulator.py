"""How many lives the simulator gets through; each checks every promise after every step."""

import os
import re
import subprocess

from table import Line
from workbench import harness, on_core

SIMULATOR = os.path.join(harness.BUILD, "tests", "sim")


def lives(bench):
    seeds = bench.pick(1_000_000, 50_000)
    with on_core(min(os.sched_getaffinity(0))):
        done = subprocess.run([SIMULATOR, "--seeds", str(seeds)], capture_output=True, text=True, check=True)
    per_minute = int(re.search(r"(\d+) a minute: every promise held", done.stdout)[1])
    yield Line(f"the simulator, {seeds:,} random lives", f"{per_minute:,} a minute on one core",
               bar="≥ 1,000,000", met=per_minute >= 1_000_000)
