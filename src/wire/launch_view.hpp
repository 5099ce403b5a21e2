// A launch spec as handoff-exec reads it: pointers into the received bytes, nothing copied, nothing
// allocated.
//
// The layout is this machine's own: sender and launcher come from the same package and the same handoffd, and
// a version that is not ours is refused. After the header follow the limits, the groups, and the strings
// (executable path, working directory, arguments, environment), each ended by a NUL. There is one encoding of
// each spec: what decodes encodes to the same bytes again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

namespace handoff {

struct launch_limit {
  std::int32_t resource = 0;  // RLIMIT_*
  std::uint64_t soft = 0;     // UINT64_MAX: infinity
  std::uint64_t hard = 0;
  bool operator==(launch_limit const&) const = default;
};

// Where a launch failed; travels back as one record {stage, errno}.
enum class launch_stage : std::uint8_t {
  conversation = 1,
  descriptors,
  session,
  cgroup,
  limits,
  priority,
  directory,
  identity,
  capabilities,
  output,
  exec
};

// The bounds of a launch spec.
namespace launch_bound {
constexpr std::size_t bytes =
    8 << 20;  // the kernel takes at most 6 MiB of arguments and environment, execve(2)
constexpr std::uint32_t listeners = 4608;  // limit::listeners and limit::stored_descriptors together
constexpr std::uint32_t groups = 65536;    // NGROUPS_MAX, setgroups(2)
constexpr std::uint32_t limits = 16;       // RLIM_NLIMITS
constexpr std::uint32_t capabilities = 64;
}  // namespace launch_bound

// The fixed head of a spec. Public because encoder and decoder share it.
struct launch_header {
  static constexpr std::uint32_t expected_magic = 0x43'45'50'53;  // "SPEC" as it lies in memory
  static constexpr std::uint32_t expected_version = 1;

  std::uint32_t magic = expected_magic;
  std::uint32_t version = expected_version;
  std::uint64_t bytes = 0;  // of the whole spec
  std::uint64_t ambient_capabilities = 0;
  std::uint32_t flags = 0;
  std::uint32_t listeners = 0;
  std::uint32_t user = 0, group = 0, umask = 0;  // these five are 0 without their flag
  std::int32_t nice = 0, oom_score_adjust = 0;
  std::uint32_t arguments = 0, environment = 0, groups = 0, limits = 0;  // how many follow
  std::uint32_t reserved = 0;
};
static_assert(sizeof(launch_header) == 72, "the header has no padding: its bytes are all ours");

namespace launch_flag {
constexpr std::uint32_t by_descriptor = 1U << 0;
constexpr std::uint32_t has_executable = 1U << 1;
constexpr std::uint32_t has_output = 1U << 2;
constexpr std::uint32_t has_cgroup = 1U << 3;
constexpr std::uint32_t null_input = 1U << 4;
constexpr std::uint32_t no_new_privileges = 1U << 5;
constexpr std::uint32_t user = 1U << 6;
constexpr std::uint32_t group = 1U << 7;
constexpr std::uint32_t umask = 1U << 8;
constexpr std::uint32_t nice = 1U << 9;
constexpr std::uint32_t oom_score_adjust = 1U << 10;
constexpr std::uint32_t all = (1U << 11) - 1;
}  // namespace launch_flag

struct launch_limit_record {
  std::int32_t resource = 0;
  std::uint32_t reserved = 0;
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};
static_assert(sizeof(launch_limit_record) == 24);

// `count` strings, each ended by a NUL, one behind the other.
struct launch_strings {
  char const* first = nullptr;
  std::uint32_t count = 0;
};
char const* next_string(char const* string) noexcept;

// Valid as long as the bytes it was decoded from.
struct launch_view {
  launch_header header;
  std::byte const* limits = nullptr;  // launch_limit_record, perhaps unaligned: use limit()
  std::byte const* groups = nullptr;  // uint32, perhaps unaligned: use group()
  char const* executable_path = nullptr;
  char const* working_directory = nullptr;
  launch_strings arguments;
  launch_strings environment;

  bool has(std::uint32_t flag) const noexcept { return (header.flags & flag) != 0; }
  launch_limit limit(std::uint32_t index) const noexcept;
  std::uint32_t group(std::uint32_t index) const noexcept;
};

// Reads a spec without allocating. The error is an errno: EPROTONOSUPPORT for another version, EBADMSG
// otherwise.
std::expected<launch_view, int> decode_launch(std::span<std::byte const> bytes) noexcept;

}  // namespace handoff
