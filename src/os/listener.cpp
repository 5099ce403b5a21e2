#include "listener.hpp"

#include <os/port_holder.hpp>
#include <os/socket_settings.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace handoff {

namespace {

std::string binding(listener_settings const& settings) {
  return "binding '" + settings.name + "' at " + to_string(settings);
}

int backlog_of(listener_settings const& settings) {
  return static_cast<int>(std::min<std::uint32_t>(settings.options.backlog, std::numeric_limits<int>::max()));
}

char const* word_for(int kernel_type) {
  switch (kernel_type) {
    case SOCK_STREAM:
      return "a stream";
    case SOCK_DGRAM:
      return "a datagram";
    case SOCK_SEQPACKET:
      return "a seqpacket";
    default:
      return "another kind of";
  }
}

result<int> number_option(int fd, int option, char const* doing) {
  int value = 0;
  socklen_t length = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, option, &value, &length) < 0) return os_failure(doing);
  return value;
}

bool is_in_file_system(std::string const& path) { return !path.empty() && path.front() != '@'; }

}  // namespace

result<listener> listener::open(listener_settings settings) {
  auto with_story = [says = binding(settings)](error e) { return std::move(e).during(says); };
  auto address = address_of(settings);
  if (!address) return std::unexpected(with_story(address.error()));
  int type = kernel_socket_type(settings.type) | SOCK_CLOEXEC;
  listener made(std::move(settings), unique_fd(::socket(address->family(), type, 0)));
  if (!made.fd_) return std::unexpected(with_story(os_failure("creating a socket").error()));
  auto const& wanted = made.settings_;

  auto options = set_socket_options(made.fd(), address->family(), wanted.type, wanted.options);
  if (!options) return std::unexpected(with_story(options.error()));
  made.path_ = path_of(*address);
  file_access access;
  if (is_in_file_system(made.path_)) {
    auto found = file_access_of(wanted.options.user, wanted.options.group, wanted.options.mode);
    if (!found) return std::unexpected(with_story(found.error()));
    auto room = clear_socket_path(made.path_, wanted.type);
    if (!room) return std::unexpected(with_story(room.error()));
    access = *found;
  }
  if (auto bound = made.bind_and_listen(access); !bound) return std::unexpected(with_story(bound.error()));
  return made;
}

result<> listener::bind_and_listen(file_access const& access) {
  if (is_in_file_system(path_)) {
    auto identity = bind_socket_path(fd(), path_, access);
    if (!identity) return std::unexpected(std::move(identity).error());
    identity_ = *identity;
    file_ = owned_socket_file(path_, identity_);
  } else {
    auto address = path_.empty() ? address_of(settings_) : unix_socket_address(path_);
    if (!address) return std::unexpected(std::move(address).error());
    if (::bind(fd(), address->get(), address->length) < 0) {
      return errno == EADDRINUSE ? address_in_use(*address, settings_.type) : os_failure("bind");
    }
  }
  return listen_or_tell();
}

result<> listener::listen_or_tell() const {
  if (!is_passive() || ::listen(fd(), backlog_of(settings_)) == 0) return {};
  // Two sockets may be bound to one port as long as neither listens, so listen() can find it taken as well.
  auto refused = os_failure("listen");
  auto address = bound_address(fd());
  if (refused.error().code == std::errc::address_in_use && address)
    return address_in_use(*address, settings_.type);
  return refused;
}

result<listener> listener::adopt(listener_settings settings, unique_fd fd) {
  std::string adopting = "adopting '" + settings.name + "'";
  auto type = number_option(fd.get(), SO_TYPE, "asking what it is");
  if (!type) return std::unexpected(std::move(type).error().during(adopting));
  if (*type != kernel_socket_type(settings.type)) {
    return plain_failure(adopting + ": it is " + word_for(*type) + " socket, " +
                         word_for(kernel_socket_type(settings.type)) + " socket is configured");
  }
  listener made(std::move(settings), std::move(fd));
  auto address = bound_address(made.fd());
  if (!address) return std::unexpected(std::move(address).error().during(adopting));
  if (made.is_passive()) {
    auto accepting = number_option(made.fd(), SO_ACCEPTCONN, "asking whether it listens");
    if (!accepting) return std::unexpected(std::move(accepting).error().during(adopting));
    socket_address peer;
    peer.length = sizeof peer.storage;
    bool connected = ::getpeername(made.fd(), peer.get(), &peer.length) == 0;
    if (connected) return plain_failure(adopting + ": it is a connection, not a listening socket");
    if (*accepting == 0 && ::listen(made.fd(), backlog_of(made.settings_)) < 0) {
      return os_failure(adopting + ": it does not listen: listen");
    }
  }
  made.path_ = path_of(*address);
  if (auto file = is_in_file_system(made.path_) ? look_at_socket_file(made.path_) : std::nullopt) {
    made.identity_ = file->identity;
    bool ours = std::holds_alternative<unix_address>(made.settings_.address);
    if (ours) made.file_ = owned_socket_file(made.path_, made.identity_);
  }
  return made;
}

