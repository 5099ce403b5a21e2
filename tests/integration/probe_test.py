"""Probes: HTTP and TCP readiness and checks that reach the generation under test and no other."""

import os
import shutil
import subprocess
import time
import unittest

import harness
import puppet
from steering_test import SteeredCase

SERVICE = puppet.http_service("probed_service.py")
READY_HTTP = '[ready]\nwhen = "http"\npath = "/health"\ntimeout = "20s"\ninterval = "20ms"\n'
NO_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--"]
CHECK = '[[check]]\nname = "health"\nhttp = { path = "/health", header = ["X-Asker: check"] }\n'


class ProbedCase(SteeredCase):
    HOST = "127.0.0.1"

    def setUp(self):
        super().setUp()
        self.port = harness.free_port(host=self.HOST if self.HOST != "::" else "::1")

    def write(self, name, text):
        with open(self.path(name) + ".new", "w") as f:
            f.write(text)
        os.rename(self.path(name) + ".new", self.path(name))

    def asked(self, generation):
        return self.read(f"asked.{generation}").splitlines()

    def configuration(self, rest, *arguments, service="", run=None, sharing="steered"):
        rollout = f'[rollout]\nsharing = "{sharing}"\n'
        rest = rest.replace("[rollout]\n", rollout) if "[rollout]" in rest else rest + rollout
        host = f"[{self.HOST}]" if ":" in self.HOST else self.HOST
        service = f'environment = {{ PROBED = "{self.directory}" }}\n{service}'
        return puppet.configuration(run or [*SERVICE, *arguments], f"{host}:{self.port}",
                                    service=service, rest=puppet.BRISK + rest)

    def probed(self, rest, *arguments, until="promoted", environment=None, **options):
        return self.supervise(self.configuration(rest, *arguments, **options), until, environment=environment)

    def wait_for_helpers(self, s):
        harness.poll_until(lambda: harness.children(s.process.pid) == s.pids(), "the last helper to be gone")

    def wait_for_descriptors(self, s, most):
        """Our own calls have one each, which handoffd closes in its time."""
        harness.poll_until(lambda: len(harness.descriptors(s.process.pid)) <= most, f"{most} descriptors")


