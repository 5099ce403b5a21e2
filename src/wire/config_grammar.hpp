// The grammar of a configuration: every section, its keys, their types and bounds.
#pragma once

#include <core/settings.hpp>
#include <wire/config_tree.hpp>

#include <string>
#include <vector>

namespace handoff {

// Reads what each key says on its own; how keys relate is check_rules's.
settings read_settings(config_node const& file, config_report&);

// Every key that this version supports, as "section.key"; so that a test can hold manual and example to it.
std::vector<std::string> configuration_keys();

}  // namespace handoff
