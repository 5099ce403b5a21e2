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

std::string spell(weight w) {
  std::string text = std::to_string(number(w) / 100);
  if (std::uint32_t rest = number(w) % 100; rest != 0) {
    std::string digits = std::to_string(rest + 100).substr(1);
    text += "." + (digits.back() == '0' ? digits.substr(0, 1) : digits);
  }
  return text + " %";
}

}  // namespace handoff
