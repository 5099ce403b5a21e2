// The grammar of [[metric]]: numbers that decide whether a step of a rollout may end well.
#pragma once

#include <wire/config_reader.hpp>

namespace handoff::config {

grammar<metric_settings> const& metric_keys();

}  // namespace handoff::config
