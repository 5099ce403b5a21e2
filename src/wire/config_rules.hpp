// How the keys of a configuration relate: what needs, excludes or repeats what.
#pragma once

#include <core/settings.hpp>
#include <wire/config_tree.hpp>

namespace handoff {

// `value` is what read_settings made of `file`. Values that were reported already are passed over. Changes
// only defaults that depend on other keys.
void check_rules(config_node const& file, settings& value, config_report&);

}  // namespace handoff
