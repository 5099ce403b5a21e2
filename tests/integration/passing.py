"""Starts programs as a supervisor does: sockets from descriptor 3 on, LISTEN_* set, a notify socket to answer to.

As a program: `passing.py FD,FD,… NAME:NAME… COMMAND…` becomes COMMAND with these descriptors passed.
"""

import fcntl
import os
import select
import socket
import subprocess
import sys
import tempfile

FIRST_FD = 3
OUT_OF_THE_WAY = 200
PATIENCE = float(os.environ.get("HANDOFF_TEST_PATIENCE", "20"))  # seconds that any single event may take


def become(descriptors, names, command):
    """Lays the descriptors out from 3 and executes the command; the pid stays, so LISTEN_PID is right."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, OUT_OF_THE_WAY) for fd in descriptors]
    for place, fd in enumerate(high):
        os.dup2(fd, FIRST_FD + place, inheritable=True)
    os.closerange(FIRST_FD + len(high), 1024)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
    os.execvp(command[0], command)


def listen(address=("127.0.0.1", 0), backlog=4096):
    return socket.create_server(address, backlog=backlog, reuse_port=False)


class NotifySocket:
    """The supervisor's ear."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(PATIENCE)

    def next(self):
        return self.socket.recv(65536).decode()

    def silent(self):
        return not select.select([self.socket], [], [], 0)[0]

    def close(self):
        self.socket.close()
        self.directory.cleanup()


class Service:
    """One process with passed sockets; `notify` is its own."""

    def __init__(self, command, sockets, names=None, generation=1, **popen):
        self.notify = NotifySocket()
        environment = dict(os.environ, NOTIFY_SOCKET=self.notify.path, HANDOFF_SERVICE="test",
                           HANDOFF_GENERATION=str(generation), HANDOFF_INSTANCE="1")
        descriptors = [s.fileno() for s in sockets]
        names = ":".join(names or ["http"] * len(sockets))
        wrapper = [sys.executable, os.path.abspath(__file__), ",".join(map(str, descriptors)), names]
        self.process = subprocess.Popen(wrapper + command, pass_fds=descriptors, env=environment, **popen)

    def wait_for(self, message):
        ended = os.pidfd_open(self.process.pid)
        try:
            while True:
                ready, _, _ = select.select([self.notify.socket, ended], [], [], PATIENCE)
                if self.notify.socket in ready:
                    if message in self.notify.next().split("\n"):
                        return
                elif ready:
                    raise AssertionError(f"it exited with {self.process.wait()} before it said {message}")
                else:
                    raise AssertionError(f"it did not say {message} in time")
        finally:
            os.close(ended)

    def stop(self, signal_number=15):
        self.process.send_signal(signal_number)
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        self.notify.close()


if __name__ == "__main__":
    become([int(fd) for fd in sys.argv[1].split(",") if fd], sys.argv[2], sys.argv[3:])