std::optional<std::uint32_t> listener::queued() const {
  if (!is_passive()) return std::nullopt;
  tcp_info information{};
  socklen_t length = sizeof information;
  if (::getsockopt(fd(), IPPROTO_TCP, TCP_INFO, &information, &length) < 0) return std::nullopt;
  if (information.tcpi_state != TCP_LISTEN) return std::nullopt;
  return information.tcpi_unacked;  // of a listening socket: the accept queue
}

result<> listener::restore_backlog() const {
  auto listening = listen_or_tell();
  if (!listening)
    return std::unexpected(std::move(listening).error().during("restoring the backlog of '" + name() + "'"));
  return {};
}

result<reopening> listener::reopen() {
  auto with_story = [says = "reopening '" + name() + "'"](error e) { return std::move(e).during(says); };
  if (!can_be_reopened())
    return std::unexpected(with_story(plain_failure("a UDP socket stays shut").error()));
  if (!path_.empty()) {
    auto replaced = replace();
    if (!replaced) return std::unexpected(with_story(replaced.error()));
    return reopening::replaced;
  }
  if (auto listening = listen_or_tell(); !listening) return std::unexpected(with_story(listening.error()));
  return reopening::reopened;
}

result<> listener::replace() {
  unique_fd fresh(::socket(AF_UNIX, kernel_socket_type(settings_.type) | SOCK_CLOEXEC, 0));
  if (!fresh) return os_failure("creating a socket");
  auto options = set_socket_options(fresh.get(), AF_UNIX, settings_.type, settings_.options);
  if (!options) return options;
  auto access = file_access_of(settings_.options.user, settings_.options.group, settings_.options.mode);
  if (!access) return std::unexpected(std::move(access).error());
  if (is_in_file_system(path_)) {
    // Binding the path again, in place of renaming a new socket over it, keeps getsockname() true for the
    // services.
    if (auto file = look_at_socket_file(path_)) access = file->access;
    // Now, while the dead socket still holds the inode: later its number may be another file's.
    file_.release();
    owned_socket_file(path_, std::exchange(identity_, {})).remove();
    if (auto room = clear_socket_path(path_, settings_.type); !room) return room;
  }
  // An abstract name is free only after its last descriptor is closed, so ours goes first.
  fd_ = std::move(fresh);
  auto bound = bind_and_listen(*access);
  bool file_is_ours = !std::holds_alternative<systemd_address>(settings_.address);
  if (!file_is_ours) file_.release();
  return bound;
}

namespace {

result<named_descriptor*> find_adopted(std::string const& name, std::vector<named_descriptor>& adopted) {
  named_descriptor* found = nullptr;
  for (auto& candidate : adopted) {
    if (candidate.name != name) continue;
    if (found != nullptr) {
      return plain_failure("adopting '" + name +
                           "': systemd passed more than one socket of that name; give each " +
                           "its own FileDescriptorName=");
    }
    found = &candidate;
  }
  if (found != nullptr) return found;
  std::string passed;
  for (auto const& candidate : adopted) passed += (passed.empty() ? "'" : ", '") + candidate.name + "'";
  return plain_failure("adopting '" + name + "': systemd passed " + (passed.empty() ? "no socket" : passed));
}

}  // namespace

result<std::vector<listener>> open_listeners(std::span<listener_settings const> settings,
                                             std::vector<named_descriptor>& adopted) {
  std::vector<listener> opened;
  std::vector<std::string> taken;
  opened.reserve(settings.size());
  for (auto const& wanted : settings) {
    if (!std::holds_alternative<systemd_address>(wanted.address)) {
      auto made = listener::open(wanted);
      if (!made) return std::unexpected(std::move(made).error());
      opened.push_back(std::move(*made));
      continue;
    }
    auto found = find_adopted(wanted.name, adopted);
    if (!found) return std::unexpected(std::move(found).error());
    // A copy, so that a later failure leaves the caller what it had.
    unique_fd copy(::fcntl((*found)->fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return os_failure("adopting '" + wanted.name + "'");
    auto made = listener::adopt(wanted, std::move(copy));
    if (!made) return std::unexpected(std::move(made).error());
    taken.push_back(wanted.name);
    opened.push_back(std::move(*made));
  }
  std::erase_if(adopted,
                [&](auto const& a) { return std::find(taken.begin(), taken.end(), a.name) != taken.end(); });
  return opened;
}

}  // namespace handoff
