"""A small HTTP service whose page of metrics is what a test wrote into a file.

/metrics answers with what stands in $PAGED/page.GENERATION; instead of a page it may be "huge" (1 GiB), "nothing" (the
connection ends without a reply), "slow" (a line now and then), or "404". What it could send of a huge one is written
to $PAGED/swallowed.
"""

import os
import socket
import threading

import quiet_http

directory = os.environ["PAGED"]
generation = os.environ["HANDOFF_GENERATION"]
leaving = threading.Event()


class Handler(quiet_http.Handler):
    def do_GET(self):
        with open(os.path.join(directory, f"page.{generation}")) as f:
            page = f.read()
        if page == "nothing":
            self.close_connection = True
        elif page == "huge":
            self.send(1 << 30, b"hits_total 1\n" * 5000)
        elif page == "slow":
            self.send(1 << 20, b"hits_total 1\n", pause=0.05)
        else:
            self.send(len(page), page.encode(), status=404 if page == "404" else 200)

    def send(self, size, part, pause=0, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        sent = 0
        try:
            while sent < size and not leaving.wait(pause):
                sent += self.wfile.write(part[:size - sent])
        except OSError:
            self.close_connection = True
        if size > 1 << 20:
            quiet_http.tell(os.path.join(directory, "swallowed"), str(sent))


server = quiet_http.Server(Handler, socket.socket(fileno=3))
quiet_http.be_ready()
quiet_http.wait_to_leave()
leaving.set()
