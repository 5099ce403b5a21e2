"""What the HTTP services of the tests share: a server on an inherited socket that logs nothing, and how they tell tests."""

import http.server
import os
import signal
import socket
import threading

# A handler that ends a wait can run while the main thread holds the lock of that very wait, and then waits for it
# itself. So SIGTERM is waited for in wait_to_leave(), and the threads inherit that it is blocked.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler, listener):
        super().__init__(("", 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, *_):
        pass


def tell(path, text):
    """Writes a file that nobody ever sees half written."""
    with open(path + ".new", "w") as f:
        f.write(text)
    os.replace(path + ".new", path)


def be_ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


def wait_to_leave():
    signal.sigwait({signal.SIGTERM})
