"""How long handoffd is away when it becomes its successor, and until a successor has adopted what a killed one left."""

import threading
import time

from table import Line, ms
from workbench import harness, median

LINEAR = 1.5  # how much more than in proportion the whole may take


def status_times(s, until):
    """Milliseconds that each status took, one after the other on one connection."""
    connection = harness.Connection(s.socket)
    took = []
    while not until.is_set():
        began = time.monotonic_ns()
        connection.call("Status")
        took.append((time.monotonic_ns() - began) / 1e6)
    connection.close()
    return took


def pause(s):
    """The longest wait for a status while it re-executes."""
    over, took = threading.Event(), []
    asking = threading.Thread(target=lambda: took.extend(status_times(s, over)))
    asking.start()
    s.call("Reexec")
    over.set()
    asking.join()
    return max(took)


def adoption(s):
    """From its death by SIGKILL, when a successor is started, until that one tells of all instances."""
    wanted = sorted(s.pids())
    began = time.monotonic_ns()
    s.die()
    s.launch()
    while True:
        try:
            if sorted(s.pids()) == wanted:
                break
        except OSError:
            time.sleep(0.0002)
    took = (time.monotonic_ns() - began) / 1e6
    s.start_watching()
    return took


def succession_times(bench, instances):
    address = f"127.0.0.1:{harness.free_port()}"
    s = bench.supervisor([harness.DEMO_SERVICE], address, f"instances = {instances}")
    times = bench.pick(20, 5)
    pauses = [pause(s) for _ in range(times)]
    adoptions = [adoption(s) for _ in range(times)]
    s.stop()
    return pauses, adoptions


def succession(bench):
    most = bench.pick(64, 16)
    sizes = [1, most // 4, most]
    pauses, adoptions = zip(*(succession_times(bench, n) for n in sizes))
    of = ", ".join(map(str, sizes)) + " instances"
    for what, times in {
        f"re-exec: the longest that a status took; {of}": pauses,
        f"SIGKILL → all adopted, where the successor starts at once (systemd waits 100 ms); {of}": adoptions,
    }.items():
        over = median(times[2]) / (4 * median(times[1]))
        yield Line(what, ", ".join(f"{ms(median(took))} (max {max(took):.1f})" for took in times),
                   "linear: four times the quarter", over, f"≤ {LINEAR}", over <= LINEAR)
