// How the generations of a service would share a listener here, and why so.
#pragma once

#include <core/settings.hpp>
#include <os/steered_listener.hpp>

#include <optional>
#include <string>

namespace handoff {

struct sharing_choice {
  std::optional<steering_method> steered;  // nothing: all generations hold the same socket
  std::string why;                         // not by eBPF, which would be best
};

// Why it is shared whatever the kernel lets us do; empty when that decides.
std::string why_always_shared(listener_settings const&, sharing);

// As this process may: which user it is, with which capabilities, decides. Classic BPF is used where somebody
// asks for steering, or where it takes nothing from the service: without tcp_migrate_req, what waits for a
// generation that crashes for good is lost in a slot, and not in a shared socket.
sharing_choice choose_sharing(listener_settings const&, rollout_settings const&);

}  // namespace handoff
