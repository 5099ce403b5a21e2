#include "door.hpp"

#include <os/steering.hpp>

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
                         .sharing_reason = why_shared_};
  if (shared_) {
    seen.queued = shared_->queued();
    return seen;
  }
  for (auto g : generations) {
    auto counts = steered_->counts(g);
    if (!counts) continue;
    auto queued = steered_->queued(g);
    if (queued) seen.queued = seen.queued.value_or(0) + *queued;
    seen.slots.push_back({g, queued, counts->connections, counts->datagrams, counts->migrations});
  }
  return seen;
}

std::string why_shared(listener_settings const& l, sharing how) {
  auto const* address = std::get_if<inet_address>(&l.address);
  if (std::holds_alternative<systemd_address>(l.address)) return "it was adopted from systemd";
  if (address == nullptr) return "it is a Unix socket";
  if (address->port == 0) return "its port is whatever is free";
  if (how == sharing::shared) return "[rollout] sharing = 'shared'";
  if (!l.steer) return "steer = false";
  return can_steer().why_not;
}

}  // namespace handoff
