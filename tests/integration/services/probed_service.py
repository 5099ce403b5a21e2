"""A small HTTP service whose health is what a test wrote into a file.

/health answers with what stands in $PROBED/health.GENERATION: a status, "hang" (no answer), "big" (a body of 100 MB); 200
where there is no such file. Who asked is written to $PROBED/asked.GENERATION. Any other path is answered at once. It
speaks TLS where $PROBED/key.pem exists, and says READY=1 unless its argument is "silent".
"""

import os
import socket
import ssl
import sys
import threading

import quiet_http

directory = os.environ["PROBED"]
generation = os.environ["HANDOFF_GENERATION"]
asked = open(os.path.join(directory, f"asked.{generation}"), "a", buffering=1)


class Handler(quiet_http.Handler):
    def do_GET(self):
        if self.path != "/health":
            return self.answer(200)
        asked.write(f"{self.client_address[0]} {self.headers['Host']} {self.headers['X-Asker']}\n")
        try:
            with open(os.path.join(directory, f"health.{generation}")) as f:
                health = f.read()
        except FileNotFoundError:
            health = "200"
        if health == "hang":
            threading.Event().wait()
        self.answer(int(health)) if health != "big" else self.answer(200, 100 << 20)

    def answer(self, status, size=None):
        body = f"generation {generation}: {'well' if status == 200 else 'unwell'}\n".encode()
        self.send_response(status)
        self.send_header("X-Handoff-Generation", generation)
        self.send_header("Content-Length", str(size or len(body)))
        self.end_headers()
        self.wfile.write(body)
        sent = len(body)
        try:
            while size and sent < size:
                sent += self.wfile.write(b"x" * min(65536, size - sent))
        except OSError:
            self.close_connection = True
            quiet_http.tell(os.path.join(directory, "swallowed"), str(sent))


def serve(listener):
    if os.path.exists(os.path.join(directory, "key.pem")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))
        listener = context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
    return quiet_http.Server(Handler, listener)


servers = [serve(socket.socket(fileno=3 + n)) for n in range(int(os.environ["LISTEN_FDS"]))]
if sys.argv[1:] != ["silent"]:
    quiet_http.be_ready()
quiet_http.wait_to_leave()
for server in servers:
    server.shutdown()  # no more are accepted; those that were are answered
for thread in threading.enumerate():
    if thread not in (threading.main_thread(),) and "process_request" in thread.name:
        thread.join(2)
