"""The door stays open: whatever services do to a shared listener, and whoever else wants the address."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import harness
import puppet

ADOPT = """
import json, os, socket, sys
address, name = json.loads(sys.argv[1]), sys.argv[2]
s = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
s.bind(address if isinstance(address, str) else tuple(address))
s.listen(7)
s.fileno() == 3 or os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES=name, LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[3], sys.argv[3:])
"""


def backlog(port):
    """What the kernel says of a listening port (the Send-Q of ss); nothing when nobody listens."""
    text = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    return int(text.split()[2]) if text.strip() else None


class ListenerCase(puppet.TestCase):
    def is_refused(self, port):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) != 0


class Shared(ListenerCase):
    """All generations hold the same socket."""

    REST = puppet.BRISK + '[rollout]\nsharing = "shared"\n'

    def puppets(self, *arguments, **options):
        return super().puppets(*arguments, **{"rest": self.REST, **options})

    def demos(self, *arguments, **options):
        return super().demos(*arguments, **{"rest": self.REST, **options})

    def test_a_tcp_listener_that_a_service_shuts_is_open_again_and_the_service_named(self):
        s = harness.Supervisor(self, self.puppets())
        mark = s.events.mark()
        self.tell("served[0].shutdown(socket.SHUT_RDWR)")
        event = s.events.wait("listener_reopened", since=mark)
        self.assertEqual(event["generation"], 1)
        self.assertIn("'l0'", event["text"])
        self.assertIn("generation 1", event["text"])
        self.assertEqual(backlog(self.port), 4096)
        for _ in range(20):
            self.assertEqual(puppet.ask(self.port), 1)
        self.assertEqual(s.status()["listeners"][0]["reopened"], 1)
        self.assertEqual(s.events.count("started"), 0)

    def test_a_service_that_shuts_the_listener_to_drain_does_no_harm(self):
        s = harness.Supervisor(self, self.puppets(
            "signal.signal(signal.SIGTERM, lambda *_: (served[0].shutdown(socket.SHUT_RDWR), drain()))"))
        s.write(self.demos())
        s.upgrade()
        self.assertEqual(s.events.wait("listener_reopened")["generation"], 1)
        self.assertEqual(puppet.ask(self.port), 2)

    def test_shutting_it_again_and_again_is_answered_each_time(self):
        s = harness.Supervisor(self, self.puppets())
        for n in range(1, 6):
            self.tell("served[0].shutdown(socket.SHUT_RDWR)")
            harness.poll_until(lambda n=n: s.status()["listeners"][0]["reopened"] == n, f"reopening {n}")
        self.assertEqual(puppet.ask(self.port), 1)

    def test_a_unix_listener_that_a_service_shuts_is_replaced_and_live_launched_again(self):
        path = self.path("door")
        s = harness.Supervisor(self, self.puppets(addresses=["unix:" + path]))
        self.tell("served[0].shutdown(socket.SHUT_RDWR)")
        started = s.events.wait("started")
        self.assertIn("repair", started["text"])
        verdict = s.events.wait("verdict", rollout=started["rollout"])
        self.assertEqual(verdict["verdict"], "promoted")
        self.assertEqual(s.status()["last"]["cause"], "repair")
        self.assertEqual(puppet.ask(path), 2)
        self.assertEqual(s.events.count("listener_reopened", generation=1), 1)

    def test_a_repair_launches_what_is_live_and_not_what_is_on_disk(self):
        path = self.path("door")
        s = harness.Supervisor(self, self.puppets(addresses=["unix:" + path]))
        s.write("not even toml")
        self.tell("served[0].shutdown(socket.SHUT_RDWR)")
        self.assertEqual(s.events.wait("verdict")["verdict"], "promoted")
        self.assertEqual(puppet.ask(path), 2)

    def test_a_rollback_after_a_repair_goes_to_the_release_before(self):
        path = self.path("door")
        s = harness.Supervisor(self, self.puppets("kept.append('old')", addresses=["unix:" + path]))
        s.write(self.puppets("kept.append('new')", addresses=["unix:" + path]))
        s.upgrade()
        self.tell("served[0].shutdown(socket.SHUT_RDWR)", generation=2)
        s.events.wait("settled", rollout=3)
        self.assertEqual(self.tell("answer = kept[0]", generation=3), "'new'")
        s.events.wait("verdict", rollout=s.call("Rollback")["rollout"], verdict="promoted")
        self.assertEqual(self.tell("answer = kept[0]", generation=4), "'old'")

    def test_a_repair_is_not_lost_behind_a_rollout_that_fails(self):
        path = self.path("door")
        s = harness.Supervisor(self, self.puppets(addresses=["unix:" + path]))
        s.write(self.puppets(addresses=["unix:" + path], rest=puppet.BRISK + '[rollout]\nbake = "1h"\n'))
        s.events.wait("serving", rollout=s.call("Upgrade")["rollout"])
        self.tell("served[0].shutdown(socket.SHUT_RDWR)")
        s.events.wait("listener_reopened")
        s.write("not even toml")
        refused = s.call("Upgrade")["rollout"]
        s.call("Abort")
        self.assertEqual(s.events.wait("verdict", rollout=refused)["verdict"], "refused")
        # It does not bake: there is nobody to go back to whom clients reach.
        repaired = s.events.wait("verdict", rollout=refused + 1, verdict="promoted")["generation"]
        self.assertEqual(s.status()["last"]["cause"], "repair")
        self.assertEqual(puppet.ask(path), repaired)

    def test_the_same_address_on_two_interfaces_is_two_listeners(self):
        others = [name for name in os.listdir("/sys/class/net") if name != "lo"]
        if os.geteuid() != 0 or not others:
            self.skipTest("needs root and a second network interface")
        doors = "".join(f'[[listener]]\nname = "{name}"\naddress = "0.0.0.0:{self.port}"\ninterface = "{name}"\n'
                        for name in ("lo", others[0]))
        s = harness.Supervisor(self, f"command = {json.dumps(puppet.demo())}\n{doors}{puppet.BRISK}")
        s.upgrade()
        self.assertEqual([one["name"] for one in s.status()["listeners"]], ["lo", others[0]])
        self.assertEqual(puppet.ask(self.port), 2)

    def test_the_configured_backlog_is_restored_when_services_override_it(self):
        code = "served and served[0].listen(5)"
        s = harness.Supervisor(self, self.puppets(code))
        self.assertEqual(backlog(self.port), 4096)  # after ready
        self.tell("served[0].listen(6)")
        self.assertEqual(backlog(self.port), 6)
        mark = s.events.mark()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_exited")
        self.assertEqual(backlog(self.port), 4096)  # after an exit
        s.events.wait("instance_ready", since=mark)
        self.assertEqual(backlog(self.port), 4096)  # after its successor overrode it

    def test_the_flags_of_the_listeners_are_left_alone(self):
        s = harness.Supervisor(self, self.puppets("early = not (__import__('fcntl').fcntl(3, 3) & os.O_NONBLOCK)"))
        self.assertEqual(self.tell("answer = early"), "True")
        self.assertEqual(s.stop(), 0)


class Changes(ListenerCase):
    def test_a_listener_added_on_hup_is_bound_before_the_candidate_starts(self):
        s = harness.Supervisor(self, self.demos())
        added = harness.free_port()
        gate = self.path("gate")
        os.mkfifo(gate)
        s.write(self.puppets(f"open({gate!r}).close()", addresses=[self.address, f"127.0.0.1:{added}"]))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("instance_started", generation=2)
        with contextlib.closing(socket.create_connection(("127.0.0.1", added))) as early:
            early.sendall(b"GET / HTTP/1.0\r\n\r\n")  # waits in the queue: nobody accepts yet
            open(gate, "w").close()
            early.settimeout(harness.PATIENCE)
            self.assertIn(b"X-Handoff-Generation: 2", early.recv(4096))
        s.events.wait("verdict", rollout=rollout, verdict="promoted")

    def test_a_removed_listener_stays_until_nobody_can_be_rolled_back_to_who_has_it(self):
        removed = harness.free_port()
        s = harness.Supervisor(self, self.puppets(addresses=[self.address, f"127.0.0.1:{removed}"]))
        s.write(self.demos())
        s.upgrade()
        self.assertFalse(self.is_refused(removed))
        s.events.wait("settled", rollout=s.call("Rollback")["rollout"])
        self.assertEqual(puppet.ask(removed), 3)
        s.upgrade()
        s.upgrade()
        harness.poll_until(lambda: self.is_refused(removed), "the removed listener to be closed")
        self.assertEqual([l["name"] for l in s.status()["listeners"]], ["l0"])

    def test_a_removed_listener_stays_when_the_candidate_without_it_fails(self):
        removed = harness.free_port()
        s = harness.Supervisor(self, self.puppets(addresses=[self.address, f"127.0.0.1:{removed}"]))
        s.write(self.demos("--fail-start", "1"))
        s.upgrade("rolled_back")
        self.assertEqual(puppet.ask(removed), 1)

    def test_an_address_that_somebody_else_has_refuses_the_upgrade_and_changes_nothing(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            free = harness.free_port()
            s = harness.Supervisor(self, self.demos())
            pids = s.pids()
            taken = f"127.0.0.1:{other.getsockname()[1]}"
            s.write(self.puppets(addresses=[self.address, f"127.0.0.1:{free}", taken]))
            reason = s.upgrade("refused")["reason"]
            self.assertIn(taken, reason)
            self.assertIn(str(os.getpid()), reason)
            self.assertTrue(self.is_refused(free))  # all or none
            self.assert_live_untouched(s, pids)

    def test_a_changed_backlog_is_applied(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest="backlog = 17\n" + puppet.BRISK))
        s.upgrade()
        self.assertEqual(backlog(self.port), 17)


class Start(ListenerCase):
    def fails(self, configuration, name="web", environment=None):
        """Starts a supervisor that cannot; its exit code and what it said."""
        s = harness.Supervisor(self, configuration, name=name, environment=environment, start=False)
        s.launch()
        return s.process.wait(harness.PATIENCE), s.log_text()

    def test_a_port_that_is_taken_names_its_holder(self):
        for reuse in (0, 1):
            with self.subTest(reuseport=reuse), socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
                other.bind(("127.0.0.1", 0))
                other.listen()
                address = f"127.0.0.1:{other.getsockname()[1]}"
                code, said = self.fails(puppet.configuration(puppet.demo(), address))
                self.assertEqual(code, 1)
                self.assertIn(address, said)
                self.assertIn(str(os.getpid()), said)

    def test_a_second_supervisor_of_the_same_name_is_refused_and_names_the_first(self):
        s = harness.Supervisor(self, self.demos())
        other = puppet.configuration(puppet.demo(), f"127.0.0.1:{harness.free_port()}")
        code, said = self.fails(other, environment={"HANDOFF_RUNTIME_DIR": os.path.dirname(s.socket)})
        self.assertEqual(code, 1)
        self.assertIn(str(s.process.pid), said)
        self.assertEqual(puppet.ask(self.port), 1)
        self.assertEqual(s.status()["live"], 1)  # its control socket is still its own

    def test_a_stale_unix_socket_is_replaced_and_a_live_one_refused(self):
        path = self.path("door")
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(path)
            old.listen()
            code, said = self.fails(self.puppets(addresses=["unix:" + path]))
            self.assertEqual(code, 1)
            self.assertIn(path, said)
            old.close()
        s = harness.Supervisor(self, self.puppets(addresses=["unix:" + path]))
        self.assertEqual(puppet.ask(path), 1)
        self.assertEqual(s.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_a_file_that_is_no_socket_is_never_replaced(self):
        with open(self.path("door"), "w") as f:
            f.write("precious")
        code, said = self.fails(self.puppets(addresses=["unix:" + self.path("door")]))
        self.assertEqual(code, 1)
        self.assertIn(self.path("door"), said)
        self.assertEqual(self.read("door"), "precious")

    def test_the_mode_of_a_unix_listener_is_as_configured(self):
        path = self.path("door")
        s = harness.Supervisor(self, self.puppets(addresses=["unix:" + path], rest='mode = "0610"\nuser = "nobody"\n'))
        status = os.stat(path)
        self.assertEqual((status.st_mode & 0o7777, status.st_uid), (0o610, 65534))
        self.assertEqual(s.stop(), 0)

    def adopting(self, address, name):
        return [harness.PYTHON, "-c", ADOPT, json.dumps(address), name]

    def test_a_listener_is_adopted_from_systemd(self):
        configuration = self.demos().replace(f'address = "{self.address}"', 'from = "systemd"')
        s = harness.Supervisor(self, configuration, wrapper=self.adopting(["127.0.0.1", self.port], "l0"))
        self.assertEqual(puppet.ask(self.port), 1)
        s.upgrade()
        self.assertEqual(puppet.ask(self.port), 2)
        self.assertEqual(backlog(self.port), 4096)
        with open(f"/proc/{s.pids()[0]}/environ", "rb") as f:
            self.assertIn(b"LISTEN_PID=%d\0" % s.pids()[0], f.read())

    def test_a_listener_that_systemd_did_not_pass_is_missed_by_name(self):
        configuration = self.demos().replace(f'address = "{self.address}"', 'from = "systemd"')
        wrapper = self.adopting(["127.0.0.1", self.port], "other")
        s = harness.Supervisor(self, configuration, start=False, wrapper=wrapper)
        s.launch()
        self.assertEqual(s.process.wait(harness.PATIENCE), 1)
        self.assertIn("'l0'", s.log_text())
        self.assertIn("'other'", s.log_text())


if __name__ == "__main__":
    harness.main()
