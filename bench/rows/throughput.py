"""What supervision costs between upgrades: nothing stands in the path, so it should be nothing."""

import json
import subprocess

import contestants
from table import Line
from workbench import harness, median


def requests_per_second(bench, address, *options):
    done = subprocess.run([harness.LOAD, "--clients", "32", "-d", bench.pick("3", "0.7"), *options, address],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    if result["failed"]:
        raise AssertionError(f"requests failed: {result['failures']}")
    return result["requests_per_s"]


def throughput(bench):
    ours, bare = contestants.Ours(bench), contestants.Restart(bench)
    ours.start()
    bare.start()
    for name, options in {"keep-alive": ["--keep-alive"], "new connections": ["--sources", "100"]}.items():
        pairs = []
        for turn in range(bench.pick(15, 3)):
            # Who goes first alternates: a trend of the machine meets both.
            order = (ours, bare) if turn % 2 == 0 else (bare, ours)
            seen = {one: requests_per_second(bench, one.address, *options) for one in order}
            pairs.append((seen[ours], seen[bare]))
        ratios = sorted(mine / theirs for mine, theirs in pairs)
        yield Line(f"throughput, {name}, median of {len(pairs)} interleaved pairs",
                   f"{median([mine for mine, _ in pairs]):,.0f} requests/s",
                   f"bare: {median([theirs for _, theirs in pairs]):,.0f} "
                   f"(pairs from {ratios[0]:.3f} to {ratios[-1]:.3f})",
                   median(ratios), "≥ 0.99", median(ratios) >= 0.99)
