/* The environment, read once: passed descriptors, and who this process is. */
#define _GNU_SOURCE
#include "internal.h"

#include <handoff/handoff.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
  first_passed_fd = 3, /* SD_LISTEN_FDS_START */
  address_text_size =
      sizeof "unix:" + sizeof(struct sockaddr_un) /* the longest text is that of a Unix path */
};

struct passed {
  int fd;
  int kind; /* enum handoff_kind, 0 for what is no listener */
  int transport;
  char name[HANDOFF_NAME_MAX + 1];
  char address[address_text_size];
};

struct passed_list {
  struct passed** items;
  int count;
};

static struct {
  pthread_once_t once;
  int outcome; /* what handoff_init returns */
  struct passed* all;
  struct passed_list listeners, stored;
  char* service;
  char* notify_socket;
  unsigned generation, instance;
} self = {.once = PTHREAD_ONCE_INIT};

/* A decimal number from 0 to `most`, digits only; -1 when `text` is anything else. */
static long parse_number(char const* text, long most) {
  if (text == NULL || *text == '\0') return -1;
  long value = 0;
  for (; *text != '\0'; ++text) {
    if (*text < '0' || *text > '9') return -1;
    if (value > (most - (*text - '0')) / 10) return -1;
    value = value * 10 + (*text - '0');
  }
  return value;
}

static unsigned number_from(char const* variable) {
  long value = parse_number(getenv(variable), INT_MAX);
  return value < 0 ? 0 : (unsigned)value;
}

static char* copy_of(char const* variable) {
  char const* value = getenv(variable);
  return value == NULL || *value == '\0' ? NULL : strdup(value);
}

/* Fills the names from LISTEN_FDNAMES. Without the variable systemd's word is "unknown"; a count that differs
 * from LISTEN_FDS is an error there and here. */
static int name_all(struct passed* all, long count) {
  char const* names = getenv("LISTEN_FDNAMES");
  for (long i = 0; i < count; ++i) {
    if (names == NULL) {
      strcpy(all[i].name, "unknown");
      continue;
    }
    size_t length = strcspn(names, ":");
    if (length > HANDOFF_NAME_MAX) return -EINVAL;
    memcpy(all[i].name, names, length);
    names += length;
    bool last = i + 1 == count;
    if ((*names == ':') == last) return -EINVAL;
    if (!last) ++names;
  }
  return 0;
}

static void print_unix(char* text, struct sockaddr_un const* address, socklen_t length) {
  size_t bytes = length - offsetof(struct sockaddr_un, sun_path);
  bool abstract = bytes > 0 && address->sun_path[0] == '\0';
  size_t shown = abstract ? bytes - 1 : strnlen(address->sun_path, bytes);
  int start = snprintf(text, address_text_size, abstract ? "unix:@" : "unix:");
  memcpy(text + start, address->sun_path + abstract, shown);
  text[(size_t)start + shown] = '\0';
}

/* Writes the socket's own address, "" when it has none that can be printed. */
static void print_address(char* text, struct sockaddr_storage const* address, socklen_t length) {
  char host[INET6_ADDRSTRLEN];
  if (address->ss_family == AF_INET) {
    struct sockaddr_in const* v4 = (struct sockaddr_in const*)address;
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(text, address_text_size, "%s:%u", host, ntohs(v4->sin_port));
  } else if (address->ss_family == AF_INET6) {
    struct sockaddr_in6 const* v6 = (struct sockaddr_in6 const*)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(text, address_text_size, "[%s]:%u", host, ntohs(v6->sin6_port));
  } else if (address->ss_family == AF_UNIX && length > offsetof(struct sockaddr_un, sun_path)) {
    print_unix(text, (struct sockaddr_un const*)address, length);
  }
}

static int transport_of(int family, int type) {
  if (family == AF_UNIX) return HANDOFF_UNIX;
  if (family != AF_INET && family != AF_INET6) return HANDOFF_OTHER;
  if (type == SOCK_STREAM) return HANDOFF_TCP;
  return type == SOCK_DGRAM ? HANDOFF_UDP : HANDOFF_OTHER;
}

/* Learns what `one->fd` is. A listener is a socket that listens, or a datagram socket that is bound and not
 * connected; anything else was stored by an earlier process. */
