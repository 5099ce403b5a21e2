// What handoff-probe is asked on its command line.
#pragma once

#include <core/settings.hpp>
#include <os/socket_address.hpp>

#include <expected>
#include <optional>
#include <string>

namespace handoff::probe {

constexpr int passed = 0, failed = 1, invalid_use = 2;  // exit codes

struct options {
  probe_settings request;
  listener_settings target;   // its address and type alone
  socket_address address;     // of the target
  std::optional<int> socket;  // to connect with, bound already; else one of our own
};

// Gives back an exit code where there is nothing to do: for --help, or after a mistake was told.
std::expected<options, int> read_options(int count, char** arguments);

}  // namespace handoff::probe
