"""What supervision costs between upgrades: nothing stands in the path, so it should be nothing."""

import json
import os
import subprocess

import contestants
from table import Line
from workbench import harness, median, on_core, spell_confidence


APART = "one core for the load and one for the rest"
KINDS = {"keep-alive": ["--keep-alive"], "new connections": ["--sources", "100"]}


def requests_per_second(address, *options):
    done = subprocess.run([harness.LOAD, "--clients", "32", "-d", "0.7", *options, address],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    if result["failed"]:
        raise AssertionError(f"requests failed: {result['failures']}")
    return result["requests_per_s"]


def start_apart(everybody):
    """All on one core; returns another one, for the load. Where the scheduler moves them about, its mood makes more of
    a difference than anything that is compared."""
    for_load, for_services = sorted(os.sched_getaffinity(0))[:2]
    with on_core(for_services):
        for one in everybody:
            one.start()
    return for_load


def throughput(bench):
    ours, bare, control = contestants.Ours(bench), contestants.Restart(bench), contestants.Restart(bench)
    everybody = [ours, bare, control]
    for_load = start_apart(everybody)
    for name, options in KINDS.items():
        # Many short turns, and who goes first changes: the machine's moods last for seconds and meet all.
        turns = []
        for _ in range(bench.pick(60, 3)):
            everybody.append(everybody.pop(0))
            with on_core(for_load):
                turns.append({one: requests_per_second(one.address, *options) for one in everybody})
        ratios = [turn[ours] / turn[bare] for turn in turns]
        sure = spell_confidence(ratios, [turn[control] / turn[bare] for turn in turns])
        yield Line(f"throughput, {name}, {APART}, {len(turns)} interleaved turns",
                   f"{median([turn[ours] for turn in turns]):,.0f} requests/s",
                   f"bare: {median([turn[bare] for turn in turns]):,.0f}; {sure}",
                   median(ratios), "≥ 0.99", median(ratios) >= 0.99)
