// Rules of [[metric]]: one source, the keys of its kind, and numbers that mean what they seem to.
#pragma once

#include <core/settings.hpp>
#include <wire/config_tree.hpp>

namespace handoff {

// Reports what contradicts itself, and puts into the metrics what follows from several keys, or from keys
// that are not there. What a page's probe asks is check_probes's.
void check_metrics(config_node const& file, settings&, config_report&);

}  // namespace handoff
