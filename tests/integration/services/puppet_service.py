"""A service on strings: it serves, says READY and drains like a good one, and does whatever a test tells it.

Its argument is Python that runs before it is ready. After that each connection to the Unix socket
$PUPPET/GENERATION.INSTANCE brings Python that runs here and gets back repr() of what it left in `answer`.
The names below (listeners, notify, ready, deaf, …) are there to be used and changed.
"""

import os
import select
import signal
import socket
import sys
import time

descriptors = sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1]  # the last one read the directory
generation = int(os.environ["HANDOFF_GENERATION"])
instance = int(os.environ["HANDOFF_INSTANCE"])
names = os.environ.get("LISTEN_FDNAMES", "").split(":")
passed = range(3, 3 + int(os.environ.get("LISTEN_FDS", "0")))
listeners = [socket.socket(fileno=fd) for fd in passed if os.path.realpath(f"/proc/self/fd/{fd}").find("socket:") >= 0]
served = [s for s in listeners if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
kept = []  # what must not be collected

ready = True
deaf = False
draining = False


def notify(*assignments, fds=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        data = "\n".join(assignments).encode()
        socket.send_fds(s, [data], fds) if fds else s.send(data)


def drain(*_):
    global draining
    draining = not deaf


def reply(listener):
    try:
        connection, _ = listener.accept()
    except (BlockingIOError, ConnectionAbortedError, OSError):
        return
    with connection:
        connection.settimeout(5)
        try:
            connection.recv(4096)
            body = f"{generation} {instance} {os.getpid()}\n"
            connection.sendall(f"HTTP/1.0 200 OK\r\nX-Handoff-Generation: {generation}\r\n\r\n{body}".encode())
        except OSError:
            pass


def obey(connection):
    with connection:
        code = b""
        while part := connection.recv(65536):
            code += part
        scope = globals()
        scope["answer"] = None
        try:
            exec(code, scope)  # noqa: S102 -- that is what it is for
        except Exception as e:
            scope["answer"] = e
        connection.sendall(repr(scope["answer"]).encode())
        connection.shutdown(socket.SHUT_RDWR)  # whoever was forked off meanwhile holds it as well


signal.signal(signal.SIGTERM, drain)
wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
signal.set_wakeup_fd(wake_write)
strings = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
strings.bind(os.path.join(os.environ["PUPPET"], f"{generation}.{instance}.{os.getpid()}"))
strings.listen(16)
exec(sys.argv[1] if len(sys.argv) > 1 else "", globals())  # noqa: S102
for s in served:
    s.setblocking(False)
os.rename(strings.getsockname(), os.path.join(os.environ["PUPPET"], f"{generation}.{instance}"))
if ready:
    notify("READY=1")
while not draining:
    readable, _, _ = select.select([strings, wake_read, *served], [], [])
    for s in readable:
        if s is strings:
            obey(strings.accept()[0])
        elif s is wake_read:
            os.read(wake_read, 64)
        elif s in served:
            reply(s)
notify("STOPPING=1")
