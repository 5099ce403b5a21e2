#include "output_file.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <expected>
#include <span>
#include <utility>
#include <vector>

namespace handoff {

namespace {

// A FIFO that nobody reads fails with ENXIO; without O_NONBLOCK the loop would wait for a reader, fifo(7).
constexpr int appending = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
constexpr mode_t mode = 0640;

using opened = std::expected<unique_fd, int>;  // or errno

opened or_errno(int fd) {
  if (fd < 0) return std::unexpected(errno);
  return unique_fd(fd);
}

opened open_with_links(std::string const& path) { return or_errno(::open(path.c_str(), appending, mode)); }

// Neither symbolic ones, nor others: by which a service may give a file of root's another name, where
// fs.protected_hardlinks is off, proc_sys_fs(5).
opened open_without_links(std::string const& path) {
  open_how how{.flags = appending, .mode = mode, .resolve = RESOLVE_NO_SYMLINKS};
  auto file = or_errno(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  struct stat seen{};
  if (file && ::fstat(file->get(), &seen) < 0) return std::unexpected(errno);
  if (S_ISREG(seen.st_mode) && seen.st_nlink > 1) return std::unexpected(ELOOP);
  return file;
}

std::vector<gid_t> our_groups() {
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  groups.resize(
      static_cast<std::size_t>(std::max(::getgroups(static_cast<int>(groups.size()), groups.data()), 0)));
  return groups;
}

// Of this thread alone, as setfsuid(2) is: setgroups(3) would ask all of them, and there are no others.
bool set_groups(std::span<gid_t const> groups) {
  return ::syscall(SYS_setgroups, groups.size(), groups.data()) == 0;
}

// For file accesses of this thread, setfsuid(2): which returns what was before, and nothing else.
class rights_of {
 public:
  explicit rights_of(account const& who) : groups_(our_groups()) {
    bool const in_their_groups = set_groups(who.groups);
    group_ = static_cast<gid_t>(::setfsgid(who.group.value_or(*who.user)));
    user_ = static_cast<uid_t>(::setfsuid(*who.user));
    taken_ = in_their_groups && static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))) == *who.user;
  }
  ~rights_of() {
    ::setfsuid(user_);
    ::setfsgid(group_);
    set_groups(groups_);
  }
  rights_of(rights_of const&) = delete;
  rights_of& operator=(rights_of const&) = delete;
  explicit operator bool() const { return taken_; }

 private:
  std::vector<gid_t> groups_;
  uid_t user_;
  gid_t group_;
  bool taken_;
};

opened open_as(std::string const& path, account const& who) {
  rights_of const theirs(who);
  if (!theirs) return std::unexpected(EACCES);
  return open_with_links(path);
}

}  // namespace

result<unique_fd> open_output_file(std::string const& path, account const& owner) {
  bool const is_for_another = owner.user && *owner.user != ::geteuid();
  opened file = is_for_another ? open_as(path, owner) : open_with_links(path);
  if (!file && is_for_another && file.error() == EACCES) file = open_without_links(path);
  if (!file && is_for_another && file.error() == ELOOP)
    return plain_failure("opening " + path + ": user " + std::to_string(*owner.user) +
                         " may not, and through a link we do not");
  if (file && ::fcntl(file->get(), F_SETFL, O_APPEND) < 0) file = std::unexpected(errno);
  if (!file) return os_failure("opening " + path, file.error());
  return std::move(*file);
}

}  // namespace handoff
