// Networks of clients as text.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

#include <string>
#include <string_view>

namespace handoff {

// "10.0.9.0/24", "2001:db8::/32", or one address. An error names the network that was probably meant when
// bits behind the prefix are set.
result<network> parse_network(std::string_view text);

// The usual spelling, which parse_network reads as the same.
std::string network_text(network const&);

}  // namespace handoff
