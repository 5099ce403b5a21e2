"""A TCP client that speaks by hand over a TUN device, so that it may hold back what a kernel would send at once.

It lives in a network namespace of its own, together with all that is started meanwhile.
"""

import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
HERE = {4: "10.9.0.2", 6: "fd09::2"}  # the client's end of the wire
THERE = {4: "10.9.0.1", 6: "fd09::1"}  # the end where the service listens


class Unavailable(Exception):
    """Namespaces or TUN devices cannot be made here."""


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Wire:
    """The namespace, the device, and who speaks over it. Closing it goes back to the namespace of before."""

    def __init__(self):
        self.before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.device = None
        self.clients = {}
        if self.libc.unshare(CLONE_NEWNET) < 0:
            os.close(self.before)
            raise Unavailable("no network namespace: " + os.strerror(ctypes.get_errno()))
        try:
            self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN_NO_PI))
            for line in ("link set lo up", f"addr add {THERE[4]}/24 dev wire", "link set wire up",
                         f"-6 addr add {THERE[6]}/64 dev wire nodad"):
                subprocess.run(["ip", *line.split()], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as e:
            self.close()
            raise Unavailable(f"no TUN device: {e}") from e

    def close(self):
        if self.device is not None:
            os.close(self.device)
        if self.libc.setns(self.before, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "going back to the network namespace of before")
        os.close(self.before)

    def send(self, version, segment):
        """Puts a segment without checksum onto the wire."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        ends = socket.inet_pton(family, HERE[version]) + socket.inet_pton(family, THERE[version])
        whole = checksum(ends + struct.pack("!HH", 6, len(segment)) + segment)
        segment = segment[:16] + struct.pack("!H", whole) + segment[18:]
        if version == 4:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + ends
            head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        else:
            head = struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + ends
        os.write(self.device, head + segment)

    def pump(self, until, patience):
        """Hands out what comes until a condition holds; False when it did not in time."""
        deadline = time.monotonic() + patience
        while not until():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.device], [], [], left)[0]:
                return until()
            packet = os.read(self.device, 65536)
            version = packet[0] >> 4
            start, protocol = (20, packet[9]) if version == 4 else (40, packet[6])
            if protocol != socket.IPPROTO_TCP:
                continue  # the kernel looks for routers and neighbours
            whole = struct.unpack("!H", packet[2:4])[0] if version == 4 else 40 + struct.unpack("!H", packet[4:6])[0]
            _, port, number, _, offset, flags = struct.unpack("!HHIIBB", packet[start:start + 14])
            client = self.clients.get((version, port))
            if client:
                client.take(number, flags, packet[start + (offset >> 4) * 4:whole])
        return True


class Client:
    """One connection: begin(), and when it is time, complete() with the request."""

    def __init__(self, wire, version, port, mine):
        self.wire, self.version, self.ports = wire, version, (mine, port)
        self.number, self.expected = 1000, 0
        self.answered = self.reset = self.ended = False
        self.request = self.reply = b""
        wire.clients[version, mine] = self

    def segment(self, flags, payload=b"", behind=b""):
        head = struct.pack("!HHIIBBHHH", *self.ports, self.number + len(behind), self.expected, 5 << 4, flags, 65535,
                           0, 0)
        self.wire.send(self.version, head + payload)

    def begin(self):
        self.segment(SYN)
        self.number += 1

    def complete(self, request):
        self.request = request
        self.segment(ACK)
        self.segment(ACK | PSH, request)

    def take(self, number, flags, payload):
        if flags & RST:
            self.reset = True
        elif flags & SYN:
            self.answered = True
            self.expected = number + 1
            if self.request:  # it was not heard: said again, as a kernel would
                self.complete(self.request)
        elif number == self.expected and (payload or flags & FIN):
            self.reply += payload
            self.ended = bool(flags & FIN)
            self.expected += len(payload) + self.ended
            self.segment(ACK | FIN if self.ended else ACK, behind=self.request)
