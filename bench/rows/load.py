"""Nothing is lost, and little is felt: at full load, at an ordinary load, and with an overloaded service."""

import contextlib
import json
import os
import subprocess

import contestants
import steered
import trial
from table import Line, at_most
from workbench import harness, median

SOURCES = "100"  # each source address brings ephemeral ports of its own
NEAR_SATURATION = 0.6  # of what closed-loop clients reach: beyond it, planned requests pile up without any upgrade


def capacity(bench, address):
    """Requests a second, a new connection each, as fast as the clients can."""
    seconds = bench.pick("5", "1")
    done = subprocess.run([harness.LOAD, "--clients", "64", "--sources", SOURCES, "-d", seconds, address],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1])["requests_per_s"]


@steered.both
def full_load(bench, sharing):
    requests, upgrades = bench.pick(1_050_000, 100_000), bench.pick(100, 20)
    ours = contestants.Ours(bench, sharing=sharing)
    ours.start()
    fastest = capacity(bench, ours.address)
    rate = fastest * NEAR_SATURATION
    bench.say(f"{rate:.0f} of {fastest:.0f} requests/s for {requests / rate:.0f} s")
    options = ["--clients", "512", "--sources", SOURCES, "--rate", str(rate), "-n", str(requests)]
    seen = trial.run(ours, upgrades, options, interval=0.9 * requests / rate / upgrades, finish=True)
    wanted = bench.pick(1_000_000, 90_000)
    what = f"{seen.upgrades} upgrades at full load, new connection per request, {sharing}"
    yield Line(what, f"{seen.lost()}; {rate:.0f} requests/s of {fastest:.0f} possible, {seen.unsent} not sent in time",
               bar=f"0 failed of ≥ {wanted:,}", met=seen.failed == 0 and seen.total >= wanted)
    ours.stop()
    yield Line("the same: p99 in the 50 ms after a trigger / between (no core is free here)", seen.tail(),
               ratio=seen.tail_ratio())


def keep_on(core, pid):
    """Each thread of a process, and what it starts from now on, runs on this core alone."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), {core})


def leave_a_core(contestant):
    """A core is free for who starts: at a trigger, load and live service share the first one.

    Between the windows the service stays on the second core, where it started. There it is for nearly all of a window as
    well, and a reply costs more from core to core than within one: the floor, the least that can be done, would be
    charged half of its steady latency for that alone.
    """
    first, second = sorted(os.sched_getaffinity(0))[:2]
    pid = contestant.process.pid

    def arrange(load):
        keep_on(first, load)
        for one in (pid, *harness.children(pid)):
            keep_on(second, one)

    def before_a_trigger():
        for one in harness.children(pid):
            keep_on(first, one)

    return {"arrange": arrange, "look": before_a_trigger}


def calm_latency(bench):
    turns, upgrades = bench.pick((10, 10), (3, 6))
    free_for_all = (f"p99 in the 50 ms after a trigger / between, {trial.RATE} requests/s, medians of {turns} turns of "
                    f"{upgrades} upgrades")
    for what, arrangement in ((free_for_all, lambda _: {}), ("the same, with a core that is free", leave_a_core)):
        pair = contestants.Ours(bench), contestants.Floor(bench)
        for one in pair:
            one.start()
        seen = trial.in_turns(pair, turns, lambda one, how=arrangement: trial.run(one, upgrades, trial.ORDINARY,
                                                                                  interval=0.25, **how(one)))
        for one in pair:
            one.stop()
        (mine, over), (least, of_floor) = map(trial.tails, seen)
        bar = {"bar": "≤ 1.5", "met": at_most(over, 1.5)} if arrangement is leave_a_core else {}
        yield Line(what, f"{mine}; {trial.Trial.sum_of(seen[0]).lost()}", f"floor: {least}, ratio {of_floor:.3g}", over,
                   **bar)


@steered.both
def overload(bench, sharing):
    upgrades = bench.pick(20, 5)
    options = ["--clients", "64", "--rate", "1500", "--timeout-ms", "30000"]
    service = ["--work-us", "1000"]
    pair = contestants.Ours(bench, service, sharing), contestants.Floor(bench, service)
    for one in pair:
        one.window = one.pause = 0.3
    pair[0].start()
    queues = []
    ours = trial.run(pair[0], upgrades, options, look=lambda: queues.append(pair[0].queued()))
    pair[1].start()
    floor = trial.run(pair[1], upgrades, options)
    for one in pair:
        one.stop()
    queue = median(queues)
    yield Line(f"overloaded service (1 ms a request, 1500 requests/s from 64 clients), {upgrades} upgrades, {sharing}",
               f"{ours.lost()}; accept queue {queue:.0f} (median); {ours.switching()}",
               f"floor: {floor.lost()}; {floor.switching()}", bar="0 failed, queue ≥ 60",
               met=ours.failed == 0 and queue >= 60)
