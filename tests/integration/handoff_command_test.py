"""The operator's command against a supervisor that does what each test tells it to."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

from fake_supervisor import PATIENCE, FakeSupervisor, canary, event, status, verdict

HANDOFF = os.environ["HANDOFF"]
JUDGED = [{"name": "errors", "bounded": True, "judgement": "inconclusive", "why": "12 of 100 counted"},
          {"name": "latency", "bounded": True, "judgement": "pass", "why": ""},
          {"name": "load", "bounded": False, "judgement": "pass", "why": "only looked at"}]
HOSTILE = "a\x1b[2Jb\nforged\x9bc\u202ed"


class CommandTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.environment = dict(os.environ, HANDOFF_RUNTIME_DIR=self.directory)

    def supervisor(self, name="web"):
        made = FakeSupervisor(self.directory, name)
        self.addCleanup(made.close)
        return made

    def start(self, *arguments, **options):
        process = subprocess.Popen([HANDOFF, *arguments], env=self.environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **options)
        self.addCleanup(self._reap, process)
        return process

    @staticmethod
    def _reap(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def finish(self, process, code):
        said, complained = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, code, said + complained)
        return said, complained

    def run_handoff(self, code, *arguments, **options):
        return self.finish(self.start(*arguments, **options), code)

    def upgrading(self, supervisor, *arguments, rollout=5, method="Upgrade"):
        """An upgrade that has been asked for and is waited for."""
        supervisor.answers[method] = {"rollout": rollout}
        process = self.start(method.lower(), "web", *arguments)
        supervisor.wait_for_call(method)
        return process


class Usage(CommandTest):
    def test_wrong_usage_exits_2(self):
        for arguments in ([], ["upgrade"], ["nonsense"], ["upgrade", "web", "--until", "never"], ["status",
                                                                                                  "a/b"],
                          ["upgrade", "web", "--timeout", "5"], ["upgrade", "web", "--timeout", "0s"],
                          ["upgrade", "web", "--timeout", "9999d"], ["history", "web", "--limit", "0"],
                          ["status", ".."], ["status", "x" * 65], ["check"], ["promote"], ["plan"],
                          ["set-weight", "web"], ["set-weight", "web", "101"], ["set-weight", "web", "-1"],
                          ["set-weight", "web", "0.125"], ["set-weight", "web", "5 %"], ["set-weight", "web", ""],
                          ["set-weight", "web", "1e1"], ["set-weight", "web", "5", "6"]):
            with self.subTest(arguments=arguments):
                said, complained = self.run_handoff(2, *arguments)
                self.assertEqual(said, "")
                self.assertNotEqual(complained, "")

    def test_help_and_version_exit_0(self):
        self.assertIn("upgrade", self.run_handoff(0, "--help")[0])
        self.assertIn("--until", self.run_handoff(0, "upgrade", "--help")[0])
        self.assertRegex(self.run_handoff(0, "--version")[0], r"^handoff \d")


class Check(CommandTest):
    def test_every_problem_is_told(self):
        path = os.path.join(self.directory, "web.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write('[service]\nname = "web"\ncomand = ["/bin/true"]\n')
        _, complained = self.run_handoff(2, "check", path)
        self.assertIn(path + ":3:", complained)
        self.assertIn("command", complained)
        told = json.loads(self.run_handoff(2, "check", "--json", path)[0])
        self.assertFalse(told["valid"])
        self.assertGreater(len(told["problems"]), 1)

    def test_a_good_file_is_summed_up(self):
        path = os.path.join(self.directory, "web.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write('[service]\nname = "web"\ncommand = ["/bin/true"]\n[[listener]]\nname = "http"\n'
                       'address = "127.0.0.1:8000"\n')
        said, _ = self.run_handoff(0, "check", path)
        self.assertIn("'web'", said)
        self.assertRegex(said, r"127\.0\.0\.1:8000, (steered by eBPF, as this user\n|\w+.*, as this user: )")
        self.assertIn("an upgrade, by strategy 'handoff':\n    start 1 instance\n    give it all traffic\n"
                      "    the old generation drains for at most 1m\n", said)
        self.assertTrue(json.loads(self.run_handoff(0, "check", "--json", path)[0])["valid"])

    def how_it_is_shared(self, listener="", rollout="", address="127.0.0.1:8000", **options):
        os.chmod(self.directory, 0o755)
        path = os.path.join(self.directory, "web.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'[service]\nname = "web"\ncommand = ["/bin/true"]\n[[listener]]\nname = "http"\n'
                       f'address = "{address}"\n{listener}\n[rollout]\n{rollout}\n')
        said, _ = self.run_handoff(0, "check", path, **options)
        return re.search(rf"listener 'http' at .*?{address.split('/')[-1]}, (.*)", said)[1]

    def test_what_is_shared_everywhere_is_told_with_the_reason(self):
        self.assertEqual(self.how_it_is_shared("steer = false"), "shared: steer = false")
        self.assertEqual(self.how_it_is_shared(rollout='sharing = "shared"'), "shared: [rollout] sharing = 'shared'")
        self.assertEqual(self.how_it_is_shared(address="unix:/run/web"), "shared: it is a Unix socket")

    @unittest.skipUnless(os.geteuid() == 0, "needs another user")
    def test_who_may_not_load_ebpf_is_told_what_happens_instead(self):
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        by_classic = r"steered by classic BPF, as this user: .*\(needs CAP_BPF and CAP_PERFMON"
        with open("/proc/sys/net/ipv4/tcp_migrate_req") as file:
            migrates = file.read().strip() != "0"
        self.assertRegex(self.how_it_is_shared(**nobody),
                         by_classic if migrates else r"shared, as this user: .*\(needs CAP_BPF and CAP_PERFMON")
        self.assertRegex(self.how_it_is_shared(rollout='sharing = "steered"', **nobody), by_classic)
        self.assertRegex(self.how_it_is_shared("connection-id-byte = 1", 'sharing = "steered"', "udp://127.0.0.1:8000",
                                               **nobody),
                         "cannot be steered, as this user: .*classic BPF knows no connection-id-byte")

    def test_a_file_that_cannot_be_read_is_invalid(self):
        self.run_handoff(2, "check", self.directory + "/missing.toml")
        self.run_handoff(2, "check", self.directory)
        self.run_handoff(2, "check", "/dev/zero")


class Finding(CommandTest):
    def test_an_unknown_name_lists_those_that_run(self):
        self.supervisor("web")
        self.supervisor("api")
        stale = self.supervisor("old")
        stale.vanish(leave_file=True)
        for command in ("status", "upgrade", "abort", "rollback", "stop", "reload", "history", "watch", "promote",
                        "pause", "resume", "plan"):
            with self.subTest(command=command):
                _, complained = self.run_handoff(3, command, "wbe")
                self.assertIn("wbe", complained)
                self.assertIn("running: api, web", complained)
                self.assertNotIn("old", complained)

    def test_one_in_a_directory_of_its_own_is_found_by_its_name(self):
        own = os.path.join(self.directory, "web")
        os.mkdir(own)
        for name in ("web", "stranger"):
            made = FakeSupervisor(own, name)
            self.addCleanup(made.close)
        self.run_handoff(0, "status", "web")
        told = self.run_handoff(0, "status")[0]
        self.assertIn("web", told)
        self.assertNotIn("stranger", told)
        self.run_handoff(3, "status", "stranger")

    def test_a_link_does_not_lead_to_another_service(self):
        api = self.supervisor("api")
        own = os.path.join(self.directory, "web")
        os.mkdir(own)
        os.symlink(api.path, os.path.join(own, "web.sock"))
        self.run_handoff(3, "abort", "web")
        self.assertEqual(api.calls, [])

    def test_a_stale_socket_is_no_supervisor(self):
        self.supervisor("old").vanish(leave_file=True)
        self.run_handoff(3, "status", "old")

    def test_no_supervisor_at_all(self):
        self.assertIn(self.directory, self.run_handoff(3, "status")[1])
        self.assertIn(self.directory, self.run_handoff(3, "watch")[1])

    def test_all_of_none_is_done(self):
        self.supervisor("old").vanish(leave_file=True)
        self.assertEqual(self.run_handoff(0, "reexec", "--all"), ("no supervisor runs\n", ""))

    @unittest.skipUnless(os.geteuid() == 0, "needs another user")
    def test_who_may_not_is_told_who_may(self):
        web = self.supervisor()
        os.chmod(self.directory, 0o755)
        os.chmod(web.path, 0o660)
        _, complained = self.run_handoff(5, "status", "web", user=65534, group=65534, extra_groups=[])
        self.assertIn("not allowed", complained)
        self.assertIn("group root", complained)


class Status(CommandTest):
    def test_the_overview_has_a_row_a_service(self):
        self.supervisor("web")
        api = self.supervisor("api")
        api.answers["Status"] = status(service="api", state="upgrading",
                                       waiting_for="generation 9 to be ready",
                                       deadline_in_ms=12000, rollout={"number": 4, "generation": 9})
        rows = self.run_handoff(0, "status")[0].splitlines()
        self.assertEqual(len(rows), 3)
        self.assertRegex(rows[1], r"^api +8 > 9 +upgrading +4711 +2 min +3 +"
                                  r"generation 9 to be ready, for at most 12 s$")
        self.assertRegex(rows[2], r"^web +8 +serving +4711 +2 min +3")

    def test_one_service_is_told_in_full(self):
        web = self.supervisor()
        web.answers["Status"] = status(notes=["the file on disk differs"], last={
            "rollout": 4, "generation": 7, "cause": "asked by root", "verdict": "rolled_back",
            "reason": "exited 1 before ready", "stage": "ready", "started": "2026-01-01T00:00:00Z",
            "seconds": 0.4,
            "output": ["boom"]})
        said, _ = self.run_handoff(0, "status", "web")
        for expected in ("generation 8 serves", "handoffd 0.1.0, pid 812", "note: the file on disk differs",
                         "8.1",
                         "4711", "0.0.0.0:80",
                         "last rollout 4 (asked by root): rolled back: exited 1 before ready",
                         "| boom"):
            self.assertIn(expected, said)
        self.assertNotIn("\x1b", said)

    def test_a_rollout_is_told_with_its_plan_and_what_came_to_whom(self):
        web = self.supervisor()
        web.answers["Status"] = canary()
        said, _ = self.run_handoff(0, "status", "web")
        for expected in ("rollout 3 (request), 30 s old: canary, step 2 of 4: give it 5 % of the traffic for 2m\n"
                         "    waiting for the end of holding at 5 %, for at most 90 s",
                         "shared: a Unix socket cannot be steered"):
            self.assertIn(expected, said)
        self.assertRegex(said, r"7 +live +95 % ")
        self.assertRegex(said, r"8 +candidate +5 % ")
        self.assertRegex(said, r"http +0\.0\.0\.0:80 +0 +4096 +0 +steered\n")
        self.assertRegex(said, r"http +8 +5 % +0 +640 +0 +2\n")
        self.assertNotIn("#", said, "bars are for terminals")
        web.answers["Status"] = canary(paused=True)
        self.assertIn("\n    paused\n", self.run_handoff(0, "status", "web")[0])

    def test_metrics_that_decide_are_told_with_what_they_rest_on(self):
        web = self.supervisor()
        web.answers["Status"] = canary(metrics=JUDGED)
        self.assertIn("for at most 90 s\n    metric 'errors': inconclusive: 12 of 100 counted\n"
                      "    metric 'latency': pass: nothing was measured yet\n",
                      self.run_handoff(0, "status", "web")[0] + "\n")

    def test_json_is_what_the_supervisor_told(self):
        self.supervisor("web")
        self.supervisor("api")
        told = [json.loads(line) for line in self.run_handoff(0, "status", "--json")[0].splitlines()]
        self.assertEqual([one["service"] for one in told], ["api", "web"])
        self.assertEqual(told[1], status())

    def test_hostile_strings_do_not_reach_the_terminal(self):
        web = self.supervisor()
        web.answers["Status"] = status(summary=HOSTILE, state=HOSTILE, notes=[HOSTILE] * 3,
                                       waiting_for=HOSTILE,
                                       version=HOSTILE)
        for arguments in (["status", "web"], ["status"], ["status", "--json"]):
            said, _ = self.run_handoff(0, *arguments)
            for bad in ("\x1b", "\nforged", "\x9b", "\u202e"):
                self.assertNotIn(bad, said)

    def test_nonsense_of_every_shape_is_survived(self):
        web = self.supervisor()
        shapes = [None, True, -1, 1 << 63, 1e308, "text", [], [[]], {}, [None, 1, "x", {}]]
        for shape in shapes:
            for key in status():
                web.answers["Status"] = status(**{key: shape})
                self.run_handoff(0, "status", "web")
            web.answers["Status"] = {key: shape for key in status()}
            self.run_handoff(0, "status", "web")
            self.run_handoff(0, "status")

    def test_a_reply_that_is_none_is_an_error(self):
        web = self.supervisor()
        for reply in (b"garbage\0", b"[]\0", b"[" * 100000 + b"\0", b'{"parameters":{"x":"\xff"}}\0', b"\0",
                      b"x" * (3 << 20)):
            web.answers["Status"] = reply
            _, complained = self.run_handoff(3, "status", "web")
            self.assertIn("web: the supervisor's reply", complained)

    def test_errors_have_their_exit_codes(self):
        web = self.supervisor()
        for error, code in (("NotAllowed", 5), ("Refused", 5), ("Busy", 5),
                            ("org.varlink.service.MethodNotFound", 5),
                            ("InvalidConfiguration", 2)):
            web.answers["Status"] = (error, {"reason": "because " + HOSTILE,
                                             "problems": ["web.toml:1:2: bad"]})
            _, complained = self.run_handoff(code, "status", "web")
            self.assertNotIn("\x1b", complained)


class Upgrade(CommandTest):
    def test_without_wait_it_is_asked_for(self):
        web = self.supervisor()
        web.answers["Upgrade"] = {"rollout": 5}
        self.assertEqual(self.run_handoff(0, "upgrade", "web")[0], "web: rollout 5 asked for\n")
        told = json.loads(self.run_handoff(0, "upgrade", "web", "--json")[0])
        self.assertEqual(told, {"service": "web", "rollout": 5, "reached": "asked"})

    def test_promoted_says_what_was_reached(self):
        web = self.supervisor()
        process = self.upgrading(web, "--wait")
        web.answers["Status"] = status(last={"rollout": 5, "seconds": 0.41}, generations=[
            {"number": 7, "role": "draining", "deadline_in_ms": 60000, "instances": []}])
        web.tell(event("serving", 5), verdict(4, "rolled_back", "another one"), verdict(5, "promoted"))
        self.assertEqual(self.finish(process, 0)[0],
                         "web: generation 8 promoted in 0.4 s; generation 7 drains for at most 60 s\n")

    def test_a_verdict_before_the_answer_is_not_missed(self):
        """Whoever waits watches before it asks: the whole rollout may be over when the answer comes."""
        web = self.supervisor()

        def answer(_):
            web.tell(event("started", 5), verdict(5, "promoted"), event("settled", 5))
            return {"rollout": 5}
        web.answers["Upgrade"] = answer
        self.run_handoff(0, "upgrade", "web", "--wait")
        self.run_handoff(0, "upgrade", "web", "--until", "drained")
        self.assertLess(web.calls.index("Watch"), web.calls.index("Upgrade"))

    def test_a_failed_rollout_exits_1_and_says_why(self):
        for goal in ("serving", "promoted", "drained"):
            web = self.supervisor()
            process = self.upgrading(web, "--until", goal)
            web.tell(verdict(5, "rolled_back", "exited 1 before ready " + HOSTILE, ["line one", HOSTILE]))
            said, complained = self.finish(process, 1)
            self.assertEqual(said, "")
            self.assertIn("web: rollout 5 rolled back: exited 1 before ready", complained)
            self.assertIn("  | line one\n", complained)
            self.assertNotIn("\x1b", complained)
            self.assertNotIn("\nforged", complained)
            web.close()

    def test_a_refused_rollout_exits_1(self):
        web = self.supervisor()
        process = self.upgrading(web, "--wait", "--json")
        web.tell(verdict(5, "refused", "line 12: bad", generation=None))
        told = json.loads(self.finish(process, 1)[0])
        self.assertEqual((told["verdict"], told["reason"], told["rollout"]), ("refused", "line 12: bad", 5))

    def test_a_broken_configuration_exits_1_as_the_last_good_one_serves(self):
        web = self.supervisor()
        web.answers["Upgrade"] = ("InvalidConfiguration", {"problems": ["web.toml:12:1: bad"]})
        self.assertIn("web.toml:12:1: bad", self.run_handoff(1, "upgrade", "web")[1])

    def test_until_serving_does_not_wait_for_the_verdict(self):
        web = self.supervisor()
        process = self.upgrading(web, "--until", "serving")
        web.tell(event("serving", 4), event("serving", 5))
        self.assertIn("generation 8 serves; rollout 5 is not over yet", self.finish(process, 0)[0])

    def test_a_plan_that_holds_counts_as_serving(self):
        said = "generation 8 takes 5 % of the traffic for 2m"
        web = self.supervisor()
        process = self.upgrading(web, "--wait", "--until", "serving")
        web.tell(event("holding", 4), event("holding", 5, said, weight=5.0))
        self.assertEqual(self.finish(process, 0)[0],
                         f"web: {said}; rollout 5 is not over yet (handoff status web)\n")
        process = self.upgrading(web, "--until", "serving", "--json")
        web.wait_for_call("Upgrade", 2)
        web.tell(event("holding", 5, said, weight=5.0))
        self.assertEqual(json.loads(self.finish(process, 0)[0]),
                         {"service": "web", "rollout": 5, "reached": "holding", "generation": 8, "weight": 5.0})
        process = self.upgrading(web, "--wait")
        web.wait_for_call("Upgrade", 3)
        web.tell(event("holding", 5, said, weight=5.0), verdict(5, "promoted"))
        self.assertIn("generation 8 promoted", self.finish(process, 0)[0])

    def test_until_drained_waits_for_the_last_one_to_leave(self):
        web = self.supervisor()
        process = self.upgrading(web, "--until", "drained", "--timeout", "2s")
        web.tell(verdict(5, "promoted"))
        self.finish(process, 4)
        process = self.upgrading(web, "--until", "drained", "--json")
        web.wait_for_call("Upgrade", 2)
        web.tell(verdict(5, "promoted"), event("settled", 5))
        told = json.loads(self.finish(process, 0)[0])
        self.assertEqual((told["reached"], told["verdict"]), ("drained", "promoted"))

    def test_patience_ends_with_4(self):
        web = self.supervisor()
        process = self.upgrading(web, "--timeout", "2s")
        self.assertIn("rollout 5 goes on", self.finish(process, 4)[1])

    def test_an_interruption_leaves_the_rollout_going_and_says_so(self):
        web = self.supervisor()
        process = self.upgrading(web, "--wait")
        self._until_blocked(process.pid)
        process.send_signal(signal.SIGINT)
        self.assertIn("interrupted; rollout 5 goes on", self.finish(process, 4)[1])

    @staticmethod
    def _until_blocked(pid):
        """Until the process takes SIGINT in its own way."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                blocked = next(line.split()[1] for line in file if line.startswith("SigBlk"))
            if int(blocked, 16) & (1 << (signal.SIGINT - 1)):
                return
        raise AssertionError("SIGINT is not blocked")

    def test_several_services_stop_at_the_first_that_fails(self):
        web, api = self.supervisor("web"), self.supervisor("api")
        web.answers["Upgrade"] = ("Refused", {"reason": "it is stopping"})
        _, complained = self.run_handoff(5, "upgrade", "web", "api")
        self.assertIn("it is stopping", complained)
        self.assertIn("left alone: api", complained)
        self.assertNotIn("Upgrade", api.calls)

    def test_rollback_is_waited_for_in_the_same_way(self):
        web = self.supervisor()
        process = self.upgrading(web, "--wait", method="Rollback")
        web.tell(verdict(5, "promoted"))
        self.finish(process, 0)

    def test_progress_is_told_on_a_terminal_only(self):
        web = self.supervisor()
        web.answers["Upgrade"] = {"rollout": 5}
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        process = subprocess.Popen([HANDOFF, "upgrade", "web", "--wait"], stdout=subprocess.PIPE,
                                   stderr=theirs,
                                   env=dict(self.environment, TERM="xterm", NO_COLOR="1"), text=True)
        self.addCleanup(self._reap, process)
        os.close(theirs)
        web.wait_for_call("Upgrade")
        web.tell(event("stage", 5, text="waiting for 8.1 " + HOSTILE), verdict(5, "promoted"))
        self.finish_quietly(process)
        shown = os.read(ours, 65536).decode()
        self.assertIn("web: waiting for 8.1 a?[2Jb forged?c?d", shown)
        self.assertNotIn("\x1b", shown)

    def finish_quietly(self, process):
        process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0)


