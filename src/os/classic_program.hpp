// The steering of a reuseport group as a classic BPF program, for kernels and users where eBPF may not be
// loaded. It has no maps: another split is another program.
#pragma once

#include <core/settings.hpp>
#include <os/steering_page.hpp>

#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <vector>

namespace handoff {

// Chooses as the eBPF program does by the same page, rule by rule and sticky client by sticky client. What
// is not sticky goes by chance (TCP) or by the client's address and port (UDP: a flow stays while the weights
// stand still). `order` has the slot of each member by its index in the group, no_slot for one that is to get
// nothing unless there is no other.
//
// The kernel takes an index that nobody has as leave to choose any member by hash (reuseport_select_sock()).
std::vector<sock_filter> classic_program(steering_page const& page, socket_type type,
                                         std::span<std::uint32_t const> order);

}  // namespace handoff
