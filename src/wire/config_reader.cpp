#include "config_reader.hpp"

#include <base/characters.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace handoff {

config_node const* find(config_node const& table, std::string_view key) {
  auto const* entries = std::get_if<config_table>(&table.value);
  if (!entries) return nullptr;
  auto found =
      std::ranges::find(*entries, key, [](config_entry const& entry) { return std::string_view(entry.key); });
  return found == entries->end() ? nullptr : &found->node;
}

namespace config {

namespace {

std::string shortest(double value) {
  std::array<char, 32> text{};  // the longest has 24 characters: a sign, 17 digits, a point, an exponent
  auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::string found(config_node const& node) {
  struct describe {
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(std::int64_t value) const { return "the number " + std::to_string(value); }
    std::string operator()(double value) const { return "the fraction " + shortest(value); }
    std::string operator()(std::string const& value) const { return "the string " + in_quotes(value); }
    std::string operator()(config_list const&) const { return "a list"; }
    std::string operator()(config_table const&) const { return "a table"; }
    std::string operator()(config_unused const& value) const { return std::string(value.what); }
  };
  return std::visit(describe{}, node.value);
}

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20) || c == 0x7F; }

std::string one_line(std::string_view name, std::size_t longest) {
  if (name.empty()) return "must not be empty";
  if (name.size() > longest) return "must not have more than " + std::to_string(longest) + " bytes";
  if (std::ranges::any_of(name, is_control)) return "must not contain control characters";
  return {};
}

}  // namespace

void wrong_type(config_node const& node, config_report& report, std::string_view what) {
  report.object(node.at, "expected " + std::string(what) + ", found " + found(node));
}

std::string const* as_text(config_node const& node, config_report& report, std::string_view expected) {
  auto const* text = std::get_if<std::string>(&node.value);
  if (!text) {
    wrong_type(node, report, expected);
  } else if (text->find('\0') != std::string::npos) {
    report.object(node.at, "must not contain a NUL");
    return nullptr;
  }
  return text;
}

config_table const* as_table(config_node const& node, config_report& report, std::string_view header) {
  auto const* table = std::get_if<config_table>(&node.value);
  if (table) return table;
  bool repeated = std::holds_alternative<config_list>(node.value) && !header.starts_with("[[");
  report.add(node.at, std::string(header) + (repeated ? " may stand only once, with single brackets"
                                                      : ": expected a table, found " + found(node)));
  return nullptr;
}

std::string in_words(std::span<std::string_view const> words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += in_quotes(words[i]);
  }
  return text;
}

void unknown_key(config_entry const& entry, config_report& report, std::string_view header,
                 std::span<std::string_view const> known) {
  bool section = header.empty() && std::holds_alternative<config_table>(entry.node.value);
  std::string what = (section ? "unknown section " : "unknown key ") + in_quotes(entry.key);
  what += header.empty() ? "" : " in " + std::string(header);
  std::string_view meant = report.full() ? std::string_view{} : nearest(entry.key, known);
  report.add(entry.at, meant.empty() ? what : what + ": did you mean " + in_quotes(meant) + "?");
}

// ---- rules of texts

std::string any_text(std::string_view) { return {}; }

std::string service_name(std::string_view name) {
  auto fits = [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; };
  if (name.empty() || name.size() > limit::name_length || !std::ranges::all_of(name, fits) ||
      name[0] == '.' || name[0] == '-') {
    return "must have 1 to " + std::to_string(limit::name_length) +
           " letters, digits, '_', '.' or '-', and begin with neither '.' nor '-', for it is part of file "
           "names; found " +
           in_quotes(name);
  }
  return {};
}

// sd_listen_fds_with_names(3): ASCII, no control characters, no colon.
std::string listener_name(std::string_view name) {
  auto fits = [](char c) { return c >= ' ' && c < 0x7F && c != ':'; };
  if (name.empty() || name.size() > limit::listener_name_length || !std::ranges::all_of(name, fits)) {
    return "must have 1 to " + std::to_string(limit::listener_name_length) +
           " printable ASCII characters and no colon, for it travels in LISTEN_FDNAMES; found " +
           in_quotes(name);
  }
  return {};
}

std::string account_name(std::string_view name) {
  constexpr std::size_t longest = 256;  // LOGIN_NAME_MAX
  std::string objection = one_line(name, longest);
  if (objection.empty() && name.find_first_of(": /") != std::string_view::npos) {
    return "expected a name or a number, found " + in_quotes(name);
  }
  return objection;
}

