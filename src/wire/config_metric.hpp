// The grammar of [[metric]]: numbers that decide whether a step of a rollout may end well.
#pragma once

#include <wire/config_reader.hpp>

namespace handoff::config {

grammar<metric_settings> const& metric_keys();

// Rules across keys, and what follows from keys that are not there.
void check_metrics(config_node const& file, strategy, std::vector<metric_settings>&, config_report&);

}  // namespace handoff::config
