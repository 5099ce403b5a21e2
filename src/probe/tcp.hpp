// The socket and the time of a probe, and the probe that is content with a connection.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <probe/options.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace handoff::probe {

using deadline = std::chrono::steady_clock::time_point;

// What is left until then, in milliseconds, rounded up; 0 when it is over.
int remaining(deadline);

// "timed out after 2s"
std::string timed_out(options const&);

// "connecting: Connection refused"
std::string os_trouble(char const* doing, int saved_errno = errno);

// The socket to connect with, which does not block.
std::expected<unique_fd, std::string> open_socket(options const&);

// Why a probe failed, in one line; nothing when it passed.
using trouble = std::optional<std::string>;

// Passes when the service accepted the connection. That it was established says nothing: the kernel does that
// for every listening socket, whoever sleeps behind it.
trouble probe_tcp(options const&, deadline);

}  // namespace handoff::probe
