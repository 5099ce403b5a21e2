// The rules of [rollout]: which key belongs to which strategy, and what steering needs.
#pragma once

#include <core/settings.hpp>
#include <wire/config_tree.hpp>

namespace handoff {

// Reports what contradicts itself, and puts into `settings` what depends on several keys.
void check_rollout(config_node const& file, settings&, config_report&);

// What steps choose must be there, by the names that checks and metrics have in the end.
void check_selections(config_node const& file, settings const&, config_report&);

}  // namespace handoff
