"""What handoffd keeps in systemd's store, and what its successor makes of it after a death: with a manager of our
own, which sees every name come and go, and can look when it likes."""

import os
import re
import shutil
import signal
import socket

import harness
import puppet
from service_manager import Manager

# Stores three descriptors and drops the first; tells what it was born with.
STORING = """
import os, signal, socket
def notify(text, *fds):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        socket.send_fds(s, [text.encode()], list(fds))
names = os.environ.get("LISTEN_FDNAMES", "").split(":")
print("has", {n: os.pread(3 + i, 100, 0).decode() for i, n in enumerate(names) if n in "ABC"}, flush=True)
def store(*_):
    for n in "ABC":
        memory = os.memfd_create(n)
        os.write(memory, b"of " + n.encode())
        notify(f"FDSTORE=1\\nFDNAME={n}\\nFDPOLL=0", memory)
    notify("FDSTOREREMOVE=1\\nFDNAME=A")
    notify("STATUS=has stored all of it")
signal.signal(signal.SIGUSR1, store)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
notify("READY=1")
while True: signal.pause()
"""


class Store(puppet.TestCase):
    def supervisor(self, *options, more={}, **how):
        self.manager = Manager(self)
        s = super().supervisor(*options, environment={**self.manager.environment(), **more}, **how)
        self.settle(s)
        return s

    def settle(self, s):
        """Until the store has exactly what the memory names. What cannot be sent at once is sent later."""
        # Twice: in one turn of its loop it may answer first and hear what a service said before after that.
        s.status()
        s.status()

        def differs():
            return set(self.manager.names()) ^ (self.manager.remembered() | {"handoff.memory"})

        try:
            harness.poll_until(lambda: not differs(), "a store as the memory says")
        except AssertionError as e:
            wrong = differs()
            said = [m for m in self.manager.seen if m.get("FDNAME") in wrong]
            self.fail(f"{e}: {sorted(wrong)} of {self.manager.names()}; asked for {said}")

    def die_and_come_back(self, s, settle=True, passed=()):
        """`passed` are names and sockets of socket units, which the successor gets beside the store."""
        if settle:
            self.settle(s)
        self.restart(s, passed)
        self.settle(s)

    def restart(self, s, passed):
        s.process.kill()
        s.process.wait()
        s.events.connection.close()
        self.manager.launch(s, passed)
        harness.poll_until(lambda: s.process.poll() is not None or s._answers(), "the control socket")
        self.assertIsNone(s.process.poll(), s.log_text())
        s.events = harness.Events(s.socket)

    def reexec(self, s):
        s.call("Reexec")
        self.settle(s)

    def test_services_are_adopted_and_nobody_notices(self):
        s = self.supervisor()
        pids = s.pids()
        with harness.Load(self.address, "--clients", "4") as load:
            for _ in range(5):
                self.die_and_come_back(s)
                self.assertEqual(s.pids(), pids)
            s.upgrade()
        self.assert_nothing_failed(load, at_least=100)

    def test_the_store_has_what_is_remembered_and_nothing_else(self):
        s = self.supervisor()
        s.upgrade()
        self.die_and_come_back(s)
        before = len(self.manager.names())
        for how in (self.die_and_come_back, self.reexec) * 4:
            how(s)
            s.upgrade()
            self.settle(s)
            names = [name.split(".") for name in self.manager.names()]
            self.assertEqual({name[2] for name in names if name[1] == "instance"}, {str(s.status()["live"])})
        # A slot goes a little after its generation, and is forgotten with what is remembered next.
        def is_as_before():
            s.upgrade()
            self.settle(s)
            return len(self.manager.names()) <= before + 1
        harness.poll_until(is_as_before, f"no more than {before} descriptors in the store")

    def test_a_unix_listener_that_waits_to_be_opened_again_does_so_in_a_successor(self):
        for succeed in (self.reexec, self.die_and_come_back):
            with self.subTest(succeed.__name__):
                place, away = self.path("place"), self.path("away")
                os.mkdir(place)
                path = place + "/door"
                configuration = self.puppets(addresses=["unix:" + path])
                self.manager = Manager(self)
                s = harness.Supervisor(self, configuration, environment=self.manager.environment())
                os.rename(place, away)
                self.tell("served[0].shutdown(socket.SHUT_RDWR)")
                harness.poll_until(lambda: "door: No such file or directory; tried again" in s.log_text(), "a try")
                succeed(s)
                os.rename(away, place)
                s.events.wait("verdict", verdict="promoted", generation=2)  # of the repair
                self.assertEqual(puppet.ask(path), 2)
                self.assertEqual(s.stop(), 0)
                shutil.rmtree(place)

    def test_a_service_that_takes_the_program_away_is_noticed_after_a_succession(self):
        self.manager = Manager(self)
        s = harness.Supervisor(self, self.puppets(), environment=self.manager.environment())
        if s.status()["listeners"][0]["sharing"] != "steered":
            self.skipTest("nothing is steered here")
        for succeed in (self.reexec, self.die_and_come_back):
            with self.subTest(succeed.__name__):
                succeed(s)
                mark = s.events.mark()
                self.tell("listeners[0].setsockopt(socket.SOL_SOCKET, 68, 0)")  # SO_DETACH_REUSEPORT_BPF

                def is_back():
                    self.assertEqual(puppet.ask(self.port), 1)
                    return "steering_restored" in {e["kind"] for e in s.events.seen[mark:]}

                harness.poll_until(is_back, "the program to be back")

    def test_a_successor_can_roll_back_to_what_was_rolled_back_to(self):
        self.manager = Manager(self)
        configuration = puppet.configuration([self.install("program")], self.address)
        s = harness.Supervisor(self, configuration, environment=self.manager.environment())
        self.install("program")
        s.upgrade()
        s.events.wait("settled", rollout=s.call("Rollback")["rollout"])
        self.install("program")
        s.upgrade()
        self.die_and_come_back(s)
        s.events.wait("verdict", rollout=s.call("Rollback")["rollout"], verdict="promoted")

    def test_what_a_service_asks_of_its_watchdog_is_remembered(self):
        self.manager = Manager(self)
        s = harness.Supervisor(self, self.puppets(service='watchdog = "5s"'), environment=self.manager.environment())
        self.tell("notify('WATCHDOG=1', 'WATCHDOG_USEC=60000000')")
        self.die_and_come_back(s)
        s.write(self.puppets("time.sleep(6)"))  # longer than the dog would wait
        s.upgrade("promoted", until="serving")
        self.assertNotIn("watchdog", s.log_text())

    def test_what_ended_while_nobody_watched_leaves_the_store_and_is_started_again(self):
        s = self.supervisor()
        victim = s.pids()[0]
        self.settle(s)
        s.signal(signal.SIGSTOP)
        os.kill(victim, signal.SIGKILL)
        self.die_and_come_back(s, settle=False)
        harness.poll_until(lambda: len(s.pids()) == 2 and not {None, victim} & set(s.pids()), "a new instance")
        self.settle(s)

    def test_what_a_service_stored_stays_what_it_is(self):
        s = self.supervisor(instances=1)
        run = [harness.PYTHON, "-Suc", STORING]
        s.write(puppet.configuration(run, self.address, service="fd-store-max = 10"))
        s.upgrade()
        harness.poll_until(lambda: len(s.pids()) == 1, "the end of the generation before")
        os.kill(s.pids()[0], signal.SIGUSR1)
        harness.poll_until(lambda: "has stored all of it" in str(s.status()), "its word")
        for deaths in range(3):
            self.die_and_come_back(s)
            s.upgrade()
            told = "has {'B': 'of B', 'C': 'of C'}"
            harness.poll_until(lambda: s.log_text().count(told) == deaths + 1, "both, unmixed")

    def test_a_manager_that_was_away_has_all_of_it_in_the_end(self):
        s = self.supervisor()
        os.rename(self.manager.address, self.manager.address + ".away")
        s.upgrade()
        os.rename(self.manager.address + ".away", self.manager.address)
        self.die_and_come_back(s)
        self.assertEqual((s.status()["live"], len(s.pids())), (2, 2))

    def test_a_manager_that_keeps_nothing_is_not_relied_on(self):
        manager = Manager(self)
        s = harness.Supervisor(self, self.demos(), environment={"NOTIFY_SOCKET": manager.address})
        pids = s.pids()
        s.die()
        s.start(until=None)
        self.assertEqual((s.pids(), manager.names()), (pids, []))

    def test_what_socket_units_pass_is_found_again_without_a_store(self):
        self.manager = Manager(self)
        s = harness.Supervisor(self, self.demos(), environment={"NOTIFY_SOCKET": self.manager.address})
        with socket.create_server(("127.0.0.1", 0)) as asked:
            passed = [("asked", asked.fileno())]
            self.restart(s, passed)
            s.write(self.demos() + '[[listener]]\nname = "asked"\nfrom = "systemd"\n')
            s.upgrade()
            for pid in s.left_behind():  # with handoffd, as systemd does that knows nothing of KillMode=process
                os.kill(pid, signal.SIGKILL)
            self.restart(s, passed)
            harness.poll_until(lambda: None not in s.pids() and s.pids(), "a new instance")
            self.assertEqual([one["name"] for one in s.status()["listeners"]], ["l0", "asked"])
            self.assertEqual(puppet.ask(asked.getsockname()[1]), 2)

    def test_what_hung_up_leaves_the_store(self):
        s = self.supervisor(instances=1)
        s.write(self.puppets(service="fd-store-max = 10"))
        s.upgrade()

        def stored():
            return [name for name in self.manager.names() if name.startswith("handoff.store.")]

        self.tell("ours, theirs = socket.socketpair()\nnotify('FDSTORE=1\\nFDNAME=x', fds=[ours.fileno()])\nours.close()",
                  generation=2)
        harness.poll_until(stored, "it to be stored")
        self.tell("theirs.close()", generation=2)
        harness.poll_until(lambda: not stored(), "it to leave")

    def test_the_memory_is_never_away(self):
        s = self.supervisor(instances=1)
        inodes = set()
        for how in (self.die_and_come_back, self.reexec) * 2:
            mark = len(self.manager.seen)
            how(s)
            self.assertFalse([m for m in self.manager.seen[mark:]
                              if m.get("FDNAME") == "handoff.memory" and "FDSTOREREMOVE" in m])
            inodes |= {os.fstat(fd).st_ino for name, fd in self.manager.store if name == "handoff.memory"}
        self.assertEqual(len(inodes), 1)

    def test_a_store_whose_memory_cannot_be_read_is_emptied(self):
        s = self.supervisor()
        before = s.pids()
        self.settle(s)
        os.ftruncate(dict(self.manager.store)["handoff.memory"], 0)
        self.die_and_come_back(s, settle=False)
        harness.poll_until(lambda: len(s.pids()) == 2 and not {None, *before} & set(s.pids()), "new instances")
        self.assertIn("it is cut short", s.log_text())
        s.upgrade()
        self.die_and_come_back(s)
        self.assertEqual(s.status()["live"], 2)

    def test_sockets_of_one_name_that_nobody_asked_for_stay_apart(self):
        s = self.supervisor(instances=1)
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        passed = [("extra", sockets[0].fileno()), ("extra", sockets[1].fileno()), ("asked", sockets[2].fileno())]

        def unclaimed():
            return [name.split(".")[2] for name in self.manager.names() if ".unclaimed." in name]

        for _ in range(3):
            self.die_and_come_back(s, passed=passed)
            s.upgrade()  # it is remembered
            self.settle(s)
            self.assertEqual(unclaimed(), ["asked", "extra", "extra"])
        with open(s.configuration, "a") as f:
            f.write('[[listener]]\nname = "asked"\nfrom = "systemd"\n')
        s.upgrade()  # the store does not take what it has for another name, and forgets that: it is passed again
        harness.poll_until(lambda: unclaimed() == ["extra", "extra"], "what is stored by its own name alone")
        another = socket.create_server(("127.0.0.1", 0))
        self.die_and_come_back(s, passed=passed + [("asked", another.fileno())], settle=False)
        s.upgrade()
        self.settle(s)
        self.assertEqual(unclaimed(), ["asked", "extra", "extra"])
        for one in (*sockets, another):
            one.close()

    def test_without_the_number_of_the_boot(self):
        s = self.supervisor(wrapper=harness.without_boot_id(self))
        pids = s.pids()
        for _ in range(2):
            self.die_and_come_back(s)
            self.assertEqual(s.pids(), pids)

    def test_how_the_last_rollout_failed_stays_in_the_status_line(self):
        s = self.supervisor(instances=1)
        s.write(self.demos("--fail-start", "3"))
        s.upgrade("rolled_back", until=None)
        for how in (self.reexec, self.die_and_come_back):
            mark = len(self.manager.seen)
            how(s)
            told = [m["STATUS"] for m in self.manager.seen[mark:] if "STATUS" in m]
            self.assertRegex(told[-1], "^rolled-back.*exited 3.*; generation 1 ", told)
        s.write(self.demos())
        s.upgrade()
        self.settle(s)
        self.assertNotIn("rolled-back", [m["STATUS"] for m in self.manager.seen if "STATUS" in m][-1])

    def test_every_successor_feeds_the_watchdog(self):
        s = self.supervisor(instances=1, more={"WATCHDOG_USEC": "100000"})
        for how in (self.reexec, self.die_and_come_back):
            how(s)
            self.manager.catch_up()
            mark = len(self.manager.seen)

            def fed():
                return sum(m.get("WATCHDOG") == "1" for m in self.manager.seen[mark:])

            with self.manager.changed:
                self.assertTrue(self.manager.changed.wait_for(lambda: fed() >= 5, harness.PATIENCE), how)

    def test_what_a_small_store_has_no_room_for_is_taken_back_from_the_services(self):
        for sharing in ("shared", "steered"):
            with self.subTest(sharing=sharing):
                self.manager = Manager(self, room=4)
                s = puppet.TestCase.supervisor(self, extra=f'[rollout]\nsharing = "{sharing}"\n',
                                               environment=self.manager.environment())
                for _ in range(2):
                    s.upgrade()
                    pids = s.pids()
                    with harness.Load(self.address, "--clients", "4") as load:
                        self.restart(s, ())
                        self.assertEqual((s.pids(), len(self.manager.store)), (pids, 4))
                        s.upgrade()
                    self.assert_nothing_failed(load, at_least=10)
                said = r"systemd keeps 4 descriptors for us, and \d+ are needed \(FileDescriptorStoreMax=\)"
                self.assertEqual(len(re.findall(said, s.log_text())), 3)  # by each handoffd once
                self.assertRegex(str(s.status()["notes"]), said)
                self.assertEqual(s.stop(), 0)

    def test_what_a_full_store_did_not_take_is_stored_when_there_is_room(self):
        s = self.supervisor(instances=1)
        s.upgrade()  # a slot goes a little after its generation, and is forgotten with what is remembered next
        self.settle(s)
        self.manager.room = most = len(self.manager.names())
        s.environment["FDSTORE"] = str(most)
        self.die_and_come_back(s)  # which may open an anchor in place of the one before
        s.upgrade()  # for a while there are two generations
        self.assertIn(f"systemd keeps {most} descriptors", s.log_text())

        def has_all():
            harness.poll_until(lambda: len(s.status()["listeners"][0]["slots"]) == 1, "the end of the slot of before")
            s.upgrade()
            return set(self.manager.names()) == self.manager.remembered() | {"handoff.memory"}

        harness.poll_until(has_all, f"the whole of {most} descriptors")

    def test_an_orderly_stop_leaves_nothing(self):
        s = self.supervisor()
        self.die_and_come_back(s)
        self.assertEqual(s.stop(), 0)
        self.assertEqual(self.manager.names(), [])


if __name__ == "__main__":
    harness.main()
