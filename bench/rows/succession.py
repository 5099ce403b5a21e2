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
    """From the start of a successor until it tells of all instances."""
    wanted = sorted(s.pids())
    s.die()
    began = time.monotonic_ns()
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
    bench.say(f"{instances} instances: pause {median(pauses):.1f} ms, at most {max(pauses):.1f}; "
              f"adoption {median(adoptions):.1f} ms")
    return median(pauses), median(adoptions)


def succession(bench):
    most = bench.pick(64, 16)
    sizes = [1, most // 4, most]
    pauses, adoptions = zip(*(succession_times(bench, n) for n in sizes))
    of = ", ".join(map(str, sizes)) + " instances"
    for what, took in (("re-exec: the longest wait for a status", pauses), ("from a successor's start to all adopted", adoptions)):
        over = took[2] / (4 * took[1])
        yield Line(f"{what}; {of}", ", ".join(map(ms, took)), "linear: four times the quarter", over, f"≤ {LINEAR}",
                   over <= LINEAR)
