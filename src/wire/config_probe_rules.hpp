// Rules for probes: whom they ask must be one generation alone.
#pragma once

#include <core/settings.hpp>
#include <wire/config_tree.hpp>

namespace handoff {

// Checks the probes of [ready], of each [[check]] and of each [[metric]], gives [ready] one where it needs
// it, and names the listener where none is written. Checks as well what a [[metric]] of 'steering' counts.
void check_probes(config_node const& file, settings&, config_report&);

}  // namespace handoff
