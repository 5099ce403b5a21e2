// What happened, counted.
#pragma once

#include "histogram.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace handoff::load {

// Moments are CLOCK_MONOTONIC in nanoseconds, so that they can be compared with those of other processes.
std::int64_t monotonic_ns();

enum class failure_kind : std::uint8_t {
  refused,      // nobody listens
  reset,        // the connection was cut by a reset, at any stage
  short_reply,  // the connection ended before the reply was complete
  wrong,        // not a 200, not HTTP, or without the expected text
  timeout,      // no complete reply in time; for UDP: lost
  other,
};
constexpr std::size_t failure_kinds = 6;
std::string_view to_string(failure_kind);

struct counters {
  std::uint64_t total = 0;   // requests that ended, well or not
  std::uint64_t failed = 0;  // of them
  std::array<std::uint64_t, failure_kinds> by_kind{};
  std::uint64_t own = 0;      // tries that the generator could not make: out of ports or descriptors
  std::uint64_t retried = 0;  // kept connections that the server closed before any byte of a reply: sent anew
  std::uint64_t unsent = 0;   // planned by the rate and due, but every client was busy to the end

  void add(counters const&);
};

struct version_seen {
  std::uint64_t count = 0;  // requests that went well
  std::uint64_t errors =
      0;  // complete replies that tell the version but are not a 200 with what was expected
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
};

struct failure_note {
  std::int64_t at_ns = 0;
  failure_kind kind = failure_kind::other;
  std::string what;
};

// Latency from the planned time to the complete reply, of the requests that went well.
struct window {
  std::uint64_t failed = 0;
  histogram latency;
};

struct report {
  static constexpr std::size_t notes_max = 10;
  static constexpr std::size_t versions_max = 16384;  // further ones are counted together as "(more)"

  counters counts;
  std::map<std::string, version_seen, std::less<>> versions;
  std::vector<failure_note> notes;  // the first failures, in order of time
  std::vector<window> windows;      // as many as were named; all together are the whole run
  std::vector<std::string> window_names;
  std::int64_t started_ns = 0;
  std::int64_t ended_ns = 0;  // now, while the run goes on

  histogram latency() const;  // of all windows

  void succeeded(std::size_t window_index, std::int64_t latency_ns);
  void failed(std::size_t window_index, failure_note note);
  // True when the version was not seen before.
  bool saw(std::string_view version, std::int64_t at_ns, bool went_well = true);
  void merge(report const&);

 private:
  window& window_at(std::size_t index);
};

}  // namespace handoff::load