class Ready(ProbedCase):
    def test_a_service_is_ready_once_it_answers_well(self):
        self.write("health.1", "503")
        s = self.probed(READY_HTTP, "silent", until=None)
        harness.poll_until(lambda: len(self.asked(1)) >= 3, "a few probes")
        self.assertIsNone(s.status()["last"])
        self.write("health.1", "200")
        s.events.wait("verdict", verdict="promoted")
        self.assertEqual({line.split()[0] for line in self.asked(1)}, {"127.0.0.1"})
        self.assertEqual({line.split()[1] for line in self.asked(1)}, {f"127.0.0.1:{self.port}"})

    def test_one_that_never_answers_well_is_rolled_back_with_what_it_answered(self):
        brief = READY_HTTP.replace("20s", "4s")
        s = self.probed(brief, "silent")
        before = self.asked(1)
        self.write("health.2", "503")
        self.assertRegex(s.upgrade("rolled_back")["reason"],
                         "^not ready in 4s([0-9]+ms)?: status 503, expected 200-399$")
        self.assertGreaterEqual(len(self.asked(2)), 3)
        self.assertEqual(self.asked(1), before)

    def test_what_is_asked_and_expected_is_as_configured(self):
        more = 'status = 503\nbody = "generation 1: unwell"\nhost = "www.example.org"\nheader = ["X-Asker: a tester"]\n'
        self.write("health.1", "503")
        self.probed(READY_HTTP + more, "silent")
        self.assertEqual(self.asked(1), ["127.0.0.1 www.example.org a tester"])

    def test_many_instances_are_probed_at_once(self):
        self.write("health.1", "503")
        s = self.probed(READY_HTTP, "silent", until=None, service="instances = 24\n")
        harness.poll_until(lambda: len(self.asked(1)) >= 60, "probes of all")
        self.write("health.1", "200")
        s.events.wait("verdict", verdict="promoted")
        self.assertEqual(s.upgrade()["verdict"], "promoted")

    def test_a_connection_that_nobody_accepts_is_not_enough(self):
        deaf = [harness.PYTHON, "-ISc",
                "import os, select, socket, sys; l = socket.socket(fileno=3)\n"
                "while not os.path.exists(os.environ['PROBED'] + '/accept'): select.select([], [], [], 0.01)\n"
                "while True: l.accept()[0].close()\n"]
        tcp = '[ready]\nwhen = "tcp"\ninterval = "20ms"\nprobe-timeout = "200ms"\ntimeout = "3s"\n'
        s = self.probed(tcp, until="rolled_back", run=deaf)
        self.assertRegex(s.status()["last"]["reason"], "^not ready in 3s([0-9]+ms)?: timed out after 200ms$")
        self.write("accept", "")
        s.events.wait("verdict", verdict="promoted")

    def test_an_answer_does_not_count_when_the_service_shut_its_listener_meanwhile(self):
        shutting = [harness.PYTHON, "-ISc",
                    "import os, socket\n"
                    "l, shut = socket.socket(fileno=3), False\n"
                    "while True:\n"
                    "    try: connection = l.accept()[0]\n"
                    "    except OSError: continue\n"  # until it is open again
                    "    connection.recv(4096)\n"
                    "    print('asked', file=open(os.environ['PROBED'] + '/asked.1', 'a'))\n"
                    "    if not shut: l.shutdown(socket.SHUT_RD)\n"
                    "    shut = True\n"
                    "    connection.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n')\n"
                    "    connection.close()\n"]
        s = self.probed(READY_HTTP, run=shutting)
        self.assertEqual(len(self.asked(1)), 2)
        self.assertEqual(s.status()["listeners"][0]["reopened"], 1)

    def test_a_restarted_instance_is_probed_again(self):
        s = self.probed(READY_HTTP, "silent")
        before = len(self.asked(1))
        mark = s.events.mark()
        os.kill(s.pids()[0], 9)
        s.events.wait("instance_ready", since=mark)
        self.assertGreater(len(self.asked(1)), before)


