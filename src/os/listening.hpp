// The steps to an open socket that all kinds of listeners share, with errors that say who is in the way.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <core/settings.hpp>
#include <os/socket_address.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace handoff {

// "binding 'http' at 127.0.0.1:80"
std::string binding(listener_settings const& settings);

// A blocking, close-on-exec socket of `family` with the configured options, not bound.
result<unique_fd> make_socket(int family, listener_settings const& settings);

// Both name who holds the address when it is taken.
result<> bind_to(int fd, socket_address const& address, socket_type type);
// Listens with the configured backlog, also again; does nothing for datagrams.
result<> listen_on(int fd, listener_settings const& settings);

// Whether a TCP socket listens: not any more once somebody shut it down, socket(7).
result<bool> is_listening(int fd);

// Connections that wait to be accepted; nothing where the kernel does not tell (all but listening TCP).
std::optional<std::uint32_t> accept_queue(int fd);

}  // namespace handoff
