/* libhandoff: what a service may rely on when a supervisor passes it its sockets.
 *
 * The supervisor is `handoffd`, systemd, or anything else that speaks the same variables: LISTEN_FDS,
 * LISTEN_FDNAMES and LISTEN_PID (sd_listen_fds(3)), NOTIFY_SOCKET (sd_notify(3)), and from `handoffd` alone
 * HANDOFF_SERVICE, HANDOFF_GENERATION and HANDOFF_INSTANCE. A program that nobody supervises sees no
 * listeners, generation 0, and notifications that go nowhere; it needs no second code path (see
 * handoff_listen).
 *
 * Conventions. Functions that can fail return a negative errno and leave `errno` itself unspecified. Strings
 * belong to the library and live as long as the process. Descriptors belong to the program: the library sets
 * FD_CLOEXEC on those it takes over and never closes one, and it never changes a status flag such as
 * O_NONBLOCK, because the flags of a passed socket are shared with every process that holds it. All functions
 * may be called from any thread, except handoff_init with HANDOFF_UNSET_ENVIRONMENT. Only handoff_draining
 * may be called from a signal handler.
 */
#ifndef HANDOFF_HANDOFF_H
#define HANDOFF_HANDOFF_H

#define HANDOFF_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum {
  HANDOFF_DESCRIPTORS_MAX = 4096, /* the most descriptors that one process takes over */
  HANDOFF_NAME_MAX = 255,         /* the longest name of a listener or of a stored descriptor, in bytes */
  HANDOFF_STATUS_MAX = 1024       /* the longest status text, in bytes; a longer one is cut */
};

/* How a listener delivers: accept() connections, or receive datagrams. */
enum handoff_kind { HANDOFF_STREAM = 1, HANDOFF_DATAGRAM = 2, HANDOFF_SEQPACKET = 3 };

/* What carries it. */
enum handoff_transport {
  HANDOFF_TCP = 1,
  HANDOFF_UDP = 2,
  HANDOFF_UNIX = 3,
  HANDOFF_OTHER = 4 /* another protocol family, such as vsock */
};

/* Flags of handoff_init. */
enum {
  /* Remove LISTEN_PID, LISTEN_PIDFDID, LISTEN_FDS, LISTEN_FDNAMES and NOTIFY_SOCKET from the environment, so
   * that children do not believe the sockets or the supervisor's ear to be theirs. HANDOFF_SERVICE,
   * HANDOFF_GENERATION and HANDOFF_INSTANCE stay: the supervisor knows stray descendants by them. */
  HANDOFF_UNSET_ENVIRONMENT = 1
};

/* Reads the environment and takes the passed descriptors over, setting FD_CLOEXEC on each. Happens once in a
 * process; every other function does it with flags 0 when it was not done before. Call it first thing in
 * main() when HANDOFF_UNSET_ENVIRONMENT is wanted, since no other thread may use the environment meanwhile.
 *
 * Returns how many descriptors were passed, listeners and stored ones together; 0 when there are none, and
 * when LISTEN_PID is not this process (they were meant for somebody else). Errors: -EINVAL a variable is
 * malformed, -E2BIG more than HANDOFF_DESCRIPTORS_MAX, -EBADF a promised descriptor is not open, -ENOMEM.
 * After an error there are no listeners, and every later call returns the same error. */
HANDOFF_API int handoff_init(unsigned flags);

/* ---- listeners: passed sockets that listen, and unconnected datagram sockets that are bound, in the order
 * given */

/* How many there are; 0 also after an error of handoff_init. */
HANDOFF_API int handoff_listener_count(void);

/* The index, from 0, of the first listener of that name; -ENOENT when there is none. Names need not be
 * unique: systemd gives one name to several sockets when it is configured so. */
HANDOFF_API int handoff_listener_find(char const* name);

/* The descriptor at `index`, from 0; -EINVAL when there is no such listener. */
HANDOFF_API int handoff_listener_fd(int index);

/* Its name ("unknown" when the supervisor named none), or NULL when there is no such listener. */
HANDOFF_API char const* handoff_listener_name(int index);

/* Its address for people: "0.0.0.0:80", "[::1]:80", "unix:/run/web.sock", "unix:@abstract"; NULL when there
 * is no such listener. */
HANDOFF_API char const* handoff_listener_address(int index);

/* Its kind, an enum handoff_kind; -EINVAL when there is no such listener. */
HANDOFF_API int handoff_listener_kind(int index);

/* Its transport, an enum handoff_transport; -EINVAL when there is no such listener. */
HANDOFF_API int handoff_listener_transport(int index);

