#include "output_file.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace handoff {

namespace {

// A FIFO that nobody reads fails with ENXIO; without O_NONBLOCK the loop would wait for a reader, fifo(7).
constexpr int appending = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
constexpr mode_t mode = 0640;

unique_fd open_with_links(std::string const& path) {
  return unique_fd(::open(path.c_str(), appending, mode));
}

unique_fd open_without_links(std::string const& path) {
  open_how how{.flags = appending, .mode = mode, .resolve = RESOLVE_NO_SYMLINKS};
  return unique_fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
}

// For file accesses of this thread, setfsuid(2): which returns what was before, and nothing else.
class rights_of {
 public:
  explicit rights_of(account const& who) {
    group_ = static_cast<gid_t>(::setfsgid(who.group.value_or(*who.user)));
    user_ = static_cast<uid_t>(::setfsuid(*who.user));
    taken_ = static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))) == *who.user;
  }
  ~rights_of() {
    ::setfsuid(user_);
    ::setfsgid(group_);
  }
  rights_of(rights_of const&) = delete;
  rights_of& operator=(rights_of const&) = delete;
  explicit operator bool() const { return taken_; }

 private:
  uid_t user_;
  gid_t group_;
  bool taken_;
};

unique_fd open_as(std::string const& path, account const& who) {
  rights_of const theirs(who);
  if (theirs) return open_with_links(path);
  errno = EACCES;
  return {};
}

}  // namespace

result<unique_fd> open_output_file(std::string const& path, account const& owner) {
  bool const is_for_another = owner.user && *owner.user != ::geteuid();
  unique_fd file = is_for_another ? open_as(path, owner) : open_with_links(path);
  if (!file && is_for_another && errno == EACCES) file = open_without_links(path);
  if (!file && is_for_another && errno == ELOOP)
    return plain_failure("opening " + path + ": user " + std::to_string(*owner.user) +
                         " may not, and through a symbolic link we do not");
  if (!file || ::fcntl(file.get(), F_SETFL, O_APPEND) < 0) return os_failure("opening " + path);
  return file;
}

}  // namespace handoff
