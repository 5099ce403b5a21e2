"""What services say over their notify sockets, and what others try to say there."""

import contextlib
import os
import signal
import socket
import threading

import harness
import puppet


class Said(puppet.TestCase):
    def status_of(self, s, role="live"):
        return s.generation(role)["instances"][0]["status"]

    def test_ready_may_come_from_a_child_that_is_gone_by_then(self):
        code = """
ready = False
if os.fork() == 0:
    notify("READY=1", "STATUS=from a child")
    os._exit(0)
os.wait()
"""
        s = harness.Supervisor(self, self.puppets(code))
        self.assertEqual(s.status()["live"], 1)
        self.assertEqual(self.status_of(s), "from a child")

    def test_ready_may_come_from_a_notify_program(self):
        send = ("import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
                "s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])")
        code = f"import subprocess; ready = False; subprocess.run(['{harness.PYTHON}', '-ISc', {send!r}])"
        harness.Supervisor(self, self.puppets(code))

    def test_ready_without_waiting_for_it_is_no_promotion_of_others(self):
        """A READY of one instance is not another one's."""
        code = "ready = False\nif instance == 1: notify('READY=1', 'READY=1')"
        s = harness.Supervisor(self, self.demos())
        s.write(self.puppets(code, service="instances = 2", rest=puppet.BRISK + '[ready]\ntimeout = "500ms"\n'))
        self.assertIn("not ready in", s.upgrade("rolled_back")["reason"])

    def test_a_status_is_shown_and_made_one_printable_line(self):
        s = harness.Supervisor(self, self.puppets())
        self.tell(r"notify('STATUS=fine \x1b[31m red \x07')")
        shown = harness.poll_until(lambda: self.status_of(s), "the status")
        self.assertIn("fine", shown)
        self.assertFalse(any(ord(c) < 32 or ord(c) == 127 for c in shown), shown)
        self.tell("notify('STATUS=' + 'long ' * 10000)")
        self.tell("notify('STATUS=last')")
        harness.poll_until(lambda: self.status_of(s) == "last", "the last status")

    def test_extend_timeout_gives_a_slow_start_its_time(self):
        # The time that it takes is the subject: longer than the timeout, each part within what it asks for.
        slow = """
for _ in range(32):
    notify("EXTEND_TIMEOUT_USEC=20000000")
    time.sleep(0.1)
"""
        ready = '[ready]\ntimeout = "{}"\nextend-max = "{}"\n'
        s = harness.Supervisor(self, self.demos())
        s.write(self.puppets(slow, rest=puppet.BRISK + ready.format("3s", "1h")))
        s.upgrade()
        s.write(self.puppets("notify('EXTEND_TIMEOUT_USEC=60000000')\nsignal.pause()",
                             rest=puppet.BRISK + ready.format("200ms", "700ms")))
        self.assertIn("not ready in", s.upgrade("rolled_back")["reason"])

    def test_a_barrier_is_lifted_when_all_before_it_was_heard(self):
        s = harness.Supervisor(self, self.puppets())
        code = """
read, write = os.pipe()
notify("STATUS=before the barrier")
notify("BARRIER=1", fds=[write])
os.close(write)
answer = select.select([read], [], [], 30)[0] == [read]
"""
        self.assertEqual(self.tell(code), "True")
        self.assertEqual(self.status_of(s), "before the barrier")

    def test_mainpid_moves_supervision_to_a_process_of_the_instance(self):
        code = """
pid = os.fork()
if pid == 0:
    os.setsid()
    while True: signal.pause()
notify(f"MAINPID={pid}")
answer = pid
"""
        s = harness.Supervisor(self, self.puppets())
        pid = int(self.tell(code))
        harness.poll_until(lambda: s.pids() == [pid], "the new main process")
        os.kill(pid, 9)
        s.events.wait("instance_restarting", generation=1)
        s.events.wait("instance_ready", generation=1)
        self.assertEqual(puppet.ask(self.port), 1)

    def test_mainpid_of_a_strangers_process_is_not_believed(self):
        s = harness.Supervisor(self, self.puppets())
        pids = s.pids()
        self.tell(f"notify('MAINPID={os.getpid()}'); notify('MAINPID=1'); notify('MAINPID=x'); notify('STATUS=said')")
        harness.poll_until(lambda: self.status_of(s) == "said", "all of it to be heard")
        self.assertEqual(s.pids(), pids)

    def test_another_main_process_that_drains_ends_the_generation(self):
        code = """
pid = os.fork()
if pid == 0:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True: signal.pause()
notify(f"MAINPID={pid}")
answer = pid
"""
        s = harness.Supervisor(self, self.puppets())
        launched = s.pids()[0]
        pid = int(self.tell(code))
        harness.poll_until(lambda: s.pids() == [pid], "the new main process")
        s.upgrade()
        harness.poll_until(lambda: not harness.is_alive(pid) and not harness.is_alive(launched), "both to end")

    def test_a_new_main_process_that_is_named_after_the_old_one_ended_lives_on(self):
        code = f"""
ends = os.pipe()
pid = os.fork()
if pid == 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.close(ends[1])
    os.read(ends[0], 1)  # the old main process holds the other end
    notify(f"MAINPID={{os.getpid()}}", "STATUS=the new one")
    open("{self.path('said')}", "w").close()
    while True: signal.pause()
answer = pid
"""
        s = harness.Supervisor(self, self.puppets())
        old = s.pids()[0]
        new = int(self.tell(code))
        mark = s.events.mark()
        s.signal(signal.SIGSTOP)  # so that it finds the end first, and the word after it
        os.kill(old, signal.SIGKILL)
        harness.poll_until(lambda: os.path.exists(self.path("said")), "the word of the new one")
        s.signal(signal.SIGCONT)
        harness.poll_until(lambda: s.pids() == [new], "the new main process")
        s.upgrade()
        self.assertEqual([e for e in s.events.seen[mark:] if e["kind"] == "instance_restarting"], [])
        harness.poll_until(lambda: not harness.is_alive(new), "the new one to drain")


