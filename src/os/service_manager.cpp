#include "service_manager.hpp"

#include <base/text.hpp>
#include <os/socket_address.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include <cerrno>
#include <cstdlib>
#include <deque>
#include <optional>

namespace handoff {

namespace {

constexpr std::size_t longest_status = 512;

// sd_notify(3) waits for a manager that does not read, and the loop must not: what cannot be sent now waits
// here, in order, for the next call.
class outbox {
 public:
  result<> send(std::string message, char const* doing) {
    if (waiting_.size() == most) waiting_.pop_front();
    waiting_.push_back(std::move(message));
    return flush(doing);
  }
  result<> flush(char const* doing) {
    auto address = socket_of(std::getenv("NOTIFY_SOCKET"));
    if (!address) waiting_.clear();
    while (!waiting_.empty()) {
      if (!socket_) socket_ = unique_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      auto const& next = waiting_.front();
      ssize_t sent = ::sendto(socket_.get(), next.data(), next.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                              address->get(), address->length);
      if (sent < 0 && errno == EAGAIN) return {};
      if (sent < 0) {
        auto why = os_failure(doing);
        waiting_.pop_front();
        return why;
      }
      waiting_.pop_front();
    }
    return {};
  }

 private:
  static constexpr std::size_t most = 64;

  static std::optional<socket_address> socket_of(char const* path) {
    if (path == nullptr || (path[0] != '/' && path[0] != '@')) return {};
    auto address = unix_socket_address(path);
    return address ? std::optional(*address) : std::nullopt;
  }

  unique_fd socket_;
  std::deque<std::string> waiting_;
};

outbox& to_manager() {
  static outbox the_one;  // as there is one manager
  return the_one;
}

result<> notify(std::string message, char const* doing) {
  return to_manager().send(std::move(message), doing);
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

result<> service_manager::store(std::string_view name, std::span<int const> descriptors) {
  std::string message = "FDSTORE=1\nFDPOLL=0\nFDNAME=" + std::string(name);
  int status = ::sd_pid_notify_with_fds(0, 0, message.c_str(), descriptors.data(),
                                        static_cast<unsigned>(descriptors.size()));
  if (status < 0) return os_failure("storing descriptors with systemd", -status);
  return {};
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
