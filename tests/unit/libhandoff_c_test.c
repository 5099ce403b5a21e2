#define _POSIX_C_SOURCE 200809L
/* That the header is C11, and that the library is harmless in a program that nobody supervises. */
#include <handoff/handoff.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int failures;

static void check(int holds, char const* what) {
  if (holds) return;
  fprintf(stderr, "does not hold: %s\n", what);
  ++failures;
}
#define CHECK(condition) check((condition) != 0, #condition)

int main(void) {
  static char const* const variables[] = {"LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "HANDOFF_SERVICE",
                                          "HANDOFF_GENERATION"};
  for (size_t i = 0; i < sizeof variables / sizeof *variables; ++i) unsetenv(variables[i]);

  CHECK(handoff_init(HANDOFF_UNSET_ENVIRONMENT) == 0);
  CHECK(handoff_listener_count() == 0 && handoff_listener_find("http") == -ENOENT);
  CHECK(handoff_listener_name(0) == NULL && handoff_listener_address(0) == NULL);
  CHECK(handoff_listener_kind(0) == -EINVAL && handoff_listener_transport(0) == -EINVAL);
  CHECK(handoff_service() == NULL && handoff_generation() == 0 && handoff_instance() == 0);
  CHECK(handoff_ready() == 0 && handoff_status("well") == 0 && handoff_stopping() == 0);
  CHECK(handoff_store(STDIN_FILENO, "input") == 0 && handoff_store_remove("input") == 0);
  CHECK(handoff_stored("input") == -ENOENT);

  int listener = handoff_listen("http", "127.0.0.1:0", 0);
  CHECK(listener >= 0);
  close(listener);

  struct pollfd drain = {.fd = handoff_drain_fd(0), .events = POLLIN};
  CHECK(drain.fd >= 0 && poll(&drain, 1, 0) == 0);
  raise(SIGTERM);
  CHECK(poll(&drain, 1, 0) == 1 && handoff_draining());
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
