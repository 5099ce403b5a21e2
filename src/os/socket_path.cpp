#include "socket_path.hpp"

#include <base/unique_fd.hpp>
#include <os/account.hpp>
#include <os/port_holder.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace handoff {

namespace {

// The mask with which a new file has no permissions at all, for the time of one bind().
class nobody_may {
 public:
  nobody_may() : before_(::umask(0777)) {}
  ~nobody_may() { ::umask(before_); }
  nobody_may(nobody_may const&) = delete;
  nobody_may& operator=(nobody_may const&) = delete;

 private:
  mode_t before_;
};

// Gives the socket file its owner and mode. Held by descriptor, so that they go to this very file and never
// through a link put in its place.
result<file_identity> hand_over(std::string const& path, file_access const& access) {
  unique_fd file(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat found;
  if (!file || ::fstat(file.get(), &found) < 0) return os_failure("looking at " + path);
  if (!S_ISSOCK(found.st_mode)) return plain_failure(path + " was replaced while it was bound");
  if (::fchownat(file.get(), "", access.user, access.group, AT_EMPTY_PATH) < 0) {
    return os_failure("giving " + path + " its owner");
  }
  std::string held = "/proc/self/fd/" + std::to_string(file.get());
  if (::chmod(held.c_str(), access.mode) < 0) return os_failure("giving " + path + " its mode");
  return file_identity{found.st_dev, found.st_ino};
}

}  // namespace

result<file_access> file_access_of(std::string const& user, std::string const& group, mode_t mode) {
  auto owner = resolve_account(user, group, {});
  if (!owner) return std::unexpected(std::move(owner).error());
  file_access access{.mode = mode};
  if (owner->user) access.user = *owner->user;
  if (owner->group) access.group = *owner->group;
  return access;
}

std::optional<socket_file> look_at_socket_file(std::string const& path) {
  struct stat file;
  if (::lstat(path.c_str(), &file) < 0 || !S_ISSOCK(file.st_mode)) return std::nullopt;
  return socket_file{{file.st_dev, file.st_ino}, {file.st_uid, file.st_gid, file.st_mode & 07777}};
}

bool is_answered(std::string const& path, socket_type type) {
  auto address = unix_socket_address(path);
  if (!address) return false;
  unique_fd probe(::socket(AF_UNIX, kernel_socket_type(type) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return true;  // who cannot ask leaves it alone
  if (::connect(probe.get(), address->get(), address->length) == 0) return true;
  // Everything but a refusal speaks of somebody: a full queue, a socket of another type, no permission to
  // ask.
  return errno != ECONNREFUSED && errno != ENOENT;
}

result<> clear_socket_path(std::string const& path, socket_type type) {
  struct stat file;
  if (::lstat(path.c_str(), &file) < 0) {
    if (errno == ENOENT) return {};
    return os_failure("looking at " + path);
  }
  if (!S_ISSOCK(file.st_mode)) return plain_failure(path + " exists and is not a socket");
  if (is_answered(path, type)) {
    auto address = unix_socket_address(path);
    if (!address) return std::unexpected(std::move(address).error());
    return address_in_use(*address, type);
  }
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return os_failure("removing the stale socket " + path);
  return {};
}

result<file_identity> bind_socket_path(int fd, std::string const& path, file_access const& access) {
  auto address = unix_socket_address(path);
  if (!address) return std::unexpected(std::move(address).error());
  {
    nobody_may yet;
    if (::bind(fd, address->get(), address->length) < 0) {
      return errno == EADDRINUSE ? plain_failure(path + " appeared while it was bound") : os_failure(path);
    }
  }
  auto identity = hand_over(path, access);
  if (!identity) ::unlink(path.c_str());
  return identity;
}

void owned_socket_file::remove() noexcept {
  if (path_.empty()) return;
  auto there = look_at_socket_file(path_);
  if (there && there->identity == identity_) ::unlink(path_.c_str());
  path_.clear();
}

}  // namespace handoff
