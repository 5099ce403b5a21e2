// A listener: a bound socket that the supervisor owns for as long as it is configured, whoever else holds a
// copy.
//
// A passed socket is one open file description in many processes, so its status flags are everybody's: it is
// created blocking and no flag of it is ever changed.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <core/settings.hpp>
#include <os/socket_path.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace handoff {

// A descriptor that came with a name: from systemd, or from a store.
struct named_descriptor {
  std::string name;
  unique_fd fd;
};

// How a listener that a service shut down was opened again.
enum class reopening {
  reopened,  // the same socket listens again: whoever holds it goes on with it
  replaced,  // a new socket took its address: processes that hold the old one hold a dead socket
};

class listener {
 public:
  // Binds and opens a new socket. Errors name the listener, its address, and who holds that if it can be
  // found.
  static result<listener> open(listener_settings settings);

  // Takes over a socket that is bound already, after checking its kind. A stream socket that a service shut
  // down while nobody watched is opened again. A Unix socket that lost its name, since a predecessor could
  // not replace what a service had shut, hangs up, and reopen() goes on with that. The socket file is ours to
  // remove if `settings` names the path.
  static result<listener> adopt(listener_settings settings, unique_fd fd);

  std::string const& name() const { return settings_.name; }
  int fd() const { return fd_.get(); }
  listener_settings const& settings() const { return settings_; }

  // For the next restore_backlog().
  void set_backlog(std::uint32_t backlog) { settings_.options.backlog = backlog; }

  // Connections that wait to be accepted; nothing where the kernel does not tell (all but TCP).
  std::optional<std::uint32_t> queued() const;

  // Applies the configured backlog, which services override. Opens a TCP listener that was shut down.
  result<> restore_backlog() const;

  // Whether a service's shutdown() closes it for everybody in a way that reopen() can undo: all but UDP. A
  // UDP socket that was shut still receives, but hangs up for ever (measured; connect() to AF_UNSPEC does not
  // help), so watching one would never end.
  bool can_be_reopened() const { return is_passive() || !path_.empty(); }

  // Opens the listener again after a service shut it down for everybody. What was queued is lost. A Unix
  // socket stays dead once shut (measured: listen() succeeds, connect() is still refused), so it is replaced.
  // An abstract address cannot be taken before the last process that holds the dead socket is gone: that
  // fails, and may be tried again.
  result<reopening> reopen();

 private:
  listener(listener_settings settings, unique_fd fd) : settings_(std::move(settings)), fd_(std::move(fd)) {}
  result<> bind_and_listen(file_access const& access);
  result<> replace();
  bool is_passive() const { return settings_.type != socket_type::datagram; }

  listener_settings settings_;
  std::string path_;  // of a Unix socket, "@name" when abstract; otherwise empty
  unique_fd fd_;
  bool nameless_ = false;   // a replacement that could not be bound yet
  file_identity identity_;  // of the socket file, whoever owns it
  owned_socket_file file_;  // after fd_, so that the file goes first and nobody meets one without a socket
};

// Opens every listener, or none: after an error nothing is left bound and `adopted` is as it was. Listeners
// with `from = "systemd"` are taken out of `adopted` by name.
result<std::vector<listener>> open_listeners(std::span<listener_settings const> settings,
                                             std::vector<named_descriptor>& adopted);

}  // namespace handoff