class Checks(ProbedCase):
    def test_a_sick_candidate_is_rolled_back_and_no_client_ever_meets_it(self):
        s = self.probed(CHECK)
        before = self.asked(1)
        with harness.Load(f"127.0.0.1:{self.port}", "--version-header", "x-handoff-generation") as load:
            for generation in range(2, 7):
                self.write(f"health.{generation}", "500")
                self.assertEqual(s.upgrade("rolled_back")["reason"],
                                 "check 'health': status 500, expected 200-399")
                self.assertEqual([line.split()[2] for line in self.asked(generation)], ["check"])
        self.assertEqual(self.asked(1), before)
        self.assert_nothing_failed(load, 100)
        self.assertEqual([v["version"] for v in load.result["versions"]], ["1"])

    def test_a_well_candidate_is_promoted(self):
        s = self.probed(CHECK)
        before = self.asked(1)
        s.upgrade()
        self.assertEqual(len(self.asked(2)), 1)
        self.assertEqual(self.asked(1), before)

    def test_a_hanging_server_ends_at_the_timeout_of_the_probe(self):
        brief = CHECK.replace("header =", 'probe-timeout = "300ms", header =')
        s = self.probed(brief)
        self.write("health.2", "hang")
        began = time.monotonic()
        self.assertEqual(s.upgrade("rolled_back")["reason"], "check 'health': timed out after 300ms")
        self.assertLess(time.monotonic() - began, 10)  # the check's own timeout

    def test_a_huge_body_is_not_swallowed(self):
        s = self.probed("")

        def upgrade(generation, body, verdict):
            self.write(f"health.{generation}", "big")
            s.write(self.configuration(CHECK.replace("header =", f'body = "{body}", header =')))
            event = s.upgrade(verdict)
            harness.poll_until(lambda: self.read("swallowed"), "the service's word")
            self.assertLess(int(self.read("swallowed")), 32 << 20)  # what the kernel holds, and the first MiB
            os.unlink(self.path("swallowed"))
            return event

        upgrade(2, "generation 2: well", "promoted")
        self.assertEqual(upgrade(3, "no such words", "rolled_back")["reason"],
                         "check 'health': the first MiB of the body does not contain 'no such words'")

    def test_probes_leave_nothing_behind(self):
        s = self.probed("")
        often = '[rollout]\nbake = "1h"\n' + CHECK + 'interval = "1ms"\nduring-bake = true\n'

        def bake_for(probes):
            s.write(self.configuration(often))
            number = s.call("Upgrade")["rollout"]
            generation = s.events.wait("serving", rollout=number)["generation"]
            harness.poll_until(lambda: len(self.asked(generation)) >= probes, f"{probes} probes")
            s.call("Abort")
            s.events.wait("settled", rollout=number)
            self.assertEqual(s.status()["last"]["reason"], "aborted")
            self.wait_for_helpers(s)
            return len(harness.descriptors(s.process.pid))

        # There is room for some thirty rules: were one left of each, the probes would fail.
        before = bake_for(20)
        bake_for(200)
        self.wait_for_descriptors(s, before)

    def status_of_a_helper(self, generation=2, service=""):
        """What the kernel says of one that waits for an answer of that generation."""
        s = self.probed("", service=service)
        s.write(self.configuration(CHECK.replace("header =", 'probe-timeout = "5m", header =') + 'timeout = "5m"\n',
                                   service=service))
        self.write(f"health.{generation}", "hang")
        number = s.call("Upgrade")["rollout"]
        harness.poll_until(lambda: self.asked(generation), "the probe")
        services = {i["pid"] for g in s.status()["generations"] for i in g["instances"]}
        helper, = set(harness.children(s.process.pid)) - services
        with open(f"/proc/{helper}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f)
        s.call("Abort")
        s.events.wait("settled", rollout=number)
        self.wait_for_helpers(s)
        return status

    def assert_unprivileged(self, status, user):
        for field in ("Uid", "Gid"):
            self.assertEqual(status[field].split(), 4 * [str(user)])
        for field in ("CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(status[field], 16), 0, field)
        self.assertEqual(status["NoNewPrivs"], "1")

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_the_helper_of_a_root_s_service_is_nobody(self):
        status = self.status_of_a_helper()
        self.assert_unprivileged(status, harness.NOBODY)
        self.assertNotIn("0", status["Groups"].split())

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_the_helper_is_the_service_s_user_without_its_capabilities(self):
        service = 'user = "daemon"\nambient-capabilities = ["CAP_NET_RAW"]\n'
        self.assert_unprivileged(self.status_of_a_helper(service=service), 1)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root to give privileges away")
    def test_a_root_that_may_not_become_nobody_probes_all_the_same(self):
        s = harness.Supervisor(self, self.configuration(CHECK), wrapper=NO_CAPABILITIES)
        s.upgrade()
        self.assertEqual(len(self.asked(2)), 1)

    def test_upgrades_can_be_aborted_while_a_probe_hangs(self):
        s = self.probed(CHECK.replace("header =", 'probe-timeout = "5m", header =') + 'timeout = "5m"\n')

        def hang_and_abort(generation):
            self.write(f"health.{generation}", "hang")
            number = s.call("Upgrade")["rollout"]
            harness.poll_until(lambda: self.asked(generation), "the probe")
            s.call("Abort")
            s.events.wait("settled", rollout=number)
            self.wait_for_helpers(s)
            return len(harness.descriptors(s.process.pid))

        before = hang_and_abort(2)
        for generation in range(3, 8):
            hang_and_abort(generation)
        self.wait_for_descriptors(s, before)

    def test_a_missing_helper_is_named(self):
        s = self.probed(CHECK, until="rolled_back", environment={"HANDOFF_PROBE": "/nonexistent/handoff-probe"})
        self.assertIn("check 'health': handoff-probe", s.status()["last"]["reason"])


class Everywhere(ProbedCase):
    HOST = "0.0.0.0"

    def test_a_listener_on_every_address_is_probed_over_loopback(self):
        s = self.probed(READY_HTTP + CHECK, "silent")
        s.upgrade()
        self.assertEqual({line.split()[0] for line in self.asked(2)}, {"127.0.0.1"})


class EverywhereInIPv6(Everywhere):
    HOST = "::"

    def setUp(self):
        try:
            super().setUp()
        except OSError:
            self.skipTest("no IPv6 here")

    def test_a_listener_on_every_address_is_probed_over_loopback(self):
        s = self.probed(READY_HTTP + CHECK, "silent")
        s.upgrade()
        self.assertEqual({line.split()[0] for line in self.asked(2)}, {"::1"})
        self.assertEqual({line.split()[1] for line in self.asked(2)}, {f"[::1]:{self.port}"})


class Tls(ProbedCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("openssl"):
            self.skipTest("no openssl here")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=probed",
                        "-keyout", self.path("key.pem"), "-out", self.path("cert.pem")], check=True, capture_output=True)

    def test_a_certificate_that_nobody_vouches_for_fails_unless_it_is_not_verified(self):
        s = self.probed("")
        s.write(self.configuration(CHECK.replace("header =", "tls = true, header =")))
        self.assertIn("certificate", s.upgrade("rolled_back")["reason"])
        self.assertEqual(self.asked(2), [])
        s.write(self.configuration(CHECK.replace("header =", "tls = true, verify = false, header =")))
        s.upgrade()
        self.assertEqual(len(self.asked(3)), 1)

    def test_plain_http_to_tls_fails(self):
        s = self.probed("")
        s.write(self.configuration(CHECK))
        self.assertIn("check 'health': ", s.upgrade("rolled_back")["reason"])


class Refused(ProbedCase):
    def test_a_shared_listener_cannot_be_probed(self):
        s = harness.Supervisor(self, self.configuration(READY_HTTP, sharing="shared"), start=False)
        s.launch()
        self.assertEqual(s.process.wait(harness.PATIENCE), 2)
        self.assertIn('nobody knows which one answers: use when = "exec" or "notify"', s.log_text())

    def without_privileges(self, rest, **options):
        return harness.Supervisor(self, self.configuration(rest, sharing="auto"), wrapper=NO_CAPABILITIES, **options)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root to give privileges away")
    def test_a_listener_that_cannot_be_steered_here_cannot_be_probed(self):
        s = self.without_privileges(READY_HTTP, start=False)
        s.launch()
        self.assertEqual(s.process.wait(harness.PATIENCE), 1)
        self.assertIn("[ready] when = 'http': listener 'l0' is shared (", s.log_text())
        self.assertIn("so that nobody knows who answers: use when = 'exec' or 'notify'", s.log_text())

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root to give privileges away")
    def test_nor_is_such_a_probe_taken_up_later(self):
        s = self.without_privileges("")
        s.write(self.configuration(CHECK, sharing="auto"))
        self.assertIn("[[check]] 'health': listener 'l0' is shared (", s.upgrade("refused", until=None)["reason"])
        with self.assertRaises(harness.Refused) as refused:
            s.call("Reload")
        self.assertIn("use 'command'", str(refused.exception))

    def test_a_reload_takes_up_a_probe(self):
        s = self.probed("")
        s.write(self.configuration(CHECK))
        s.call("Reload")
        s.upgrade()
        self.assertEqual(len(self.asked(2)), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
