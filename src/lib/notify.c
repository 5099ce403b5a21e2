/* Messages to the supervisor: the sender's half of sd_notify(3), in a few lines and with a bound on every
 * wait. */
#define _GNU_SOURCE
#include "internal.h"

#include <handoff/handoff.h>

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { send_timeout_ms = 1000 };

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The socket's address from a path or, with a leading '@', from an abstract name; its length, or a negative
 * errno. An abstract name is exactly as long as its text, so nothing may be padded with NUL. */
static int parse_address(char const* text, struct sockaddr_un* address) {
  if (text[0] != '/' && text[0] != '@') return -EAFNOSUPPORT;
  size_t length = strlen(text);
  if (length < 2) return -EINVAL;
  if (length >= sizeof address->sun_path) return -ENAMETOOLONG;
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(address->sun_path, text, length);
  if (text[0] == '@') address->sun_path[0] = '\0';
  return (int)(offsetof(struct sockaddr_un, sun_path) + length + (text[0] == '/'));
}

/* Sends on a connected datagram socket; waits for room until the deadline. The socket is connected because
 * poll tells the room in the receiver's queue only then. */
static int send_within(int socket_fd, struct msghdr const* message) {
  long long deadline = now_ms() + send_timeout_ms;
  for (;;) {
    if (sendmsg(socket_fd, message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return 1;
    if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) return -errno;
    long long left = deadline - now_ms();
    if (left <= 0) return -ETIMEDOUT;
    struct pollfd room = {.fd = socket_fd, .events = POLLOUT};
    if (poll(&room, 1, (int)left) < 0 && errno != EINTR) return -errno;
  }
}

/* Sends the text, and `fd` with it when it is not negative. */
static int notify(char const* text, int fd) {
  char const* where = handoff_notify_socket();
  if (where == NULL) return 0;
  struct sockaddr_un address;
  int length = parse_address(where, &address);
  if (length < 0) return length;
  int socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return -errno;
  if (connect(socket_fd, (struct sockaddr*)&address, (socklen_t)length) < 0) {
    int saved = errno;
    close(socket_fd);
    return -saved;
  }

  struct iovec bytes = {.iov_base = (char*)text, .iov_len = strlen(text)};
  struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  }
  int outcome = send_within(socket_fd, &message);
  close(socket_fd);
  return outcome;
}

bool handoff_name_is_valid(char const* name) {
  size_t length = name == NULL ? 0 : strlen(name);
  if (length == 0 || length > HANDOFF_NAME_MAX) return false;
  for (size_t i = 0; i < length; ++i) {
    if (name[i] < ' ' || name[i] > '~' || name[i] == ':') return false;
  }
  return true;
}

int handoff_notify(char const* lines) {
  return lines == NULL || *lines == '\0' ? -EINVAL : notify(lines, -1);
}

int handoff_ready(void) { return notify("READY=1", -1); }

int handoff_stopping(void) { return notify("STOPPING=1", -1); }

int handoff_status(char const* text) {
  if (text == NULL) return -EINVAL;
  static char const key[] = "STATUS=";
  char message[sizeof key + HANDOFF_STATUS_MAX];
  memcpy(message, key, sizeof key);
  char* value = message + sizeof key - 1;
  size_t length = strnlen(text, HANDOFF_STATUS_MAX + 1);
  if (length > HANDOFF_STATUS_MAX) {
    length = HANDOFF_STATUS_MAX;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
      --length; /* not inside a UTF-8 character */
  }
  for (size_t i = 0; i < length; ++i) {
    unsigned char c = (unsigned char)text[i];
    value[i] = c < ' ' || c == 0x7F ? ' ' : text[i];
  }
  value[length] = '\0';
  return notify(message, -1);
}

int handoff_store(int fd, char const* name) {
  if (!handoff_name_is_valid(name)) return -EINVAL;
  if (fd < 0) return -EBADF;
  char message[sizeof "FDSTORE=1\nFDNAME=" + HANDOFF_NAME_MAX];
  snprintf(message, sizeof message, "FDSTORE=1\nFDNAME=%s", name);
  return notify(message, fd);
}

int handoff_store_remove(char const* name) {
  if (!handoff_name_is_valid(name)) return -EINVAL;
  char message[sizeof "FDSTOREREMOVE=1\nFDNAME=" + HANDOFF_NAME_MAX];
  snprintf(message, sizeof message, "FDSTOREREMOVE=1\nFDNAME=%s", name);
  return notify(message, -1);
}
