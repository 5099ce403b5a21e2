// Reads values of a snapshot strictly: nlohmann's own conversions take numbers modulo, and are undefined for
// those that are too large. Throws exceptions; only wire/snapshot.cpp includes it.
#pragma once

#include <core/ids.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace handoff {

template <class E>
struct words_of;  // ::all, in the order of the enumerators

template <class E>
concept has_words = requires { words_of<E>::all; };

template <class T>
concept whole_number =
    (std::is_integral_v<T> || std::is_enum_v<T>) && !std::is_same_v<T, bool> && !has_words<T>;

template <class T>
struct reading {
  static void into(T& to, nlohmann::json const& from) { from.get_to(to); }
};

template <class T>
void read_value(nlohmann::json const& from, T& to) {
  reading<T>::into(to, from);
}

inline void expect_in_snapshot(bool holds, std::string const& else_says) {
  if (!holds) throw std::invalid_argument(else_says);
}

template <has_words E>
struct reading<E> {
  static void into(E& to, nlohmann::json const& from) {
    constexpr auto const& all = words_of<E>::all;
    expect_in_snapshot(from.is_string(), "this is no word");
    auto const& word = from.get_ref<std::string const&>();
    auto found = std::ranges::find(all, word);
    expect_in_snapshot(found != all.end(), "unknown word '" + word + "'");
    to = static_cast<E>(found - all.begin());
  }
};

template <whole_number T>
struct reading<T> {
  using plain =
      typename std::conditional_t<std::is_enum_v<T>, std::underlying_type<T>, std::type_identity<T>>::type;
  static void into(T& to, nlohmann::json const& from) {
    expect_in_snapshot(from.is_number_integer(), "this is no whole number");
    bool fits = from.is_number_unsigned() ? std::in_range<plain>(from.get<std::uint64_t>())
                                          : std::in_range<plain>(from.get<std::int64_t>());
    expect_in_snapshot(fits, "this is out of range");
    to = static_cast<T>(from.get<plain>());
  }
};

template <>
struct reading<duration> {
  static void into(duration& to, nlohmann::json const& from) {
    duration::rep count = 0;
    read_value(from, count);
    to = duration(count);
  }
};

template <>
struct reading<instant> {
  static void into(instant& to, nlohmann::json const& from) {
    duration since{};
    read_value(from, since);
    to = instant(since);
  }
};

template <class T>
struct reading<std::optional<T>> {
  static void into(std::optional<T>& to, nlohmann::json const& from) {
    to.reset();
    if (!from.is_null()) read_value(from, to.emplace());
  }
};

template <class T>
struct reading<std::vector<T>> {
  static void into(std::vector<T>& to, nlohmann::json const& from) {
    expect_in_snapshot(from.is_array(), "this is no list");
    to.clear();
    to.reserve(from.size());
    for (auto const& one : from) read_value(one, to.emplace_back());
  }
};

template <class T, std::size_t Size>
struct reading<std::array<T, Size>> {
  static void into(std::array<T, Size>& to, nlohmann::json const& from) {
    expect_in_snapshot(from.is_array() && from.size() == Size, "this is no list of " + std::to_string(Size));
    for (std::size_t i = 0; i < Size; ++i) read_value(from[i], to[i]);
  }
};

template <class A, class B>
struct reading<std::pair<A, B>> {
  static void into(std::pair<A, B>& to, nlohmann::json const& from) {
    expect_in_snapshot(from.is_array() && from.size() == 2, "this is no pair");
    read_value(from[0], to.first);
    read_value(from[1], to.second);
  }
};

template <class Value>
struct reading<std::map<std::string, Value>> {
  static void into(std::map<std::string, Value>& to, nlohmann::json const& from) {
    expect_in_snapshot(from.is_object(), "this is no object");
    to.clear();
    for (auto const& [key, value] : from.items()) read_value(value, to[key]);
  }
};

template <class Key, class Value>
struct reading<std::map<Key, Value>> {
  static void into(std::map<Key, Value>& to, nlohmann::json const& from) {
    std::vector<std::pair<Key, Value>> pairs;
    read_value(from, pairs);
    to = {pairs.begin(), pairs.end()};
    expect_in_snapshot(to.size() == pairs.size(), "two entries have one key");
  }
};

// Without the number that nlohmann gives each of its errors.
inline std::string_view reason_of(std::exception const& e) {
  std::string_view what = e.what();
  auto end = what.starts_with('[') ? what.find("] ") : what.npos;
  return end == what.npos ? what : what.substr(end + 2);
}

// What is not there keeps its default.
template <class T>
void read_member(nlohmann::json const& from, char const* name, T& to) {
  auto found = from.find(name);
  if (found == from.end()) return;
  try {
    read_value(*found, to);
  } catch (std::exception const& e) {
    throw std::invalid_argument(std::string(name) + ": " + std::string(reason_of(e)));
  }
}

}  // namespace handoff
