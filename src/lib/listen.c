/* The inherited listener or, for a program that runs by itself, a new one. */
#define _GNU_SOURCE
#include <handoff/handoff.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { default_backlog = 4096 };

struct endpoint {
  struct sockaddr_storage address;
  socklen_t length;
  int type;
};

static int parse_unix(char const* path, struct endpoint* out) {
  struct sockaddr_un* address = (struct sockaddr_un*)&out->address;
  size_t length = strlen(path);
  if ((path[0] != '/' && path[0] != '@') || length < 2) return -EINVAL;
  if (length >= sizeof address->sun_path) return -ENAMETOOLONG;
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, path, length);
  if (path[0] == '@') address->sun_path[0] = '\0';
  out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '/'));
  return 0;
}

/* Whether it is a decimal number up to 65535; getaddrinfo would cut a larger one. */
static bool is_port(char const* text) {
  size_t digits = strspn(text, "0123456789");
  return digits > 0 && digits <= 5 && text[digits] == '\0' && atoi(text) <= 65535;
}

/* "host:port" or "[v6]:port", both numeric. */
static int parse_inet(char const* text, struct endpoint* out) {
  char host[128];
  char const* colon = strrchr(text, ':');
  if (colon == NULL || !is_port(colon + 1)) return -EINVAL;
  size_t length = (size_t)(colon - text);
  bool bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
  if (bracketed) {
    ++text;
    length -= 2;
  }
  if (length == 0 || length >= sizeof host) return -EINVAL;
  memcpy(host, text, length);
  host[length] = '\0';
  if (!bracketed && strchr(host, ':') != NULL) return -EINVAL;

  struct addrinfo hints = {.ai_family = bracketed ? AF_INET6 : AF_INET,
                           .ai_socktype = out->type,
                           .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
  struct addrinfo* found = NULL;
  if (getaddrinfo(host, colon + 1, &hints, &found) != 0) return -EINVAL;
  memcpy(&out->address, found->ai_addr, found->ai_addrlen);
  out->length = found->ai_addrlen;
  freeaddrinfo(found);
  return 0;
}

static int parse(char const* text, struct endpoint* out) {
  static char const udp[] = "udp://", unix_path[] = "unix:";
  *out = (struct endpoint){.type = SOCK_STREAM};
  if (text == NULL) return -EINVAL;
  if (strncmp(text, unix_path, sizeof unix_path - 1) == 0)
    return parse_unix(text + sizeof unix_path - 1, out);
  if (strncmp(text, udp, sizeof udp - 1) != 0) return parse_inet(text, out);
  out->type = SOCK_DGRAM;
  return parse_inet(text + sizeof udp - 1, out);
}

/* Whether the path is a socket that nobody listens on any more, as a crash leaves it. */
static bool is_stale(struct endpoint const* at) {
  struct sockaddr_un const* address = (struct sockaddr_un const*)&at->address;
  struct stat file;
  if (address->sun_family != AF_UNIX || address->sun_path[0] == '\0') return false;
  if (lstat(address->sun_path, &file) < 0 || !S_ISSOCK(file.st_mode)) return false;
  int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  bool refused = connect(probe, (struct sockaddr const*)address, at->length) < 0 && errno == ECONNREFUSED;
  close(probe);
  return refused;
}

static int bind_to(int fd, struct endpoint const* at) {
  struct sockaddr const* address = (struct sockaddr const*)&at->address;
  if (bind(fd, address, at->length) == 0) return 0;
  if (errno != EADDRINUSE) return -errno;
  if (!is_stale(at)) return -EADDRINUSE;
  if (unlink(((struct sockaddr_un const*)address)->sun_path) < 0) return -errno;
  return bind(fd, address, at->length) < 0 ? -errno : 0;
}

static int open_listener(struct endpoint const* at, int backlog) {
  int fd = socket(at->address.ss_family, at->type | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int on = 1;
  bool tcp = at->address.ss_family != AF_UNIX && at->type == SOCK_STREAM;
  if (tcp)
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* not kept out by TIME_WAIT after a restart */
  int outcome = bind_to(fd, at);
  if (outcome == 0 && at->type == SOCK_STREAM && listen(fd, backlog) < 0) outcome = -errno;
  if (outcome == 0) return fd;
  close(fd);
  return outcome;
}

int handoff_listen(char const* name, char const* address, int backlog) {
  int passed = handoff_init(0);
  if (passed < 0) return passed;
  int index = handoff_listener_find(name);
  if (index >= 0) return handoff_listener_fd(index);
  if (handoff_listener_count() > 0) return -ENOENT;

  struct endpoint at;
  int outcome = parse(address, &at);
  return outcome < 0 ? outcome : open_listener(&at, backlog > 0 ? backlog : default_backlog);
}
