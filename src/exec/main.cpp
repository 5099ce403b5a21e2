// handoff-exec: receives a launch spec and descriptors from handoffd, sets itself up, and becomes the
// service.
//
// A fresh, tiny process with one thread: it allocates nothing, returns never, and whatever fails is told to
// handoffd as one record. handoffd starts it with all signals blocked.
#include <wire/launch_view.hpp>

#include <exec/conversation.hpp>
#include <exec/setup.hpp>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
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

// Points to the strings, but not to those that begin with `without`.
char** fill(char** next, launch_strings strings, std::string_view without = {}) noexcept {
  char const* string = strings.first;
  for (std::uint32_t i = 0; i < strings.count; ++i, string = next_string(string)) {
    if (!without.empty() && std::strncmp(string, without.data(), without.size()) == 0) continue;
    *next++ = const_cast<char*>(string);  // exec's type is older than const; it changes nothing
  }
  return next;
}

int make_vectors(launch_view const& view, exec_vectors& made) noexcept {
  constexpr std::size_t ends_and_listen_pid = 3;
  std::size_t room = std::size_t{view.header.arguments} + view.header.environment + ends_and_listen_pid;
  void* memory =
      ::mmap(nullptr, room * sizeof(char*), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return errno;
  made.arguments = static_cast<char**>(memory);
  made.environment = fill(made.arguments, view.arguments) + 1;
  char** next = fill(made.environment, view.environment, listen_pid_name);
  if (view.header.listeners > 0) {
    std::memcpy(listen_pid.data(), listen_pid_name.data(), listen_pid_name.size());
    std::to_chars(listen_pid.data() + listen_pid_name.size(), listen_pid.end() - 1, ::getpid());
    *next = listen_pid.data();
  }
  return 0;
}

// Descriptors 0, 1 and 2 exist, whatever handoffd was started with, so that nothing we receive lands there.
int ensure_standard_descriptors() noexcept {
  for (int opened = 0; opened <= STDERR_FILENO;) {
    opened = ::open("/dev/null", O_RDWR);
    if (opened < 0) return errno;
    if (opened > STDERR_FILENO) ::close(opened);
  }
  return 0;
}

extern "C" void notice_nothing(int) {}

// The kernel's own call, for the two signals that libc keeps for itself and refuses to touch (its posix_spawn
// leaves them ignored). Nobody sends them, so they need no handler; zeros are the default action in any
// layout.
void reset_signal(int number) noexcept {
  constexpr std::size_t mask_bytes = (NSIG - 1) / 8;
  std::array<unsigned long, 8> default_action{};
  ::syscall(SYS_rt_sigaction, number, default_action.data(), nullptr, mask_bytes);
}

// A signal between here and exec finds a handler and does no harm; exec then turns handlers into the default,
// also for what handoffd ignored. SIGKILL and SIGSTOP refuse, as they should.
void expose_to_signals() noexcept {
  struct sigaction nothing{};
  nothing.sa_handler = notice_nothing;
  for (int number = 1; number < NSIG; ++number) {
    if (::sigaction(number, &nothing, nullptr) != 0) reset_signal(number);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Returns only on failure, with its errno.
int become(launch_order const& order, exec_vectors const& vectors) noexcept {
  expose_to_signals();
  if (order.view.has(launch_flag::by_descriptor)) {
    ::execveat(order.handed.executable, "", vectors.arguments, vectors.environment, AT_EMPTY_PATH);
  } else {
    ::execve(order.view.executable_path, vectors.arguments, vectors.environment);
  }
  return errno;
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

[[noreturn]] void launch() noexcept {
  static launch_order order;  // large: it has room for every listener
  exec_vectors vectors{};
  if (int failed = prepare(order, vectors); failed != 0) {
    give_up(order.handed.channel, launch_stage::conversation, failed);
  }
  for (auto const& step : steps) {
    if (int failed = step.take(order); failed != 0) give_up(order.handed.channel, step.stage, failed);
  }
  give_up(order.handed.channel, launch_stage::exec, become(order, vectors));
}

}  // namespace

}  // namespace handoff

int main() { handoff::launch(); }
