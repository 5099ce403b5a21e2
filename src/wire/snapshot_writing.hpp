// Writes values of a snapshot: absent ones as null, moments as milliseconds. Not by way of
// nlohmann's documents: an upgrade writes several snapshots while a service starts, and each took ten times
// as long (measured). Only wire/snapshot.cpp includes it.
#pragma once

#include <wire/cbor_writer.hpp>
#include <wire/snapshot_reading.hpp>

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace handoff {

// The counterpart of reading<T>; by default what HANDOFF_KEPT made.
template <class T>
struct writing {
  static void from(cbor_writer& to, T const& value) { write_members(to, value); }
};

template <class T>
void write_value(cbor_writer& to, T const& value) {
  writing<T>::from(to, value);
}

template <class T>
void write_member(cbor_writer& to, std::string_view name, T const& value) {
  to.text(name);
  write_value(to, value);
}

template <>
struct writing<bool> {
  static void from(cbor_writer& to, bool value) { to.boolean(value); }
};

template <>
struct writing<double> {
  static void from(cbor_writer& to, double value) { to.number(value); }
};

template <>
struct writing<std::string> {
  static void from(cbor_writer& to, std::string const& value) { to.text(value); }
};

template <has_words E>
struct writing<E> {
  static void from(cbor_writer& to, E value) {
    to.text(words_of<E>::all.at(static_cast<std::size_t>(value)));
  }
};

template <whole_number T>
struct writing<T> {
  static void from(cbor_writer& to, T value) {
    if constexpr (std::is_enum_v<T>)
      to.whole(std::to_underlying(value));
    else
      to.whole(value);
  }
};

template <>
struct writing<duration> {
  static void from(cbor_writer& to, duration value) { to.whole(value.count()); }
};

template <>
struct writing<instant> {
  static void from(cbor_writer& to, instant value) { to.whole(value.time_since_epoch().count()); }
};

template <class T>
struct writing<std::optional<T>> {
  static void from(cbor_writer& to, std::optional<T> const& value) {
    if (value)
      write_value(to, *value);
    else
      to.null();
  }
};

template <class T>
void write_list(cbor_writer& to, T const& all) {
  to.begin_list(all.size());
  for (auto const& one : all) write_value(to, one);
}

template <class T>
struct writing<std::vector<T>> {
  static void from(cbor_writer& to, std::vector<T> const& all) { write_list(to, all); }
};

template <class T, std::size_t Size>
struct writing<std::array<T, Size>> {
  static void from(cbor_writer& to, std::array<T, Size> const& all) { write_list(to, all); }
};

template <class A, class B>
struct writing<std::pair<A, B>> {
  static void from(cbor_writer& to, std::pair<A, B> const& both) {
    to.begin_list(2);
    write_value(to, both.first);
    write_value(to, both.second);
  }
};

template <class Value>
struct writing<std::map<std::string, Value>> {
  static void from(cbor_writer& to, std::map<std::string, Value> const& all) {
    to.begin_map(all.size());
    for (auto const& [name, value] : all) write_member(to, name, value);
  }
};

template <class Key, class Value>
struct writing<std::map<Key, Value>> {
  static void from(cbor_writer& to, std::map<Key, Value> const& all) { write_list(to, all); }
};

}  // namespace handoff
