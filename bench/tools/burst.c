/* Does one thing, and connects from then on, one connection after the other: what became of each?
 *
 * burst PORT COUNT call SOCKET JSON   makes a Varlink call, and COUNT connections more once its reply is
 * there burst PORT COUNT kill PID           kills a process, and makes COUNT connections
 *
 * Prints, in microseconds from the moment it acted: "acknowledged T" (of a call), and for each connection, in
 * the order in which they began, "BEGAN REPLIED GENERATION"; the generation is 0 where no reply came. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { connections_max = 2000, events_max = 64, patience_s = 60 };

static char const request[] = "GET / HTTP/1.0\r\n\r\n";
static char const header[] = "X-Handoff-Generation: ";

struct connection {
  int fd;
  double began_us, replied_us;
  int generation;
};

static struct connection all[connections_max];
static int begun, open_now;
static struct timespec acted;

static void fail(char const* doing) {
  perror(doing);
  exit(1);
}

static double now_us(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)(at.tv_sec - acted.tv_sec) * 1e6 + (double)(at.tv_nsec - acted.tv_nsec) / 1e3;
}

/* Blocks only while the accept queue is full. */
static void begin(int poller, struct sockaddr_in const* to) {
  struct connection* c = &all[begun];
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0) fail("socket");
  c->began_us = now_us();
  if (connect(c->fd, (struct sockaddr const*)to, sizeof *to) != 0) fail("connect");
  /* A connection that is gone already ends in read_reply(). */
  if (send(c->fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
    fail("send");
  struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &wanted) != 0) fail("epoll_ctl");
  ++begun;
  ++open_now;
}

/* The reply is small: its head comes in one piece. */
static void read_reply(struct connection* c) {
  char text[4096];
  ssize_t size = recv(c->fd, text, sizeof text - 1, 0);
  c->replied_us = now_us();
  if (size > 0) {
    text[size] = '\0';
    char const* found = strstr(text, header);
    if (found != NULL) c->generation = atoi(found + sizeof header - 1);
  }
  close(c->fd);
  --open_now;
}

static void sweep(int poller, int timeout_ms) {
  struct epoll_event events[events_max];
  int count = epoll_wait(poller, events, events_max, timeout_ms);
  for (int i = 0; i < count; ++i) read_reply(events[i].data.ptr);
}

static int call_socket(char const* path) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&to, sizeof to) != 0) fail(path);
  return fd;
}

/* Whether the whole reply is there, which then must not be an error. */
static int has_answered(int fd) {
  static char text[16384];
  static size_t held;
  ssize_t size = recv(fd, text + held, sizeof text - 1 - held, MSG_DONTWAIT);
  if (size < 0 && errno == EAGAIN) return 0;
  if (size <= 0) fail("reply");
  held += (size_t)size;
  if (text[held - 1] != '\0') return 0;
  if (strstr(text, "\"error\"") != NULL) {
    fprintf(stderr, "%s\n", text);
    exit(1);
  }
  return 1;
}

int main(int count, char** arguments) {
  if (count < 5) return 2;
  alarm(patience_s);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int wanted = atoi(arguments[2]);
  int calls = strcmp(arguments[3], "call") == 0;
  if (calls && count != 6) return 2;
  int control = calls ? call_socket(arguments[4]) : -1;
  int poller = epoll_create1(EPOLL_CLOEXEC);
  clock_gettime(CLOCK_MONOTONIC, &acted);
  if (calls) {
    size_t size = strlen(arguments[5]) + 1; /* a message ends in NUL */
    if (send(control, arguments[5], size, 0) != (ssize_t)size) fail("call");
  } else if (kill(atoi(arguments[4]), SIGKILL) != 0) {
    fail("kill");
  }
  int acknowledged = !calls;
  for (int left = wanted; left > 0 && begun < connections_max; left -= acknowledged) {
    begin(poller, &to);
    sweep(poller, 0);
    if (!acknowledged && (acknowledged = has_answered(control))) printf("acknowledged %.1f\n", now_us());
  }
  while (open_now > 0) sweep(poller, -1);
  for (int i = 0; i < begun; ++i)
    printf("%.1f %.1f %d\n", all[i].began_us, all[i].replied_us, all[i].generation);
  return acknowledged ? 0 : 1;
}
