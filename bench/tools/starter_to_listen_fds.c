/* starter_to_listen_fds PROGRAM ARGUMENT...: becomes PROGRAM, telling it in systemd's words (LISTEN_FDS) what
 * Server::Starter told in its own (SERVER_STARTER_PORT=ADDRESS=FD). For one listener. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { first_passed_fd = 3 };

int main(int count, char** arguments) {
  char const* port = getenv("SERVER_STARTER_PORT");
  char const* equals = port != NULL ? strrchr(port, '=') : NULL;
  if (count < 2 || equals == NULL) return 2;
  int fd = atoi(equals + 1);
  if (fd != first_passed_fd && dup2(fd, first_passed_fd) < 0) return 1;

  char pid[32];
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  setenv("LISTEN_PID", pid, 1);
  setenv("LISTEN_FDS", "1", 1);
  setenv("LISTEN_FDNAMES", "http", 1);
  char const* generation = getenv("SERVER_STARTER_GENERATION");
  if (generation != NULL) setenv("HANDOFF_GENERATION", generation, 1);
  execv(arguments[1], arguments + 1);
  return 127;
}
