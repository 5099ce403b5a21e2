#include "sharing.hpp"

#include <os/classic_listener.hpp>
#include <os/steering.hpp>

namespace handoff {

std::string why_always_shared(listener_settings const& l, sharing how) {
  auto const* address = std::get_if<inet_address>(&l.address);
  if (std::holds_alternative<systemd_address>(l.address)) return "it was adopted from systemd";
  if (address == nullptr) return "it is a Unix socket";
  if (address->port == 0) return "its port is whatever is free";
  if (how == sharing::shared) return "[rollout] sharing = 'shared'";
  return l.steer ? "" : "steer = false";
}

sharing_choice choose_sharing(listener_settings const& l, rollout_settings const& how) {
  if (auto why = why_always_shared(l, how.sharing); !why.empty()) return {{}, why};
  if (can_steer().works) return {steering_method::ebpf, {}};
  std::string const& why = can_steer().why_not;
  if (!can_steer_by_classic().works) return {{}, why + "; " + can_steer_by_classic().why_not};
  if (l.connection_id_byte) return {{}, why + "; classic BPF knows no connection-id-byte"};
  bool asked_for = how.sharing == sharing::steered || needs_steering(how);
  if (asked_for || tcp_migrates_requests()) return {steering_method::classic, why};
  return {{}, why + "; [rollout] sharing = 'steered' steers it by classic BPF"};
}

}  // namespace handoff
