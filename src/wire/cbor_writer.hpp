// Writes CBOR (RFC 8949) value by value, straight to its bytes. Whoever begins a list or a map writes as many
// values, or pairs of a name and a value, as it said.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace handoff {

class cbor_writer {
 public:
  explicit cbor_writer(std::string& to) : to_(to) {}

  void null() { byte(0xf6); }
  void boolean(bool value) { byte(value ? 0xf5 : 0xf4); }
  void text(std::string_view value) {
    head(3, value.size());
    to_ += value;
  }
  void begin_list(std::size_t size) { head(4, size); }
  void begin_map(std::size_t size) { head(5, size); }
  void number(double value) {
    byte(0xfb);
    append(std::bit_cast<std::uint64_t>(value), 8);
  }
  template <std::integral T>
  void whole(T value) {
    if (std::cmp_less(value, 0))
      head(1, ~static_cast<std::uint64_t>(value));
    else
      head(0, static_cast<std::uint64_t>(value));
  }

 private:
  void byte(unsigned value) { to_ += static_cast<char>(value); }
  void append(std::uint64_t value, unsigned size) {
    for (unsigned i = size; i-- > 0;) byte(static_cast<unsigned>(value >> (8 * i)) & 0xff);
  }
  // The kind of an item, and its value or length in as few bytes as it fits.
  void head(unsigned kind, std::uint64_t value) {
    unsigned const first = kind << 5;
    if (value < 24) return byte(first | static_cast<unsigned>(value));
    unsigned const power = value <= 0xff ? 0 : value <= 0xffff ? 1 : value <= 0xffffffff ? 2 : 3;
    byte(first | (24 + power));
    append(value, 1U << power);
  }

  std::string& to_;
};

}  // namespace handoff
