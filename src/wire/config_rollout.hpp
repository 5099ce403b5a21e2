// The grammar of [rollout]: strategies, how listeners are shared, and which clients go where.
#pragma once

#include <wire/config_reader.hpp>

namespace handoff::config {

grammar<rollout_settings> const& rollout_keys();

// One step of a canary as it is written.
struct written_step {
  weight to{};
  std::optional<duration> hold;
  bool pause = false;
  selection checks;
  selection metrics;
};
grammar<written_step> const& step_keys();

grammar<route> const& route_keys();

}  // namespace handoff::config
