// Reading what a supervisor told, without trusting its shape or its letters.
#pragma once

#include <core/ids.hpp>
#include <wire/varlink.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace handoff::cli {

using varlink::json;

// A member of `object`; null when there is none, or when `object` is no object.
json const& member(json const& object, char const* name);

// A member as one printable line, bounded; empty when it is no string. The raw text is for comparing only.
std::string text(json const& object, char const* name);
std::string raw_text(json const& object, char const* name);
// One printable line from a string value.
std::string line_of(json const& value);

// A member that is a whole number, a span of time in milliseconds, or a list (empty when it is none of that).
std::optional<std::int64_t> whole(json const& object, char const* name);
std::optional<duration> span(json const& object, char const* name);
// A member that is a number.
std::optional<double> real(json const& object, char const* name);
// A member that is a part of the traffic in percent.
std::optional<weight> part(json const& object, char const* name);
json const& list(json const& object, char const* name);
std::vector<std::string> lines(json const& object, char const* name);

// A value as one line of JSON in plain ASCII, so that it cannot play tricks with a terminal either.
std::string one_line(json const& value);

}  // namespace handoff::cli
