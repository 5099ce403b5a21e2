// What the status tells of a rollout that compares: its variants, and what metrics said of either side.
#pragma once

#include <app/records.hpp>

namespace handoff {

// Live first, then the candidate; null when the rollout is no experiment.
json variant_records(state const&, rollout const&, observations const&);

// Every metric of the hold under way; none before a step holds.
json metric_records(rollout const&);

}  // namespace handoff
