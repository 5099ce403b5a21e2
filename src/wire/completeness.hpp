// At compile time: whether a list that is kept by hand names all members of a type, or all enumerators.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

namespace handoff {

namespace completeness {

struct anything {
  template <class T>
  operator T() const;
};

template <class T, std::size_t... Index>
consteval bool takes(std::index_sequence<Index...>) {
  return requires { T{((void)Index, anything{})...}; };
}

// The compiler writes a value that is no enumerator's as a cast.
template <auto Value>
consteval bool is_cast() {
  return std::string_view(__PRETTY_FUNCTION__).contains("Value = (");
}

}  // namespace completeness

// How many names a comma separates.
consteval std::size_t count_names(std::string_view list) {
  return static_cast<std::size_t>(std::ranges::count(list, ',')) + 1;
}

// An aggregate can be made of as many values as it has members, and of no more.
template <class T, std::size_t Count>
consteval bool has_members() {
  return completeness::takes<T>(std::make_index_sequence<Count>{}) &&
         !completeness::takes<T>(std::make_index_sequence<Count + 1>{});
}

// Of an enumeration that counts from 0 without gaps.
template <class E, std::size_t Count>
consteval bool has_enumerators() {
  return !completeness::is_cast<static_cast<E>(Count - 1)>() &&
         completeness::is_cast<static_cast<E>(Count)>();
}

}  // namespace handoff
