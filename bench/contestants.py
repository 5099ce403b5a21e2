"""Ways to upgrade a service, all driven alike: start, trigger, stop.

Each answers over one address, and says its version, counted from 1, in the reply header that the demo service uses.
"""

import os
import signal
import socket
import subprocess
import sys

from workbench import harness


class Contestant:
    """`window` is how long after a trigger replies may still be touched by it, in seconds."""

    name = ""
    window = 0.05
    pause = 0.05

    def __init__(self, bench, service=()):
        self.bench = bench
        self.port = harness.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.service = [harness.DEMO_SERVICE, *service]
        self.version = 1
        self.process = None

    def start(self):
        self.launch()
        self.bench.addCleanup(self.stop)
        harness.poll_until(self._answers, f"{self.name} to answer")

    def trigger(self):
        """Begins the upgrade to the next version; only while none is under way."""
        self.version += 1
        self.upgrade()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def popen(self, command, **options):
        log = open(self.bench.path(f"{self.name.replace(' ', '-')}.log"), "ab")  # noqa: SIM115 (the child's)
        with log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return s.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


class Ours(Contestant):
    """`sharing` is how its generations share the listener; `rollout` is TOML for that table."""

    name = "handoff"

    def __init__(self, bench, service=(), sharing="auto", rollout=""):
        super().__init__(bench, service)
        self.sharing = sharing
        self.rollout = rollout

    def launch(self):
        extra = f'[rollout]\nsharing = "{self.sharing}"\n{self.rollout}\n'
        self.supervisor = self.bench.supervisor(self.service, self.address, extra)
        self.process = self.supervisor.process
        # Nobody watches the events: reading them in Python would cost what the others do not pay.
        self.supervisor.events.connection.socket.shutdown(socket.SHUT_RDWR)

    def upgrade(self):
        os.kill(self.process.pid, signal.SIGHUP)

    def stop(self):
        self.supervisor.stop()

    def queued(self):
        """How many connections wait in the accept queues: the listener's, or those of its slots."""
        listener = self.supervisor.status()["listeners"][0]
        return sum(queue["queued"] or 0 for queue in listener["slots"] or [listener])


class Canary(Ours):
    """Two generations side by side, the candidate at a weight that stays."""

    name = "canary"

    def __init__(self, bench, weight, service=()):
        rollout = f'strategy = "canary"\nsteps = [{{ weight = {weight}, pause = true }}]\n'
        super().__init__(bench, service, "steered", rollout)

    def start(self):
        super().start()
        self.begin()

    def launch(self):
        super().launch()
        self.supervisor.events = harness.Events(self.supervisor.socket)  # of one rollout, and then of nothing

    def begin(self):
        """Starts a candidate, and returns once it holds its weight."""
        rollout = self.supervisor.call("Upgrade")["rollout"]
        self.supervisor.events.wait("holding", rollout=rollout)
        return rollout

    def set_weight(self, weight):
        self.supervisor.call("SetWeight", weight=weight)

    def counted(self):
        """The connections of each generation, as the steering program counted them."""
        slots = self.supervisor.status()["listeners"][0]["slots"]
        return {slot["generation"]: slot["connections"] for slot in slots}


class BlueGreen(Ours):
    """Whatever is promoted leaves the generation of before as its standby."""

    name = "blue-green"

    def __init__(self, bench):
        super().__init__(bench, (), "steered", 'strategy = "blue-green"\nauto-promote = true\nstandby = "1h"\n')

    def has_settled(self, role):
        """Whether no rollout is under way and there is a generation of that role."""
        status = self.supervisor.status()
        return status["rollout"] is None and role in (g["role"] for g in status["generations"])


class Floor(Contestant):
    name = "floor"

    def launch(self):
        notify = self.bench.path(f"floor-{self.port}.notify")
        self.process = self.popen([self.bench.tool("floor"), str(self.port), notify, *self.service])

    def upgrade(self):
        os.kill(self.process.pid, signal.SIGHUP)


