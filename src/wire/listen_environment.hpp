// How a service learns of its sockets: sd_listen_fds(3) variables, and descriptor numbers in its arguments.
#pragma once

#include <base/error.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

// The first passed descriptor (SD_LISTEN_FDS_START); the n-th name belongs to the n-th after it.
constexpr int first_passed_descriptor = 3;

// "LISTEN_FDS=…" and "LISTEN_FDNAMES=…" for descriptors of these names, in order; nothing when there are
// none. LISTEN_PID is the launcher's to add: only it knows the pid. Names have no ':' (is_descriptor_name).
std::vector<std::string> listen_environment(std::span<std::string const> names);

// `text` with every "{fd:NAME}" replaced by the number of the first descriptor of that name. Every other
// brace stays, also a "{fd:" that never ends. Fails for an unknown name.
result<std::string> with_descriptor_numbers(std::string_view text, std::span<std::string const> names);

// What sd_listen_fds_with_names(3) allows: up to 255 printable ASCII characters without ':'; here at least
// one.
bool is_descriptor_name(std::string_view name);

}  // namespace handoff
