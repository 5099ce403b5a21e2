// Spans of time and parts of the traffic as people write and read them.
#pragma once

#include <core/ids.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace handoff::cli {

// "0.4 s", "3 s", "2 min", "5 h", "12 d": one number that says enough.
std::string humane(duration);

// "300ms", "30s", "5m", "2h" or "1d", from 1 ms to 30 days; nothing for anything else.
std::optional<duration> read_duration(std::string_view text);

// "5", "0.25", "33.3%": from 0 to 100 percent with at most two decimals; nothing for anything else.
std::optional<weight> read_weight(std::string_view text);

}  // namespace handoff::cli
