"""Where metrics come from: pages in Prometheus's text format, the counters of steering; and steps that choose theirs.

Skipped where eBPF may not be loaded."""

import contextlib
import json
import selectors
import socket
import threading
import time

import harness
import puppet
from steering_test import SteeredCase

PAGE = 'prometheus = { failures = \'http_requests_total{code=~"5.."}\', all = "http_requests_total" }'
PAGED = puppet.http_service("paged_service.py")

# Accepts, and keeps a connection until its client leaves or, as "cut", closes it at once.
CUTTER = """
import os, selectors, signal, socket, sys
door, watch, kept = socket.socket(fileno=3), selectors.DefaultSelector(), set()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
watch.register(door, selectors.EVENT_READ)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s: s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    for key, _ in watch.select():
        if key.fileobj is not door:
            watch.unregister(key.fileobj), kept.discard(key.fileobj), key.fileobj.close()
            continue
        one = door.accept()[0]
        if sys.argv[1] == "cut": one.close()
        else: kept.add(one), watch.register(one, selectors.EVENT_READ)
"""


def metric(source, more="max-ratio = 1\nmin-count = 200\n", name="errors"):
    return f'[[metric]]\nname = "{name}"\n{source}\ninterval = "100ms"\n{more}'


def canary(*steps, more=""):
    return f'{puppet.BRISK}\n[rollout]\nstrategy = "canary"\nsteps = [{", ".join(steps)}]\n{more}'


class Page(SteeredCase):
    """The demo service tells its requests at /metrics."""

    def configuration(self, *options, hold="2s", source=PAGE, more="max-ratio = 1\nmin-count = 200\n"):
        step = f'{{ weight = 20, hold = "{hold}" }}'
        return self.demos(*options, rest=canary(step) + metric(source, more))

    def test_a_canary_that_answers_errors_is_rolled_back_within_its_first_step(self):
        s = self.supervise(self.configuration("--fail-every", "1000", hold="30s"))
        s.write(self.configuration("--fail-every", "20", hold="30s"))
        self.assert_rolled_back_under_load(s, "metric 'errors': [45].* % of .*, live: 0\\.")

    def test_one_that_equals_live_is_promoted_and_no_series_of_failures_is_no_failure(self):
        s = self.supervise(self.configuration())
        with harness.Load(self.address, "--threads", "2"):
            s.upgrade(until=None)
        self.assertEqual(s.status()["live"], 2)

    def test_where_no_series_matches_it_holds_longer_says_so_and_fails(self):
        source = PAGE.replace('all = "http_requests_total"', 'all = "requests_total"')
        s = self.supervise(self.configuration(source=source, hold="700ms"))
        verdict = s.upgrade("rolled_back")
        self.assertRegex(verdict["reason"], "metric 'errors': of (live|the candidate): nothing to read: no series matches "
                                            "requests_total; that is inconclusive")
        self.assertIn("holds for up to 700ms more", s.events.wait("note")["text"])

    def test_counters_of_a_live_generation_with_several_instances_decide_nothing(self):
        s = self.supervise(self.demos(service="instances = 2\n"))
        s.write(self.configuration(hold="500ms"))
        self.assertIn("metric 'errors': of live: any of its 2 instances answers, each with counters of its own; that is "
                      "inconclusive", s.upgrade("rolled_back")["reason"])

    def test_check_plan_and_status_tell_the_source(self):
        s = self.supervise(self.configuration(hold="1h"))
        checked = s.cli("check", s.configuration)
        self.assertIn("metric 'errors' from the page /metrics at 'l0': http_requests_total{code=~\"5..\"} of "
                      "http_requests_total", checked.stdout)
        planned = s.cli("plan", "web")
        self.assertIn("give it 20 % of the traffic for 1h (metric 'errors' by prometheus meanwhile)", planned.stdout)
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        self.assertIn("metric 'errors' by prometheus", " ".join(s.status()["rollout"]["steps"]))


