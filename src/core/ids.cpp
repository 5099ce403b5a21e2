#include "ids.hpp"

namespace handoff {

std::string spell(duration d) {
  struct unit {
    char const* name;
    std::int64_t milliseconds;
  };
  constexpr unit units[] = {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};
  std::string text;
  std::int64_t rest = d.count();
  for (auto const& u : units) {
    if (rest < u.milliseconds) continue;
    text += std::to_string(rest / u.milliseconds) + u.name;
    rest %= u.milliseconds;
  }
  return text.empty() ? "0s" : text;
}

}  // namespace handoff
