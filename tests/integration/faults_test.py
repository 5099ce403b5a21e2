"""Every system call of the supervisor fails once, and once for good: nothing crashes, leaks, closes or lies.

HANDOFF_TEST_FAULTS=all tries every call of every phase with every error it can have (some minutes a phase).
"""

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import harness
import injection
import puppet
import service_manager

SEED = int(os.environ.get("HANDOFF_TEST_SEED") or random.randrange(1 << 32))
REPORTED = 250  # how many injections there are between two words about how far it is
SOON = 1.0  # a phase that a lasting fault stops is given up after it, and must end well without the fault


class Finding(AssertionError):
    pass


def expect(holds, what):
    if not holds:
        raise Finding(what)


def wait_for(predicate, what, patience=6):
    """poll_until() whose questions may fail, as a supervisor that is short of something hangs up."""
    def ask():
        with contextlib.suppress(OSError, EOFError, harness.Refused, json.JSONDecodeError):
            return predicate()
        return None
    try:
        return harness.poll_until(ask, what, patience)
    except AssertionError as e:
        raise Finding(str(e)) from None


def processes_of(directory):
    """All that were started for the supervisor in `directory`, itself included."""
    mark = f"={directory}/".encode()
    return [pid for pid in harness.processes() if mark in harness.environment_of(pid) and harness.is_alive(pid)]


def campaign_against(phase, sharing="steered", whose="", only="", stored=False):
    """A test that disturbs a phase of Faults; `whose` calls, if not the supervisor's, and which of them; `stored`: a
    service manager keeps descriptors."""
    return lambda self: self.campaign(phase, sharing, whose, only, stored)


