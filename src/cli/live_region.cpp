#include "live_region.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace handoff::cli {

namespace {

constexpr std::string_view clear_line_end = "\x1B[K\n";
constexpr std::string_view clear_rest = "\x1B[J";
constexpr std::string_view clear_all = "\x1B[2J\x1B[H";
// Lines of the picture are cut instead of wrapped, so that it keeps its height.
constexpr std::string_view no_wrapping = "\x1B[?7l";
constexpr std::string_view wrapping = "\x1B[?7h";

}  // namespace

// In one write, and over what is there instead of clearing it first: what changes little does not flicker.
void live_region::show(std::vector<std::string> const& above, std::vector<std::string> const& picture) {
  std::string bytes = height_ > 0 ? fmt::format("\r\x1B[{}A", height_) : "\r";
  if (!above.empty()) bytes += clear_rest;
  for (auto const& line : above) bytes += line + "\n";
  bytes += no_wrapping;
  height_ = std::min<std::size_t>(picture.size(), std::max(extent_of(on_).rows, 2U) - 1);
  for (std::size_t i = 0; i < height_; ++i) {
    bytes += picture[i];
    bytes += clear_line_end;
  }
  on_.write(bytes + std::string(clear_rest) + std::string(wrapping));
}

void live_region::clear() {
  on_.write(clear_all);
  leave();
}

}  // namespace handoff::cli
