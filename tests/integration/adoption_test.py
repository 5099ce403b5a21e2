"""What a successor without systemd finds of services that are not as they were launched: their output led elsewhere,
their program replaced, their first process gone, their listeners held by a worker alone."""

import json
import os
import shutil
import signal
import socket
import tempfile

import harness
import puppet

# What the services below have in common. `tell` speaks to handoffd, `serve` answers whoever connects.
PRELUDE = """
import os, signal, socket, sys
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
def serve():
    listener = socket.socket(fileno=3)
    tell("STATUS=serves")
    while True:
        listener.accept()[0].sendall(b"%d" % os.getpid())
"""


class Adoption(harness.TestCase):
    def setUp(self):
        self.port = harness.free_port()
        self.directory = tempfile.mkdtemp(prefix="handoff-adoption-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    def supervisor(self, command, service="", wrapper=()):
        return harness.Supervisor(self, f"""command = {json.dumps(command)}
{service}
[[listener]]
name = "http"
address = "127.0.0.1:{self.port}"
steer = false
{puppet.BRISK}""", wrapper=wrapper)

    def python(self, code, **options):
        s = self.supervisor([harness.PYTHON, "-ISuc", PRELUDE + code], **options)
        self.wait_until_it_serves(s)
        return s

    def wait_until_it_serves(self, s):
        """It speaks to handoffd last, which may be killed then."""
        harness.poll_until(lambda: s.generation()["instances"][0]["status"] == "serves", "a service that serves")

    def succeed(self, s):
        s.die()
        s.start(until=None)

    def who_answers(self):
        with socket.create_connection(("127.0.0.1", self.port), harness.PATIENCE) as s:
            return int(s.recv(100))

    def restart(self, s):
        """Kills live's only instance, and waits for the one in its place."""
        mark = s.events.mark()
        victim = s.pids()[0]
        os.kill(victim, signal.SIGKILL)
        s.events.wait("instance_exited", since=mark)
        return mark

    # ---- output

    def test_output_goes_on_in_the_log(self):
        s = self.python('signal.signal(signal.SIGUSR1, lambda *_: print("a word"))\ntell("READY=1")\nserve()')
        self.succeed(s)
        os.kill(s.pids()[0], signal.SIGUSR1)
        harness.poll_until(lambda: "web[1.1]: a word" in s.log_text(), "its line in the log")

    def test_output_goes_on_when_only_the_errors_come_to_us(self):
        s = self.python('os.dup2(os.open("/dev/null", os.O_WRONLY), 1)\n'
                        'signal.signal(signal.SIGUSR1, lambda *_: print("a word", file=sys.stderr))\n'
                        'tell("READY=1")\nserve()')
        self.succeed(s)
        os.kill(s.pids()[0], signal.SIGUSR1)
        harness.poll_until(lambda: "web[1.1]: a word" in s.log_text(), "its line in the log")

    def test_what_a_service_puts_in_place_of_its_output_is_not_opened(self):
        secret = self.path("secret")
        os.mkfifo(secret, 0o600)
        user = 'user = "nobody"' if os.geteuid() == 0 else ""  # who may name it, and not read it
        s = self.python(f'fd = os.open({secret!r}, os.O_PATH)\nos.dup2(fd, 1)\nos.dup2(fd, 2)\ntell("READY=1")\nserve()',
                        service=user)
        victim = s.pids()
        self.succeed(s)
        self.assertEqual(s.pids(), victim)
        self.assertEqual(self.who_answers(), victim[0])
        with self.assertRaises(OSError, msg="somebody reads it"):
            os.open(secret, os.O_WRONLY | os.O_NONBLOCK)
        self.assertEqual(s.log_text().count("it is not logged"), 1)

    def test_a_service_that_led_its_output_to_a_file_is_adopted(self):
        s = self.python(f'fd = os.open({self.path("log")!r}, os.O_WRONLY | os.O_CREAT)\n'
                        'os.dup2(fd, 1)\nos.dup2(fd, 2)\ntell("READY=1")\nserve()')
        for _ in range(2):
            before = s.pids()
            self.succeed(s)
            self.assertEqual(s.pids(), before)
            self.assertEqual(self.who_answers(), before[0])
        self.assertEqual(s.log_text().count("it is not logged"), 1)

    # ---- the program

    def install(self, name="service", content=None):
        """Puts a program there, by renaming as package managers do."""
        path = self.path(name)
        if content is None:
            shutil.copy(harness.PYTHON, path + ".new")
        else:
            with open(path + ".new", "w") as f:
                f.write(content)
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)
        return path

    def installed(self):
        s = self.supervisor([self.install(), "-ISuc", PRELUDE + 'tell("READY=1")\nserve()'])
        self.wait_until_it_serves(s)
        return s

    def test_a_program_that_was_replaced_is_pinned_again_by_who_runs_it(self):
        s = self.installed()
        victim = s.pids()
        self.install(content="#!/bin/false\n")
        self.succeed(s)
        self.assertEqual(s.pids(), victim)
        self.assertEqual(s.generation()["executable_state"], "replaced")
        s.events.wait("instance_ready", since=self.restart(s))
        self.assertEqual(s.status()["live"], 1)

    def test_what_nobody_can_start_any_more_is_no_obstacle_until_it_is_asked_for(self):
        s = self.installed()
        self.install()
        s.upgrade()
        self.wait_until_it_serves(s)
        serves = s.pids()
        self.succeed(s)
        self.assertEqual(s.pids(), serves)
        self.assertEqual(self.who_answers(), serves[0])
        self.assertTrue(any("last good is lost" in note for note in s.status()["notes"]), s.status()["notes"])
        s.call("Rollback")
        told = s.events.wait("verdict", rollout=3)
        self.assertEqual(told["verdict"], "rolled_back")
        self.assertIn("last good is lost", told["reason"])
        self.assertEqual(s.pids(), serves)
        s.call("Reexec")
        self.assertEqual(s.pids(), serves)

    def test_when_nobody_is_left_to_have_the_program_the_one_that_is_installed_is_tried(self):
        s = self.installed()
        self.install()
        victim = s.pids()[0]
        s.die()
        os.kill(victim, signal.SIGKILL)
        harness.poll_until(lambda: not harness.is_alive(victim), "its end")
        s.start(until=None)
        harness.poll_until(lambda: s.status()["live"] == 2, f"the next generation\n{s.log_text()}")
        self.assertIn("last good is lost", s.log_text())
        self.assertEqual(self.who_answers(), s.pids()[0])

    def test_a_script_that_was_replaced_is_started_by_its_path_as_ever(self):
        script = f"#!{harness.PYTHON} -ISu\n{PRELUDE}\ntell('READY=1')\nserve()\n"
        s = self.supervisor([self.install(content=script)])
        self.wait_until_it_serves(s)
        self.install(content=script + "# another\n")
        self.succeed(s)
        self.assertEqual(s.generation()["executable_state"], "replaced")
        s.events.wait("instance_ready", since=self.restart(s))
        self.assertEqual(s.status()["live"], 1)

    # ---- capabilities

    def test_without_the_capability_to_take_listeners_back_it_is_said(self):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv(1)")
        s = self.python('tell("READY=1")\nserve()', service='user = "nobody"')
        before = s.pids()
        s.die()
        s.wrapper = ["setpriv", "--bounding-set=-sys_ptrace"]
        s.launch()
        self.assertEqual(s.process.wait(harness.PATIENCE), 1, s.log_text())
        self.assertRegex(s.log_text(), f"held by process {before[0]}, .*CAP_SYS_PTRACE")
        s.wrapper = []
        s.start(until=None)
        self.assertEqual(s.pids(), before)

    # ---- what it stored

    def test_a_descriptor_that_nobody_kept_is_said_to_be_lost(self):
        s = self.python("""with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
    ear.connect(os.environ["NOTIFY_SOCKET"])
    socket.send_fds(ear, [b"FDSTORE=1\\nFDNAME=cache\\nFDPOLL=0"], [os.memfd_create("cache")])
tell("READY=1")
serve()""", service="fd-store-max = 1")
        before = s.pids()
        self.succeed(s)
        self.assertEqual(s.pids(), before)
        self.assertEqual(s.log_text().count("what the service stored as 'cache' is lost"), 1)

    # ---- processes

    FORKS = 'other = os.fork()\nif other == 0:\n    serve()\n'

    def test_a_main_process_is_enough_when_the_first_one_is_gone(self):
        s = self.python(self.FORKS + 'tell("MAINPID=%d\\nREADY=1" % other)\nos._exit(0)')
        main = s.pids()
        for _ in range(2):
            self.succeed(s)
            self.assertEqual(s.pids(), main)
            self.assertEqual(self.who_answers(), main[0])
        s.upgrade(until=None)
        harness.poll_until(lambda: not harness.is_alive(main[0]), "its end")
        s.call("Reexec")
        harness.poll_until(lambda: len(s.left_behind()) == 1, "the first processes to end")

    def test_a_listener_that_only_a_worker_holds_comes_back(self):
        s = self.python(self.FORKS + 'os.close(3)\ntell("READY=1")\nsignal.pause()')
        before = s.pids()
        self.succeed(s)  # which finds the address in use, had it not found the listener
        self.assertEqual(s.pids(), before)
        everybody = s.left_behind()
        s.upgrade()
        # A worker that is killed takes a connection with it that comes before it is gone.
        harness.poll_until(lambda: not any(map(harness.is_alive, everybody)), "their end")
        self.assertGreater(self.who_answers(), 0)

    # ---- /proc

    def test_without_the_number_of_the_boot(self):
        s = self.python('tell("READY=1")\nserve()', wrapper=harness.without_boot_id(self))
        before = s.pids()
        self.succeed(s)
        self.assertEqual(s.pids(), before)
        self.assertEqual(self.who_answers(), before[0])
        victim = s.pids()[0]
        s.die()
        os.kill(victim, signal.SIGKILL)
        harness.poll_until(lambda: not harness.is_alive(victim), "its end")
        s.start(until=None)
        harness.poll_until(lambda: s.pids() not in ([], [None], before), "another one")
        self.assertEqual(self.who_answers(), s.pids()[0])


if __name__ == "__main__":
    harness.main()
