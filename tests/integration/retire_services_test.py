"""Real services as the old generation: what they have under way lives on when their slot retires, and they stay quiet.

Each leaves twice: once with an empty queue, and once stopped for a while (SIGSTOP) with a queue that is not empty,
so that the supervisor shuts a socket which the service still polls.
"""

import contextlib
import os
import re
import signal
import socket
import time
import unittest

import harness
import real_services_test as recipes
from retire_test import say
from steering_test import SteeredCase

# A request of which the end is held back: to each of these services it is under way, and never idle.
BEGINNING, END = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", b"\r\n"
WAITING = 5  # connections in the queue of the one that was stopped
MOST_BUSY = 0.05  # of one processor

ASYNCIO = """
import asyncio, os, signal, socket

async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\ngeneration " + os.environ["HANDOFF_GENERATION"].encode())
    await writer.drain()
    writer.close()

async def main():
    leave = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave.set)
    server = await asyncio.start_server(serve, sock=socket.socket(fileno=3))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    await leave.wait()
    server.close()
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)

asyncio.run(main())
"""


def processor_time(pids):
    """Seconds that these processes have used, proc_pid_stat(5)."""
    used = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
            used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def with_descendants(pids):
    for pid in pids:
        yield pid
        yield from with_descendants(harness.children(pid))


def stop(pids):
    """Returns when the last thread has stopped: what comes now is not taken by a thread that was under way."""
    def has_stopped(pid):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] != "T":
                    return False
        return True

    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    harness.poll_until(lambda: all(has_stopped(pid) for pid in pids), "all threads to stop")


class RealServices(SteeredCase):
    def lay_out(self, recipe):
        """The files of a recipe in our directory; the configuration for it."""
        files = recipes.files_of(recipe)
        for name, text in files.items():
            with open(self.path(name), "w") as f:
                f.write(text.replace("/srv/app", self.directory))
        return files["toml"].replace("127.0.0.1:8000", self.address).replace("/srv/app", self.directory)

    def begin(self, text):
        head = re.match(r'\[service\]\nname = ".*"\n', text)
        text = re.sub('^user = ".*"\n', "", text[head.end():], flags=re.MULTILINE)
        text = re.sub('^timeout = ".*"$', 'timeout = "1h"', text, flags=re.MULTILINE)
        return self.supervise(text + '\n[rollout]\nretire-after = "300ms"\n')

    def connect(self, request):
        s = socket.create_connection(("127.0.0.1", self.port), harness.PATIENCE)
        self.addCleanup(s.close)
        s.sendall(request)
        return s

    def who_answers(self, connection):
        connection.settimeout(harness.PATIENCE)
        reply = b"".join(iter(lambda: connection.recv(4096), b""))
        found = re.search(b"generation ([0-9]+)", reply)
        return int(found[1]) if found else reply

    def one_under_way(self, s):
        """A connection with half a request, after the live generation accepted it."""
        connection = self.connect(BEGINNING)
        live = s.status()["live"]
        harness.poll_until(lambda: all(slot["queued"] == 0 for slot in s.status()["listeners"][0]["slots"]
                                       if slot["generation"] == live), "it to be accepted")
        return connection

    def busy_while_lingering(self, pids):
        """Of one processor, over a second of wall time."""
        pids = list(with_descendants(pids))
        before, began = processor_time(pids), time.monotonic()
        harness.poll_until(lambda: time.monotonic() - began >= 1, "a second to go by")
        return (processor_time(pids) - before) / (time.monotonic() - began)

    def check(self, name, text):
        s = self.begin(text)
        held = self.one_under_way(s)
        pids = s.pids()
        s.upgrade(until=None)
        quiet = self.busy_while_lingering(pids)
        held.sendall(END)
        self.assertEqual(self.who_answers(held), 1)
        s.events.wait("gone", generation=1)

        held = self.one_under_way(s)
        pids = s.pids()
        everybody = list(with_descendants(pids))
        stop(everybody)
        waiting = [self.connect(BEGINNING + END) for _ in range(WAITING)]
        s.upgrade(until=None)
        served = [self.who_answers(c) for c in waiting]
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        shut = self.busy_while_lingering(pids)
        held.sendall(END)
        try:
            kept = self.who_answers(held)
        except OSError as e:
            kept = e.strerror
        s.events.wait("gone", generation=2)
        say(f"{name} lingers with {quiet:.1%} of a processor; after its socket was shut with {WAITING} in the queue "
            f"with {shut:.1%}, and its connection ends with {'a reply' if kept == 2 else kept!r}")
        self.assertEqual(served, [3] * WAITING)
        self.assertLess(quiet, MOST_BUSY)
        self.assertLess(shut, MOST_BUSY)
        self.assertEqual(kept, 2)

    @recipes.needs("gunicorn")
    def test_gunicorn(self):
        self.check("gunicorn", self.lay_out("gunicorn"))

    @recipes.needs("haproxy")
    def test_haproxy(self):
        text = self.lay_out("HAProxy")
        self.check("HAProxy", text)

    @recipes.needs("node", "systemd-notify")
    def test_node(self):
        self.check("Node", self.lay_out("Node"))

    def test_python_socketserver(self):
        text = self.lay_out("Python socketserver").replace(f"unix:{self.directory}/web.sock", self.address)
        with open(self.path("server.py")) as f:
            program = f.read().replace("UnixStreamServer", "TCPServer").replace("None, Handler", '("", 0), Handler')
        with open(self.path("server.py"), "w") as f:
            f.write(program.replace("timeout = 10", "timeout = 60"))
        self.check("socketserver", text.replace('mode = "0666"\n', ""))

    def test_python_asyncio(self):
        with open(self.path("server.py"), "w") as f:
            f.write(ASYNCIO)
        self.check("asyncio", f"""[service]
name = "asyncio"
command = ["{harness.PYTHON}", "{self.path('server.py')}"]
[[listener]]
name = "http"
address = "{self.address}"
[drain]
timeout = "1h"
""")


if __name__ == "__main__":
    unittest.main(verbosity=2)
