"""A service that has things with its supervisor: half a line, a status, a stored memory."""

import os
import signal
import socket
import sys


def notify(text, *descriptors):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        socket.send_fds(s, [text.encode()], list(descriptors))


def begin(*_):
    memory = os.memfd_create("heirloom")
    os.write(memory, b"what was stored")
    notify("FDSTORE=1\nFDNAME=heirloom\nFDPOLL=0", memory)
    os.write(1, b"one half, ")
    notify("STATUS=half")


names = os.environ.get("LISTEN_FDNAMES", "").split(":")
if "heirloom" in names:
    print("found: " + os.pread(3 + names.index("heirloom"), 100, 0).decode(), flush=True)
signal.signal(signal.SIGUSR1, begin)
signal.signal(signal.SIGUSR2, lambda *_: os.write(1, b"other half\n"))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
notify("READY=1")
while True:
    signal.pause()
