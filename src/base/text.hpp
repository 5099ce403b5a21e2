// Making strangers' bytes fit to be shown: one line, printable, bounded.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace handoff {

// `bytes` as one printable line of at most `limit` bytes: valid UTF-8 passes, control characters, escapes and
// broken sequences become '?', line ends and tabs become a blank. A text that was cut ends in "...".
std::string printable(std::string_view bytes, std::size_t limit);

}  // namespace handoff
