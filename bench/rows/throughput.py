"""What supervision costs between upgrades: nothing stands in the path, so it should be nothing."""

import json
import subprocess

import contestants
from table import Line
from workbench import harness, median, quantile


KINDS = {"keep-alive": ["--keep-alive"], "new connections": ["--sources", "100"]}


def requests_per_second(address, *options):
    done = subprocess.run([harness.LOAD, "--clients", "32", "-d", "0.7", *options, address],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    if result["failed"]:
        raise AssertionError(f"requests failed: {result['failures']}")
    return result["requests_per_s"]


def throughput(bench):
    ours, bare, control = contestants.Ours(bench), contestants.Restart(bench), contestants.Restart(bench)
    everybody = [ours, bare, control]
    for one in everybody:
        one.start()
    for name, options in KINDS.items():
        # Many short turns, and who goes first changes: the machine's moods last for seconds and meet all.
        turns = []
        for _ in range(bench.pick(60, 3)):
            everybody.append(everybody.pop(0))
            turns.append({one: requests_per_second(one.address, *options) for one in everybody})
        ratios = sorted(turn[ours] / turn[bare] for turn in turns)
        noise = median([turn[control] / turn[bare] for turn in turns])
        yield Line(f"throughput, {name}, median of {len(turns)} interleaved turns",
                   f"{median([turn[ours] for turn in turns]):,.0f} requests/s",
                   f"bare: {median([turn[bare] for turn in turns]):,.0f} (half of the turns from "
                   f"{quantile(ratios, 0.25):.3f} to {quantile(ratios, 0.75):.3f}; bare against bare: {noise:.3f})",
                   median(ratios), "≥ 0.99", median(ratios) >= 0.99)
