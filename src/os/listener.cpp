#include "listener.hpp"

#include <os/listening.hpp>
#include <os/socket_settings.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace handoff {

namespace {

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
  auto socket = make_socket(address->family(), settings);
  if (!socket) return std::unexpected(with_story(socket.error()));
  listener made(std::move(settings), std::move(*socket));
  auto const& wanted = made.settings_;
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
    if (auto bound = bind_to(fd(), *address, settings_.type); !bound) return bound;
  }
  return listen_on(fd(), settings_);
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
  auto const* unix_one = std::get_if<unix_address>(&made.settings_.address);
  bool nameless = unix_one != nullptr && path_of(*address).empty();
  if (nameless) {
    made.path_ = unix_one->path;
    made.nameless_ = true;
    ::shutdown(made.fd(), SHUT_RDWR);  // so that it hangs up, as whatever is to be opened again does
    return made;
  }
  if (made.is_passive()) {
    auto accepting = number_option(made.fd(), SO_ACCEPTCONN, "asking whether it listens");
    if (!accepting) return std::unexpected(std::move(accepting).error().during(adopting));
    socket_address peer;
    peer.length = sizeof peer.storage;
    bool connected = ::getpeername(made.fd(), peer.get(), &peer.length) == 0;
    if (connected) return plain_failure(adopting + ": it is a connection, not a listening socket");
    auto listening = *accepting == 0 ? listen_on(made.fd(), made.settings_) : result<>();
    if (!listening)
      return std::unexpected(std::move(listening).error().during(adopting + ": it does not listen"));
  }
  if (made.settings_.options.non_blocking) {
    auto done = set_non_blocking(made.fd());
    if (!done) return std::unexpected(std::move(done).error().during(adopting));
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
  return is_passive() ? accept_queue(fd()) : std::nullopt;
}

result<> listener::restore_backlog() const {
  if (nameless_) return {};
  auto listening = listen_on(fd(), settings_);
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
  if (auto listening = listen_on(fd(), settings_); !listening)
    return std::unexpected(with_story(listening.error()));
  return reopening::reopened;
}

result<> listener::replace() {
  auto fresh = make_socket(AF_UNIX, settings_);
  if (!fresh) return std::unexpected(std::move(fresh).error());
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
  fd_ = std::move(*fresh);
  auto bound = bind_and_listen(*access);
  nameless_ = !bound;
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
