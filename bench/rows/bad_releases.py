"""Releases that crash at start or never become ready, under load, each followed by a good one."""

import time

import trial
from table import Line
from workbench import harness, median

BAD = {
    "crashes at start": (["--fail-start", "3"], "exited 3"),
    "hangs (ready timeout 1 s)": (["--never-ready"], "not ready"),
}

CALM = 0.2  # seconds of load between two releases


def configuration(address, *options):
    words = ", ".join(f'"{word}"' for word in (harness.DEMO_SERVICE, *options))
    return f"""command = [{words}]
[ready]
timeout = "1s"
[[listener]]
name = "http"
address = "{address}"
"""


def upgrade_to(supervisor, verdict, address, *options):
    """Upgrades by HUP to a release with these options, and returns the milliseconds from the trigger to the verdict."""
    supervisor.write(configuration(address, *options))
    began = time.monotonic_ns()
    rollout = supervisor.hup()
    told = supervisor.events.wait("verdict", rollout=rollout)
    took = (time.monotonic_ns() - began) / 1e6
    if told["verdict"] != verdict:
        raise AssertionError(f"{verdict} was due, but: {told['text']}")
    supervisor.events.wait("settled", rollout=rollout)
    return took, told["reason"]


def bad_releases(bench):
    rounds = bench.pick(10, 2)
    for name, (options, why) in BAD.items():
        address = f"127.0.0.1:{harness.free_port()}"
        s = bench.supervise(configuration(address))
        bad, good, kept = [], [], 0
        with harness.Load(address, *trial.ORDINARY) as load:
            for _ in range(rounds):
                time.sleep(CALM)
                live = s.pids()
                took, reason = upgrade_to(s, "rolled_back", address, *options)
                kept += s.pids() == live and why in reason
                bad.append(took)
                time.sleep(CALM)
                good.append(upgrade_to(s, "promoted", address)[0])
        result = load.result
        yield Line(f"{rounds} releases, each {name}, a good one after each",
                   f"{result['failed']} failed of {result['total']:,}; old kept {kept} of {rounds} times; told in "
                   f"{median(bad):.1f} ms; the next good one promoted in {median(good):.1f} ms (max {max(good):.1f})",
                   bar="0 failed, old kept, next good works at once",
                   met=result["failed"] == 0 and kept == rounds and len(good) == rounds)
