// Starting a process through handoff-exec: bytes that describe it, and the descriptors it shall have.
//
// What the bytes mean is between wire/launch_spec and the launcher; this file only carries them.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace handoff {

// All stay the caller's. -1: none.
struct launch_descriptors {
  int executable = -1;             // O_PATH, for a spec with has_executable
  int output = -1;                 // becomes stdout and stderr
  int cgroup = -1;                 // cgroup.procs, open for writing
  std::span<int const> listeners;  // become 3, 4, …
};

// A launcher on its way to become the service. The pid is ours until somebody reaps it.
struct launched_process {
  pid_t pid = -1;
  unique_fd pidfd;
  unique_fd channel;  // becomes readable when there is something for read_launch_report
};

enum class launch_progress : std::uint8_t {
  running,   // the launcher is still at work
  executed,  // the channel ended in silence: the service runs, or the launcher was killed, which its pidfd
             // tells
  failed     // a step failed; the launcher exits 127
};

struct launch_report {
  launch_progress progress = launch_progress::running;
  std::uint8_t stage = 0;  // launch_stage, when failed
  int error_number = 0;    // when failed
};

// Opens handoff-exec, to be used by descriptor for as long as we run: an upgrade of the package cannot pair
// an old supervisor with a new launcher.
result<unique_fd> open_launcher(std::string const& path);

// Queues the conversation and starts the launcher. Never blocks but for the start itself; on failure nothing
// is left behind, and is_transient() tells whether trying again later makes sense.
result<launched_process> launch(int launcher, std::span<std::byte const> spec, launch_descriptors const&);

// What the launcher had to say so far. Never blocks.
result<launch_report> read_launch_report(int channel);

// True for a shortage that passes: processes, descriptors in use or in flight, memory.
bool is_transient(error const&);

}  // namespace handoff