class LostSupervisor(CommandTest):
    def history(self, kind, **more):
        return {"rollouts": [dict({"rollout": 5, "generation": 8, "verdict": kind,
                                   "reason": "supervisor died",
                                   "output": []}, **more)]}

    def test_the_verdict_is_looked_up_when_it_comes_back(self):
        for kind, code in (("promoted", 0), ("rolled_back", 1), ("refused", 1)):
            web = self.supervisor()
            process = self.upgrading(web, "--wait")
            web.answers["History"] = self.history(kind)
            web.vanish()
            web.open()
            self.finish(process, code)
            web.close()

    def test_a_rollout_that_goes_on_is_followed_again(self):
        web = self.supervisor()
        process = self.upgrading(web, "--until", "drained")
        web.answers["History"] = {"rollouts": []}
        web.answers["Status"] = status(rollout={"number": 5, "generation": 8})
        web.vanish()
        web.open()
        web.wait_for_call("Watch", 2)
        web.tell(verdict(5, "promoted"), event("settled", 5))
        self.finish(process, 0)

    def test_what_settled_meanwhile_is_seen(self):
        web = self.supervisor()
        process = self.upgrading(web, "--until", "drained")
        web.answers["History"] = self.history("promoted")
        web.vanish()
        web.open()
        self.assertIn("the generation before it is gone", self.finish(process, 0)[0])

    def test_one_that_remembers_nothing_exits_3(self):
        web = self.supervisor()
        process = self.upgrading(web, "--wait")
        web.answers["History"] = {"rollouts": []}
        web.vanish()
        web.open()
        self.assertIn("knows nothing of rollout 5", self.finish(process, 3)[1])

    def test_one_that_stays_away_exits_3(self):
        web = self.supervisor()
        process = self.upgrading(web, "--wait")
        web.vanish()
        self.assertIn("did not come back", self.finish(process, 3)[1])

    def test_our_own_patience_ends_first(self):
        web = self.supervisor()
        process = self.upgrading(web, "--timeout", "2s")
        web.vanish()
        self.finish(process, 4)


