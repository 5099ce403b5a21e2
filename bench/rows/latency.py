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
    seen = trial.Trial(), trial.Trial()
    # In turns, so that what else the machine does meets both.
    for _ in range(bench.pick(8, 4)):
        for one, sum_of in zip(pair, seen, strict=True):
            sum_of.merge(trial.run(one, bench.pick(10, 5), trial.ORDINARY, interval=0.2))
    for one in pair:
        one.stop()
    ours, floor = seen
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
    upgrades = bench.pick(20, 5)
    results = []
    for one in (contestants.Ours(bench, ["--start-delay", "500"]), contestants.Floor(bench, ["--start-delay", "500"])):
        one.start()
        one.window, one.pause = 0.6, 0.6
        results.append(trial.run(one, upgrades, trial.ORDINARY))
    ours, floor = results
    yield Line(f"service needs 500 ms to start, {upgrades} upgrades: p99 in the 600 ms after a trigger / between",
               f"{ours.tail()}; {ours.lost()}; {ours.switching()}",
               f"floor: {floor.tail()}, ratio {floor.tail_ratio():.3g}; {floor.switching()}",
               ours.tail_ratio(), "0 failed, ≤ 1.5", ours.failed == 0 and ours.tail_ratio() <= 1.5)
    yield Line("the same: maximum (a stall would be 500 ms)", ours.tail("max"), f"floor: {floor.tail('max')}",
               ours.tail_ratio("max"), "no stall: ≤ 100 ms", ours.during["max"] <= 100)