class OddPage(SteeredCase):
    """Whatever a service answers, handoffd is not touched by it, and the verdict says what it was."""

    def configuration(self, rest=""):
        service = f'environment = {{ PAGED = "{self.directory}" }}\n'
        return puppet.configuration(PAGED, self.address, service=service, rest=rest or puppet.BRISK)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)

    def memory(self, pid):
        with open(f"/proc/{pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) * 1024

    def test_a_page_that_is_none_is_inconclusive_and_told(self):
        good = "hits_total 1000\n"
        s = self.supervise(self.configuration())
        step = '{ weight = 0, hold = "2s" }'
        source = 'prometheus = { failures = "fails_total", all = "hits_total" }'
        s.write(self.configuration(canary(step) + metric(source, 'max = 1\ntimeout = "2s"\n')))
        before = self.memory(s.process.pid)
        for n, (page, word) in enumerate((
                ("huge", "of the candidate: the body is longer than 8 MiB"),
                ("<html>\n", "no page of metrics: line 1: expected the name of a metric, found '<html>'"),
                ("hits_total 1000", "line 1: it has no end: the page was cut off"),
                ("hits_total NaN\n", "nothing to read: what matches hits_total is nan"),
                ("", "nothing to read: no series matches hits_total"),
                ("nothing", "Empty reply from server"),
                ("404", "status 404, expected 200"),
                ("slow", "timed out after 2s"),
                ("fails_total 5\nhits_total 4\n", "expected failures from 0 to all, it printed 5 of 4"),
                (good, "0 % of 0, at least 100 are needed"))):
            with self.subTest(page=page):
                self.write(f"page.{n + 2}", page)
                reason = s.upgrade("rolled_back")["reason"]
                self.assertIn(word, reason)
                self.assertIn("inconclusive", reason)
        self.assertLess(int(self.read("swallowed")), 64 << 20)  # what the kernel holds, and 8 MiB
        self.assertLess(self.memory(s.process.pid) - before, 256 << 20)  # of the gibibyte; sanitizers keep what is freed
        harness.poll_until(lambda: harness.children(s.process.pid) == s.pids(), "the last helper to be gone")

    def test_several_instances_are_refused_unless_the_page_speaks_for_all(self):
        self.write("page.1", "hits_total 1\n")
        s = self.supervise(self.configuration())
        text = self.configuration(canary('{ weight = 50, hold = "1s" }') +
                                  metric('prometheus = { failures = "fails_total", all = "hits_total" }'))
        s.write("instances = 2\n" + text)
        self.assertIn("any of the 2 instances answers", s.upgrade("refused")["reason"])


class Steering(SteeredCase):
    def test_a_candidate_that_does_not_accept_is_rolled_back_by_its_queue(self):
        step = '{ weight = 50, hold = "30s" }'
        rest = canary(step) + metric('steering = "queued"', more="", name="queue")
        s = self.supervise(self.puppets(rest=rest))
        s.write(self.puppets("served.clear()", rest=rest))
        number = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=number)
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                one = stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", self.port))))
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")  # live answers each at once
            verdict = s.events.wait("verdict", rollout=number)
        self.assertEqual(verdict["verdict"], "rolled_back")
        self.assertRegex(verdict["reason"], "^metric 'queue': [0-9.]+ in [0-9]+ samples, live: ")

    def clients(self, stop):
        """Forty clients with addresses of their own, who come again when they are cut off, else after a while."""
        watch, until = selectors.DefaultSelector(), {}

        def connect(client):
            one = socket.socket()
            one.bind((f"127.0.1.{client + 1}", 0))
            one.connect(("127.0.0.1", self.port))
            watch.register(one, selectors.EVENT_READ, client)
            until[client] = (time.monotonic() + 0.5, one)

        for client in range(40):
            connect(client)
        while not stop.is_set():
            ended = {key.data for key, _ in watch.select(0.01)}
            ended |= {client for client, (when, _) in until.items() if when < time.monotonic()}
            for client in ended:
                watch.unregister(until[client][1])
                until[client][1].close()
                connect(client)
            stop.wait(0.02)
        for _, one in until.values():
            one.close()

    def test_a_candidate_that_cuts_its_clients_off_is_rolled_back_by_those_who_come_again(self):
        rest = canary('{ weight = 50, hold = "30s" }', more="sticky = true\n") + \
            metric('steering = "connections"', more="max-ratio = 2\n", name="comings")
        keep, cut = ([harness.PYTHON, "-ISc", CUTTER, how] for how in ("keep", "cut"))
        s = self.supervise(puppet.configuration(keep, self.address, rest=rest))
        s.write(puppet.configuration(cut, self.address, rest=rest))
        stop = threading.Event()
        clients = threading.Thread(target=self.clients, args=(stop,))
        clients.start()
        try:
            number = s.call("Upgrade")["rollout"]
            verdict = s.events.wait("verdict", rollout=number)
        finally:
            stop.set()
            clients.join()
        self.assertEqual(verdict["verdict"], "rolled_back")
        self.assertRegex(verdict["reason"], "^metric 'comings': .* samples, live: .*, at most 2 times that may be$")


class Steps(SteeredCase):
    def test_each_step_has_the_checks_and_metrics_that_it_chose(self):
        def check(name):
            run = self.script(name, f"echo {name} >> {self.path('ran')}")
            return f'[[check]]\nname = "{name}"\ncommand = {json.dumps([run])}\n'

        first = '{ weight = 20, hold = "500ms", checks = ["smoke"], metrics = [] }'
        second = '{ weight = 50, hold = "30s", checks = ["deep"], metrics = ["errors"] }'
        gate = metric(PAGE, 'max = 1\nmin-count = 200\n') + metric('command = ["/bin/false"]', name="broken")
        rest = canary(first, second) + check("smoke") + check("deep") + check("never") + gate
        s = self.supervise(self.demos())
        s.write(self.demos("--fail-every", "5", rest=rest))
        self.assert_rolled_back_under_load(s, "^metric 'errors': .*, at most 1 % may be$")
        stages = [e["text"].split(": ", 1)[1] for e in s.events.seen if e["kind"] == "stage" and e["rollout"] == 2]
        self.assertEqual(stages, ["starting 1 instance", "checks smoke", "moving 20 %", "holding at 20 %",
                                  "checks deep", "moving 50 %", "holding at 50 %"])
        self.assertEqual(self.read("ran").split(), ["smoke", "deep"])

    def test_a_metric_that_breaks_after_the_hold_is_inconclusive_and_not_waited_for(self):
        look = self.script("look", f"[ ! -e {self.path('broken')} ] && echo 1")
        gate = metric(f"command = {json.dumps([look])}", 'kind = "value"\nmax = 10\nmin-count = 1\n')
        s = self.supervise(self.demos(rest=canary('{ weight = 50, hold = "500ms" }') + gate))
        rollout = s.call("Upgrade")["rollout"]
        s.events.wait("holding", rollout=rollout)
        s.call("Pause")
        over = s.status()["rollout"]["age_ms"] + 500

        def is_held():
            told = s.status()["rollout"]
            return told["age_ms"] > over and told["metrics"][0]["judgement"] == "pass"

        harness.poll_until(is_held, "the end of the hold")
        self.assertEqual(s.events.count("note", rollout=rollout), 0)
        open(self.path("broken"), "w").close()
        s.events.wait("note", rollout=rollout)  # holds for longer
        s.call("Resume")
        self.assertIn("inconclusive", s.events.wait("verdict", rollout=rollout, verdict="rolled_back")["reason"])


if __name__ == "__main__":
    harness.main()
