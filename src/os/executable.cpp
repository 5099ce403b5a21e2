#include "executable.hpp"

#include <os/build_id.hpp>
#include <os/launch.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

namespace handoff {

namespace {

executable_identity identity_of(struct stat const& status) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .modified_seconds = status.st_mtim.tv_sec,
          .modified_nanoseconds = status.st_mtim.tv_nsec};
}

result<std::string> resolve(std::string const& path) {
  std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), std::free);
  if (!resolved) return os_failure("resolving '" + path + "'");
  return std::string(resolved.get());
}

// Empty when the path names another file, or none that we may have.
result<unique_fd> open_if_same(std::string const& path, executable_identity const& wanted) {
  unique_fd file(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat status{};
  if (!file || ::fstat(file.get(), &status) != 0) {
    auto why = os_failure("opening '" + path + "'");
    return is_transient(why.error()) ? result<unique_fd>(why) : unique_fd();
  }
  if (identity_of(status) != wanted) file.reset();
  return file;
}

bool begins_as_script(int file) {
  std::array<char, 2> start{};
  return ::pread(file, start.data(), start.size(), 0) == 2 && start[0] == '#' && start[1] == '!';
}

}  // namespace

result<pinned_executable> pinned_executable::open(std::string const& path) {
  pinned_executable pinned;
  auto resolved = resolve(path);
  if (!resolved) return failure(std::move(resolved.error()).during("pinning the executable"));
  pinned.path_ = std::move(*resolved);
  std::string const doing = "pinning the executable '" + pinned.path_ + "'";

  pinned.descriptor_ = unique_fd(::open(pinned.path_.c_str(), O_PATH | O_CLOEXEC));
  struct stat status{};
  if (!pinned.descriptor_ || ::fstat(pinned.descriptor_.get(), &status) != 0) return os_failure(doing);
  if (!S_ISREG(status.st_mode)) return os_failure(doing + ": not a regular file", EACCES);
  if ((status.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) == 0)
    return os_failure(doing + ": not executable", EACCES);
  pinned.identity_ = identity_of(status);

  // Through the descriptor, so that it is the same file. One that may be run but not read keeps its secret.
  std::string through = "/proc/self/fd/" + std::to_string(pinned.descriptor_.get());
  if (unique_fd file{::open(through.c_str(), O_RDONLY | O_CLOEXEC)}) {
    pinned.is_script_ = begins_as_script(file.get());
    pinned.build_id_ = read_build_id(file.get());
  }
  return pinned;
}

result<pinned_executable> pinned_executable::adopt(std::string path, unique_fd descriptor,
                                                   executable_identity identity, std::string build_id,
                                                   bool is_script, std::span<pid_t const> runners) {
  pinned_executable pinned;
  pinned.path_ = std::move(path);
  pinned.descriptor_ = std::move(descriptor);
  pinned.identity_ = identity;
  pinned.build_id_ = std::move(build_id);
  pinned.is_script_ = is_script;
  if (pinned.descriptor_) return pinned;
  std::vector<std::string> places{pinned.path_};
  for (pid_t pid : runners) places.push_back("/proc/" + std::to_string(pid) + "/exe");
  for (auto const& place : places) {
    auto found = open_if_same(place, identity);
    if (!found) return failure(std::move(found).error().during("pinning the executable again"));
    pinned.descriptor_ = std::move(*found);
    if (pinned.descriptor_) break;
  }
  return pinned;
}

executable_state pinned_executable::state() const {
  if (is_lost()) return executable_state::lost;
  struct stat kept{};
  if (descriptor_ && (::fstat(descriptor_.get(), &kept) != 0 || identity_of(kept) != identity_))
    return executable_state::overwritten;
  struct stat named{};
  if (::stat(path_.c_str(), &named) != 0) {
    return is_script_ ? executable_state::missing : executable_state::replaced;
  }
  return identity_of(named) == identity_ ? executable_state::same : executable_state::replaced;
}

bool pinned_executable::by_descriptor() const { return !is_script_ && state() != executable_state::same; }

}  // namespace handoff
