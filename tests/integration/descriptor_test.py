"""What a service finds when it begins: its listeners, environment and limits, and nothing that is not its own."""

import grp
import json
import os
import pwd
import re
import resource
import signal
import subprocess

import harness
import puppet

NOBODY = pwd.getpwnam("nobody")

DUMP = """
import json, os, resource, signal, sys
fds = sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1]
kinds = {n: os.readlink(f"/proc/self/fd/{n}") for n in fds}
with open("/proc/self/status") as f: status = {key: value.strip() for key, value in (line.split(":", 1) for line in f)}
umask = os.umask(0)
found = dict(kinds=kinds, environment=dict(os.environ), arguments=sys.argv[1:], pid=os.getpid(), cwd=os.getcwd(),
             umask=umask,
             uid=os.getresuid(), gid=os.getresgid(), groups=os.getgroups(), sid=os.getsid(0),
             blocked=status["SigBlk"], ignored=status["SigIgn"], privileges=status.get("NoNewPrivs"),
             capabilities=status["CapEff"], nofile=resource.getrlimit(resource.RLIMIT_NOFILE),
             core=resource.getrlimit(resource.RLIMIT_CORE),
             nice=os.nice(0), oom=int(open("/proc/self/oom_score_adj").read()))
with open(sys.argv[1], "w") as f: json.dump(found, f)
os.rename(sys.argv[1], sys.argv[1] + ".done")
signal.pause()
"""
ALIVE = '[ready]\nwhen = "alive"\nfor = "1ms"\n' + puppet.BRISK


