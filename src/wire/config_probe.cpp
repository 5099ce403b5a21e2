#include "config_probe.hpp"

#include <base/characters.hpp>
#include <wire/series_selector.hpp>

#include <algorithm>

namespace handoff::config {

namespace {

constexpr std::size_t longest_path = 2048;
constexpr std::size_t longest_header = 1024;
constexpr std::size_t longest_body = 1024;  // of the text that is looked for
constexpr std::size_t longest_host = 260;   // a name of 253 characters and a port

bool is_printable(char c) { return c >= ' ' && c < 0x7F; }
bool is_visible(char c) { return c > ' ' && c < 0x7F; }
bool is_one_of(char c, std::string_view others) { return others.find(c) != std::string_view::npos; }

std::string too_long(std::size_t longest) {
  return "must not have more than " + std::to_string(longest) + " bytes";
}

std::string url_path(std::string_view path) {
  auto fits = [](char c) { return is_visible(c) && c != '#'; };
  if (path.size() > longest_path) return too_long(longest_path);
  if (path.starts_with('/') && std::ranges::all_of(path, fits)) return {};
  return "expected a path such as \"/healthz\", percent-encoded where it needs to be, found " +
         in_quotes(path);
}

std::string body_text(std::string_view text) {
  if (text.empty()) return "must not be empty";
  return text.size() > longest_body ? too_long(longest_body) : "";
}

// RFC 9110: a token, a colon, and printable characters.
std::string header(std::string_view line) {
  auto in_name = [](char c) { return is_alphanumeric(c) || is_one_of(c, "!#$%&'*+-.^_`|~"); };
  auto colon = line.find(':');
  std::string_view name = line.substr(0, colon);
  bool complete = colon != std::string_view::npos && !name.empty() &&
                  line.find_first_not_of(' ', colon + 1) != std::string_view::npos;
  if (line.size() > longest_header) return too_long(longest_header);
  if (!complete || !std::ranges::all_of(name, in_name) || !std::ranges::all_of(line, is_printable))
    return "expected a header such as \"Accept: text/plain\", found " + in_quotes(line);
  auto same_letter = [](char a, char b) { return (a | 0x20) == b; };
  return std::ranges::equal(name, std::string_view("host"), same_letter) ? "the key 'host' sets that header"
                                                                         : "";
}

std::string host(std::string_view name) {
  auto fits = [](char c) { return is_alphanumeric(c) || is_one_of(c, ".-_:[]"); };
  if (!name.empty() && name.size() <= longest_host && std::ranges::all_of(name, fits)) return {};
  return "expected a host such as \"www.example.org\", found " + in_quotes(name);
}

std::optional<status_range> status(config_node const& node, config_report& report) {
  constexpr std::string_view expected = "a status such as 200 or \"200-399\"";
  auto const* number = std::get_if<std::int64_t>(&node.value);
  if (!number) return parsed(parse_status_range, expected)(node, report);
  auto code = whole<std::uint16_t>(100, 599)(node, report);
  return code ? std::optional(status_range{*code, *code}) : std::nullopt;
}

std::optional<std::vector<std::string>> headers(config_node const& node, config_report& report) {
  auto lines = list(text(header))(node, report);
  if (!lines || lines->size() <= limit::probe_headers) return lines;
  report.object(node.at, "must not have more than " + std::to_string(limit::probe_headers) + " headers");
  return std::nullopt;
}

std::string selector(std::string_view text) {
  auto read = series_selector::parse(text);
  return read ? "" : read.error().message();
}

// The name of what has NAME_sum and NAME_count.
std::string selector_of_two(std::string_view text) {
  for (std::string_view end : {"_sum", "_count", "_bucket"})
    if (auto name = text.substr(0, text.find('{')); name.ends_with(end))
      return "expected the name of a histogram or summary, without " + in_quotes(end);
  return selector(text);
}

// The same keys wherever a probe is written: `place` leads from a member of it to where the value goes.
template <class Section, class Place>
grammar<Section> tcp_keys(Place place) {
  using p = probe_settings;
  return {
      {"listener", place(&p::listener), text(listener_name)},
      {"probe-timeout", place(&p::timeout), time(moment)},
  };
}

template <class Section, class Place>
grammar<Section> request_keys(Place place) {
  using p = probe_settings;
  return {
      {"path", place(&p::path), text(url_path)}, {"header", place(&p::headers), headers},
      {"host", place(&p::host), text(host)},     {"tls", place(&p::tls), flag},
      {"verify", place(&p::verify), flag},
  };
}

template <class Section, class Place>
grammar<Section> http_keys(Place place) {
  using p = probe_settings;
  grammar<Section> keys = request_keys<Section>(place);
  keys.emplace_back("status", place(&p::status), status);
  keys.emplace_back("body", place(&p::body), text(body_text));
  std::ranges::move(tcp_keys<Section>(place), std::back_inserter(keys));
  return keys;
}

// Where a key goes that belongs to the page of a probe.
template <class Value>
auto of_page(Value page_settings::* member) {
  return [member](probe_settings& into) -> Value& { return into.page.*member; };
}

grammar<probe_settings> all_page_keys() {
  using p = page_settings;
  auto keys = request_keys<probe_settings>([](auto member) { return member; });
  keys.emplace_back("listener", &probe_settings::listener, text(listener_name));
  keys.emplace_back("failures", of_page(&p::failures), text(selector));
  keys.emplace_back("all", of_page(&p::all), text(selector));
  keys.emplace_back("value", of_page(&p::value), text(selector));
  keys.emplace_back("mean", of_page(&p::mean), text(selector_of_two));
  keys.emplace_back("aggregated", of_page(&p::aggregated), flag);
  return keys;
}

// Where a key of [ready] goes that belongs to its probe; `when`, which makes it one, may stand behind it.
template <class Value>
auto of_ready(Value probe_settings::* member) {
  return [member](ready_settings& into) -> Value& {
    if (!into.probe) into.probe.emplace();
    return (*into.probe).*member;
  };
}

}  // namespace

grammar<probe_settings> const& http_probe_keys() {
  static grammar<probe_settings> const keys = http_keys<probe_settings>([](auto member) { return member; });
  return keys;
}

grammar<probe_settings> const& tcp_probe_keys() {
  static grammar<probe_settings> const keys = tcp_keys<probe_settings>([](auto member) { return member; });
  return keys;
}

grammar<probe_settings> const& page_keys() {
  static grammar<probe_settings> const keys = all_page_keys();
  return keys;
}

grammar<ready_settings> with_probe_keys(grammar<ready_settings> keys) {
  std::ranges::move(http_keys<ready_settings>([](auto member) { return of_ready(member); }),
                    std::back_inserter(keys));
  return keys;
}

}  // namespace handoff::config
