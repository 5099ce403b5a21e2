/* The least that can be done to upgrade: keep the listener, start the new service with it, wait for READY=1,
 * SIGTERM the old one. Not a product: no deadline, no error handling to speak of, no way back.
 *
 * floor PORT NOTIFY_PATH PROGRAM ARGUMENT...; HUP upgrades, TERM ends. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { first_passed_fd = 3, backlog = 4096 };

static int listen_on(char const* port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((unsigned short)atoi(port)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (struct sockaddr*)&at, sizeof at) < 0 || listen(fd, backlog) < 0) {
    perror("floor: listening");
    exit(1);
  }
  return fd;
}

static int ear_at(char const* path) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
  if (bind(fd, (struct sockaddr*)&at, sizeof at) < 0) {
    perror("floor: binding the notify socket");
    exit(1);
  }
  return fd;
}

static void wait_for_ready(int ear) {
  char message[4096];
  ssize_t got;
  do {
    got = recv(ear, message, sizeof message - 1, 0);
    message[got > 0 ? got : 0] = '\0';
  } while (strstr(message, "READY=1") == NULL);
}

/* vfork: the child borrows our memory, and writes nothing but the buffer made for it. */
static pid_t start(char** command, char const* notify_path, unsigned generation) {
  static char notify[256], own_pid[64], number[64];
  snprintf(notify, sizeof notify, "NOTIFY_SOCKET=%s", notify_path);
  snprintf(number, sizeof number, "HANDOFF_GENERATION=%u", generation);
  char* environment[] = {notify, own_pid, number, "LISTEN_FDS=1", "LISTEN_FDNAMES=http", NULL};
  pid_t child = vfork();
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(own_pid, sizeof own_pid, "LISTEN_PID=%d", (int)getpid());
    execve(command[0], command, environment);
    _exit(127);
  }
  return child;
}

int main(int count, char** arguments) {
  if (count < 4) return 2;
  sigset_t heard;
  sigemptyset(&heard);
  sigaddset(&heard, SIGHUP);
  sigaddset(&heard, SIGTERM);
  sigprocmask(SIG_BLOCK, &heard, NULL);

  int listener = listen_on(arguments[1]);
  if (listener == first_passed_fd)
    fcntl(listener, F_SETFD, 0);
  else
    dup2(listener, first_passed_fd);
  int ear = ear_at(arguments[2]);
  pid_t live = 0;
  int wanted = SIGHUP;
  for (unsigned generation = 1; wanted == SIGHUP; ++generation) {
    pid_t old = live;
    live = start(arguments + 3, arguments[2], generation);
    wait_for_ready(ear);
    if (old > 0) {
      kill(old, SIGTERM);
      waitpid(old, NULL, 0);
    }
    sigwait(&heard, &wanted);
  }
  kill(live, SIGTERM);
  waitpid(live, NULL, 0);
  return 0;
}