class Strangers(puppet.TestCase):
    def socket_of(self, s):
        return self.tell("answer = os.environ['NOTIFY_SOCKET']").strip("'")

    def send_as_nobody(self, path, data):
        def send():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                return sender.sendto(data, path)
        return harness.as_nobody(send)

    def test_a_datagram_of_another_user_is_ignored_and_counted(self):
        s = harness.Supervisor(self, self.puppets())
        path = self.socket_of(s)
        self.assertEqual(self.send_as_nobody(path, b"STATUS=hacked"), "PermissionError")
        self.assertEqual(s.status()["stray_notifications"], 0)
        directory = os.path.dirname(path)
        while directory != s.directory:
            os.chmod(directory, 0o755)
            directory = os.path.dirname(directory)
        os.chmod(path, 0o666)
        for _ in range(3):
            self.assertEqual(self.send_as_nobody(path, b"STATUS=hacked"), len("STATUS=hacked"))
        harness.poll_until(lambda: s.status()["stray_notifications"] == 3, "three strays to be counted")
        self.assertIsNone(s.generation()["instances"][0]["status"])

    def test_an_oversized_datagram_is_ignored_and_counted(self):
        s = harness.Supervisor(self, self.puppets())
        self.tell("notify('STATUS=' + 'x' * 150000)")
        harness.poll_until(lambda: s.status()["stray_notifications"] == 1, "the oversized one to be counted")
        self.assertIsNone(s.generation()["instances"][0]["status"])

    def test_a_flood_does_not_keep_rollouts_from_proceeding(self):
        s = harness.Supervisor(self, self.puppets())
        self.tell("""
if os.fork() == 0:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        for n in range(100000):
            s.send(b"STATUS=flood %d" % n)
        s.send(b"STATUS=done")
    os._exit(0)
""")
        harness.poll_until(lambda: "flood" in (s.generation()["instances"][0]["status"] or ""), "the flood to begin")
        for _ in range(3):
            s.upgrade(until="verdict")
        self.assertEqual(s.status()["live"], 4)

    def test_garbage_of_the_service_itself_does_no_harm(self):
        s = harness.Supervisor(self, self.puppets())
        self.tell(r"""
for data in (b"", b"\0", b"\xff" * 100, b"=", b"READY", b"WATCHDOG_USEC=-1", b"EXTEND_TIMEOUT_USEC=" + b"9" * 20,
             b"ERRNO=x", b"FDNAME=\n", b"FDSTORE=1", b"UNKNOWN=1\nSTATUS=heard", b"\n\n\n"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(data, os.environ["NOTIFY_SOCKET"])
notify("STATUS=end")
""")
        harness.poll_until(lambda: s.generation()["instances"][0]["status"] == "end", "the end")
        s.upgrade()


