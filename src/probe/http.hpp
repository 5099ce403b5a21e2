// The probe that sends a request and looks at the reply.
#pragma once

#include <probe/tcp.hpp>

namespace handoff::probe {

// Bounds of what is read of a reply.
constexpr std::size_t most_header_bytes = 64 * 1024;
constexpr std::size_t most_body_bytes = 1024 * 1024;

trouble probe_http(options const&, deadline);

// The whole body of the reply, or why there is none: a longer one is refused.
std::expected<std::string, std::string> fetch_page(options const&, deadline, std::size_t most);

}  // namespace handoff::probe
