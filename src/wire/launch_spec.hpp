// What handoffd tells handoff-exec to become. Travels in a memfd; the descriptors travel beside it by
// SCM_RIGHTS.
//
// This is the sender's side. The launcher runs between two exec calls and must not allocate: it reads the
// bytes through wire/launch_view.
#pragma once

#include <base/error.hpp>
#include <wire/launch_view.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

struct launch_spec {
  std::vector<std::string> arguments;    // argv
  std::vector<std::string> environment;  // "KEY=value"; LISTEN_PID is the launcher's to add
  std::string executable_path;    // used while it is still the file of the descriptor; always for scripts
  std::string working_directory;  // empty: stays where handoffd is
  bool by_descriptor = false;     // execveat the pinned descriptor in place of the path
  bool has_executable = false;    // an executable descriptor comes along
  bool has_output = false;        // a descriptor for stdout and stderr comes along (else both stay)
  bool has_cgroup = false;        // an open cgroup.procs comes along
  bool null_input = true;         // stdin from /dev/null
  std::uint32_t listeners = 0;    // how many descriptors go to 3, 4, …
  std::optional<std::uint32_t> user, group, umask;
  std::vector<std::uint32_t> groups;  // supplementary; set when `user` is
  std::vector<launch_limit> limits;
  std::optional<std::int32_t> nice, oom_score_adjust;
  std::uint64_t ambient_capabilities = 0;  // bit n: capability n
  bool no_new_privileges = false;

  bool operator==(launch_spec const&) const = default;
};

// The bytes of a spec. Fails, in words for the operator, when a bound of launch_bound is passed, a string
// holds a NUL, there is no argument, or `groups` are given without `user`.
result<std::vector<std::byte>> encode_launch(launch_spec const&);

// The spec that a view shows.
launch_spec to_spec(launch_view const&);

std::string_view to_string(launch_stage);

// "exec: ENOENT (No such file or directory)", for a record that came back from the launcher. Takes any
// numbers.
std::string describe_launch_failure(std::uint8_t stage, int error_number);

}  // namespace handoff
