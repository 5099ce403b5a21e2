"""How soon the new version answers, how long the old one still does, and whether a slow start is felt."""

import contestants
import steered
import trial
from table import Line, at_most, ratio
from workbench import median


@steered.both
def switch(bench, sharing):
    pair = contestants.Ours(bench, sharing=sharing), contestants.Floor(bench)
    for one in pair:
        one.start()
    turns, upgrades = bench.pick((8, 10), (4, 5))
    seen = trial.in_turns(pair, turns, lambda one: trial.run(one, upgrades, trial.ORDINARY, interval=0.2))
    for one in pair:
        one.stop()
    ours, floor = map(trial.Trial.sum_of, seen)
    for what, times, most in (
        (f"first reply of the new version, median of {ours.upgrades} upgrades", (ours.first_new, floor.first_new), 1.5),
        ("last reply of the old version", (ours.last_old, floor.last_old), None),
    ):
        over = ratio(median(times[0]), median(times[1]))
        mine, least = (f"{median(one):.2f} ms (max {max(one):.1f})" for one in times)
        bar = {"bar": f"≤ {most}", "met": at_most(over, most)} if most else {}
        yield Line(f"{sharing}: trigger → {what}", mine, f"floor: {least}", over, **bar)
    gaps = [old - new for new, old in zip(ours.first_new, ours.last_old, strict=True)]
    yield Line(f"{sharing}: first reply of the new version → last reply of the old one, median",
               f"{median(gaps):.2f} ms (max {max(gaps):.1f})",
               **({"bar": "≤ 1 ms", "met": median(gaps) <= 1} if sharing == "steered" else {}))
    yield Line(f"{sharing}: failed requests in these upgrades", f"{ours.failed} of {ours.total:,}",
               f"floor: {floor.failed} of {floor.total:,}", bar="0", met=ours.failed == 0)


def slow_start(bench):
    turns, upgrades = bench.pick((5, 4), (2, 3))
    service = ["--start-delay", "500"]
    pair = contestants.Ours(bench, service), contestants.Floor(bench, service)
    for one in pair:
        one.start()
        one.window, one.pause = 0.6, 0.6
    seen = trial.in_turns(pair, turns, lambda one: trial.run(one, upgrades, trial.ORDINARY))
    for one in pair:
        one.stop()
    ours, floor = map(trial.Trial.sum_of, seen)
    (mine, over), (least, of_floor) = map(trial.tails, seen)
    yield Line(f"service needs 500 ms to start, {ours.upgrades} upgrades: p99 in the 600 ms after a trigger / between, "
               f"medians of {turns} turns", f"{mine}; {ours.lost()}; {ours.switching()}",
               f"floor: {least}, ratio {of_floor:.3g}; {floor.switching()}", over, "0 failed, ≤ 1.5",
               ours.failed == 0 and over <= 1.5)
    longest = [max(t.during["max"] for t in trials) for trials in seen]
    yield Line("the same: the longest in these windows (a stall would be 500 ms)", f"{longest[0]:.2f} ms",
               f"floor: {longest[1]:.2f} ms", bar="no stall: ≤ 100 ms", met=longest[0] <= 100)