std::string variable_name(std::string_view name) {
  static constexpr std::array<std::string_view, 7> ours{"FDSTORE",     "LISTEN_FDS",    "LISTEN_FDNAMES",
                                                        "LISTEN_PID",  "NOTIFY_SOCKET", "WATCHDOG_USEC",
                                                        "WATCHDOG_PID"};
  constexpr std::size_t longest = 255;
  std::string objection = one_line(name, longest);
  if (!objection.empty()) return "a variable's name " + objection;
  if (name.find('=') != std::string_view::npos) return "a variable's name must not contain '='";
  if (name.starts_with("HANDOFF_") || std::ranges::find(ours, name) != ours.end()) {
    return in_quotes(name) + " is set by handoffd itself";
  }
  return {};
}

std::string interface_name(std::string_view name) {
  constexpr std::size_t longest = 15;  // IFNAMSIZ with its NUL is 16
  return one_line(name, longest);
}

std::string label(std::string_view name) { return one_line(name, limit::name_length); }

std::string absolute_path(std::string_view path) {
  constexpr std::size_t longest = 4095;  // PATH_MAX with its NUL is 4096
  std::string objection = one_line(path, longest);
  if (objection.empty() && path[0] != '/') return "expected an absolute path, found " + in_quotes(path);
  return objection;
}

std::string optional_path(std::string_view path) {
  return absolute_path(path.starts_with('-') ? path.substr(1) : path);
}

// ---- values

std::optional<bool> flag(config_node const& node, config_report& report) {
  if (auto const* value = std::get_if<bool>(&node.value)) return *value;
  wrong_type(node, report, "true or false");
  return std::nullopt;
}

std::optional<std::int64_t> whole_number(config_node const& node, config_report& report, std::int64_t min,
                                         std::int64_t max) {
  auto const* value = std::get_if<std::int64_t>(&node.value);
  if (value && *value >= min && *value <= max) return *value;
  wrong_type(node, report, "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  return std::nullopt;
}

std::optional<weight> percentage(config_node const& node, config_report& report) {
  constexpr double whole = 100;
  double value = -1;
  if (auto const* number = std::get_if<std::int64_t>(&node.value)) value = static_cast<double>(*number);
  if (auto const* fraction = std::get_if<double>(&node.value)) value = *fraction;
  if (value >= 0 && value <= whole) {
    auto hundredths = std::lround(value * 100);
    // Both the text and the quotient become the nearest double, so two decimals at most give the same one.
    if (static_cast<double>(hundredths) / 100 == value) return weight(hundredths);
  }
  wrong_type(node, report, "a percentage from 0 to 100 with at most two decimals");
  return std::nullopt;
}

std::optional<duration> time_span(config_node const& node, config_report& report, duration min,
                                  duration max) {
  auto value = parsed(parse_duration, "a duration such as \"30s\"")(node, report);
  if (!value || (*value >= min && *value <= max)) return value;
  wrong_type(node, report, "a duration from " + duration_text(min) + " to " + duration_text(max));
  return std::nullopt;
}

std::optional<std::uint32_t> size(config_node const& node, config_report& report) {
  constexpr std::int64_t max = 1 << 30;  // the kernel doubles it into a signed int (socket(7))
  std::int64_t const* number = std::get_if<std::int64_t>(&node.value);
  if (number) return static_cast<std::optional<std::uint32_t>>(whole_number(node, report, 1, max));
  auto value = parsed(parse_size, "a size such as 65536 or \"64K\"")(node, report);
  if (!value) return std::nullopt;
  if (*value >= 1 && *value <= max) return static_cast<std::uint32_t>(*value);
  wrong_type(node, report, "a size from 1 to 1G");
  return std::nullopt;
}

std::optional<command_line> command(config_node const& node, config_report& report) {
  auto value = list(text(any_text))(node, report);
  if (!value) return std::nullopt;
  std::string objection = value->empty() ? "must name a program" : absolute_path(value->front());
  // An argument of the wrong type is missing here and has been reported already.
  if (value->size() != std::get<config_list>(node.value).size()) return std::nullopt;
  if (objection.empty()) return value;
  report.object(node.at, value->empty() ? objection : "the program: " + objection);
  return std::nullopt;
}

}  // namespace config

}  // namespace handoff
