// A traffic split as the steering program reads it: generations become slots, weights become ends of shares.
#pragma once

#include <core/ids.hpp>
#include <core/settings.hpp>
#include <core/split.hpp>
#include <os/steering_layout.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace handoff {

// Who owns each slot; no_generation where it is free or its door is shut for good.
using slot_owners = std::array<generation_number, steering_slots>;

// A slot index that names nobody: the program goes on to the first slot that is present.
constexpr std::uint32_t no_slot = steering_slots;

// The slot of a generation, or no_slot.
std::uint32_t slot_of(slot_owners const& owners, generation_number who);

// One client address and port, such as a probe's, that goes to one generation.
struct routed_client {
  network from;            // of 128 bits
  std::uint16_t port = 0;  // in host order, not 0
  generation_number to{};
  bool operator==(routed_client const&) const = default;
};

// What does not change with the split.
struct steering_constants {
  std::uint32_t sticky_seed = 0;  // another one divides the clients in another way
  duration flow_timeout{0};
  std::optional<std::uint8_t> connection_id_byte;
};

// The clients' rules come before the split's routes. A generation without a slot gives its share and its
// routes to the fallback, so that the shares of all others stay where they are and sticky clients with them.
// Shares and rules beyond steering_shares and steering_rules go to the fallback as well.
steering_page make_page(traffic_split const& split, slot_owners const& owners,
                        std::span<routed_client const> clients, steering_constants const& constants);

}  // namespace handoff
