#include "split.hpp"

#include <core/state.hpp>

namespace handoff {

namespace {

// Weight and routes begin with the first step that gives the candidate traffic, be it none.
bool takes_part(state const& s) { return s.rollout && s.rollout->weight && s.with_role(role::candidate); }

void add_share(traffic_split& split, generation_number g, std::uint32_t hundredths) {
  if (hundredths > 0) split.shares.push_back({g, weight{hundredths}});
}

}  // namespace

traffic_split split_of(state const& s) {
  generation const* live = s.with_role(role::live);
  if (!takes_part(s)) {
    if (live == nullptr) return {};
    return {.fallback = live->number,
            .shares = {{live->number, full_weight}},
            .routes = {},
            .sticky = s.policy.rollout.sticky};
  }
  rollout const& r = *s.rollout;
  generation_number candidate = r.candidate;
  generation_number other = live == nullptr ? candidate : live->number;
  traffic_split split{.fallback = other, .shares = {}, .routes = {}, .sticky = r.policy.rollout.sticky};
  std::uint32_t part = other == candidate ? number(full_weight) : number(*r.weight);
  add_share(split, other, number(full_weight) - part);
  add_share(split, candidate, part);
  for (auto const& rule : r.policy.rollout.routes)
    split.routes.push_back({rule.from, rule.to == side::candidate ? candidate : other});
  return split;
}

}  // namespace handoff