class Actions(CommandTest):
    def test_abort_and_reload_report(self):
        web = self.supervisor()
        web.answers["Abort"] = {"rollout": 5}
        web.answers["Reload"] = {"applied": ["drain.timeout"]}
        self.assertIn("rollout 5 aborted", self.run_handoff(0, "abort", "web")[0])
        self.assertIn("drain.timeout", self.run_handoff(0, "reload", "web")[0])
        web.answers["Abort"] = ("Refused", {"reason": "no rollout; use rollback"})
        self.assertIn("use rollback", self.run_handoff(5, "abort", "web")[1])
        web.answers["Reload"] = ("InvalidConfiguration", {"problems": ["web.toml:1:2: bad",
                                                                       "web.toml:2:2: worse"]})
        self.assertIn("web.toml:2:2: worse", self.run_handoff(2, "reload", "web")[1])

    def test_stop_waits_until_the_supervisor_is_gone(self):
        web = self.supervisor()
        web.answers["Stop"] = {}
        process = self.start("stop", "web")
        web.wait_for_call("Stop")
        web.tell(event("stopping"))
        self.assertIsNone(process.poll())
        web.vanish()
        self.assertEqual(self.finish(process, 0)[0], "web: stopped\n")

    def test_stop_knows_a_successor(self):
        web = self.supervisor()
        web.answers["Stop"] = {}
        process = self.start("stop", "web", "--json")
        web.wait_for_call("Stop")
        os.rename(web.path, web.path + ".old")
        self.supervisor()
        os.rename(web.path, web.path + ".new")
        os.rename(web.path + ".old", web.path)
        web.vanish()
        os.rename(web.path + ".new", web.path)
        self.assertEqual(json.loads(self.finish(process, 0)[0]), {"service": "web", "stopped": True})

    def test_stop_need_not_wait(self):
        web = self.supervisor()
        web.answers["Stop"] = {}
        self.assertEqual(self.run_handoff(0, "stop", "web", "--no-wait")[0], "web: stopping\n")
        self.run_handoff(4, "stop", "web", "--timeout", "200ms")

    def test_history_is_a_table(self):
        web = self.supervisor()

        def history(parameters):
            entries = [{"rollout": n, "generation": n, "cause": "HUP", "verdict": "promoted", "reason": "",
                        "stage": "", "started": "2026-01-01T00:00:00Z", "seconds": 1.5, "output": []}
                       for n in (7, 6, 5)]
            return {"rollouts": entries[:parameters.get("limit", 3)]}
        web.answers["History"] = history
        self.assertEqual(len(self.run_handoff(0, "history", "web")[0].splitlines()), 4)
        told = self.run_handoff(0, "history", "web", "--limit", "2", "--json")[0].splitlines()
        self.assertEqual([json.loads(line)["rollout"] for line in told], [7, 6])


