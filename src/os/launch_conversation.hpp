// How handoffd hands a launch to handoff-exec: messages over a SOCK_SEQPACKET pair, included by both ends.
//
// All messages are queued before the launcher is started, so that neither side ever waits for the other: a
// queue that does not fit is an error with no process to clean up, and a message that is missing will never
// come.
//
//   handoffd → launcher   opening, with the spec's sealed memfd and then the special descriptors it announces
//                         batch × N, each with its listeners
//   launcher → handoffd   report when a step failed; nothing, but the end of the channel, when exec succeeded
#pragma once

#include <core/settings.hpp>

#include <cstddef>
#include <cstdint>

namespace handoff::launch_conversation {

constexpr std::uint32_t magic = 0x58454F48;  // "HOEX" as it lies in memory
constexpr std::uint32_t version = 1;
constexpr int channel = 3;               // where the launcher finds its end
constexpr std::size_t batch_size = 253;  // SCM_MAX_FD, unix(7)
constexpr std::size_t most_listeners = limit::listeners + limit::stored_descriptors;

// Which special descriptors follow the spec in the opening message, in this order.
constexpr std::uint32_t has_executable = 1U << 0;
constexpr std::uint32_t has_output = 1U << 1;
constexpr std::uint32_t has_cgroup = 1U << 2;
constexpr std::size_t most_special = 3;

struct opening {
  std::uint32_t magic = 0;
  std::uint32_t version = 0;
  std::uint32_t listeners = 0;  // in all the batches that follow
  std::uint32_t special = 0;    // has_executable, has_output, has_cgroup
};

struct batch {
  std::uint32_t magic = 0;
  std::uint32_t first = 0;  // index of the first listener in this message
  std::uint32_t count = 0;  // how many: 1 to batch_size
};

struct report {
  std::uint32_t magic = 0;
  std::uint32_t stage = 0;
  std::int32_t error_number = 0;
};

}  // namespace handoff::launch_conversation