/* The inherited listener of that name or, when this program was given no listener at all, a new one bound to
 * `address`: "127.0.0.1:80", "[::1]:80", "udp://127.0.0.1:53", "unix:/path", "unix:@abstract" (hosts numeric,
 * so that no resolver is asked). A new stream listener gets `backlog`, 0 meaning 4096; it is blocking like
 * inherited ones, and a stale socket file is replaced, a live one is not.
 *
 * Returns the descriptor. Errors: -ENOENT listeners were passed, but none of that name (binding one that the
 * supervisor does not own would work until the first upgrade); the error of handoff_init; -EINVAL the address
 * is malformed; what socket(2), bind(2) and listen(2) say, for example -EADDRINUSE. */
HANDOFF_API int handoff_listen(char const* name, char const* address, int backlog);

/* ---- who this process is */

/* The name of the service, or NULL when `handoffd` did not start this process. */
HANDOFF_API char const* handoff_service(void);

/* The number of this release, from 1; 0 when `handoffd` did not start this process. */
HANDOFF_API unsigned handoff_generation(void);

/* The number of this process among those of its generation, from 1; 0 when `handoffd` did not start it. */
HANDOFF_API unsigned handoff_instance(void);

/* ---- telling the supervisor
 *
 * Each returns 1 when the message was delivered, 0 when nobody listens (NOTIFY_SOCKET is not set), or a
 * negative errno. A send waits at most one second for room in the supervisor's queue, then fails with
 * -ETIMEDOUT. */

/* This process serves: from now on its predecessor may be asked to leave. */
HANDOFF_API int handoff_ready(void);

/* One line for the operator. Control characters become blanks. -EINVAL when `text` is NULL. */
HANDOFF_API int handoff_status(char const* text);

/* This process has begun to finish. */
HANDOFF_API int handoff_stopping(void);

/* Any other message of sd_notify(3), for example "WATCHDOG=1" or "EXTEND_TIMEOUT_USEC=5000000": lines of
 * KEY=VALUE, separated by newlines. -EINVAL when `lines` is NULL or empty. */
HANDOFF_API int handoff_notify(char const* lines);

/* ---- being asked to leave */

/* A descriptor that becomes readable, and stays so, once this process received `signal_number` (0 means
 * SIGTERM). Give it to poll or epoll; never read it, never close it. Further calls return the same descriptor
 * and add their signal.
 *
 * A signal handler writes to an eventfd. A signalfd would need the signal blocked in every thread, those
 * started earlier by libraries included, and children would inherit the mask; a handler works whichever
 * thread it meets and is gone after exec. It is installed with SA_RESTART, so that most
 * calls it interrupts go on by themselves; poll, epoll_wait, and socket calls with a timeout (SO_RCVTIMEO)
 * return EINTR all the same, see signal(7). A child made by fork() that has not called exec keeps the default
 * action: it dies of the signal, and its parent is not told to drain.
 *
 * Errors: -EBUSY the program has a handler of its own for the signal (it stays); -EINVAL not a signal that
 * can be caught; -EMFILE, -ENFILE, -ENOMEM. */
HANDOFF_API int handoff_drain_fd(int signal_number);

/* Whether a signal named to handoff_drain_fd has arrived: 1 or 0. */
HANDOFF_API int handoff_draining(void);

/* ---- carrying state into the next generation
 *
 * The supervisor keeps a duplicate of what is stored, and each later generation or restarted instance
 * receives it after its listeners. That is how a memfd with state, or an established connection, outlives the
 * process. The supervisor must allow it (`fd-store-max`; systemd: FileDescriptorStoreMax=) and says nothing
 * when it does not. Stored datagram sockets and listening sockets come back as listeners of the name they
 * were stored under. */

/* Asks the supervisor to keep `fd` as `name`: 1 to HANDOFF_NAME_MAX printable ASCII characters without ':'.
 * The descriptor stays the caller's. Returns as the functions that tell the supervisor; -EINVAL for a bad
 * name, -EBADF. */
HANDOFF_API int handoff_store(int fd, char const* name);

/* Asks the supervisor to forget all that is stored as `name`; what this process holds stays open. */
HANDOFF_API int handoff_store_remove(char const* name);

/* The first descriptor that an earlier process stored as `name`; -ENOENT when there is none. Each call
 * returns the same descriptor, which is the caller's to use and to close. */
HANDOFF_API int handoff_stored(char const* name);

/* How many stored descriptors were received. */
HANDOFF_API int handoff_stored_count(void);

/* The stored descriptor at `index`, from 0; -EINVAL when there is none. Several may share one name. */
HANDOFF_API int handoff_stored_fd(int index);

/* Its name ("stored" when it was stored without one), or NULL when there is none. */
HANDOFF_API char const* handoff_stored_name(int index);

#ifdef __cplusplus
}
#endif

#endif
