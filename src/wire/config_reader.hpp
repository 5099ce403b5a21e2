// The pieces a configuration's grammar is written with: readers for one value each, and tables of keys.
//
// A reader takes a node and gives a value, or reports why not and gives nothing. A key ties a name to a
// reader and to the place where its value goes, so that a section is a table that reads like its manual page.
#pragma once

#include <wire/config_tree.hpp>
#include <wire/config_values.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace handoff::config {

enum class presence { optional, required };

template <class Section>
struct key;
template <class Section>
using grammar = std::vector<key<Section>>;

template <class Section>
void read_section(config_node const&, grammar<Section> const&, std::string_view header, config_report&,
                  Section&);

// One key of a section that is read into a `Section`.
template <class Section>
struct key {
  std::string_view name;
  std::function<void(config_node const&, config_report&, Section&)> read;
  presence need = presence::optional;
  std::string_view unsupported;  // why the key is refused: known to the design, not to this version

  // `member` is a member of the section, or a function from the section to the place where the value goes.
  template <class Member, class Reader>
  key(std::string_view called, Member member, Reader reader, presence needed = presence::optional)
      : name(called), need(needed) {
    read = [member, reader](config_node const& node, config_report& report, Section& into) {
      if (auto value = reader(node, report)) std::invoke(member, into) = std::move(*value);
    };
  }

  // For a value that goes to more than one place.
  key(std::string_view called, void (*reads)(config_node const&, config_report&, Section&))
      : name(called), read(reads) {}

  // A section within this one, read in place: what other sections put there stays.
  template <class Member, class Inner>
  static key nested(std::string_view called, Member member, std::vector<key<Inner>> const& (*keys)(),
                    std::string_view header, presence needed = presence::optional) {
    key made(called, std::string_view{});
    made.need = needed;
    made.read = [=](config_node const& node, config_report& report, Section& into) {
      read_section(node, keys(), header, report, std::invoke(member, into));
    };
    return made;
  }

  // A key that the design has and this version does not.
  static key later(std::string_view called, std::string_view instead) { return key(called, instead); }

 private:
  key(std::string_view called, std::string_view instead) : name(called), unsupported(instead) {
    read = [instead](config_node const& node, config_report& report, Section&) {
      report.object(node.at, "not supported by this version; " + std::string(instead));
    };
  }
};

// ---- readers: each returns a function (node, report) -> optional<value>

// "expected WHAT, found …".
void wrong_type(config_node const&, config_report&, std::string_view what);
// The text of a node; null, and a report, when it is of another type or contains a NUL.
std::string const* as_text(config_node const&, config_report&, std::string_view expected = "a string");
config_table const* as_table(config_node const&, config_report&, std::string_view header);
// Reports a key that no name in `known` is.
void unknown_key(config_entry const&, config_report&, std::string_view header,
                 std::span<std::string_view const> known);
std::string in_words(std::span<std::string_view const> words);  // "'a', 'b' or 'c'"

// What is wrong with a text, in words; empty when nothing is.
using text_rule = std::string (*)(std::string_view);
std::string any_text(std::string_view);
std::string service_name(std::string_view);
std::string listener_name(std::string_view);
std::string account_name(std::string_view);   // a user's or group's name or number
std::string variable_name(std::string_view);  // of the environment, and not one that handoffd sets
std::string interface_name(std::string_view);
std::string label(std::string_view);  // a name that is only shown
std::string absolute_path(std::string_view);
std::string optional_path(std::string_view);  // absolute; after '-' it may be missing

inline auto text(text_rule rule) {
  return [rule](config_node const& node, config_report& report) -> std::optional<std::string> {
    std::string const* found = as_text(node, report);
    if (!found) return std::nullopt;
    std::string objection = rule(*found);
    if (objection.empty()) return *found;
    report.object(node.at, objection);
    return std::nullopt;
  };
}

std::optional<bool> flag(config_node const&, config_report&);

// A whole number from `min` to `max`.
std::optional<std::int64_t> whole_number(config_node const&, config_report&, std::int64_t min,
                                         std::int64_t max);
template <class Number>
auto whole(Number min, Number max) {
  return [min, max](config_node const& node, config_report& report) -> std::optional<Number> {
    auto value = whole_number(node, report, min, max);
    return value ? std::optional(static_cast<Number>(*value)) : std::nullopt;
  };
}

// A number from 0 to 100 with at most two decimals, as the part of the traffic that it means.
std::optional<weight> percentage(config_node const&, config_report&);

// A text in one of the small languages of config_values.hpp.
template <class Value>
auto parsed(result<Value> (*parse)(std::string_view), std::string_view expected) {
  return [parse, expected](config_node const& node, config_report& report) -> std::optional<Value> {
    std::string const* found = as_text(node, report, expected);
    if (!found) return std::nullopt;
    auto value = parse(*found);
    if (value) return std::move(*value);
    report.object(node.at, value.error().doing + ", found " + in_quotes(*found));
    return std::nullopt;
  };
}