class MovingOn(CommandTest):
    """What an operator may do to a rollout under way."""

    def holding(self, method):
        web = self.supervisor()
        web.answers["Status"] = canary()
        web.answers[method] = {"rollout": 3}
        return web

    def test_promote_tells_where_the_rollout_is_then(self):
        web = self.holding("Promote")
        self.assertEqual(self.run_handoff(0, "promote", "web")[0],
                         "web: rollout 3 goes on: holding at 5 %, waits for the end of holding at 5 %, "
                         "for at most 90 s\n")
        self.assertEqual(web.asked["Promote"], {})
        web.answers["Status"] = status(last={"rollout": 3, "verdict": "promoted", "reason": ""})
        self.assertEqual(self.run_handoff(0, "promote", "--full", "web")[0], "web: rollout 3 is over: promoted\n")
        self.assertEqual(web.asked["Promote"], {"full": True})
        web.answers["Status"] = status(last={"rollout": 3, "verdict": "rolled_back", "reason": "check 'smoke'"})
        self.assertIn("is over: rolled back: check 'smoke'", self.run_handoff(0, "promote", "web")[0])

    def test_pause_and_resume(self):
        self.holding("Pause").answers["Resume"] = {"rollout": 3}
        self.assertEqual(self.run_handoff(0, "pause", "web")[0], "web: rollout 3 is paused at: holding at 5 %\n")
        self.assertIn("rollout 3 goes on: holding at 5 %", self.run_handoff(0, "resume", "web")[0])

    def test_set_weight_sends_a_percentage(self):
        web = self.holding("SetWeight")
        for given, sent, said in (("25", 25, "25 %"), ("0.25", 0.25, "0.25 %"), ("33.3%", 33.3, "33.3 %"),
                                  ("0", 0, "0 %"), ("100", 100, "100 %")):
            self.assertEqual(self.run_handoff(0, "set-weight", "web", given)[0],
                             f"web: rollout 3: generation 8 takes {said} of the traffic\n")
            self.assertEqual(web.asked["SetWeight"], {"weight": sent})

    def test_each_can_be_refused_and_can_print_json(self):
        for arguments, method in ((["promote"], "Promote"), (["pause"], "Pause"), (["resume"], "Resume"),
                                  (["set-weight"], "SetWeight")):
            more = ["5"] if method == "SetWeight" else []
            with self.subTest(method=method):
                web = self.holding(method)
                told = json.loads(self.run_handoff(0, *arguments, "web", *more, "--json")[0])
                self.assertEqual(told, {"service": "web", "rollout": 3})
                web.answers[method] = ("Refused", {"reason": "no rollout is under way " + HOSTILE})
                said, complained = self.run_handoff(5, *arguments, "web", *more)
                self.assertEqual(said, "")
                self.assertIn("web: refused: no rollout is under way a?[2Jb", complained)
                web.close()

    def test_plan_numbers_the_steps(self):
        web = self.supervisor()
        web.answers["Plan"] = {"strategy": "canary", "steps": ["start 1 instance", "give it all traffic"],
                               "refused": None}
        self.assertEqual(self.run_handoff(0, "plan", "web")[0],
                         "web: an upgrade now, by strategy 'canary':\n  1. start 1 instance\n"
                         "  2. give it all traffic\n")
        self.assertEqual(json.loads(self.run_handoff(0, "plan", "web", "--json")[0]),
                         dict(web.answers["Plan"], service="web"))

    def test_a_plan_that_would_be_refused_says_why(self):
        web = self.supervisor()
        web.answers["Plan"] = {"strategy": "canary", "steps": [], "refused": "the supervisor is stopping"}
        self.assertIn("an upgrade would be refused: the supervisor is stopping",
                      self.run_handoff(5, "plan", "web")[1])
        self.run_handoff(5, "plan", "web", "--json")
        web.answers["Plan"] = ("InvalidConfiguration", {"problems": ["web.toml:12:1: bad"]})
        self.assertIn("web.toml:12:1: bad", self.run_handoff(2, "plan", "web")[1])