class Restart(Contestant):
    name = "plain restart"

    def launch(self):
        environment = {**os.environ, "HANDOFF_GENERATION": str(self.version)}
        self.process = self.popen([*self.service, "--bind", self.address], env=environment)

    def upgrade(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        self.launch()


# Becomes a service to which these sockets were passed, as sd_listen_fds(3) has them.
PASSING = """
import os, sys
passed = [int(number) for number in sys.argv[1].split(",")]
for at, fd in enumerate(passed):
    os.dup2(fd, 500 + at)
for at in range(len(passed)):
    os.dup2(500 + at, 3 + at)
os.closerange(3 + len(passed), 1000)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(passed)))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Pair(Contestant):
    """Two bare services at one port, split by the kernel alone: a connection goes to any of a hundred sockets of
    SO_REUSEPORT, `weight` of which the second service has."""

    name = "bare pair"

    def __init__(self, bench, weight):
        super().__init__(bench)
        self.weight = weight

    def launch(self):
        sockets = [socket.socket() for _ in range(100)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(("127.0.0.1", self.port))
            one.listen(4096)
        numbers = [one.fileno() for one in sockets]
        self.process, self.second = (self.serve(numbers[self.weight:]), self.serve(numbers[:self.weight]))
        for one in sockets:
            one.close()

    def serve(self, numbers):
        starter = [sys.executable, "-c", PASSING, ",".join(str(number) for number in numbers)]
        return self.popen([*starter, *self.service], pass_fds=numbers)

    def stop(self):
        for self.process in (self.process, self.second):
            super().stop()


class StartServer(Contestant):
    """It tells the old one a second (`--interval`) after it started the new one."""

    name = "start_server"
    window = 1.3
    pause = 0.5

    def launch(self):
        wrapper = self.bench.tool("starter_to_listen_fds")
        self.process = self.popen(["start_server", f"--port={self.address}", "--backlog=4096", "--", wrapper,
                                   *self.service])

    def upgrade(self):
        self.process.send_signal(signal.SIGHUP)


class Haproxy(Contestant):
    """It answers by itself; its version is that of its configuration."""

    name = "HAProxy reload"
    window = 0.2
    pause = 0.3

    def launch(self):
        self.configuration = self.bench.path("haproxy.cfg")
        self.write()
        self.process = self.popen(["haproxy", "-W", "-f", self.configuration])

    def write(self):
        with open(self.configuration, "w") as f:
            f.write(f"""global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout client 15s
  timeout server 15s
  timeout connect 5s
frontend http
  bind {self.address}
  http-request return status 200 content-type text/plain string "ok" hdr X-Handoff-Generation {self.version}
""")

    def upgrade(self):
        self.write()
        self.process.send_signal(signal.SIGUSR2)


class Split(Contestant):
    """HAProxy in front of two bare services, which sends a part of the requests to the second one."""

    name = "HAProxy in front"

    def __init__(self, bench, weight):
        super().__init__(bench)
        self.weight = weight

    def launch(self):
        behind = [Restart(self.bench), Restart(self.bench)]
        for one in behind:
            one.start()
        configuration = self.bench.path("split.cfg")
        with open(configuration, "w") as f:
            f.write(f"""global
  nbthread 1
  maxconn 4096
defaults
  mode http
  http-reuse always
  timeout client 15s
  timeout server 15s
  timeout connect 5s
frontend http
  bind {self.address} backlog 4096
  default_backend services
backend services
  server old {behind[0].address} weight {100 - self.weight}
  server new {behind[1].address} weight {self.weight}
""")
        self.process = self.popen(["haproxy", "-f", configuration])


class Nginx(Contestant):
    """USR2 to the old master, and QUIT to it once the new one has its worker, as nginx's manual says."""

    name = "nginx USR2"
    window = 0.2
    pause = 0.3

    def launch(self):
        self.configuration = self.bench.path("nginx.conf")
        self.pid_file = self.bench.path("nginx.pid")
        self.write()
        # By its absolute path, or USR2 finds nothing to start.
        self.process = self.popen(["/usr/sbin/nginx", "-c", self.configuration, "-e", self.bench.path("nginx.error")])
        harness.poll_until(lambda: self.master() > 0, "nginx's pid file")

    def master(self):
        try:
            with open(self.pid_file) as f:
                return int(f.read() or 0)
        except FileNotFoundError:
            return 0

    def write(self):
        temporary = "".join(f"  {kind}_temp_path {self.bench.directory}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(self.configuration, "w") as f:
            f.write(f"""user {"root" if os.geteuid() == 0 else "nobody"};
worker_processes 1;
pid {self.pid_file};
error_log {self.bench.path("nginx.error")};
events {{ worker_connections 4096; }}
http {{
  access_log off;
{temporary}  server {{
    listen {self.address} backlog=4096;
    location / {{ add_header X-Handoff-Generation {self.version}; return 200 "ok"; }}
  }}
}}
""")

    def upgrade(self):
        self.write()
        old = self.master()
        os.kill(old, signal.SIGUSR2)
        harness.poll_until(lambda: self.master() not in (0, old) and harness.children(self.master()),
                           "nginx's new master and its worker")
        os.kill(old, signal.SIGQUIT)

    def stop(self):
        pid = self.master()
        if pid:
            os.kill(pid, signal.SIGTERM)
            harness.poll_until(lambda: not harness.is_alive(pid), "nginx to end")
        self.process.wait(10)
