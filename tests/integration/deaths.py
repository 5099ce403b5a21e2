"""Where in a rollout handoffd is killed, and what has to become of the rollout."""

import dataclasses
import fcntl
import json
import os
from collections.abc import Callable

import harness

# For a hook, a check or a metric: from the rollout in its argument on it says that it runs, and waits for the gate.
WAITS = """#!/bin/sh
[ $HANDOFF_ROLLOUT -lt $1 ] || { echo runs >>DIRECTORY/runs; flock DIRECTORY/gate true; }
echo 1
"""
# A release of which only the first instance is ever ready.
HALF = "[ $HANDOFF_INSTANCE = 1 ] || exec sleep 1h; "
STEERED = '[rollout]\nsharing = "steered"\n'
ONE_STEP = 'strategy = "canary"\nsteps = [{ weight = 25, pause = true }]\n'
STEPS = 'strategy = "canary"\nsteps = [{ weight = 25, pause = true }, { weight = 50, pause = true }]\n'
STANDBY = 'strategy = "blue-green"\nauto-promote = true\nstandby = "1h"\n'
DIED = "supervisor died"


class Scene:
    """A supervised service of two instances. `inside` is our directory as a service names it, `here` as we do;
    `configure` takes what a shell does before it becomes the service, and the tables that `rest` is to be."""

    def __init__(self, test, inside, here, configure):
        self.test, self.inside, self.here, self.write = test, inside, here, configure
        os.makedirs(here, exist_ok=True)
        self.gate = open(os.path.join(here, "gate"), "w", encoding="utf-8")
        test.addCleanup(self.gate.close)
        fcntl.flock(self.gate, fcntl.LOCK_EX)
        with open(os.path.join(here, "waits"), "w", encoding="utf-8") as f:
            f.write(WAITS.replace("DIRECTORY", inside))
        os.chmod(f.name, 0o755)

    def prepare(self, moment):
        self.rest = (STEERED + moment.rollout + moment.rest).replace("DIRECTORY", self.inside)
        self.write("", self.rest)

    def attend(self, socket):
        """From the start of the supervisor at `socket` on."""
        self.connection, self.events = harness.Connection(socket), harness.Events(socket)
        self.test.addCleanup(self.connection.close)
        self.test.addCleanup(self.events.connection.close)
        self.call = self.connection.call

    def await_command(self):
        harness.poll_until(lambda: os.path.exists(os.path.join(self.here, "runs")), "the command that waits")

    def open_gate(self):
        fcntl.flock(self.gate, fcntl.LOCK_UN)


# ---- what brings a rollout there; each returns the number of the one that will end last


def runs(scene):
    rollout = scene.call("Upgrade")["rollout"]
    scene.await_command()
    return rollout


def queues(scene):
    runs(scene)
    return scene.call("Upgrade")["rollout"]


def holds(scene):
    rollout = scene.call("Upgrade")["rollout"]
    scene.events.wait("holding", rollout=rollout)
    return rollout


def is_at_its_second_step(scene):
    rollout = holds(scene)
    mark = scene.events.mark()
    scene.call("Promote")
    scene.events.wait("holding", since=mark, rollout=rollout)
    return rollout


def pauses(scene):
    rollout = holds(scene)
    scene.call("Pause")
    return rollout


def starts_the_rest(scene):
    """Of which one never is ready."""
    scene.write(HALF, scene.rest)
    rollout = scene.call("Upgrade")["rollout"]
    if "canary" in scene.rest:
        scene.events.wait("holding", rollout=rollout)
        scene.call("Promote")
    scene.events.wait("instance_started", instance="2.2")
    return rollout


def bakes(scene):
    rollout = scene.call("Upgrade")["rollout"]
    if "canary" in scene.rest:
        scene.events.wait("holding", rollout=rollout)
        scene.call("Promote")
    scene.events.wait("serving", rollout=rollout)
    return rollout


def goes_back(scene):
    rollout = scene.call("Upgrade")["rollout"]
    scene.events.wait("verdict", rollout=rollout, verdict="promoted")
    scene.call("Rollback")
    scene.await_command()
    return scene.call("Status")["rollout"]["number"]


@dataclasses.dataclass(frozen=True)
class Moment:
    reach: Callable
    rollout: str = ""  # of the table [rollout]
    rest: str = ""  # other tables
    verdict: str = "rolled_back"
    live: int = 1  # the generation that has the traffic then


def waits(rollout=2):
    return json.dumps(["DIRECTORY/waits", str(rollout)])


MOMENTS = {
    "in_the_preflight_hook": Moment(runs, rest=f"[hooks]\npreflight = {waits()}\n"),
    "in_the_ready_hook": Moment(runs, rest=f"[hooks]\nready = {waits()}\n"),
    "in_the_switched_hook": Moment(runs, rest=f"[hooks]\nswitched = {waits()}\n", verdict="promoted", live=2),
    "in_a_check": Moment(runs, rest=f'[[check]]\nname = "c"\ncommand = {waits()}\n'),
    "in_a_metric": Moment(runs, 'strategy = "canary"\nsteps = [{ weight = 25, hold = "1h" }]\n',
                          f'[[metric]]\nname = "m"\nkind = "value"\nmax = 10\ncommand = {waits()}\n'),
    "at_the_first_step_of_a_canary": Moment(holds, STEPS),
    "at_the_second_step_of_a_canary": Moment(is_at_its_second_step, STEPS),
    "in_the_last_start_of_a_canary": Moment(starts_the_rest, ONE_STEP),
    "in_the_bake_of_a_canary": Moment(bakes, ONE_STEP + 'bake = "1s"\n', verdict="promoted", live=2),
    "in_the_middle_of_a_rolling_one": Moment(starts_the_rest, 'strategy = "rolling"\nmax-surge = 1\n'),
    "before_blue_becomes_green": Moment(holds, 'strategy = "blue-green"\n'),
    "in_an_experiment": Moment(holds, 'strategy = "experiment"\n'),
    "in_a_pause": Moment(pauses, STEPS),
    "on_the_way_back_to_a_standby": Moment(goes_back, STANDBY, f"[hooks]\nswitched = {waits(3)}\n", verdict="promoted"),
    "with_a_trigger_that_waits": Moment(queues, rest=f"[hooks]\nready = {waits()}\n", verdict="promoted", live=3),
}


def add_tests(to):
    """A test for each moment, of a class that knows how to survive(moment)."""
    for name, moment in MOMENTS.items():
        setattr(to, "test_killed_" + name, lambda self, moment=moment: self.survive(moment))
    return to


def is_over(status, rollout):
    """That rollout has ended, and nothing else is under way."""
    roles = {g["role"] for g in status["generations"]} - {"standby"}
    return status["last"]["rollout"] == rollout and status["rollout"] is None and roles == {"live"}
