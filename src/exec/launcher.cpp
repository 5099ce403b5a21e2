// handoff-exec: receives a launch spec and descriptors from handoffd, sets itself up, and becomes the
// service.
//
// A fresh, tiny process with one thread: it allocates nothing, returns never, and whatever fails is told to
// handoffd as one record. handoffd starts it with all signals blocked.
#include "launcher.hpp"

#include <wire/launch_view.hpp>

#include <exec/conversation.hpp>
#include <exec/kernel.hpp>
#include <exec/setup.hpp>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <span>
#include <string_view>

namespace handoff {

namespace {

// "LISTEN_PID=" and the number; the launcher's own pid is the service's.
std::array<char, 32> listen_pid;
constexpr std::string_view listen_pid_name = "LISTEN_PID=";

// argv and envp for exec, in memory mapped for them.
struct exec_vectors {
  char** arguments;
  char** environment;
};

bool begins_with(char const* string, std::string_view start) noexcept {
  for (char wanted : start)
    if (*string++ != wanted) return false;
  return true;
}

// Points to the strings, but not to those that begin with `without`.
char** fill(char** next, launch_strings strings, std::string_view without = {}) noexcept {
  char const* string = strings.first;
  for (std::uint32_t i = 0; i < strings.count; ++i, string = next_string(string)) {
    if (!without.empty() && begins_with(string, without)) continue;
    *next++ = const_cast<char*>(string);  // exec's type is older than const; it changes nothing
  }
  return next;
}

int make_vectors(launch_view const& view, exec_vectors& made) noexcept {
  constexpr std::size_t ends_and_listen_pid = 3;
  std::size_t room = std::size_t{view.header.arguments} + view.header.environment + ends_and_listen_pid;
  constexpr int access = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
  long memory = kernel::call(SYS_mmap, nullptr, room * sizeof(char*), access, kind, -1, 0);
  if (memory < 0) return static_cast<int>(-memory);
  made.arguments = reinterpret_cast<char**>(memory);
  made.environment = fill(made.arguments, view.arguments) + 1;
  char** next = fill(made.environment, view.environment, listen_pid_name);
  if (view.header.listeners > 0) {
    std::memcpy(listen_pid.data(), listen_pid_name.data(), listen_pid_name.size());
    std::to_chars(listen_pid.data() + listen_pid_name.size(), listen_pid.end() - 1, kernel::call(SYS_getpid));
    *next = listen_pid.data();
  }
  return 0;
}

// Descriptors 0, 1 and 2 exist, whatever handoffd was started with, so that nothing we receive lands there.
int ensure_standard_descriptors() noexcept {
  for (long opened = 0; opened <= STDERR_FILENO;) {
    opened = kernel::call(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);
    if (opened < 0) return static_cast<int>(-opened);
    if (opened > STDERR_FILENO) kernel::call(SYS_close, opened);
  }
  return 0;
}

// A signal between here and exec finds a handler and does no harm; exec then turns handlers into the default,
// also for what handoffd ignored.
void expose_to_signals() noexcept {
  for (int number = 1; number <= kernel::last_signal; ++number) kernel::catch_signal(number);
  kernel::signal_mask none = 0;
  kernel::call(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, kernel::signal_mask_bytes);
}

// Returns only on failure, with its errno.
int become(launch_order const& order, exec_vectors const& vectors) noexcept {
  expose_to_signals();
  char** const arguments = vectors.arguments;
  char** const environment = vectors.environment;
  if (!order.view.has(launch_flag::by_descriptor))
    return kernel::attempt(SYS_execve, order.view.executable_path, arguments, environment);
  return kernel::attempt(SYS_execveat, order.handed.executable, "", arguments, environment, AT_EMPTY_PATH);
}

// Everything that the launch needs is here and mapped, or an errno.
int prepare(launch_order& order, exec_vectors& vectors) noexcept {
  if (int failed = ensure_standard_descriptors(); failed != 0) return failed;
  if (int failed = receive(order.handed); failed != 0) return failed;
  std::span<std::byte const> bytes;
  if (int failed = map_spec(order.handed.spec, bytes); failed != 0) return failed;
  auto view = decode_launch(bytes);
  if (!view) return view.error();
  if (!agrees(*view, order.handed)) return EBADMSG;
  order.view = *view;
  return make_vectors(order.view, vectors);
}

}  // namespace

void launch() noexcept {
  static launch_order order;  // large: it has room for every listener
  exec_vectors vectors{};
  if (int failed = prepare(order, vectors); failed != 0) {
    give_up(order.handed.channel, launch_stage::conversation, failed);
  }
  for (auto const& step : steps) {
    if (int failed = step.take(order); failed != 0) give_up(order.handed.channel, step.stage, failed);
  }
  int failed = is_abandoned(order.handed.channel) ? ECANCELED : become(order, vectors);
  give_up(order.handed.channel, launch_stage::exec, failed);
}

}  // namespace handoff