constexpr duration now{0};
constexpr duration moment{1};  // of what must take some time

// A duration from `min` to `max`.
std::optional<duration> time_span(config_node const&, config_report&, duration min, duration max);
inline auto time(duration min, duration max = limit::longest) {
  return [=](config_node const& node, config_report& report) { return time_span(node, report, min, max); };
}

// Bytes, as a number or as a text with a unit.
std::optional<std::uint32_t> size(config_node const&, config_report&);

// One word of several. `later` are words that the design has and this version does not.
template <class Value>
auto choice(std::vector<std::pair<std::string_view, Value>> words, std::vector<std::string_view> later = {}) {
  return [words, later](config_node const& node, config_report& report) -> std::optional<Value> {
    std::string const* found = as_text(node, report);
    if (!found) return std::nullopt;
    std::vector<std::string_view> known;
    for (auto const& [word, value] : words) {
      if (*found == word) return value;
      known.push_back(word);
    }
    bool planned = std::ranges::find(later, *found) != later.end();
    report.object(node.at, planned ? in_quotes(*found) + " is not supported by this version; it supports " +
                                         in_words(known)
                                   : "expected " + in_words(known) + ", found " + in_quotes(*found));
    return std::nullopt;
  };
}

// A list of what `item` reads.
template <class Item>
auto list(Item item) {
  using value =
      typename decltype(item(std::declval<config_node const&>(), std::declval<config_report&>()))::value_type;
  return [item](config_node const& node, config_report& report) -> std::optional<std::vector<value>> {
    auto const* nodes = std::get_if<config_list>(&node.value);
    if (!nodes) {
      wrong_type(node, report, "a list");
      return std::nullopt;
    }
    std::vector<value> values;
    for (config_node const& one : *nodes) {
      if (auto read = item(one, report)) values.push_back(std::move(*read));
    }
    return values;
  };
}

// A program and its arguments; the program is an absolute path.
std::optional<command_line> command(config_node const&, config_report&);

// ---- sections

// Reads every key of the table `node` into `into`; `header` is how messages call the section: "[service]", or
// nothing for the whole file.
template <class Section>
void read_section(config_node const& node, grammar<Section> const& keys, std::string_view header,
                  config_report& report, Section& into) {
  config_table const* table = as_table(node, report, header);
  if (!table) return;
  std::vector<std::string_view> supported;
  for (auto const& one : keys) {
    if (one.unsupported.empty()) supported.push_back(one.name);
  }
  std::string outer = std::exchange(report.subject, {});
  for (config_entry const& entry : *table) {
    auto known = std::ranges::find(keys, std::string_view(entry.key), &key<Section>::name);
    if (known == keys.end()) {
      unknown_key(entry, report, header, supported);
      continue;
    }
    report.subject = header.empty() ? "[" + entry.key + "]" : std::string(header) + " " + entry.key;
    known->read(entry.node, report, into);
  }
  for (auto const& one : keys) {
    bool missing = one.need == presence::required && !find(node, one.name);
    if (missing)
      report.add(node.at,
                 (header.empty() ? "the file" : std::string(header)) + " needs " + in_quotes(one.name));
  }
  report.subject = std::move(outer);
}

// A broken one stays in the list, so that the n-th value is the n-th table.
template <class Section>
std::vector<Section> read_each(config_list const& nodes, grammar<Section> const& keys,
                               std::string_view header, config_report& report) {
  std::vector<Section> values(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) read_section(nodes[i], keys, header, report, values[i]);
  return values;
}

// A list of `least` to `most` tables within a section; `expected` describes it.
template <class Section>
auto tables(grammar<Section> const& (*keys)(), std::string_view header, std::size_t least, std::size_t most,
            std::string_view expected) {
  return [=](config_node const& node, config_report& report) -> std::optional<std::vector<Section>> {
    auto const* nodes = std::get_if<config_list>(&node.value);
    if (!nodes) {
      wrong_type(node, report, expected);
      return std::nullopt;
    }
    if (nodes->size() < least || nodes->size() > most) {
      report.object(node.at, "expected " + std::to_string(least) + " to " + std::to_string(most) +
                                 " tables, found " + std::to_string(nodes->size()));
      return std::nullopt;
    }
    return read_each(*nodes, keys(), header, report);
  };
}

// A list of tables, written [[name]].
template <class Section>
auto sections(grammar<Section> const& (*keys)(), std::string_view header, std::size_t most) {
  return [=](config_node const& node, config_report& report) -> std::optional<std::vector<Section>> {
    auto const* nodes = std::get_if<config_list>(&node.value);
    if (!nodes) {
      report.add(node.at, "expected a list of tables: write " + std::string(header) + " above each");
      return std::nullopt;
    }
    if (nodes->size() > most) {
      report.add(node.at, "expected at most " + std::to_string(most) + " " + std::string(header) +
                              ", found " + std::to_string(nodes->size()));
      return std::nullopt;
    }
    return read_each(*nodes, keys(), header, report);
  };
}

}  // namespace handoff::config
