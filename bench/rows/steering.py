"""What steering costs, how soon and how exactly a weight takes effect, and what comes back from the dead."""

import contextlib
import glob
import json
import math
import os
import signal
import subprocess
import time

import contestants
import steered
from rows import throughput
from table import Line, at_most, ratio
from workbench import VERSION_HEADER, harness, median, on_core, quantile, spell_confidence

CANARY_WEIGHT = 5
CANARY_CLIENTS = 200  # so that about as many meet the candidate in each turn
DEVIATIONS_MAX = 4  # of four draws one lies beyond it once in 4,000 runs
STATISTICS = "/proc/sys/kernel/bpf_stats_enabled"
KEPT_ROLLOUT = 'bake = "0s"\nmax-draining = 8\n'


def load_result(address, *options):
    """What the load generator tells of a run in which nothing failed."""
    done = subprocess.run([harness.LOAD, *options, address], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    if result["failed"]:
        raise AssertionError(f"requests failed: {result['failures']}")
    return result


@steered.only
def canary(bench):
    """A split by steering against the same split by the kernel alone, twice, and by a proxy; beside them no split at
    all, by a bare service and by a generation whose candidate has no traffic: two processes that share the cores have
    a price."""
    ours, pair, control = (contestants.Canary(bench, CANARY_WEIGHT), contestants.Pair(bench, CANARY_WEIGHT),
                           contestants.Pair(bench, CANARY_WEIGHT))
    others = [contestants.Split(bench, CANARY_WEIGHT), contestants.Canary(bench, 0), contestants.Restart(bench)]
    everybody = [ours, pair, control, *others]
    for_load = throughput.start_apart(everybody)
    for name, options in throughput.KINDS.items():
        turns = []
        for turn in range(bench.pick(120, 2)):
            # A turn of these three differs by a seventh or so from the next one; of the others a rough figure will do.
            now = everybody if turn % 4 == 0 else [ours, pair, control]
            with on_core(for_load):
                turns.append({one: load_result(one.address, "--clients", str(CANARY_CLIENTS), "-d", "0.5", *options)
                              for one in now[turn % len(now):] + now[:turn % len(now)]})
        for what, unit, look in (("throughput", "requests/s", lambda seen: seen["requests_per_s"]),
                                 ("p99", "ms", lambda seen: seen["latency_ms"]["p99"])):
            seen = [{one: look(turn[one]) for one in turn} for turn in turns]
            yield split_line(f"{name}, {len(turns)} interleaved turns: {what}", unit, seen, (ours, pair, control), others)


def split_line(what, unit, turns, compared, others):
    def over(one, other):
        return [turn[one] / turn[other] for turn in turns if one in turn]

    def spelled(one):
        return f"{median([turn[one] for turn in turns]):{',.0f' if unit == 'requests/s' else '.2f'}}"

    ours, pair, control = compared
    ratios = over(ours, pair)
    proxy, idle, bare = (f"{median(over(one, pair)):.3g}" for one in others)
    bar = {"bar": "≥ 0.99", "met": median(ratios) >= 0.99} if unit == "requests/s" else {}
    return Line(f"a {100 - CANARY_WEIGHT}/{CANARY_WEIGHT} canary, {throughput.APART}, {what}",
                f"{spelled(ours)} {unit}",
                f"bare, the same split by SO_REUSEPORT alone: {spelled(pair)}; "
                f"{spell_confidence(ratios, over(control, pair))}; of bare, HAProxy in front, the same split: {proxy}; "
                f"one process, no split: handoff {idle}, bare {bare}",
                median(ratios), **bar)


@contextlib.contextmanager
def run_statistics():
    """The kernel takes the time of every program's runs, and does afterwards what it did before."""
    with open(STATISTICS) as f:
        before = f.read()
    with open(STATISTICS, "w") as f:
        f.write("1")
    try:
        yield
    finally:
        with open(STATISTICS, "w") as f:
            f.write(before)


def program_runs(pid):
    """Nanoseconds and runs of the steering program that this process holds (bpftool shows it of each program)."""
    for path in glob.glob(f"/proc/{pid}/fdinfo/*"):
        with open(path) as f:
            told = dict(line.split(":", 1) for line in f if ":" in line)
        if "run_cnt" in told:
            return int(told["run_time_ns"]), int(told["run_cnt"])
    raise AssertionError("the supervisor holds no program")


@steered.only
def program_cost(bench):
    if not os.access(STATISTICS, os.W_OK):
        yield Line("the steering program", f"skipped: {STATISTICS} cannot be written")
        return
    ours = contestants.Canary(bench, CANARY_WEIGHT)
    ours.start()
    pid = ours.supervisor.process.pid
    took, runs, rates = [], 0, []
    with run_statistics():
        for _ in range(bench.pick(9, 3)):
            before = program_runs(pid)
            rates.append(throughput.requests_per_second(ours.address, "--sources", "100"))
            after = program_runs(pid)
            runs += after[1] - before[1]
            took.append((after[0] - before[0]) / (after[1] - before[1]))
    share = median(took) * median(rates) / 1e9
    yield Line(f"the steering program, nanoseconds a new connection ({runs:,} runs, bpf_stats)",
               f"{median(took):.0f} ns (from {min(took):.0f} to {max(took):.0f})",
               f"{share:.2%} of one core at {median(rates):,.0f} connections/s")


class Burst:
    """What tools/burst.c saw; times in microseconds from when it acted."""

    def __init__(self, bench, port, count, *act):
        done = subprocess.run([bench.tool("burst"), str(port), str(count), *act], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise AssertionError(f"burst: {done.stderr}")
        self.acknowledged, self.seen = None, []
        for line in done.stdout.splitlines():
            words = line.split()
            if words[0] == "acknowledged":
                self.acknowledged = float(words[1])
            else:
                self.seen.append((float(words[0]), float(words[1]), int(words[2])))

    @classmethod
    def call(cls, bench, contestant, method, **parameters):
        text = json.dumps({"method": f"io.handoff.Supervisor.{method}", "parameters": parameters})
        return cls(bench, contestant.port, 16, "call", contestant.supervisor.socket, text)

    def first(self, generation):
        """When the first connection began that this generation got."""
        return min(began for began, _, got in self.seen if got == generation)

    def late(self, generation):
        """Connections that another one got although they began after the call was answered."""
        return sum(began > self.acknowledged and got != generation for began, _, got in self.seen)


@steered.only
def weight_change(bench):
    ours = contestants.Canary(bench, 0)
    ours.start()
    live, candidate = 1, 2
    for name, weight, to in (("0 → 100", 100, candidate), ("100 → 0", 0, live)):
        bursts = []
        for _ in range(bench.pick(200, 10)):
            ours.set_weight(100 - weight)
            bursts.append(Burst.call(bench, ours, "SetWeight", weight=weight))
        yield from effect_lines(f"SetWeight {name}", bursts, to)
    bursts = []
    for _ in range(bench.pick(50, 5)):
        burst = Burst.call(bench, ours, "Promote")
        candidate = ours.supervisor.status()["live"]
        bursts.append((burst, candidate))
        harness.poll_until(lambda: ours.supervisor.status()["rollout"] is None, "the rollout to end")
        ours.begin()
    times = [burst.first(generation) for burst, generation in bursts]
    yield Line(f"Promote → first connection to the new generation, median of {len(times)}", spread(times),
               bar="≤ 1 ms", met=median(times) <= 1000)
    yield back_to_standby(bench)


def back_to_standby(bench):
    ours = contestants.BlueGreen(bench)
    ours.start()
    times = []
    for _ in range(bench.pick(50, 5)):
        old = ours.supervisor.status()["live"]
        ours.supervisor.call("Upgrade")
        harness.poll_until(lambda: ours.has_settled("standby"), "the standby")
        times.append(Burst.call(bench, ours, "Rollback").first(old))
        harness.poll_until(lambda: ours.has_settled("live"), "the rollout to end")
    return Line(f"Rollback to a standby → first connection to the old generation, median of {len(times)}",
                spread(times), bar="≤ 1 ms", met=median(times) <= 1000)


def spread(times):
    return f"{median(times):.0f} µs (p10 {quantile(times, 0.1):.0f}, p90 {quantile(times, 0.9):.0f})"


def effect_lines(what, bursts, generation):
    times = [burst.first(generation) for burst in bursts]
    late = sum(burst.late(generation) for burst in bursts)
    yield Line(f"{what} → first connection by the new weight, median of {len(times)}",
               f"{spread(times)}; answered after {median([burst.acknowledged for burst in bursts]):.0f} µs, then "
               f"{late} by the old weight", bar="≤ 1 ms, then 0", met=median(times) <= 1000 and late == 0)


@steered.only
def accuracy(bench):
    """Each weight in a run of its own; what the slots counted must be what the replies say."""
    weights = (1, 5, 25, 50)
    count = bench.pick(1_000_000, 50_000) // len(weights)
    ours = contestants.Canary(bench, 1)
    ours.start()
    farthest, told = 0.0, []
    for weight in weights:
        ours.set_weight(weight)
        before = ours.counted()
        result = load_result(ours.address, "--clients", "64", "--sources", "100", "-n", str(count), "--version-header",
                             VERSION_HEADER)
        after = ours.counted()
        got = {generation: after[generation] - before[generation] for generation in (1, 2)}
        replied = {int(seen["version"]): seen["count"] for seen in result["versions"]}
        total, share = sum(got.values()), weight / 100
        deviation = (got[2] - total * share) / math.sqrt(total * share * (1 - share))
        farthest = max(farthest, abs(deviation))
        told.append(f"{weight} %: {got[2] / total:.3%} ({deviation:+.1f} σ, {got[2] - replied.get(2, 0):+d} against "
                    "the replies)")
    yield Line(f"{count * len(weights):,} connections at weights {', '.join(map(str, weights))} %, by the slots",
               "; ".join(told), bar=f"≤ {DEVIATIONS_MAX} σ", met=farthest <= DEVIATIONS_MAX)


def end_at_once(s):
    """Ends a supervisor whose services ignore that they should drain."""
    s.signal(signal.SIGTERM)
    s.events.wait("stopping")  # or the two signals may become one
    s.signal(signal.SIGTERM)
    s.process.wait(harness.PATIENCE)


def with_generations(bench, listeners):
    """Milliseconds of the upgrade to a fourth generation while two drain, and of a status with three that drain."""
    bound = "".join(f'[[listener]]\nname = "l{n}"\naddress = "127.0.0.1:{harness.free_port()}"\n'
                    for n in range(listeners))
    settings = f'[rollout]\nsharing = "steered"\n{KEPT_ROLLOUT}[drain]\ntimeout = "1h"\n{bound}'
    s = bench.supervisor([harness.DEMO_SERVICE, "--ignore-drain"], extra=settings)
    for _ in range(3):
        mark = s.events.mark()
        began = time.monotonic_ns()
        s.events.wait("verdict", since=mark, rollout=s.hup(), verdict="promoted")
        upgrade = (time.monotonic_ns() - began) / 1e6
    roles = sorted(g["role"] for g in s.status()["generations"])
    if roles != ["draining"] * 3 + ["live"]:
        raise AssertionError(f"three generations were to drain: {roles}")
    asked = []
    for _ in range(bench.pick(50, 5)):
        began = time.monotonic_ns()
        s.status()
        asked.append((time.monotonic_ns() - began) / 1e6)
    end_at_once(s)
    return upgrade, median(asked)


@steered.only
def generations(bench):
    many, one = [], []
    for _ in range(bench.pick(10, 2)):  # in turns, so that what else the machine does meets both
        many.append(with_generations(bench, 16))
        one.append(with_generations(bench, 1))
    for which, what in enumerate(("upgrade to the fourth of four generations, two of which drain", "status with three "
                                  "generations that drain")):
        ours, least = median([seen[which] for seen in many]), median([seen[which] for seen in one])
        times = ratio(ours, least)
        yield Line(f"16 steered listeners: {what}", f"{ours:.2f} ms", f"1 listener: {least:.2f} ms", times, "≤ 16",
                   at_most(times, 16))


@steered.only
def give_back(bench):
    """A burst of connections just after the kill: half of them wait for the dead one until live gets them.

    Nothing else asks it, so it dies waiting and none of them can die with it.
    """
    ours = contestants.Canary(bench, 50)
    ours.start()
    waited, lost, total = [], 0, 0
    for _ in range(bench.pick(50, 5)):
        candidate = ours.supervisor.pids("candidate")[0]
        burst = Burst(bench, ours.port, 64, "kill", str(candidate))
        waited.append(max(replied for _, replied, _ in burst.seen) / 1000)
        lost += sum(generation == 0 for _, _, generation in burst.seen)
        total += len(burst.seen)
        harness.poll_until(lambda: ours.supervisor.status()["rollout"] is None, "the rollout to end")
        ours.begin()
    yield Line(f"a candidate at weight 50 killed → the last of 64 connections begun then is answered, median of "
               f"{len(waited)}", f"{median(waited):.2f} ms (max {max(waited):.1f}); {lost} of {total:,} lost",
               bar="0 lost", met=lost == 0)
