// Long texts for tests of bounds.
#pragma once

#include <string>
#include <string_view>

namespace handoff::test {

inline std::string repeated(std::string_view part, std::size_t times) {
  std::string text;
  for (std::size_t n = 0; n < times; ++n) text += part;
  return text;
}

}  // namespace handoff::test
