/* A service that serves nothing and writes down when things happened to it, in CLOCK_MONOTONIC nanoseconds.
 *
 * moments FILE              a service: appends "main NS", "ready NS" (just before READY=1 is sent), "term NS"
 * moments FILE spawn COUNT  starts itself COUNT times by posix_spawn, one after the other, and appends
 *                           "spawn NS" before each; the started ones append "main NS" and end */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char** environ;

static long long now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

/* One write with O_APPEND, so that lines of several processes do not mix. */
static void note(int file, char const* what, long long at_ns) {
  char line[64];
  int length = snprintf(line, sizeof line, "%s %lld\n", what, at_ns);
  if (write(file, line, (size_t)length) != length) abort();
}

static void send_ready(char const* path) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
  socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(to.sun_path));
  if (path[0] == '@') to.sun_path[0] = '\0';
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sendto(fd, "READY=1", 7, 0, (struct sockaddr*)&to, length) != 7) abort();
  close(fd);
}

static int serve(int file, char const* notify) {
  sigset_t heard;
  sigemptyset(&heard);
  sigaddset(&heard, SIGTERM);
  sigprocmask(SIG_BLOCK, &heard, NULL);
  note(file, "ready", now_ns());
  send_ready(notify);
  int got;
  sigwait(&heard, &got);
  note(file, "term", now_ns());
  return 0;
}

static int spawn(int file, char** arguments, int count) {
  char* command[] = {arguments[0], arguments[1], NULL};
  for (int i = 0; i < count; ++i) {
    pid_t child;
    long long at_ns = now_ns();
    if (posix_spawn(&child, command[0], NULL, NULL, command, environ) != 0) return 1;
    note(file, "spawn", at_ns);
    waitpid(child, NULL, 0);
  }
  return 0;
}

int main(int count, char** arguments) {
  long long entered_ns = now_ns();
  if (count < 2) return 2;
  int file = open(arguments[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return 1;
  if (count == 4 && strcmp(arguments[2], "spawn") == 0) return spawn(file, arguments, atoi(arguments[3]));
  note(file, "main", entered_ns);
  char const* notify = getenv("NOTIFY_SOCKET");
  return notify != NULL ? serve(file, notify) : 0;
}
