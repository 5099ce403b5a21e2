"""Upgrades of a contestant under load, and what the clients saw."""

import dataclasses
import time

from workbench import VERSION_HEADER, harness, median

RATE = 2000  # requests a second where not the load but the upgrade is the subject
ORDINARY = ["--clients", "64", "--rate", str(RATE)]


@dataclasses.dataclass
class Trial:
    """What was seen; times in milliseconds from the trigger."""

    upgrades: int = 0
    total: int = 0
    failed: int = 0
    unsent: int = 0
    first_new: list = dataclasses.field(default_factory=list)
    last_old: list = dataclasses.field(default_factory=list)
    during: dict = dataclasses.field(default_factory=dict)  # percentiles while upgrades were under way
    between: dict = dataclasses.field(default_factory=dict)
    failures: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def sum_of(cls, trials):
        """Their counts and times together; for the percentiles, which cannot be added, see tails()."""
        total = cls()
        for one in trials:
            total.upgrades += one.upgrades
            total.total += one.total
            total.failed += one.failed
            total.unsent += one.unsent
            total.first_new += one.first_new
            total.last_old += one.last_old
            for kind, count in one.failures.items():
                total.failures[kind] = total.failures.get(kind, 0) + count
        return total

    def lost(self):
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.failures.items() if n)
        return f"{self.failed} failed of {self.total:,}" + (f" ({kinds})" if kinds else "")

    def switching(self):
        return f"first new {median(self.first_new):.2f} ms, last old {median(self.last_old):.2f} ms"

    def tail(self):
        return f"{self.during['p99']:.2f} / {self.between['p99']:.2f} ms"

    def tail_ratio(self):
        return self.during["p99"] / self.between["p99"]


def tails(trials):
    """What they are in the middle: the p99 in the windows and between, and the ratio of these two."""
    during, between = (median(seen["p99"] for seen in seens)
                       for seens in ([t.during for t in trials], [t.between for t in trials]))
    return f"{during:.2f} / {between:.2f} ms", median(t.tail_ratio() for t in trials)


def in_turns(pair, turns, turn):
    """The trials of each of two contestants: what else the machine does meets both."""
    seen = [], []
    for _ in range(turns):
        for one, trials in zip(pair, seen, strict=True):
            trials.append(turn(one))
    return seen


def run(contestant, upgrades, load_options, interval=None, finish=False, look=None, arrange=None):
    """Upgrades a started contestant under load.

    `interval` is the time between two triggers, by default what the contestant needs. With `finish` the load ends
    by itself, when it has sent all its requests. `look` is called just before each trigger, `arrange` with the load's
    pid at the start.
    """
    interval = interval or contestant.window + contestant.pause
    before = contestant.version
    triggers = {}
    options = [*load_options, "--version-header", VERSION_HEADER]
    with harness.Load(contestant.address, *options) as load:
        if arrange:
            arrange(load.process.pid)
        time.sleep(max(contestant.pause, 0.3))  # how a load begins is no one's steady latency
        load.mark("between")
        next_at = time.monotonic()
        for _ in range(upgrades):
            next_at = max(next_at, time.monotonic()) + interval
            if look:
                look()
            load.mark("during")
            began = time.monotonic_ns()
            contestant.trigger()
            triggers[contestant.version] = began
            time.sleep(max(contestant.window - (time.monotonic_ns() - began) / 1e9, 0))
            load.mark("between")
            time.sleep(max(next_at - time.monotonic(), 0))
        if finish:
            load.process.wait(harness.PATIENCE * 10)
    return observe(load.result, triggers, before)


def observe(result, triggers, before):
    versions = {int(seen["version"]): seen for seen in result["versions"] if seen["version"]}
    missing = sorted(set(range(before, max(triggers, default=before) + 1)) - set(versions))
    if missing:
        raise AssertionError(f"no reply came from version {missing}; {len(versions)} others answered")
    windows = result["windows"]
    return Trial(
        upgrades=len(triggers),
        total=result["total"],
        failed=result["failed"],
        unsent=result["unsent"],
        first_new=[(versions[v]["first_ns"] - at) / 1e6 for v, at in triggers.items()],
        last_old=[(versions[v - 1]["last_ns"] - at) / 1e6 for v, at in triggers.items()],
        during=windows.get("during", {}).get("latency_ms", {}),
        between=windows["between"]["latency_ms"],
        failures=result["failures"],
    )
