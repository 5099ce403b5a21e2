#include "door.hpp"

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

}  // namespace handoff
