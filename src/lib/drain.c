/* The request to leave, as a descriptor. */
#define _GNU_SOURCE
#include <handoff/handoff.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
static atomic_int event_fd = -1;
static atomic_int owner; /* the process that asked for the descriptor */
static atomic_int asked;

/* A forked child shares the eventfd with its parent, so a signal meant for the child must not end there: it
 * gets the default action, which takes effect when this handler returns. */
static void on_signal(int signal_number) {
  int saved = errno;
  if (getpid() != atomic_load(&owner)) {
    signal(signal_number, SIG_DFL);
    raise(signal_number);
  } else {
    atomic_store(&asked, 1);
    uint64_t one = 1;
    ssize_t written = write(atomic_load(&event_fd), &one, sizeof one);
    (void)written; /* Fails only when the counter is full, and then the descriptor is readable already. */
  }
  errno = saved;
}

static int install(int signal_number) {
  struct sigaction present;
  if (sigaction(signal_number, NULL, &present) < 0) return -errno;
  bool free_to_take =
      !(present.sa_flags & SA_SIGINFO) &&
      (present.sa_handler == SIG_DFL || present.sa_handler == SIG_IGN || present.sa_handler == on_signal);
  if (!free_to_take) return -EBUSY;

  int fd = atomic_load(&event_fd);
  if (fd < 0) {
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return -errno;
    atomic_store(&owner, getpid());
    atomic_store(&event_fd, fd);
  }
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  return sigaction(signal_number, &action, NULL) < 0 ? -errno : fd;
}

int handoff_drain_fd(int signal_number) {
  pthread_mutex_lock(&installing);
  int outcome = install(signal_number == 0 ? SIGTERM : signal_number);
  pthread_mutex_unlock(&installing);
  return outcome;
}

int handoff_draining(void) { return atomic_load(&asked); }
