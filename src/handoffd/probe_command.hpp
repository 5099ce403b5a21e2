// What handoff-probe is asked on behalf of [ready], a [[check]] or a [[metric]].
#pragma once

#include <core/settings.hpp>

namespace handoff {

// It finds the socket to connect with where the launcher puts the first one.
command_line probe_command(probe_settings const&, inet_address const& target);

}  // namespace handoff
