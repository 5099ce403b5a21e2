"""Many listeners and many instances: an upgrade completes, and its cost is linear in both."""

import resource
import time

import steered
from table import Line
from workbench import harness, median

LINEAR = 1.5  # how much more than four times a quarter's time the whole may take
DESCRIPTORS = 16384
FIRST_NET = 64  # addresses 127.64.0.0 and up: 1,000 listeners on one port


def upgrade_time(bench, sharing, listeners, instances):
    """Milliseconds from the trigger to the verdict, the median of some upgrades."""
    port = harness.free_port()
    bound = "".join(f'[[listener]]\nname = "l{n}"\naddress = "127.{FIRST_NET}.{n // 250}.{n % 250 + 1}:{port}"\n'
                    for n in range(listeners))
    limits = f'limits = {{ nofile = "{DESCRIPTORS}:{DESCRIPTORS}" }}\n[ready]\ntimeout = "2m"\n'
    rollout = f'[rollout]\nsharing = "{sharing}"\n'
    s = bench.supervisor([harness.DEMO_SERVICE], extra=f"instances = {instances}\n{limits}{rollout}{bound}")
    took = []
    for _ in range(bench.pick(5, 1)):
        mark = s.events.mark()
        began = time.monotonic_ns()
        rollout = s.hup()
        told = s.events.wait("verdict", since=mark, rollout=rollout)
        took.append((time.monotonic_ns() - began) / 1e6)
        if told["verdict"] != "promoted":
            raise AssertionError(told["text"])
        s.events.wait("settled", since=mark, rollout=rollout)
    s.stop()
    bench.say(f"{listeners} {sharing} listeners, {instances} instances: {median(took):.0f} ms")
    return median(took)


@steered.both
def scale(bench, sharing):
    """Steered ones are fewer: each has a program of its own to be loaded, and eight descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listeners, instances = bench.pick((1000, 64), (400, 16)) if sharing == "shared" else bench.pick((128, 16), (32, 8))
    full = upgrade_time(bench, sharing, listeners, instances)
    yield Line(f"{listeners:,} {sharing} listeners, {instances} instances: an upgrade", f"{full:.0f} ms",
               bar="completes", met=True)
    for what, sizes in {
        "listeners": [(listeners // 4, instances), (listeners // 2, instances)],
        "instances": [(listeners, instances // 4), (listeners, instances // 2)],
    }.items():
        quarter, half = (upgrade_time(bench, sharing, *size) for size in sizes)
        over = full / (4 * quarter)
        yield Line(f"the same by {what}: a quarter, half, all of them", f"{quarter:.0f}, {half:.0f}, {full:.0f} ms",
                   "linear: four times the quarter", over, f"≤ {LINEAR}", over <= LINEAR)
