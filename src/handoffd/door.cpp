#include "door.hpp"

#include <os/classic_listener.hpp>

namespace handoff {

int door::fd(generation_number g) const { return shared_ ? shared_->fd() : steered_->fd(g).value_or(-1); }

result<> door::restore_backlog(std::uint32_t backlog) {
  if (shared_) {
    shared_->set_backlog(backlog);
    return shared_->restore_backlog();
  }
  steered_->set_backlog(backlog);
  return steered_->restore_backlogs();
}

observed_listener door::observe(std::vector<generation_number> const& generations) const {
  observed_listener seen{.name = name(),
                         .address = to_string(settings()),
                         .backlog = settings().options.backlog,
                         .steered = is_steered(),
                         .by_classic = is_steered() && steered_->method() == steering_method::classic,
                         .sharing_reason = why_};
  if (shared_) {
    seen.queued = shared_->queued();
    return seen;
  }
  for (auto g : generations) {
    if (!steered_->fd(g)) continue;
    observed_slot slot{.generation = g, .queued = steered_->queued(g)};
    if (slot.queued) seen.queued = seen.queued.value_or(0) + *slot.queued;
    if (auto counts = steered_->counts(g)) {
      slot.connections = counts->connections;
      slot.datagrams = counts->datagrams;
      slot.migrations = counts->migrations;
    }
    seen.slots.push_back(slot);
  }
  return seen;
}

namespace {

// Why it would be shared whatever the kernel lets us do; empty when it would not.
std::string why_always_shared(listener_settings const& l, sharing how) {
  auto const* address = std::get_if<inet_address>(&l.address);
  if (std::holds_alternative<systemd_address>(l.address)) return "it was adopted from systemd";
  if (address == nullptr) return "it is a Unix socket";
  if (address->port == 0) return "its port is whatever is free";
  if (how == sharing::shared) return "[rollout] sharing = 'shared'";
  return l.steer ? "" : "steer = false";
}

}  // namespace

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
