// Addresses of listeners as text.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

#include <string_view>

namespace handoff {

struct parsed_address {
  listener_address address;  // inet or Unix; a numeric host in its canonical spelling
  socket_type type = socket_type::stream;
  bool operator==(parsed_address const&) const = default;
};

// "host:port", "[v6]:port", "udp://host:port", "unix:/path" or "unix:@abstract"; to_string(listener_settings)
// writes what this reads. Hosts are numeric: a name may mean something else, or nothing, at the next boot.
result<parsed_address> parse_address(std::string_view text);

}  // namespace handoff
