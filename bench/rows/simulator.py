"""How many lives the simulator gets through; each checks every promise after every step."""

import os
import re
import subprocess

from table import Line
from workbench import harness, median, on_core

SIMULATOR = os.path.join(harness.BUILD, "tests", "sim")


def lives(bench):
    turns, seeds = bench.pick(5, 1), bench.pick(200_000, 50_000)
    rates = []
    with on_core(min(os.sched_getaffinity(0))):
        for turn in range(turns):
            count = ["--seeds", str(seeds), "--first", str(1 + turn * seeds)]
            done = subprocess.run([SIMULATOR, *count], capture_output=True, text=True, check=True)
            rates.append(int(re.search(r"(\d+) a minute: every promise held", done.stdout)[1]))
    per_minute = median(rates)
    yield Line(f"the simulator, {turns * seeds:,} random lives, median of {turns} turns",
               f"{per_minute:,.0f} a minute on one core (from {min(rates):,} to {max(rates):,})",
               bar="≥ 1,000,000", met=per_minute >= 1_000_000)