static void inspect(struct passed* one) {
  int type = 0, listening = 0;
  socklen_t size = sizeof type;
  if (getsockopt(one->fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) return;
  size = sizeof listening;
  getsockopt(one->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);

  struct sockaddr_storage address = {0};
  socklen_t length = sizeof address;
  if (getsockname(one->fd, (struct sockaddr*)&address, &length) < 0) return;
  one->transport = transport_of(address.ss_family, type);
  print_address(one->address, &address, length);

  struct sockaddr_storage peer;
  socklen_t peer_length = sizeof peer;
  bool connected = getpeername(one->fd, (struct sockaddr*)&peer, &peer_length) == 0;
  if (type == SOCK_STREAM && listening) one->kind = HANDOFF_STREAM;
  if (type == SOCK_SEQPACKET && listening) one->kind = HANDOFF_SEQPACKET;
  if (type == SOCK_DGRAM && !connected && one->address[0] != '\0') one->kind = HANDOFF_DATAGRAM;
}

/* Names, claims and inspects all of them, and sorts them into listeners and stored ones. */
static int take_over(long count) {
  int outcome = name_all(self.all, count);
  for (long i = 0; outcome == 0 && i < count; ++i) {
    self.all[i].fd = first_passed_fd + (int)i;
    int flags = fcntl(self.all[i].fd, F_GETFD);
    if (flags < 0 || fcntl(self.all[i].fd, F_SETFD, flags | FD_CLOEXEC) < 0) outcome = -errno;
  }
  for (long i = 0; outcome == 0 && i < count; ++i) {
    inspect(&self.all[i]);
    struct passed_list* list = self.all[i].kind != 0 ? &self.listeners : &self.stored;
    list->items[list->count++] = &self.all[i];
  }
  return outcome == 0 ? (int)count : outcome;
}

static int take_descriptors(void) {
  char const* pid = getenv("LISTEN_PID");
  char const* passed = getenv("LISTEN_FDS");
  if (pid == NULL || passed == NULL) return 0;
  long meant_for = parse_number(pid, INT_MAX);
  if (meant_for < 0) return -EINVAL;
  if (meant_for != (long)getpid()) return 0;
  long count = parse_number(passed, INT_MAX);
  if (count < 0) return -EINVAL;
  if (count > HANDOFF_DESCRIPTORS_MAX) return -E2BIG;
  if (count == 0) return 0;

  self.all = calloc((size_t)count, sizeof *self.all);
  self.listeners.items = calloc((size_t)count, sizeof(struct passed*));
  self.stored.items = calloc((size_t)count, sizeof(struct passed*));
  bool complete = self.all != NULL && self.listeners.items != NULL && self.stored.items != NULL;
  int outcome = complete ? take_over(count) : -ENOMEM;
  if (outcome < 0) {
    self.listeners.count = self.stored.count = 0;
    free(self.all);
    free(self.listeners.items);
    free(self.stored.items);
    self.all = NULL;
    self.listeners.items = self.stored.items = NULL;
  }
  return outcome;
}

static void read_environment(void) {
  self.service = copy_of("HANDOFF_SERVICE");
  self.notify_socket = copy_of("NOTIFY_SOCKET");
  self.generation = number_from("HANDOFF_GENERATION");
  self.instance = number_from("HANDOFF_INSTANCE");
  self.outcome = take_descriptors();
}

int handoff_init(unsigned flags) {
  pthread_once(&self.once, read_environment);
  if (flags & HANDOFF_UNSET_ENVIRONMENT) {
    static char const* const variables[] = {"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES",
                                            "NOTIFY_SOCKET"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; ++i) unsetenv(variables[i]);
  }
  return self.outcome;
}

static struct passed const* item(struct passed_list const* list, int index) {
  handoff_init(0);
  return index < 0 || index >= list->count ? NULL : list->items[index];
}

static int find(struct passed_list const* list, char const* name) {
  handoff_init(0);
  for (int i = 0; name != NULL && i < list->count; ++i) {
    if (strcmp(list->items[i]->name, name) == 0) return i;
  }
  return -ENOENT;
}

int handoff_listener_count(void) {
  handoff_init(0);
  return self.listeners.count;
}

int handoff_listener_find(char const* name) { return find(&self.listeners, name); }

int handoff_listener_fd(int index) {
  struct passed const* one = item(&self.listeners, index);
  return one == NULL ? -EINVAL : one->fd;
}

char const* handoff_listener_name(int index) {
  struct passed const* one = item(&self.listeners, index);
  return one == NULL ? NULL : one->name;
}

char const* handoff_listener_address(int index) {
  struct passed const* one = item(&self.listeners, index);
  return one == NULL ? NULL : one->address;
}

int handoff_listener_kind(int index) {
  struct passed const* one = item(&self.listeners, index);
  return one == NULL ? -EINVAL : one->kind;
}

int handoff_listener_transport(int index) {
  struct passed const* one = item(&self.listeners, index);
  return one == NULL ? -EINVAL : one->transport;
}

int handoff_stored(char const* name) {
  int index = find(&self.stored, name);
  return index < 0 ? index : self.stored.items[index]->fd;
}

int handoff_stored_count(void) {
  handoff_init(0);
  return self.stored.count;
}

int handoff_stored_fd(int index) {
  struct passed const* one = item(&self.stored, index);
  return one == NULL ? -EINVAL : one->fd;
}

char const* handoff_stored_name(int index) {
  struct passed const* one = item(&self.stored, index);
  return one == NULL ? NULL : one->name;
}

char const* handoff_service(void) {
  handoff_init(0);
  return self.service;
}

unsigned handoff_generation(void) {
  handoff_init(0);
  return self.generation;
}

unsigned handoff_instance(void) {
  handoff_init(0);
  return self.instance;
}

char const* handoff_notify_socket(void) {
  handoff_init(0);
  return self.notify_socket;
}
