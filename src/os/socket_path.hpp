// The file of a Unix socket: making room for it, giving it an owner and a mode, and removing it when it is
// ours.
#pragma once

#include <base/error.hpp>
#include <os/socket_address.hpp>

#include <sys/types.h>

#include <optional>
#include <string>

namespace handoff {

// Which file it is, whatever its name is by now.
struct file_identity {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(file_identity const&) const = default;
};

// Who may use a socket file.
struct file_access {
  uid_t user = static_cast<uid_t>(-1);   // -1: leave it ours
  gid_t group = static_cast<gid_t>(-1);  // -1: leave it ours
  mode_t mode = 0600;
};

// Looks up the names (or numbers) of a user and a group; without a group it is the user's, without both it is
// ours.
result<file_access> file_access_of(std::string const& user, std::string const& group, mode_t mode);

// The access and identity of the socket file at `path`, nothing when there is no such socket file.
struct socket_file {
  file_identity identity;
  file_access access;
};
std::optional<socket_file> look_at_socket_file(std::string const& path);

// Whether somebody answers at the socket file at `path`: it is stale when nobody does. Connects once and
// hangs up.
bool is_answered(std::string const& path, socket_type type);

// Makes room for a socket at `path`: removes a stale socket file; fails for a live one, naming who holds it,
// and for a file that is no socket.
result<> clear_socket_path(std::string const& path, socket_type type);

// Binds `fd` to `path`. The file belongs to nobody until it has its owner and mode, so nobody slips in
// before.
result<file_identity> bind_socket_path(int fd, std::string const& path, file_access const& access);

// The file of a socket that is ours: removed with this value, unless another file has taken its place.
class owned_socket_file {
 public:
  owned_socket_file() = default;
  owned_socket_file(std::string path, file_identity identity) : path_(std::move(path)), identity_(identity) {}
  owned_socket_file(owned_socket_file&& other) noexcept { swap(other); }
  owned_socket_file& operator=(owned_socket_file other) noexcept {
    swap(other);
    return *this;
  }
  ~owned_socket_file() { remove(); }

  void remove() noexcept;
  void release() noexcept { path_.clear(); }  // leaves the file where it is

 private:
  void swap(owned_socket_file& other) noexcept {
    path_.swap(other.path_);
    std::swap(identity_, other.identity_);
  }
  std::string path_;
  file_identity identity_;
};

}  // namespace handoff