class Injection(puppet.TestCase):
    def test_nothing_of_what_a_service_writes_reaches_log_or_systemd_as_such(self):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(self.path("systemd"))
        assignments = []

        def read():
            with contextlib.suppress(OSError):
                while data := manager.recv(65536):
                    assignments.extend(data.decode().split("\n"))

        reader = threading.Thread(target=read)
        reader.start()
        s = harness.Supervisor(self, self.demos(), environment={"NOTIFY_SOCKET": self.path("systemd")})
        s.write(self.puppets(r"""
notify("STATUS=status\x1b]0;title\x07\rMAINPID=1")
print("MAINPID=1\nline\x1b[2Jcleared\rREADY=1", flush=True)
print("2026-11-22T00:00:00 web[1] error: forged\x85\u2028next", flush=True)
sys.exit("last words\nMAINPID=1\x1b[31m")
"""))
        event = s.upgrade("rolled_back")
        self.assertEqual(s.stop(), 0)
        with open(s.log, "rb") as f:
            log = f.read()
        for line in log.decode(errors="replace").split("\n")[:-1]:
            self.assertRegex(line, r"^20\d\d-\d\d-\d\dT[0-9:.+]+ web\[\d+\] (info|warning|error|debug): ")
        for bad in (b"\x1b", b"\r", b"\x07", b"\x85", "\u2028".encode()):
            self.assertNotIn(bad, log)
        for line in event["output"]:
            self.assertFalse(any(ord(c) < 32 for c in line), line)
        manager.shutdown(socket.SHUT_RD)
        reader.join(harness.PATIENCE)
        keys = {a.split("=")[0] for a in assignments if a}
        self.assertIn("READY", keys)
        self.assertIn("STOPPING", keys)
        self.assertLessEqual(keys, {"READY", "STATUS", "RELOADING", "MONOTONIC_USEC", "STOPPING", "EXTEND_TIMEOUT_USEC",
                                    "WATCHDOG", "FDSTORE", "FDSTOREREMOVE", "FDPOLL", "FDNAME"}, assignments)
        names = [a.removeprefix("FDNAME=") for a in assignments if a.startswith("FDNAME=")]
        self.assertTrue(all(name.startswith("handoff.") for name in names), names)
        self.assertFalse(any("\x1b" in a or "\r" in a for a in assignments), assignments)


class Store(puppet.TestCase):
    STORE = "fd-store-max = 8"

    def test_a_candidate_that_fails_does_not_change_what_live_may_store(self):
        s = harness.Supervisor(self, self.puppets(service=self.STORE))
        s.write(self.puppets("sys.exit(3)"))  # without a store
        s.upgrade("rolled_back")
        self.tell("notify('FDSTORE=1', 'FDNAME=kept', fds=[os.memfd_create('state')]); notify('STATUS=stored')")
        harness.poll_until(lambda: s.generation()["instances"][0]["status"] == "stored", "it to be stored")
        s.write(self.puppets(service=self.STORE))
        s.upgrade()
        self.assertEqual(self.tell("answer = os.environ['LISTEN_FDNAMES']", 3), "'l0:kept'")

    def test_a_stored_descriptor_comes_back_in_the_next_generation_by_name(self):
        s = harness.Supervisor(self, self.puppets(service=self.STORE))
        self.tell("""
fd = os.memfd_create("state")
os.write(fd, b"precious")
notify("FDSTORE=1", "FDNAME=stored", fds=[fd])
notify("STATUS=stored")
""")
        harness.poll_until(lambda: s.generation()["instances"][0]["status"] == "stored", "it to be stored")
        s.write(self.puppets("contents = os.pread(4, 100, 0)", service=self.STORE))
        s.upgrade()
        self.assertEqual(self.tell("answer = os.environ['LISTEN_FDNAMES'], contents", 2), "('l0:stored', b'precious')")
        self.tell("notify('FDSTOREREMOVE=1', 'FDNAME=stored'); notify('STATUS=removed')", 2)
        harness.poll_until(lambda: s.generation()["instances"][0]["status"] == "removed", "it to be removed")
        s.write(self.puppets(service=self.STORE))
        s.upgrade()
        self.assertEqual(self.tell("answer = os.environ['LISTEN_FDNAMES']", 3), "'l0'")

    def test_without_room_nothing_is_stored_and_nothing_leaks(self):
        s = harness.Supervisor(self, self.puppets())
        before = len(harness.descriptors(s.process.pid))
        self.tell("for n in range(100): notify('FDSTORE=1', 'FDNAME=x', fds=[2] * 10)\nnotify('STATUS=end')")
        harness.poll_until(lambda: s.generation()["instances"][0]["status"] == "end", "the end")
        harness.poll_until(lambda: len(harness.descriptors(s.process.pid)) <= before, "no descriptor more than before")

    def test_a_socket_that_lingers_does_not_stall_the_loop(self):
        s = harness.Supervisor(self, self.puppets(service=self.STORE))
        # Whoever closes it last stands still for 100 s: its peer never reads what was sent.
        self.tell("""
import struct
door = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    client = socket.create_connection(door.getsockname())
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 100))
    try:
        while True: client.send(b"x" * 65536)
    except BlockingIOError: pass
    client.setblocking(True)
    notify("FDSTORE=1", "FDNAME=linger", fds=[client.fileno()])
    read, write = os.pipe()
    notify("BARRIER=1", fds=[write])
    os.close(write)
    select.select([read], [], [])
    os._exit(0)
kept.append(door.accept())
os.wait()
""")
        self.tell("notify('FDSTOREREMOVE=1', 'FDNAME=linger'); notify('STATUS=removed')")
        harness.poll_until(lambda: s.generation()["instances"][0]["status"] == "removed", "the loop to go on",
                           patience=10)


if __name__ == "__main__":
    harness.main()
