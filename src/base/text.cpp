#include "text.hpp"

namespace handoff {

namespace {

// The length of the valid UTF-8 sequence at the start of `bytes`, 0 when there is none (RFC 3629).
std::size_t sequence_length(std::string_view bytes) {
  auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  auto continues = [&](std::size_t i) { return i < bytes.size() && (at(i) & 0xC0) == 0x80; };
  unsigned char first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    bool overlong = first == 0xE0 && at(1) < 0xA0;
    bool surrogate = first == 0xED && at(1) >= 0xA0;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    bool overlong = first == 0xF0 && at(1) < 0x90;
    bool beyond = first == 0xF4 && at(1) >= 0x90;
    return overlong || beyond ? 0 : 4;
  }
  return 0;
}

bool is_control(std::string_view sequence) {
  auto first = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) return first < 0x20 || first == 0x7F;
  if (sequence.size() == 2) return first == 0xC2 && static_cast<unsigned char>(sequence[1]) < 0xA0;  // C1
  // Line and paragraph separators, and the marks that turn the reading direction (U+2028..202E,
  // U+2066..2069).
  if (!sequence.starts_with("\xE2\x80") && !sequence.starts_with("\xE2\x81")) return false;
  auto last = static_cast<unsigned char>(sequence[2]);
  return static_cast<unsigned char>(sequence[1]) == 0x80 ? last >= 0xA8 && last <= 0xAE
                                                         : last >= 0xA6 && last <= 0xA9;
}

}  // namespace

std::string printable(std::string_view bytes, std::size_t limit) {
  constexpr std::string_view cut = "...";
  std::string line;
  while (!bytes.empty()) {
    std::size_t length = sequence_length(bytes);
    std::string_view shown = bytes.substr(0, length);
    if (length == 0 || is_control(shown)) {
      char c = bytes[0];
      shown = c == '\n' || c == '\r' || c == '\t' ? " " : "?";
    }
    if (line.size() + shown.size() > limit) {
      while (!line.empty() && line.size() + cut.size() > limit) {
        while (!line.empty() && (static_cast<unsigned char>(line.back()) & 0xC0) == 0x80) line.pop_back();
        if (!line.empty()) line.pop_back();
      }
      return limit < cut.size() ? std::string(cut.substr(0, limit)) : line + std::string(cut);
    }
    line += shown;
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return line;
}

}  // namespace handoff