class Experiment(CommandTest):
    """What the supervisor computed is printed, whatever it looks like."""

    def comparing(self, **metric):
        def variant(name, generation, connections):
            return {"name": name, "generation": generation, "connections": connections, "datagrams": 0}
        told = {"name": "latency", "kind": "value", "judgement": "pass", "why": "", "bounded": False, "unread": None,
                "candidate": {"count": 200, "failures": None, "mean": 12.5, "variance": 0.1},
                "live": {"count": 600, "failures": None, "mean": 11, "variance": 0.1}, "difference": None}
        told.update(metric)
        web = self.supervisor()
        web.answers["Status"] = canary(strategy="experiment", metrics=[told],
                                       variants=[variant("old", 7, 300), variant("new", 8, 100)])
        return web

    def report(self, *arguments):
        return self.run_handoff(0, "experiment", "report", "web", *arguments)[0]

    def test_the_variants_have_their_shares(self):
        self.comparing()
        self.assertRegex(self.report(), r"old +7 +/usr/bin/web +1 of 1 +95 % +300 +75\.0 % +0 +2 min")
        self.assertRegex(self.report(), r"new +8 +/usr/bin/web +1 of 1 +5 % +100 +25\.0 %")
        self.assertEqual([v["share"] for v in json.loads(self.report("--json"))["variants"]], [75, 25])

    def test_what_a_difference_means_is_told_in_words(self):
        def difference(by, significant):
            return {"difference": by, "low": by - 1, "high": by + 1, "chance": 0.5, "significant": significant}
        web = self.comparing()
        for metric, said in (
                ({"difference": difference(1.5, True)}, r"11 of 600 +12\.5 of 200 +\+1\.5 \(0\.5\.\.2\.5\) +new is worse"),
                ({"difference": difference(-1.5, True)}, r"-1\.5 \(-2\.5\.\.-0\.5\) +new is better"),
                ({"difference": difference(0.5, False)}, "no difference can be told yet"),
                ({}, "too little was measured yet"),
                ({"judgement": "inconclusive", "why": "of the candidate: exited 1"}, "of the candidate: exited 1"),
                ({"unread": "exited 7"}, "old could not be read: exited 7")):
            with self.subTest(said=said):
                told = web.answers["Status"]["rollout"]["metrics"][0]
                told.update({"judgement": "pass", "why": "", "unread": None, "difference": None}, **metric)
                self.assertRegex(self.report(), said)

    def test_concluding_another_rollout_is_told(self):
        web = self.comparing()
        web.answers["Abort"] = {"rollout": 4}
        process = self.start("experiment", "conclude", "web", "--keep", "old")
        web.wait_for_call("Abort")
        web.tell(verdict(4, "rolled_back", "aborted"))
        self.assertIn("what was concluded is rollout 4", self.finish(process, 1)[1])

    def test_nonsense_of_every_shape_is_survived(self):
        web = self.comparing(name=HOSTILE, unread=HOSTILE)
        self.assertNotIn("\x1b", self.report() + self.report("--json"))
        for shape in (None, True, -1, 1 << 63, 1e308, "text", [], {}, [None, 1]):
            web.answers["Status"] = canary(variants=[shape, shape], metrics=[shape, {"name": shape, "difference": shape}])
            self.report()
            self.report("--json")
            self.run_handoff(2, "experiment", "conclude", "web", "--keep", "old")
            web.answers["Status"] = canary(variants=shape, metrics=shape)
            self.run_handoff(0 if shape == [None, 1] else 5, "experiment", "report", "web")


