"""Failing the n-th system call of a supervisor, for every n: who decides, what is tried, what came of it."""

import ast
import json
import os
import random
import subprocess
import threading

import harness
import puppet

FAULTS = os.path.join(harness.BUILD, "tests", "handoff-faults")
WANTED = os.environ.get("HANDOFF_TEST_FAULTS", "")  # "all", or those of a report, "(17, 0, True), (18, 1, False)"
SAMPLES = int(os.environ.get("HANDOFF_TEST_FAULT_SAMPLES", "14"))  # of a phase, unless all are tried


class Injector:
    """Decides about the calls of the programs that are launched with its `wrapper`."""

    def __init__(self, test, directory):
        path = os.path.join(directory, "faults")
        self.wrapper = (FAULTS, "run", path)
        self.process = subprocess.Popen([FAULTS, "decide", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        test.addCleanup(self.close)
        self.process.stdout.readline()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def count(self, whose=""):
        self.say(f"count {whose}")

    def fail(self, number, choice, lasting, whose=""):
        self.say(f"fail {number} {choice} {'lasting' if lasting else 'once'} {whose}")

    def end(self):
        return self.say("end")

    def close(self):
        self.process.stdin.close()
        self.process.wait(harness.PATIENCE)
        self.process.stdout.close()


class Plan:
    """What to try in a phase whose calls are known: (number, which of its errors, whether it lasts)."""

    def __init__(self, calls, only=""):
        self.every = [(n, choice, lasting) for n, (name, errors) in enumerate(calls, 1) if only in ("", name)
                      for lasting in (False, True) for choice in range(errors)]

    def chosen(self, seed):
        if WANTED == "all" or not WANTED and len(self.every) <= SAMPLES:
            return self.every
        if WANTED:
            return ast.literal_eval(f"[{WANTED}]")
        step = len(self.every) / SAMPLES
        offset = random.Random(seed).random() * step
        return [self.every[int(offset + step * i)] for i in range(SAMPLES)]


class Caller(threading.Thread):
    """Asks the service until it is stopped, and once at least; `failures` are the requests that were not answered."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.over = threading.Event()
        self.failures = []
        self.start()

    def run(self):
        while True:
            try:
                puppet.ask(self.port)
            except Exception as e:
                self.failures.append(repr(e))
            if self.over.wait(0.003):
                return

    def stop(self):
        self.over.set()
        self.join(harness.PATIENCE)
