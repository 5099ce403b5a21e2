// What a service says about itself in one sd_notify(3) datagram.
#pragma once

#include <base/error.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace handoff {

enum class notify_state { ready, reloading, stopping };
enum class notify_watchdog { ping, trigger };

// Unknown keys are left out, and so is a value that makes no sense. Of a key that comes twice the last one
// counts.
struct notify_datagram {
  std::optional<notify_state> state;                        // READY=1, RELOADING=1, STOPPING=1
  std::optional<std::chrono::microseconds> reload_started;  // MONOTONIC_USEC, on the monotonic clock
  std::optional<std::string> status;     // STATUS: one printable line, limit::notify_status; empty clears it
  std::optional<int> error_number;       // ERRNO, above 0
  std::optional<std::int32_t> main_pid;  // MAINPID, above 0
  std::optional<notify_watchdog> watchdog;                   // WATCHDOG=1, WATCHDOG=trigger
  std::optional<std::chrono::microseconds> watchdog_period;  // WATCHDOG_USEC, above 0
  std::optional<std::chrono::microseconds> extend_timeout;   // EXTEND_TIMEOUT_USEC, above 0
  bool store = false;                                        // FDSTORE=1
  bool remove_stored = false;                                // FDSTOREREMOVE=1: those of descriptor_name
  std::optional<std::string> descriptor_name;                // FDNAME, when it is a valid one
  bool poll_stored = true;                                   // FDPOLL=0 switches it off
  // BARRIER=1, alone in its datagram: the one descriptor with it is closed once all before is handled.
  bool barrier = false;

  // The name that FDSTORE=1 stores under.
  std::string stored_name() const { return descriptor_name.value_or("stored"); }

  bool operator==(notify_datagram const&) const = default;
};

namespace limit {
constexpr std::size_t notify_datagram = 4096;  // bytes
constexpr std::size_t notify_status = 512;     // bytes, printable
}  // namespace limit

// Fails when the datagram is too long, has a NUL inside, or says anything beside BARRIER=1. Durations are
// capped at limit::longest.
result<notify_datagram> read_notify_datagram(std::string_view bytes);

}  // namespace handoff
