#include "service_manager.hpp"

#include <base/text.hpp>
#include <os/socket_address.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <thread>

namespace handoff {

namespace {

constexpr std::size_t longest_status = 512;

struct message {
  std::string text;
  unique_fd descriptor;  // a copy of one that is to be stored; empty: none
};

ssize_t send_to(int socket, socket_address const& to, message const& m) {
  iovec text{const_cast<char*>(m.text.data()), m.text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr whole{};
  whole.msg_name = const_cast<sockaddr*>(to.get());
  whole.msg_namelen = to.length;
  whole.msg_iov = &text;
  whole.msg_iovlen = 1;
  if (m.descriptor) {
    whole.msg_control = control.data();
    whole.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&whole);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    int raw = m.descriptor.get();
    std::memcpy(CMSG_DATA(rights), &raw, sizeof raw);
  }
  return ::sendmsg(socket, &whole, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// sd_notify(3) waits for a manager that does not read, and the loop must not: what cannot be sent now waits
// here, in order, for the next call.
class outbox {
 public:
  result<> put(message next, char const* doing) {
    if (waiting_.size() == most) return os_failure(doing, ENOBUFS);
    waiting_.push_back(std::move(next));
    return {};
  }
  // What fails for a reason that passes goes on waiting, all else is lost. Fails when the manager is away, or
  // does not take the last message.
  result<> flush(char const* doing) {
    auto address = manager_address();
    if (!address) waiting_.clear();
    result<> done;
    while (!waiting_.empty()) {
      if (!socket_) socket_ = unique_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      bool sent = socket_ && send_to(socket_.get(), *address, waiting_.front()) >= 0;
      if (!sent && is_among(too_much, errno)) return {};
      done = sent ? result<>() : os_failure(doing);
      if (!sent && is_among(away, errno)) return done;
      waiting_.pop_front();
      ++sent_;
    }
    return done;
  }

  static std::optional<socket_address> manager_address() {
    char const* path = std::getenv("NOTIFY_SOCKET");
    if (path == nullptr || (path[0] != '/' && path[0] != '@')) return {};
    auto address = unix_socket_address(path);
    return address ? std::optional(*address) : std::nullopt;
  }

  bool is_empty() const { return waiting_.empty(); }
  std::size_t sent() const { return sent_; }

 private:
  // sendmsg(2), unix(7)
  static constexpr std::array too_much{EAGAIN, ENOBUFS, ENOMEM, EMFILE, ENFILE, ETOOMANYREFS};
  static constexpr std::array away{ENOENT, ECONNREFUSED};
  static bool is_among(auto const& reasons, int number) {
    return std::ranges::find(reasons, number) != reasons.end();
  }
  static constexpr std::size_t most = 16'384;  // with thousands of listeners there is much to store at first

  unique_fd socket_;
  std::deque<message> waiting_;
  std::size_t sent_ = 0;
};

outbox& to_manager() {
  static outbox the_one;  // as there is one manager
  return the_one;
}

result<> notify(std::string text, char const* doing) {
  auto taken = to_manager().put({std::move(text), {}}, doing);
  return taken ? to_manager().flush(doing) : taken;
}

std::string status_line(std::string_view line) { return "STATUS=" + printable(line, longest_status); }

std::uint64_t monotonic_microseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace

result<std::vector<named_descriptor>> service_manager::adopted_descriptors() {
  char** names = nullptr;
  int count = ::sd_listen_fds_with_names(1, &names);
  if (count < 0) return os_failure("taking over descriptors from systemd", -count);
  std::vector<named_descriptor> adopted;
  for (int i = 0; i < count; ++i) {
    int fd = SD_LISTEN_FDS_START + i;
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    adopted.push_back({names[i], unique_fd(fd)});
    std::free(names[i]);
  }
  std::free(names);
  return adopted;
}

result<> service_manager::ready(std::string_view status) {
  return notify("READY=1\n" + status_line(status), "telling systemd that we are ready");
}

result<> service_manager::reloading(std::string_view status) {
  return notify(
      "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_microseconds()) + "\n" + status_line(status),
      "telling systemd that we reload");
}

result<> service_manager::stopping(std::string_view status) {
  return notify("STOPPING=1\n" + status_line(status), "telling systemd that we stop");
}

result<> service_manager::status(std::string_view line) {
  return notify(status_line(line), "telling systemd our status");
}

result<> service_manager::watchdog() { return notify("WATCHDOG=1", "telling systemd that we are alive"); }

result<> service_manager::extend_timeout(std::chrono::microseconds by) {
  return notify("EXTEND_TIMEOUT_USEC=" + std::to_string(by.count()), "asking systemd for more time");
}

result<> service_manager::send_what_waits() { return to_manager().flush("telling systemd what waited"); }

void service_manager::send_all() {
  constexpr int most_tries = 500;
  constexpr std::chrono::milliseconds between_tries(2);
  for (int tries = 0; !has_sent_all() && tries < most_tries; ++tries) {
    std::this_thread::sleep_for(between_tries);
    (void)send_what_waits();
  }
}

void service_manager::catch_up() {
  constexpr std::uint64_t patience = 5'000'000;  // µs
  send_all();
  (void)::sd_notify_barrier(0, patience);
}

bool service_manager::has_sent_all() { return to_manager().is_empty(); }

std::size_t service_manager::sent() { return to_manager().sent(); }

std::size_t service_manager::store_size() {
  char const* most = std::getenv("FDSTORE");
  bool has_one = outbox::manager_address().has_value() && most != nullptr;
  return has_one ? static_cast<std::size_t>(std::max(std::atoi(most), 0)) : 0;
}

result<> service_manager::store(std::string_view name, int descriptor) {
  constexpr char const* doing = "storing a descriptor with systemd";
  unique_fd copy(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!copy) return os_failure(doing);
  auto taken = to_manager().put({"FDSTORE=1\nFDPOLL=0\nFDNAME=" + std::string(name), std::move(copy)}, doing);
  if (taken) (void)send_what_waits();
  return taken;
}

result<> service_manager::forget(std::string_view name) {
  return notify("FDSTOREREMOVE=1\nFDNAME=" + std::string(name), "taking descriptors out of systemd's store");
}

std::optional<std::chrono::microseconds> service_manager::watchdog_interval() {
  std::uint64_t limit = 0;
  if (::sd_watchdog_enabled(0, &limit) <= 0) return std::nullopt;
  return std::chrono::microseconds(static_cast<std::int64_t>(limit / 2));
}

result<unique_fd> service_manager::journal_stream(std::string const& identifier) {
  int fd = ::sd_journal_stream_fd(identifier.c_str(), LOG_INFO, 0);
  if (fd < 0) return os_failure("opening a stream to the journal", -fd);
  return unique_fd(fd);
}

}  // namespace handoff