class Watch(CommandTest):
    def read_line(self, process):
        ready, _, _ = select.select([process.stdout], [], [], 20)
        self.assertTrue(ready)
        return process.stdout.readline()

    def test_a_pipe_gets_lines_at_once(self):
        web, api = self.supervisor("web"), self.supervisor("api")
        process = self.start("watch")
        web.wait_for_call("Watch")
        api.wait_for_call("Watch")
        web.tell(event("note", text="hello " + HOSTILE))
        self.assertEqual(self.read_line(process), "2026-01-01T00:00:00Z  web: hello a?[2Jb forged?c?d\n")
        api.tell(event("note", text="there"))
        self.assertEqual(self.read_line(process), "2026-01-01T00:00:00Z  api: there\n")

    def test_json_lines(self):
        web = self.supervisor()
        process = self.start("watch", "web", "--json")
        web.wait_for_call("Watch")
        web.tell(event("note", text=HOSTILE))
        line = self.read_line(process)
        self.assertEqual(json.loads(line), dict(event("note", text=HOSTILE), service="web"))
        self.assertTrue(line.isascii())

    def test_it_comes_back_with_the_supervisor(self):
        web = self.supervisor()
        process = self.start("watch", "web")
        web.wait_for_call("Watch")
        web.vanish()
        web.open()
        web.wait_for_call("Watch", 2)
        web.tell(event("note", text="again"))
        self.assertIn("again", self.read_line(process))
        web.tell(event("stopping"))
        web.vanish()
        self.finish(process, 0)

    def test_a_terminal_gets_a_picture(self):
        web = self.supervisor()
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        process = subprocess.Popen([HANDOFF, "watch", "web"], stdout=theirs, stderr=subprocess.PIPE,
                                   text=True,
                                   env=dict(self.environment, TERM="xterm"))
        self.addCleanup(self._reap, process)
        os.close(theirs)
        web.wait_for_call("Watch")
        web.tell(event("note", text="something happened"))
        seen = ""
        while "something happened" not in seen:
            ready, _, _ = select.select([ours], [], [], 20)
            self.assertTrue(ready, seen)
            seen += os.read(ours, 65536).decode()
        self.assertIn("generation 8 serves", seen)
        self.assertIn("\x1b[32mserving", seen)


