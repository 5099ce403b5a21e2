#include "survivors.hpp"

#include <os/pidfd.hpp>
#include <os/process_tree.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <string_view>

namespace handoff {

namespace {

constexpr char const* doing = "taking sockets back from a surviving instance";

bool is_gone() { return errno == ESRCH || errno == ENOENT; }

// Not, when this system does not offer it or keeps it from us.
bool may_not() { return errno == EPERM || errno == EACCES || errno == ENOSYS; }

std::optional<int> number_in(std::string_view digits) {
  int number = -1;
  auto [end, failed] = std::from_chars(digits.begin(), digits.end(), number);
  if (failed != std::errc{} || end != digits.end()) return {};
  return number;
}

// What kind of file is behind a link of /proc/PID/fd: "socket:[INODE]", proc_pid_fd(5). Asking the file
// itself could wait for its server: a network's, or the service.
result<std::string> kind_behind(int directory, char const* entry, char const* what) {
  constexpr std::size_t longest_kind = 64;
  std::array<char, longest_kind> target;
  ssize_t length = ::readlinkat(directory, entry, target.data(), target.size());
  if (length < 0 && (is_gone() || may_not())) return std::string();
  if (length < 0) return os_failure(what);
  return std::string(target.data(), static_cast<std::size_t>(length));
}

// Empty when there is nothing to be had under that number.
result<unique_fd> copy_of(int process, int number) {
  unique_fd copy(copy_descriptor(process, number));
  if (copy || errno == EBADF || is_gone() || may_not()) return copy;
  return os_failure(doing);
}

result<> take_back(int process, int number, std::map<std::uint64_t, std::string> const& wanted,
                   inherited_descriptors& into) {
  auto copy = copy_of(process, number);
  if (!copy) return std::unexpected(std::move(copy.error()));
  if (!*copy) return {};
  auto cookie = cookie_of(copy->get());
  if (cookie == 0) return os_failure(doing);
  auto found = wanted.find(cookie);
  if (found != wanted.end() && !into.has(found->second)) into.add(found->second, std::move(*copy));
  return {};
}

// The read end of the pipe that is behind such a link; empty when it is another file. It is looked at before
// it is opened, by a descriptor that cannot read.
result<unique_fd> read_end_behind(std::string const& link, pipe_number const& wanted) {
  constexpr char const* taking = "taking the output of a surviving instance back";
  auto kind = kind_behind(AT_FDCWD, link.c_str(), taking);
  if (!kind) return std::unexpected(std::move(kind.error()));
  if (*kind != "pipe:[" + std::to_string(wanted.inode) + "]") return unique_fd();
  unique_fd seen(::open(link.c_str(), O_PATH | O_CLOEXEC));
  if (!seen && (is_gone() || may_not())) return seen;
  if (!seen) return os_failure(taking);
  auto number = number_of_pipe(seen.get());
  if (!number) return std::unexpected(std::move(number.error()));
  if (*number != wanted) return unique_fd();
  std::string const same = "/proc/self/fd/" + std::to_string(seen.get());
  unique_fd opened(::open(same.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!opened && !may_not()) return os_failure(taking);
  return opened;
}

}  // namespace

result<pipe_number> number_of_pipe(int fd) {
  struct statx file;
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &file) != 0)
    return os_failure("asking a pipe which one it is");
  if (!S_ISFIFO(file.stx_mode)) return pipe_number{};
  return pipe_number{makedev(file.stx_dev_major, file.stx_dev_minor), file.stx_ino};
}

result<unique_fd> take_back_output(std::span<pid_t const> writers, pipe_number const& pipe) {
  if (pipe == pipe_number{}) return unique_fd();
  for (pid_t pid : writers)
    for (char const* stream : {"/fd/1", "/fd/2"}) {
      auto found = read_end_behind("/proc/" + std::to_string(pid) + stream, pipe);
      if (!found || *found) return found;
    }
  return unique_fd();
}

result<unique_fd> hold_process(pid_t pid, std::uint64_t started) {
  constexpr char const* holding = "holding a surviving process";
  unique_fd process(open_pidfd(pid));
  if (!process && !is_gone() && !may_not()) return os_failure(holding);
  if (!process || started == 0) return unique_fd();
  auto since = start_time(pid);
  if (since == started) return process;
  bool lives = since == 0 && send_signal(process.get(), 0) == 0;
  if (lives) return plain_failure(std::string(holding) + ": nobody tells when it began");
  return unique_fd();
}

result<bool> take_back_sockets(pid_t pid, std::uint64_t started,
                               std::map<std::uint64_t, std::string> const& wanted,
                               inherited_descriptors& into) {
  auto process = hold_process(pid, started);
  if (!process) return std::unexpected(std::move(process.error()));
  if (!*process) return true;
  // Whether anything may be had of it is told before the number is looked at.
  if (copy_descriptor(process->get(), -1) < 0 && may_not()) return false;
  std::string path = "/proc/" + std::to_string(pid) + "/fd";
  std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(path.c_str()), ::closedir);
  if (!open && (is_gone() || may_not())) return is_gone();
  if (!open) return os_failure(doing);
  for (;;) {
    errno = 0;
    dirent const* entry = ::readdir(open.get());
    if (entry == nullptr) break;
    auto number = number_in(entry->d_name);
    if (!number) continue;
    auto kind = kind_behind(::dirfd(open.get()), entry->d_name, doing);
    if (!kind) return std::unexpected(std::move(kind.error()));
    if (!kind->starts_with("socket:[")) continue;
    if (auto done = take_back(process->get(), *number, wanted, into); !done)
      return std::unexpected(std::move(done.error()));
  }
  if (errno != 0 && !is_gone()) return os_failure(doing);
  return true;
}

}  // namespace handoff
