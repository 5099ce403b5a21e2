// Which series of a page of metrics are meant, in the words of PromQL: a name, and what its labels have to
// be.
#pragma once

#include <base/error.hpp>
#include <wire/text_pattern.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

namespace limit {
constexpr std::size_t selector = 1024;  // bytes of a selector
constexpr std::size_t matchers = 16;    // within one
}  // namespace limit

struct series_label {
  std::string name;
  std::string value;
  bool operator==(series_label const&) const = default;
};

struct label_matcher {
  enum class kind { equal, unequal, like, unlike };  // = != =~ !~
  std::string label;
  kind how = kind::equal;
  std::string value;
  std::optional<text_pattern> pattern;  // of the last two kinds: the value, compiled

  bool accepts(std::string_view found) const;
};

// One that was parsed. https://prometheus.io/docs/prometheus/latest/querying/basics/#instant-vector-selectors
struct series_selector {
  std::string name;
  std::vector<label_matcher> matchers;

  // 'http_requests_total{code=~"5..", method!="GET"}': the name is needed, a regular expression means all of
  // the value. The error says what was expected, and behind what.
  static result<series_selector> parse(std::string_view text);

  // A label that a series does not have is an empty one.
  bool matches(std::string_view series, std::span<series_label const>) const;
};

// [a-zA-Z_] and digits behind the first; of a metric also ':'.
bool is_label_name(std::string_view);
bool is_metric_name(std::string_view);

}  // namespace handoff