class LiveWatch(CommandTest):
    """handoff watch on a terminal of its own: keys, pictures, and the terminal afterwards."""

    def watch(self, web, *names, command=(), **environment):
        self.screen, theirs = pty.openpty()
        self.addCleanup(os.close, self.screen)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.seen = ""
        self.theirs = theirs
        self.addCleanup(os.close, theirs)
        self.before = termios.tcgetattr(theirs)
        process = subprocess.Popen([*command, HANDOFF, "watch", *names], stdin=theirs, stdout=theirs, stderr=theirs,
                                   text=True, env=dict(self.environment, **{"TERM": "xterm", **environment}),
                                   preexec_fn=self._own_terminal)
        self.addCleanup(self._reap, process)
        web.wait_for_call("Watch")
        return process

    @staticmethod
    def _own_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def until_shown(self, expected):
        """Reads the screen until it was told this, and forgets what it was told up to there."""
        deadline = time.monotonic() + 20
        while expected not in self.seen:
            ready, _, _ = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))
            self.assertTrue(ready, f"waited for {expected!r}, saw {self.seen!r}")
            self.seen += os.read(self.screen, 65536).decode()
        before, _, self.seen = self.seen.partition(expected)
        return before

    def press(self, keys):
        os.write(self.screen, keys.encode())

    def assert_ended(self, process, code):
        """With the terminal as it was."""
        process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, code)
        self.assertEqual(termios.tcgetattr(self.theirs), self.before)
        while select.select([self.screen], [], [], 0)[0]:
            self.seen += os.read(self.screen, 65536).decode()
        self.assertGreater(self.seen.rfind("\x1b[?25h"), self.seen.rfind("\x1b[?25l"), "the cursor is hidden")
        self.assertGreaterEqual(self.seen.rfind("\x1b[?7h"), self.seen.rfind("\x1b[?7l"), "lines do not wrap")

    def holding(self):
        web = self.supervisor()
        web.answers["Status"] = canary()
        for method in ("Promote", "Pause", "Resume", "Abort"):
            web.answers[method] = {"rollout": 3}
        return web

    def test_the_picture_tells_the_plan_the_weights_and_the_rates(self):
        web = self.holding()
        process = self.watch(web, "web", NO_COLOR="1")
        self.until_shown("generation 7 serves, rollout 3 under way")
        self.until_shown("[###################.] 95 %")
        self.until_shown("12345 connections, 0/s")
        self.until_shown("[#...................] 5 %")
        self.until_shown("rollout 3: canary")
        self.until_shown("  + start 1 instance")
        self.until_shown("  > give it 5 % of the traffic for 2m - 90 s left")
        self.until_shown("    give it all traffic")
        self.until_shown("p promote")
        web.answers["Status"] = canary(connections=10640)
        self.until_shown("10640 connections, ")
        rate = int(self.until_shown("/s"))
        self.assertTrue(1 <= rate <= 12000, rate)
        self.press("q")
        self.assert_ended(process, 0)

    def test_the_picture_tells_what_a_step_waits_for_and_what_metrics_say(self):
        web = self.holding()
        web.answers["Status"] = canary(metrics=JUDGED)
        process = self.watch(web, "web", NO_COLOR="1")
        self.until_shown("  > give it 5 % of the traffic for 2m - 90 s left for the end of holding at 5 %")
        self.until_shown("      metric 'errors': inconclusive: 12 of 100 counted")
        self.until_shown("      metric 'latency': pass")
        self.assertNotIn("load", self.until_shown("    give it all traffic"))
        self.press("q")
        self.assert_ended(process, 0)

    def test_what_nobody_counts_is_not_told_as_none(self):
        web = self.holding()
        web.answers["Status"] = canary(connections=None)  # as under classic BPF
        process = self.watch(web, "web", NO_COLOR="1")
        self.until_shown("12345 connections")
        self.assertNotIn("connections", self.until_shown("p promote"))
        self.press("q")
        self.assert_ended(process, 0)

    def test_the_picture_names_the_variants_of_an_experiment(self):
        web = self.holding()
        web.answers["Status"] = canary(variants=[{"name": "old", "generation": 7}, {"name": "new", "generation": 8}])
        process = self.watch(web, "web", NO_COLOR="1")
        self.until_shown("live, old")
        self.until_shown("candidate, new")
        self.press("q")
        self.assert_ended(process, 0)

    def test_events_scroll_above_the_picture(self):
        web = self.holding()
        process = self.watch(web, "web")
        self.until_shown("q quit")
        web.tell(event("note", text="something happened " + HOSTILE))
        self.until_shown("web: something happened a?[2Jb forged?c?d\r\n")
        self.until_shown("q quit")
        web.tell(event("note", text="something else"))
        before = self.until_shown("web: something else")
        self.assertNotIn("something happened", before, "what scrolled away is not drawn again")
        self.press("q")
        self.assert_ended(process, 0)

    def test_keys_reach_the_methods(self):
        web = self.holding()
        process = self.watch(web, "web")
        self.until_shown("p promote")
        self.press("p")
        web.wait_for_call("Promote")
        self.press(" ")
        web.wait_for_call("Pause")
        web.answers["Status"] = canary(paused=True)
        self.until_shown("space resume")
        self.press(" ")
        web.wait_for_call("Resume")
        self.press("a")
        self.until_shown("abort? y")
        self.press("n")
        self.until_shown("a abort")
        self.assertNotIn("Abort", web.calls)
        self.press("a")
        self.until_shown("abort? y")
        self.press("y")
        web.wait_for_call("Abort")
        self.press("q")
        self.assert_ended(process, 0)
        self.assertEqual([web.calls.count(m) for m in ("Promote", "Pause", "Resume", "Abort")], [1, 1, 1, 1])

    def test_a_refusal_is_shown(self):
        web = self.holding()
        web.answers["Promote"] = ("Refused", {"reason": "there is no hold to end"})
        process = self.watch(web, "web")
        self.until_shown("p promote")
        self.press("p")
        self.until_shown("web: refused: there is no hold to end")
        self.press("q")
        self.assert_ended(process, 0)

    def test_signals_end_it_with_the_terminal_as_it_was(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(signal=number):
                web = self.holding()
                process = self.watch(web, "web")
                self.until_shown("q quit")
                self.assertNotEqual(termios.tcgetattr(self.theirs), self.before)
                process.send_signal(number)
                self.assert_ended(process, -number)
                web.close()

    def test_the_end_of_the_supervisor_ends_it_with_the_terminal_as_it_was(self):
        web = self.holding()
        process = self.watch(web, "web")
        self.until_shown("q quit")
        web.tell(event("stopping"))
        self.until_shown("stopping")
        web.vanish()
        self.assert_ended(process, 0)

    def test_it_can_be_suspended(self):
        web = self.holding()
        shell = ["bash", "-mc", '"$@"; stty -a; echo suspended; fg', "bash"]
        process = self.watch(web, "web", command=shell)
        self.until_shown("q quit")
        self.press("\x1a")
        settings = self.until_shown("suspended")
        self.assertIn(" icanon", settings)
        self.assertIn(" echo ", settings)
        self.until_shown("q quit")
        self.assertEqual(termios.tcgetattr(self.theirs)[3] & termios.ICANON, 0)
        self.press("q")
        self.assert_ended(process, 0)

    def test_a_plan_longer_than_the_terminal_keeps_its_present_step_in_sight(self):
        web = self.holding()
        web.answers["Status"] = canary(steps=[f"step {n}" for n in range(100)], position=70)
        process = self.watch(web, "web", NO_COLOR="1")
        picture = self.until_shown("q quit")
        self.assertIn("> step 70", picture)
        self.assertLessEqual(picture.count("\n"), 23)
        self.press("q")
        self.assert_ended(process, 0)

    def test_a_dumb_terminal_gets_lines(self):
        web = self.holding()
        process = self.watch(web, "web", TERM="dumb")
        web.tell(event("note", text="something happened"))
        before = self.until_shown("web: something happened")
        self.assertNotIn("\x1b", before)
        web.tell(event("stopping"))
        web.vanish()
        process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0)

    def test_several_services_are_a_table_without_their_keys(self):
        web = self.holding()
        self.supervisor("api")
        process = self.watch(web, "web", "api")
        self.until_shown("SERVICE")
        self.assertNotIn("promote", self.until_shown("q quit"))
        self.press("py q")
        self.assert_ended(process, 0)
        self.assertNotIn("Promote", web.calls)

    def test_nonsense_of_every_shape_is_survived(self):
        web = self.holding()
        process = self.watch(web, "web")
        for n, shape in enumerate([None, True, -1, 1 << 63, 1e308, "text", [], [[]], [None, 1, "x", {}]]):
            told = canary(**{key: shape for key in canary()["rollout"]})
            told["listeners"] = [{"slots": [{"generation": shape, "connections": shape}, shape]}, shape]
            told["generations"] = [{"number": shape, "weight": shape, "instances": shape}, shape]
            told["notes"] = [f"shape {n}"]
            web.answers["Status"] = told
            self.until_shown(f"shape {n}")
        self.press("q")
        self.assert_ended(process, 0)


