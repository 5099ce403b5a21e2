// A cgroup for each generation, where a part of the tree was delegated to us: what runs in it cannot hide, so
// killing means all descendants. Version 2 only; no controllers are enabled, because handoffd itself stays in
// the root of its part, and a cgroup that enables controllers for its children may hold no processes
// (cgroups(7)).
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

// The path of our own cgroup below the mount of version 2, from the texts of /proc/self/cgroup and
// /proc/self/mountinfo (proc(5)); nothing when there is none.
std::optional<std::string> cgroup_path(std::string_view own_cgroups, std::string_view mounts);

// Our own cgroup, when it is ours to divide: a cgroup2 that is not the root of the system, where we may
// create children. Nothing otherwise, which is the usual case without systemd's Delegate=.
std::optional<std::string> find_delegated_cgroup();

// Every process in the cgroup of `member` and below it, when that lies below the cgroup of `owner`, and so
// holds nothing else; none otherwise.
std::vector<pid_t> processes_of_private_cgroup(pid_t member, pid_t owner);

class generation_cgroup {
 public:
  // Creates `parent`/`name`; one that exists already, of a predecessor, is taken over.
  static result<generation_cgroup> create(std::string const& parent, std::string_view name);

  // One that a predecessor created.
  static generation_cgroup adopt(std::string path) { return generation_cgroup(std::move(path)); }

  std::string const& path() const noexcept { return path_; }

  // Whether a process lives in it or below it.
  bool holds(pid_t) const;

  // Those that live in it and below it.
  std::vector<pid_t> processes() const;

  // cgroup.procs, open for writing: who writes "0" to it moves in.
  result<unique_fd> open_processes() const;

  // False when no process is left in it or below it.
  result<bool> is_populated() const;

  // SIGKILL to everything in it and below it. They are dead when is_populated() says so. On kernels without
  // cgroup.kill (before 5.14) a process that forks at the same moment may escape: call again until it is
  // empty.
  result<> kill_all() const;

  // Removes it and what the service made below it. False when a process is still in there: try again later.
  result<bool> remove() const;

 private:
  explicit generation_cgroup(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace handoff
