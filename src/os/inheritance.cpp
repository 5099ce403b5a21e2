#include "inheritance.hpp"

#include <os/file.hpp>

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>

namespace handoff {

namespace {

constexpr int first_own = 3;

// False for the first that cannot be changed.
bool set_close_on_exec(std::span<int const> descriptors, bool on) {
  return std::ranges::all_of(descriptors,
                             [&](int fd) { return ::fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) == 0; });
}

std::vector<char*> pointers(std::vector<std::string> const& texts) {
  std::vector<char*> all;
  for (auto const& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

}  // namespace

inherited_descriptors::inherited_descriptors(std::vector<named_descriptor> all) {
  for (auto& one : all) add(one.name, std::move(one.fd));
}

unique_fd inherited_descriptors::take(std::string const& name) {
  auto found = by_name_.extract(name);
  return found ? std::move(found.mapped()) : unique_fd();
}

std::vector<std::string> inherited_descriptors::names() const {
  std::vector<std::string> all;
  for (auto const& [name, fd] : by_name_) all.push_back(name);
  return all;
}

std::uint64_t cookie_of(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

std::string boot_id() {
  static std::string id;  // read until that has worked once
  if (id.empty()) std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), id);
  return id;
}

result<unique_fd> put_in_memory(std::string_view bytes) {
  unique_fd memory(::memfd_create("handoff-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return os_failure("creating memory for a snapshot");
  if (auto written = write_all(memory.get(), bytes); !written) return std::unexpected(written.error());
  constexpr int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (::fcntl(memory.get(), F_ADD_SEALS, seals) != 0) return os_failure("sealing a snapshot");
  return memory;
}

result<std::string> read_all(int fd, std::size_t most) {
  std::string bytes;
  std::array<char, 16384> piece;
  for (;;) {
    ssize_t length = ::pread(fd, piece.data(), piece.size(), static_cast<off_t>(bytes.size()));
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return os_failure("reading a snapshot");
    if (length == 0) return bytes;
    bytes.append(piece.data(), static_cast<std::size_t>(length));
    if (bytes.size() > most)
      return plain_failure("reading a snapshot: it has more than " + std::to_string(most) + " bytes");
  }
}

blocked_signals::blocked_signals() {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before_);
}

blocked_signals::~blocked_signals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

void unblock_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

error become(int program, std::vector<std::string> const& arguments,
             std::vector<std::string> const& environment, std::span<int const> passed) {
  auto argument_pointers = pointers(arguments);
  auto environment_pointers = pointers(environment);
  error why;
  if (set_close_on_exec(passed, false))
    ::syscall(SYS_execveat, program, "", argument_pointers.data(), environment_pointers.data(),
              AT_EMPTY_PATH);
  why = os_failure("becoming " + arguments.front()).error();
  set_close_on_exec(passed, true);
  return why;
}

void close_all_but(std::span<int const> passed) {
  std::vector<int> keep(passed.begin(), passed.end());
  std::ranges::sort(keep);
  int first = first_own;
  for (int fd : keep) {
    if (fd < first) continue;
    if (fd > first) ::syscall(SYS_close_range, first, fd - 1, 0);
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    first = fd + 1;
  }
  ::syscall(SYS_close_range, first, std::numeric_limits<int>::max(), 0);
}

}  // namespace handoff
