"""A supervisor that does what a test tells it to: Varlink on a real Unix socket, one thread a client."""

import json
import os
import socket
import threading

PATIENCE = float(os.environ.get("HANDOFF_TEST_PATIENCE", "60"))  # as in harness.py, which needs a whole build
INTERFACE = "io.handoff.Supervisor."


def status(**changed):
    """What a healthy supervisor tells."""
    told = {
        "service": "web", "pid": 812, "version": "0.1.0", "state": "serving",
        "summary": "generation 8 serves",
        "waiting_for": None, "deadline_in_ms": None, "live": 8, "rollout": None, "pending": None,
        "last": None,
        "stray_notifications": 0, "notes": [],
        "generations": [{"number": 8, "role": "live", "weight": None, "executable": "/usr/bin/web",
                         "executable_state": "same",
                         "age_ms": 120000, "deadline_in_ms": None,
                         "instances": [{"id": "8.1", "pid": 4711, "state": "ready", "age_ms": 120000,
                                        "restarts": 0,
                                        "status": "fine"}]}],
        "listeners": [{"name": "http", "address": "0.0.0.0:80", "queued": 3, "backlog": 4096, "reopened": 0,
                       "sharing": "shared", "sharing_reason": "", "slots": []}],
    }
    told.update(changed)
    return told


def canary(connections=640, **changed):
    """What one tells that holds generation 8 at 5 % beside generation 7, in rollout 3."""
    def generation(number, role, weight):
        return {"number": number, "role": role, "weight": weight, "executable": "/usr/bin/web",
                "executable_state": "same", "age_ms": 120000, "deadline_in_ms": None,
                "instances": [{"id": f"{number}.1", "pid": 4000 + number, "state": "ready", "age_ms": 120000,
                               "restarts": 0, "status": None}]}

    def slot(number, weight, count):
        return {"generation": number, "weight": weight, "queued": 0, "connections": count, "datagrams": 0,
                "migrations": 2}
    rollout = {"number": 3, "generation": 8, "cause": "request", "stage": "holding at 5 %",
               "waiting_for": "the end of holding at 5 %", "deadline_in_ms": 90000, "age_ms": 30000,
               "strategy": "canary", "position": 1, "paused": False, "weight": 5.0,
               "steps": ["start 1 instance", "give it 5 % of the traffic for 2m", "give it all traffic",
                         "generation 7 drains for at most 1m"]}
    told = status(
        state="upgrading", live=7, rollout=rollout,
        summary="generation 7 serves, rollout 3 under way to generation 8 (holding at 5 %)",
        waiting_for=rollout["waiting_for"], deadline_in_ms=90000,
        generations=[generation(7, "live", 95.0), generation(8, "candidate", 5.0)],
        listeners=[{"name": "http", "address": "0.0.0.0:80", "queued": 0, "backlog": 4096, "reopened": 0,
                    "sharing": "steered", "sharing_reason": "",
                    "slots": [slot(7, 95.0, 12345), slot(8, 5.0, connections)]},
                   {"name": "admin", "address": "unix:/run/admin", "queued": 0, "backlog": 16, "reopened": 0,
                    "sharing": "shared", "sharing_reason": "a Unix socket cannot be steered", "slots": []}])
    rollout.update(changed)
    return told


def event(kind, rollout=None, text=None, **more):
    return dict({"sequence": 1, "time": "2026-01-01T00:00:00Z", "kind": kind, "text": text or kind,
                 "rollout": rollout, "generation": 8}, **more)


def verdict(rollout, kind, reason="", output=(), **more):
    return event("verdict", rollout, verdict=kind, reason=reason, output=list(output), **more)


class FakeSupervisor:
    """Answers calls with `answers[method]`: parameters, an (error, parameters) pair, None for silence, bytes as they
    are, a list of such, sent one by one, or a function of the parameters that gives one of these. Watchers are told "watching" and what `tell` says."""

    def __init__(self, directory, name="web"):
        self.path = os.path.join(directory, name + ".sock")
        self.answers = {"Status": status(service=name)}
        self.calls = []
        self.asked = {}  # the parameters of the latest call of each method
        self.changed = threading.Condition()
        self.watchers = []
        self.links = []
        self.listening = None
        self.open()

    def open(self):
        """Listens, also again after vanish()."""
        if os.path.lexists(self.path):
            os.unlink(self.path)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(self.path)
        self.listening.listen(128)
        threading.Thread(target=self._accept, args=(self.listening,), daemon=True).start()

    def vanish(self, leave_file=False):
        """Goes away as a killed process does: every connection is closed."""
        if self.listening is None:
            return
        if not leave_file:
            os.unlink(self.path)
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.listening = None
        with self.changed:
            links, self.links, self.watchers = self.links, [], []
        for link in links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.vanish()

    def tell(self, *events):
        """Sends events to everybody who watches."""
        with self.changed:
            watchers = list(self.watchers)
        for told in events:
            for link in watchers:
                self._send(link, {"parameters": {"event": told}, "continues": True})

    def wait_for_call(self, method, count=1):
        """Until that many of these calls have been answered."""
        with self.changed:
            seen = self.changed.wait_for(lambda: self.calls.count(method) >= count, PATIENCE)
        assert seen, "nobody called " + method

    def _accept(self, listening):
        while True:
            try:
                link, _ = listening.accept()
            except OSError:
                return
            with self.changed:
                self.links.append(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        pending = b""
        while True:
            try:
                block = link.recv(65536)
            except OSError:
                block = b""
            if not block:
                link.close()
                return
            pending += block
            while b"\0" in pending:
                message, pending = pending.split(b"\0", 1)
                self._answer(link, json.loads(message))

    def _answer(self, link, call):
        method = call["method"].removeprefix(INTERFACE)
        if method == "Watch" and "Watch" not in self.answers:
            assert call["more"]
            with self.changed:
                self.watchers.append(link)
            self._send(link, {"parameters": {"event": event("watching")}, "continues": True})
            answer = None
        else:
            answer = self.answers.get(method, ("org.varlink.service.MethodNotFound", {"method": method}))
            answer = answer(call.get("parameters", {})) if callable(answer) else answer
        if isinstance(answer, tuple):
            error = answer[0] if "." in answer[0] else INTERFACE + answer[0]
            self._send(link, {"error": error, "parameters": answer[1]})
        elif isinstance(answer, bytes):
            self._send_bytes(link, answer)
        elif isinstance(answer, list):
            for part in answer:
                self._send_bytes(link, part)
        elif answer is not None:
            self._send(link, {"parameters": answer})
        with self.changed:
            self.asked[method] = call.get("parameters", {})
            self.calls.append(method)
            self.changed.notify_all()

    def _send(self, link, message):
        self._send_bytes(link, json.dumps(message).encode() + b"\0")

    @staticmethod
    def _send_bytes(link, message):
        try:
            link.sendall(message)
        except OSError:
            pass
