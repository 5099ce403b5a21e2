// What handoffd tells handoff-exec to become. Travels in a memfd; the descriptors travel beside it by SCM_RIGHTS.
//
// The reader is the launcher: it runs between two exec calls, so it allocates nothing and points into the bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <base/error.hpp>

namespace handoff {

struct launch_limit {
  std::int32_t resource = 0;  // RLIMIT_*
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};

struct launch_spec {
  std::vector<std::string> arguments;    // argv
  std::vector<std::string> environment;  // "KEY=value"; LISTEN_PID is the launcher's to add
  std::string executable_path;           // used while it is still the file of the descriptor; always for scripts
  std::string working_directory;
  bool by_descriptor = false;            // execveat the pinned descriptor in place of the path
  bool has_executable = false;           // an executable descriptor comes along
  bool has_output = false;               // a descriptor for stdout and stderr comes along (else both stay)
  bool has_cgroup = false;               // an open cgroup.procs comes along
  bool null_input = true;                // stdin from /dev/null
  std::uint32_t listeners = 0;           // how many descriptors go to 3, 4, …
  std::optional<std::uint32_t> user, group, umask;
  std::vector<std::uint32_t> groups;     // supplementary; set when `user` is
  std::vector<launch_limit> limits;
  std::optional<std::int32_t> nice, oom_score_adjust;
  std::uint64_t ambient_capabilities = 0;  // bit n: capability n
  bool no_new_privileges = false;
};

// Where a launch failed; travels back as one record {stage, errno}.
enum class launch_stage : std::uint8_t {
  conversation = 1, descriptors, session, cgroup, limits, priority, directory, identity, capabilities, output, exec
};
std::string_view to_string(launch_stage);

}  // namespace handoff