class Faults(puppet.TestCase):
    """One supervisor after the other, each for as many injections as it survives."""

    def world(self, sharing, stored):
        self.sharing = sharing
        self.injector = injection.Injector(self, self.directory)  # which has to outlive those it decides about
        self.manager = service_manager.Manager(self) if stored else None
        environment = self.manager.environment() if stored else None
        self.s = harness.Supervisor(self, self.configuration(), environment=environment,
                                    wrapper=self.injector.wrapper, start=False)
        self.baseline = None
        self.said = 0  # of the log

    def launch(self):
        if self.manager:
            self.manager.launch(self.s)
        else:
            self.s.launch()

    def configuration(self, *options):
        rest = f'steer = false\n{puppet.BRISK}[rollout]\nsharing = "{self.sharing}"\n'
        return puppet.configuration(puppet.demo(*options), self.address, "unix:" + self.path("local"), rest=rest)

    def write(self, *options):
        self.s.write(self.configuration(*options))

    # ---- what holds at rest

    def status(self):
        connection = harness.Connection(self.s.socket, SOON)  # nobody may accept it for as long as a fault lasts
        try:
            return connection.call("Status")
        finally:
            connection.close()

    def told(self):
        """The status, however busy this machine is."""
        return wait_for(self.status, "a status")

    def last(self):
        return self.status()["last"]

    def at_rest(self):
        """One generation, no rollout, nobody waits; its status, or None."""
        status = self.status()
        calm = status["rollout"] is None and status["pending"] is None and len(status["generations"]) == 1
        if not calm or status["live"] is None:
            return None
        instances = status["generations"][0]["instances"]
        pids = [i["pid"] for i in instances]
        ready = all(i["state"] == "ready" for i in instances) and len(pids) == 1
        # Who was adopted is nobody's child of ours; whoever else is there has to be gone.
        calm = ready and set(harness.children(self.s.process.pid)) <= set(pids)
        return status if calm and set(processes_of(self.s.directory)) == {self.s.process.pid, *pids} else None

    def settle(self):
        def look():
            if self.s.process.poll() is not None:
                raise Finding(f"handoffd ended with {self.s.process.returncode}: {self.news()}")
            return self.at_rest()
        try:
            status = wait_for(look, "rest")
        except Finding as e:
            told = None
            with contextlib.suppress(Exception):
                told = self.status()
            raise Finding(f"{e}; children {harness.children(self.s.process.pid)}; {json.dumps(told)}") from None
        for address in (self.port, self.path("local")):
            expect(puppet.ask(address, patience=5) == status["live"], f"another generation answers than live {status}")
        return status

    def check_descriptors(self):
        if self.baseline is None:
            return
        count = lambda: len(harness.descriptors(self.s.process.pid))
        try:
            wait_for(lambda: count() <= self.baseline, "descriptors", 5)
        except Finding:
            told = []
            for fd in harness.descriptors(self.s.process.pid):
                with contextlib.suppress(OSError):
                    told.append(os.readlink(f"/proc/{self.s.process.pid}/fd/{fd}"))
            raise Finding(f"{count()} descriptors, {self.baseline} before: {sorted(told)}") from None

    def undisturbed_upgrade(self):
        rollout = self.s.call("Upgrade")["rollout"]
        wait_for(lambda: self.last() and self.last()["rollout"] == rollout, "the verdict of an undisturbed upgrade")
        last = self.told()["last"]
        expect(last["verdict"] == "promoted", f"an undisturbed upgrade: {last}")
        self.settle()

    @contextlib.contextmanager
    def undisturbed_requests(self):
        """Whatever fails, the service goes on answering; what was armed is disarmed at the end."""
        caller = injection.Caller(self.port)
        try:
            yield
        finally:
            self.disarm()
            caller.stop()
        expect(not caller.failures, f"requests failed: {caller.failures[:3]}")

    # ---- phases: each does its thing once and tells how it ended; it may be disturbed in any of its calls

    def start_well(self):
        self.write()
        self.launch()
        self.settle()
        # The one that comes and goes (a client, a spare) is no leak; a leak goes on growing.
        self.baseline = 0
        for _ in range(3):
            self.undisturbed_upgrade()
            self.baseline = max(self.baseline, len(harness.descriptors(self.s.process.pid)))

    def stop_well(self):
        expect(self.s.stop() == 0, "it does not stop well")
        self.expect_nobody()

    def expect_nobody(self):
        try:
            wait_for(lambda: not processes_of(self.s.directory), "everybody to be gone", 5)
        except Finding:
            told = subprocess.run(["ps", "-o", "pid,ppid,args", *map(str, processes_of(self.s.directory))],
                                  capture_output=True, text=True).stdout
            raise Finding(f"left behind: {told}") from None

    def upgrade(self):
        return self.rollout(lambda: self.s.signal(signal.SIGHUP), "promoted")

    def rollback(self):
        self.write("--fail-start", "3")
        try:
            how = self.rollout(lambda: self.s.signal(signal.SIGHUP), "rolled_back")
            expect(how != "promoted", "promoted what failed")
            return how
        finally:
            self.write()

    def request(self):
        """An upgrade that was asked for, whose asker waits."""
        def ask():
            connection = harness.Connection(self.s.socket, 5)
            try:
                connection.call("Upgrade")
            except (OSError, EOFError, harness.Refused):
                self.refused = True  # and knows it
            finally:
                connection.close()
        return self.rollout(ask, "promoted")

    def rollout(self, trigger, expected):
        self.refused = False
        before = self.told()
        pids = self.s.pids()
        with self.undisturbed_requests():
            self.arm()
            trigger()
            rollouts = before["last"]["rollout"]

            def over():
                if self.s.process.poll() is not None:
                    return True
                status = self.status()
                return status["last"]["rollout"] > rollouts and len(status["generations"]) == 1

            with contextlib.suppress(Finding):
                wait_for(over, "the end", SOON / 6 if self.refused else SOON)
            self.disarm()
            status = self.settle()
        last = status["last"]
        if last["rollout"] == rollouts:
            expect(self.refused, "a trigger is lost")
            return "not asked"
        promoted = last["verdict"] == "promoted"
        expect((status["live"] != before["live"]) == promoted, f"verdict {last} but live is {status['live']}")
        expect(promoted or self.s.pids() == pids or "restart" in self.news(), f"live instances changed: {last}")
        return last["verdict"] if last["verdict"] != expected else "as ever"

    def reexec(self):
        pids = self.s.pids()
        live = self.told()["live"]
        asker = harness.Connection(self.s.socket, SOON)
        how = "refused"
        with self.undisturbed_requests():
            self.arm()
            try:
                asker.call("Reexec")
                how = "as ever"
            except harness.Refused:
                pass
            except (OSError, EOFError):
                how = "not told"  # whoever is cut off has to look
            finally:
                self.disarm()
                asker.close()
            if how == "not told":
                wait_for(lambda: self.s.process.poll() is not None or self.status(), "an answer", 15)
            if self.s.process.poll() is not None:
                self.expect_clear_end()
                self.expect_nothing_could_be_done()
                how = "ended, adopted"
                self.launch()
            self.settle()
        expect(self.told()["live"] == live and self.s.pids() == pids, "live instances changed")
        return how

    def expect_nothing_could_be_done(self):
        """The loader of shared libraries does not wait; without a descriptor there are no copies to try again with."""
        failed = self.report["failed"]
        without_copies = failed["call"] == "fcntl" and failed["error"] == "EMFILE"
        by_loader = "error while loading shared libraries" in self.news()
        expect(without_copies or by_loader or self.was_ended_by_libuv(), f"it ended: {self.news()}")

    def adoption(self):
        pids = self.s.pids()
        live = self.told()["live"]
        tries = ""
        with self.undisturbed_requests():
            self.s.process.kill()
            self.s.process.wait()
            self.arm()
            self.launch()
            if self.ends():
                tries = "refused, then "
                self.expect_clear_end()
                self.launch()
            self.settle()
        adopted = self.told()["live"] == live and self.s.pids() == pids
        return tries + ("as ever" if adopted else "anew")

    def start_phase(self):
        """From nothing, and back to it."""
        how = "as ever"
        self.write()
        self.arm()
        self.launch()
        if self.ends():
            self.expect_clear_end()
            self.expect_nobody()
            how = "refused"
            self.launch()
        status = self.settle()
        if how == "as ever" and status["last"] and status["last"]["cause"] != "start":
            how = "tried again"
        self.undisturbed_upgrade()
        self.stop_well()
        return how

    def ends(self):
        """Whether the fault ends it, which a slow machine may take longer for than the fault lasts."""
        def over():
            return self.s.process.poll() is not None or self.at_rest()

        with contextlib.suppress(Finding):
            wait_for(over, "the end", SOON)
        self.disarm()
        wait_for(over, "the end or a state of rest", harness.PATIENCE)
        return self.s.process.poll() is not None

    def expect_clear_end(self):
        code = self.s.process.returncode
        if self.was_ended_by_libuv():
            return
        expect(code > 0, f"it ended with {code}")
        expect(self.news().strip(), f"it ended with {code} and said nothing")

    def was_ended_by_libuv(self):
        """Which aborts when there is no pipe for its signals, although one could be had just before."""
        return self.s.process.returncode == -signal.SIGABRT and self.report["failed"]["call"] == "pipe2"

    # ---- the campaign

    def arm(self):
        if self.wanted is None:
            self.injector.count(self.whose)
        else:
            self.injector.fail(*self.wanted, self.whose)
        self.armed = True

    def disarm(self):
        if self.armed:
            self.armed = False
            self.report = self.injector.end()

    def mark(self):
        return len(self.s.log_text())

    def news(self):
        return self.s.log_text()[self.said:]

    def once(self, phase, wanted):
        """One run of a phase; how it ended. Raises a Finding."""
        self.wanted, self.armed, self.report = wanted, False, None
        self.said = self.mark()
        starts = phase is Faults.start_phase
        if not starts and (self.s.process is None or self.s.process.poll() is not None):
            self.start_well()
            self.said = self.mark()
        how = phase(self)
        if not starts:
            self.check_descriptors()
            self.undisturbed_upgrade()
            self.check_descriptors()
        return how

    def discard(self):
        """After a finding: nothing of it may disturb what comes next."""
        if self.armed:
            self.disarm()
        for pid in processes_of(self.s.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.s.process:
            self.s.process.wait()
        wait_for(lambda: not processes_of(self.s.directory), "the end of a supervisor")
        if self.manager:
            self.manager.catch_up()
            self.manager.forget_all()

    def campaign(self, phase, sharing, whose, only, stored):
        self.world(sharing, stored)
        self.whose = whose
        if phase is not Faults.start_phase:
            self.start_well()
        self.once(phase, None)
        calls = self.report["calls"]
        self.assertTrue(calls, "nothing to disturb")
        self.assertEqual(self.report["unknown"], [], "calls that no table of tests/faults knows")
        plan = injection.Plan(calls, only)
        began = time.monotonic()
        outcomes = collections.Counter()
        findings = []
        for number, wanted in enumerate(plan.chosen(SEED)):
            if number % REPORTED == REPORTED - 1:
                print(f"\n  {number + 1} injections in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            try:
                outcomes[self.once(phase, wanted)] += 1
                outcomes["in which the call did not come"] += self.report["failed"] is None
            except (Finding, AssertionError, OSError, EOFError, harness.Refused) as e:
                with contextlib.suppress(Exception):
                    self.disarm()
                failed = (self.report or {}).get("failed")
                findings.append(f"{wanted} {failed}: {e}\n    " + "\n    ".join(self.news().splitlines()[-12:]))
                outcomes["findings"] += 1
                print("\n" + findings[-1], file=sys.stderr, flush=True)
                self.discard()
        told = ", ".join(f"{n} {how}" for how, n in sorted(outcomes.items()) if n)
        tried = sum(n for how, n in outcomes.items() if not how.startswith("in which"))
        took = time.monotonic() - began
        print(f"\n  {len(calls)} calls, {tried} of {len(plan.every)} injections in {took:.0f} s: {told}",
              file=sys.stderr, flush=True)
        self.assertEqual(findings, [], f"seed {SEED}\n" + "\n".join(findings))
        self.assertLess(outcomes["in which the call did not come"], tried, "nothing was disturbed")

    test_start = campaign_against(start_phase)
    test_upgrade = campaign_against(upgrade)
    test_steering_an_upgrade = campaign_against(upgrade, only="bpf")
    test_steering_an_adoption = campaign_against(adoption, only="bpf")
    test_upgrade_asked_for = campaign_against(request)
    test_rollback = campaign_against(rollback)
    test_reexec = campaign_against(reexec)
    test_adoption = campaign_against(adoption)
    test_upgrade_with_a_store = campaign_against(upgrade, stored=True)
    test_adoption_with_a_store = campaign_against(adoption, stored=True)
    test_upgrade_of_shared_listeners = campaign_against(upgrade, sharing="shared")
    test_adoption_of_shared_listeners = campaign_against(adoption, sharing="shared")
    test_upgrade_whose_launcher_fails = campaign_against(upgrade, whose="handoff-exec")
    test_reexec_whose_trial_run_fails = campaign_against(reexec, whose="handoffd")


if __name__ == "__main__":
    print(f"seed {SEED}", file=sys.stderr)
    harness.main()
