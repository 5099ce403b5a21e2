"""The rows of the benchmark, by name, in the order of the table."""

from rows import (
    bad_releases,
    footprint,
    latency,
    launching,
    load,
    peers,
    scale,
    simulator,
    steering,
    succession,
    throughput,
)

ROWS = {
    "full-load": load.full_load,
    "p99": load.calm_latency,
    "switch": latency.switch,
    "bad-releases": bad_releases.bad_releases,
    "slow-start": latency.slow_start,
    "overload": load.overload,
    "peers": peers.peers,
    "launch": launching.launch,
    "ready-to-switched": launching.ready_to_switched,
    "throughput": throughput.throughput,
    "footprint": footprint.footprint,
    "many-upgrades": footprint.many_upgrades,
    "scale": scale.scale,
    "canary": steering.canary,
    "program-cost": steering.program_cost,
    "weight-change": steering.weight_change,
    "accuracy": steering.accuracy,
    "generations": steering.generations,
    "give-back": steering.give_back,
    "succession": succession.succession,
    "simulator": simulator.lives,
}
