// The steering program of one reuseport group: loaded into the kernel, with its maps. It goes on working when
// its owner dies, for as long as a socket of the group is open.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <core/ids.hpp>
#include <core/settings.hpp>
#include <os/steering_layout.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace handoff {

// UDP flows that are remembered, over all generations; the least recently used one makes room.
constexpr std::uint32_t most_flows = 65'536;

// What one slot got since it was placed.
struct slot_counts {
  std::uint64_t connections = 0;  // attempts: a repeated SYN counts again; without probes
  std::uint64_t datagrams = 0;
  std::uint64_t migrations = 0;
  // The last datagram of any flow that belongs to the slot. Datagrams that a rule sent there do not move it.
  std::optional<instant> last_datagram;
};

class steering {
 public:
  // Loads the program for stream or datagram sockets. Needs CAP_BPF, CAP_PERFMON and Linux 5.14.
  static result<steering> create(socket_type type);

  // Makes the program choose for the group of `fd`, at once and in place of whatever chose before. Before
  // bind() the socket needs SO_REUSEPORT.
  result<> attach(int fd) const;

  // Puts a socket of the group into a slot: bound, and for TCP listening. A TCP socket leaves it by itself
  // when it is shut.
  result<> place(std::uint32_t slot, int fd);

  // Whether a socket is in the slot.
  result<bool> is_placed(std::uint32_t slot) const;

  // Empties a slot; one that is empty already is fine.
  result<> clear(std::uint32_t slot);

  // Begins counting anew for a slot that is empty.
  result<> reset_counts(std::uint32_t slot);

  // All of the page holds for whatever comes next.
  result<> apply(steering_page const& page);

  result<slot_counts> counts(std::uint32_t slot) const;

  // What a successor needs to go on, in an order that adopt() knows; close-on-exec and ours.
  static constexpr std::size_t descriptor_count = 6;
  std::array<int, descriptor_count> descriptors() const;

  // Which program it is among all that are loaded; 0: not known.
  std::uint32_t id() const { return id_; }

  // Takes over what another one left: traffic goes on as it was divided, until apply(). Fails when they are
  // no such program and maps, or those of another layout; they are closed then.
  static result<steering> adopt(std::array<unique_fd, descriptor_count> descriptors);

 private:
  steering() = default;

  unique_fd program_;
  unique_fd sockets_;
  unique_fd pages_;
  unique_fd current_;
  unique_fd counts_;
  unique_fd flows_;
  std::uint32_t id_ = 0;
  std::uint32_t page_ = 0;  // the one that is current
};

struct steering_support {
  bool works = false;
  std::string why_not;  // empty when it works
};

// Whether this process may load and attach the program here: tried once, at the first call.
steering_support const& can_steer();

}  // namespace handoff
