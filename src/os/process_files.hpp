// The files that a process runs, as far as /proc shows them to us: what it was started with, what it mapped,
// and what its paths name on disk by now. Reading most of it takes the right to trace the process (proc(5),
// PTRACE_MODE_READ_FSCREDS).
#pragma once

#include <base/error.hpp>

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

namespace limit {
constexpr std::size_t processes_of_instance = 4096;
constexpr std::size_t maps_bytes = 16 << 20;       // some ten times what a process with many libraries has
constexpr std::size_t arguments_bytes = 64 << 10;  // of a command line
}  // namespace limit

// An instance and what it started: its descendants, what is in its cgroup when it has one of its own, and
// orphans, which are children of the supervisor and carry the instance's `variables`. Each once, the instance
// first.
std::vector<pid_t> processes_of_instance(pid_t instance, pid_t supervisor,
                                         std::span<std::string const> variables);

// The text of /proc/PID/maps.
result<std::string> read_maps(pid_t);

// The link /proc/PID/exe: a path, with " (deleted)" behind it when it names that file no more. Empty when it
// cannot be read.
std::string executable_of(pid_t);

// Its command line, which the program may have written over; nothing when it is longer than the limit.
std::vector<std::string> arguments_of(pid_t);

// `path` made absolute by its working directory.
std::string absolute_path_for(pid_t, std::string const& path);

// When it was started, by the clock that stamps files; 10 ms exact. Nothing of one that is gone: the epoch.
timespec started_at(pid_t);

// A regular file on disk.
struct disk_file {
  std::string path;  // by which we reach it
  dev_t device = 0;
  ino_t inode = 0;
  timespec changed{};  // its inode: also by renaming, which keeps the time of its content
};

// What `path` names for a process: in its own root, and, for one in a chroot, in ours, since /proc gives
// paths as we see them. The likely one first; none when it names nothing.
std::vector<disk_file> files_named(pid_t, std::string const& path);

// The build-id of a file on disk, and of what a process has mapped at these addresses: that takes
// CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, but for its executable. Empty: not known.
std::string build_id_of(disk_file const&);
std::string build_id_of_mapping(pid_t, std::uint64_t begin, std::uint64_t end);
std::string build_id_of_executable(pid_t);

}  // namespace handoff
