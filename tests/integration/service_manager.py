"""A service manager of our own: it keeps descriptors as systemd does, sees every name come and go, and can look when it
likes."""

import ctypes
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

import harness

# Becomes handoffd as systemd would have started it: descriptors from 3 on, and who they are for.
STARTER = """
import os, sys
count = int(sys.argv[1])
for i, fd in enumerate(int(n) for n in sys.argv[2].split(",") if n):
    os.dup2(fd, 600 + i)
for i in range(count):
    os.dup2(600 + i, 3 + i)
os.closerange(3 + count, 1000)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[3], sys.argv[3:])
"""


KCMP, KCMP_FILE = {"x86_64": 312, "aarch64": 272}[os.uname().machine], 0


def same_file(one, other):
    """kcmp(2), as systemd asks before it keeps another descriptor."""
    us = os.getpid()
    return ctypes.CDLL(None).syscall(KCMP, us, us, KCMP_FILE, one, other) == 0


class Manager:
    """The part of systemd that a store needs. Names and descriptors, in the order in which they came."""

    def __init__(self, test, room=4096):
        self.room = room
        self.directory = tempfile.mkdtemp(prefix="handoff-test-")
        self.address = os.path.join(self.directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.store = []
        self.seen = []  # the fields of each message
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        test.addCleanup(self.close)

    def close(self):
        self._send("END=1")
        self.reader.join()
        self.socket.close()
        self.forget_all()
        shutil.rmtree(self.directory)

    def environment(self):
        return {"NOTIFY_SOCKET": self.address, "FDSTORE": str(self.room)}

    def launch(self, s, passed=()):
        """Starts a supervisor with what the store has; `passed` are names and sockets of socket units."""
        self.catch_up()
        store = self.store + list(passed)
        for variable in ("LISTEN_FDS", "LISTEN_FDNAMES"):
            s.environment.pop(variable, None)
        if store:
            s.environment["LISTEN_FDS"] = str(len(store))
            s.environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in store)
        numbers = ",".join(str(fd) for _, fd in store)
        with open(s.log, "ab") as log:
            s.process = subprocess.Popen(
                [harness.PYTHON, "-c", STARTER, str(len(store)), numbers, *s.wrapper, harness.HANDOFFD, s.configuration],
                env=s.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=[fd for _, fd in store])

    def forget_all(self):
        for _, fd in self.store:
            os.close(fd)
        self.store = []

    def _send(self, text):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(text.encode(), self.address)

    def _read(self):
        fields = {}
        while "END" not in fields:
            text, descriptors, *_ = socket.recv_fds(self.socket, 65536, 16)
            fields = dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)
            with self.changed:
                self._handle(fields, descriptors)
                self.seen.append(fields)
                self.changed.notify_all()

    def _handle(self, fields, descriptors):
        name = fields.get("FDNAME", "stored")
        if "FDSTOREREMOVE" in fields:
            for other, fd in self.store:
                if other == name:
                    os.close(fd)
            self.store = [entry for entry in self.store if entry[0] != name]
        for fd in descriptors:
            full = len(self.store) >= self.room
            if "FDSTORE" in fields and not full and not any(same_file(fd, other) for _, other in self.store):
                self.store.append((name, fd))
            else:
                os.close(fd)

    def catch_up(self):
        """Until all that was sent before has been handled."""
        before = len(self.seen)
        mark = f"{before}.{time.monotonic_ns()}"
        self._send("MARK=" + mark)
        with self.changed:
            if not self.changed.wait_for(lambda: any(m.get("MARK") == mark for m in self.seen[before:]), harness.PATIENCE):
                raise AssertionError("the manager does not read")

    def names(self):
        self.catch_up()
        return sorted(name for name, _ in self.store)

    def memory(self):
        """What was written last (src/os/enduring_memory)."""
        fd = dict(self.store).get("handoff.memory")
        if fd is None or os.fstat(fd).st_size == 0:
            return b""
        _, offset, length = struct.unpack("QQQ", os.pread(fd, 24, 0))
        return os.pread(fd, length, offset)

    def remembered(self):
        """The names of descriptors in it, as texts in CBOR: behind their length."""
        memory, found = self.memory(), set()
        for match in re.finditer(rb"(?:listener|instance|release|store|unclaimed)\.", memory):
            at = match.start()
            length = memory[at - 1] - 0x60 if memory[at - 2] != 0x78 else memory[at - 1]
            found.add("handoff." + memory[at:at + length].decode())
        return found