class Passing(puppet.TestCase):
    def dump(self, *arguments, service="", addresses=None, environment=None):
        """Starts a service that writes down what it found; what it wrote."""
        run = [harness.PYTHON, "-ISc", DUMP, self.path("found"), *arguments]
        configuration = puppet.configuration(run, *(addresses or [self.address]), service=service, rest=ALIVE)
        untidy = "import os, sys\nfor n in (7, 8, 50): os.dup2(1, n)\nos.execv(sys.argv[1], sys.argv[1:])"
        harness.Supervisor(self, configuration, environment=environment, wrapper=[harness.PYTHON, "-c", untidy])
        harness.poll_until(lambda: os.path.exists(self.path("found.done")), "what the service found")
        with open(self.path("found.done")) as f:
            return json.load(f)

    def test_a_service_has_three_standard_descriptors_its_listeners_and_nothing_more(self):
        found = self.dump(addresses=[self.address, f"udp://{self.address}", "unix:" + self.path("door")])
        self.assertEqual(sorted(int(n) for n in found["kinds"]), [0, 1, 2, 3, 4, 5])
        self.assertEqual(found["kinds"]["0"], "/dev/null")
        self.assertTrue(found["kinds"]["1"].startswith("pipe:"), found["kinds"])
        for n in ("3", "4", "5"):
            self.assertTrue(found["kinds"][n].startswith("socket:"), found["kinds"])
        environment = found["environment"]
        self.assertEqual(environment["LISTEN_FDS"], "3")
        self.assertEqual(environment["LISTEN_FDNAMES"], "l0:l1:l2")
        self.assertEqual(environment["LISTEN_PID"], str(found["pid"]))

    def test_the_environment_is_clean_but_for_what_is_ours_and_configured(self):
        secrets = {"SECRET": "leaks", "HANDOFF_INSTANCE": "77", "NOTIFY_SOCKET": self.path("none"), "PASSED": "along",
                   "LD_LIBRARY_PATH": "/nowhere", "WATCHDOG_USEC": "1000000000", "LISTEN_PID": "1", "LISTEN_FDS": "9"}
        service = 'environment = { A = "b c", EMPTY = "" }\npass-environment = ["PASSED", "UNSET_ONE"]'
        environment = self.dump(service=service, environment=secrets)["environment"]
        ours = {"HANDOFF_SUPERVISOR", "HANDOFF_SERVICE", "HANDOFF_GENERATION", "HANDOFF_INSTANCE", "HANDOFF_INCARNATION", "NOTIFY_SOCKET",
                "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"}
        usual = {"PATH", "LANG", "USER", "LOGNAME", "HOME", "SHELL", "LC_CTYPE"}
        self.assertLessEqual(set(environment), ours | usual | {"A", "EMPTY", "PASSED"})
        self.assertEqual((environment["A"], environment["EMPTY"], environment["PASSED"]), ("b c", "", "along"))
        self.assertEqual([environment["HANDOFF_" + which] for which in ("SERVICE", "GENERATION", "INSTANCE")],
                         ["web", "1", "1"])
        self.assertNotEqual(environment["NOTIFY_SOCKET"], secrets["NOTIFY_SOCKET"])
        self.assertEqual(environment["LISTEN_FDS"], "1")

    def test_descriptor_numbers_appear_where_they_are_asked_for(self):
        found = self.dump("--fd", "{fd:l1}", "fd://{fd:l0}", service='environment = { DOOR = "{fd:l1}" }',
                          addresses=[self.address, "unix:" + self.path("door")])
        self.assertEqual(found["arguments"][1:], ["--fd", "4", "fd://3"])
        self.assertEqual(found["environment"]["DOOR"], "4")

    def test_user_group_and_limits_are_as_configured(self):
        os.mkdir(self.path("cwd"))
        os.symlink("cwd", self.path("link"))
        found = self.dump(service=f"""
user = "nobody"
group = "games"
supplementary-groups = ["audio"]
umask = "0027"
working-directory = "{self.path('link')}"
limits = {{ nofile = "123:456", core = 0 }}
nice = 3
oom-score-adjust = 500
no-new-privileges = true
""")
        games, audio = grp.getgrnam("games").gr_gid, grp.getgrnam("audio").gr_gid
        self.assertEqual(found["uid"], [NOBODY.pw_uid] * 3)
        self.assertEqual(found["gid"], [games] * 3)
        self.assertIn(audio, found["groups"])
        self.assertNotIn(0, found["groups"])
        self.assertEqual(found["umask"], 0o027)
        self.assertEqual(found["cwd"], self.path("cwd"))
        self.assertEqual((found["nofile"], found["core"]), ([123, 456], [0, 0]))
        self.assertEqual((found["nice"], found["oom"]), (3, 500))
        self.assertEqual((found["privileges"], int(found["capabilities"], 16)), ("1", 0))
        self.assertEqual((found["environment"]["USER"], found["environment"]["HOME"]), ("nobody", NOBODY.pw_dir))

    def test_a_fifo_for_output_that_nobody_reads_fails_the_launch_and_stops_nobody(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        os.mkfifo(self.path("fifo"))
        s.write(self.demos(service=f'output = "file:{self.path("fifo")}"'))
        self.assertIn("No such device or address", s.upgrade("rolled_back")["reason"])
        self.assert_live_untouched(s, pids)
        reader = os.open(self.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        s.upgrade()
        self.assertEqual(puppet.ask(self.port), 3)
        with open(f"/proc/{s.pids()[0]}/fdinfo/1") as f:
            flags = int(re.search(r"flags:\s*(\d+)", f.read())[1], 8)
        self.assertEqual(flags & (os.O_NONBLOCK | os.O_APPEND), os.O_APPEND)

    def test_no_link_of_a_service_leads_us_to_a_file_that_it_may_not_write(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to give files away")
        logs, target = self.path("logs"), self.path("target")
        os.mkdir(logs)
        os.chown(logs, harness.NOBODY, harness.NOBODY)
        output = f'user = "nobody"\noutput = "file:{logs}/log"'
        s = harness.Supervisor(self, self.puppets("os.write(1, b'first')", service=output))
        self.assertEqual(self.read("logs/log"), "first")
        self.assertEqual(os.stat(logs + "/log").st_uid, harness.NOBODY)
        with open(target, "w") as f:
            os.chmod(f.name, 0o600)
        os.remove(logs + "/log")
        os.symlink(target, logs + "/log")
        self.assertIn("through a link we do not", s.upgrade("rolled_back")["reason"])
        self.assertEqual(self.read("target"), "")
        # A hard link as little.
        os.chmod(logs, 0o555)
        os.remove(logs + "/log")
        os.link(target, logs + "/log")
        self.assertIn("through a link we do not", s.upgrade("rolled_back")["reason"])
        self.assertEqual(self.read("target"), "")
        # Where only root may write it is root's.
        os.remove(logs + "/log")
        os.chown(logs, 0, 0)
        s.upgrade()
        self.assertEqual(self.read("logs/log"), "first")
        self.assertEqual(os.stat(logs + "/log").st_uid, 0)

    def test_an_output_file_is_opened_with_the_groups_of_the_service_and_not_with_ours(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to give files away")
        logs, ours = self.path("logs"), os.getgroups()
        games, audio = grp.getgrnam("games").gr_gid, grp.getgrnam("audio").gr_gid
        self.addCleanup(os.setgroups, ours)
        os.setgroups([games])  # what is started now is in it as well
        for name, group in (("theirs", audio), ("games", games)):
            os.makedirs(f"{logs}/{name}")
            os.chown(f"{logs}/{name}", 0, group)
            os.chmod(f"{logs}/{name}", 0o775)
            os.symlink(f"{logs}/{name}", f"{logs}/to-{name}")

        def logged(where):
            service = f'user = "nobody"\nsupplementary-groups = ["audio"]\noutput = "file:{logs}/to-{where}/log"'
            return self.puppets("os.write(1, b'heard')", service=service)

        s = harness.Supervisor(self, logged("theirs"))
        self.assertEqual(self.read("logs/theirs/log"), "heard")
        self.assertEqual(os.stat(logs + "/theirs/log").st_uid, harness.NOBODY)
        s.write(logged("games"))
        self.assertIn("through a link we do not", s.upgrade("rolled_back")["reason"])
        with open(f"/proc/{s.process.pid}/status") as f:
            self.assertIn(f"Groups:\t{games} \n", f.read(), "and has its own again")

    def test_it_leads_a_session_of_its_own_with_no_signal_blocked_or_ignored(self):
        found = self.dump()
        self.assertEqual(found["sid"], found["pid"])
        self.assertEqual(int(found["blocked"], 16), 0)
        ours = 1 << 12 | 1 << 24  # SIGPIPE and SIGXFSZ: Python ignores them itself
        self.assertEqual(int(found["ignored"], 16) & ~ours, 0)

    def test_three_hundred_listeners_arrive(self):
        s = harness.Supervisor(self, self.puppets(
            addresses=[self.address, *(f"unix:{self.path('s')}{n}" for n in range(299))]))
        self.assertEqual(self.tell("answer = len(listeners), descriptors == list(range(303)), names[299]"),
                         "(300, True, 'l299')")
        self.assertEqual(puppet.ask(self.path("s298")), 1)
        s.upgrade()
        self.assertEqual(puppet.ask(self.path("s298")), 2)


class Shortage(puppet.TestCase):
    def limited(self, configuration, *limit, **options):
        wrapper = [harness.PYTHON, "-c", "import os, resource, sys\n"
                   f"resource.setrlimit({limit[0]}, {limit[1:]})\nos.execv(sys.argv[1], sys.argv[1:])"]
        return harness.Supervisor(self, configuration, wrapper=wrapper, **options)

    def test_without_descriptors_a_launch_fails_as_an_event_and_all_else_goes_on(self):
        s = self.limited(self.demos(), resource.RLIMIT_NOFILE, 64, 64)
        pids = s.pids()
        s.write(self.demos(service="instances = 40", rest='[ready]\ntimeout = "3s"\n' + puppet.BRISK))
        reason = s.upgrade("rolled_back")["reason"]
        self.assertIn("Too many open files", reason)
        self.assert_live_untouched(s, pids)
        s.write(self.demos(service="instances = 2"))
        s.upgrade()
        self.assertEqual(puppet.ask(self.port), 3)

    def test_launches_that_fail_again_and_again_leave_no_cgroup_behind(self):
        own = self.own_cgroup()
        limit = (f"import os, resource, sys\n{self.move_to(own)}\n"
                 "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\nos.execv(sys.argv[1], sys.argv[1:])")
        s = harness.Supervisor(self, self.demos(), wrapper=[harness.PYTHON, "-c", limit])
        cgroups = next(os.walk(own))[1]
        self.assertEqual(len(cgroups), 1)
        pids = s.pids()
        s.write(self.demos(service="instances = 40", rest='[ready]\ntimeout = "3s"\n' + puppet.BRISK))
        self.assertIn("Too many open files", s.upgrade("rolled_back")["reason"])
        self.assert_live_untouched(s, pids)
        harness.poll_until(lambda: next(os.walk(own))[1] == cgroups, "no cgroup more than before")
        self.assertEqual(s.stop(), 0)

    def own_cgroup(self):
        """One that a supervisor may divide, as systemd delegates it."""
        with open("/proc/self/mounts") as f:
            root = next((words[1] for words in map(str.split, f) if words[2] == "cgroup2"), None)
        path = f"{root}/handoff-test-{os.getpid()}"
        try:
            os.mkdir(path)
        except OSError as e:
            self.skipTest(f"no cgroup of version 2 to write to: {e}")
        self.addCleanup(os.rmdir, path)
        return path

    @staticmethod
    def move_to(cgroup):
        return f"open({cgroup + '/cgroup.procs'!r}, 'w').write('0')"

    def test_a_main_process_is_known_by_its_cgroup(self):
        wrapper = [harness.PYTHON, "-c", f"import os, sys\n{self.move_to(self.own_cgroup())}\n"
                                         "os.execv(sys.argv[1], sys.argv[1:])"]
        without_environment = """
pid = os.fork()
if pid == 0: os.execve("/bin/sleep", ["sleep", "86399"], {})
while open(f"/proc/{pid}/environ").read(): pass
notify(f"MAINPID={pid}")
"""
        s = harness.Supervisor(self, self.puppets(without_environment), wrapper=wrapper)
        harness.poll_until(lambda: harness.children(self.first_of(s)) == s.pids(), "the child to be the main process")
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_restarting", generation=1)
        self.assertEqual(s.stop(), 0)

    @staticmethod
    def first_of(s):
        return next(iter(harness.children(s.process.pid)))

    def test_without_descriptors_new_listeners_are_refused(self):
        s = self.limited(self.demos(), resource.RLIMIT_NOFILE, 64, 64)
        pids = s.pids()
        s.write(self.puppets(addresses=[self.address, *(f"unix:{self.path('s')}{n}" for n in range(80))]))
        self.assertIn("Too many open files", s.upgrade("refused")["reason"])
        self.assert_live_untouched(s, pids)
        self.assertFalse(os.path.exists(self.path("s0")))

    def test_a_program_that_no_memory_is_left_for_fails_alone(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.demos(service='limits = { as = "1M" }'))
        s.upgrade("rolled_back")
        self.assert_live_untouched(s, pids)

    def test_a_full_disk_stops_the_log_and_nothing_else(self):
        s = harness.Supervisor(self, self.demos(rest='[log]\nfile = "/dev/full"\n' + puppet.BRISK))
        s.upgrade()
        self.assertEqual(puppet.ask(self.port), 2)
        self.assertEqual(s.stop(), 0)

    def test_a_full_disk_below_the_state_directory_stops_the_history_and_nothing_else(self):
        os.mkdir(self.path("tiny"))
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", self.path("tiny")],
                               capture_output=True)
        if mount.returncode != 0:
            self.skipTest("a tmpfs cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", self.path("tiny")], check=True)
        rest = f'[log]\nfile = "{self.path("tiny/log")}"\n' + puppet.BRISK
        s = harness.Supervisor(self, self.demos(rest=rest), environment={"HANDOFF_STATE_DIR": self.path("tiny")})
        for _ in range(30):  # some 200 bytes of history and 1000 of log each
            s.upgrade()
        self.assertEqual(puppet.ask(self.port), 31)
        self.assertEqual(s.status()["last"]["rollout"], 31)
        self.assertEqual(s.stop(), 0)

    def test_without_processes_a_launch_of_an_unprivileged_supervisor_fails_and_is_tried_again(self):
        uid = 61234  # nobody else's: the limit counts all processes of a user
        most = 2  # the supervisor and one instance
        become = (f"import os, resource, sys\nresource.setrlimit(resource.RLIMIT_NPROC, ({most}, {most}))\n"
                  f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})\nos.execv(sys.argv[1], sys.argv[1:])")
        # A sanitizer's leak check wants a process of its own.
        no_helper = 'environment = { ASAN_OPTIONS = "detect_leaks=0" }\n'
        s = harness.Supervisor(self, self.demos(service=no_helper), wrapper=[harness.PYTHON, "-c", become], start=False,
                               environment={"ASAN_OPTIONS": "detect_leaks=0"})
        os.chown(s.directory, uid, uid)
        s.start()
        pids = s.pids()
        s.write(self.demos(service=no_helper, rest='[ready]\ntimeout = "500ms"\n' + puppet.BRISK))
        self.assertIn("Resource temporarily unavailable", s.upgrade("rolled_back")["reason"])
        self.assert_live_untouched(s, pids)
        mark = s.events.mark()
        os.kill(pids[0], signal.SIGKILL)
        s.events.wait("instance_ready", since=mark)
        self.assertEqual(puppet.ask(self.port), 1)


if __name__ == "__main__":
    harness.main()