class Manual(CommandTest):
    def test_every_command_is_documented(self):
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "man", "handoff.1.scd")
        with open(source, encoding="utf-8") as file:
            manual = file.read()
        listed = self.run_handoff(0, "--help")[0].split("Subcommands:\n")[1].split("\n\n")[0]
        commands = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]
        self.assertGreater(len(commands), 10)
        for command in commands:
            self.assertIn(f"\n*{command}* ", manual)
            options = re.findall(r"--[a-z-]+", self.run_handoff(0, command, "--help")[0])
            for option in set(options):
                self.assertIn(option, manual, command)


class Crowd(CommandTest):
    def test_a_hundred_clients_wait_for_one_rollout(self):
        web = self.supervisor()
        web.answers["Upgrade"] = {"rollout": 5}
        processes = [self.start("upgrade", "web", "--wait") for _ in range(100)]
        web.wait_for_call("Upgrade", 100)
        web.tell(verdict(5, "promoted"))
        for process in processes:
            self.finish(process, 0)

    def test_a_supervisor_that_answers_bit_by_bit_is_understood(self):
        web = self.supervisor()
        message = json.dumps({"parameters": status(notes=["x" * 1000] * 500)}).encode() + b"\0"
        web.answers["Status"] = [message[n:n + 100] for n in range(0, len(message), 100)]
        said, _ = self.run_handoff(0, "status", "web", "--json")
        self.assertEqual(len(json.loads(said)["notes"]), 500)


if __name__ == "__main__":
    unittest.main()
