// Pages of metrics in Prometheus's text format 0.0.4, and in OpenMetrics as far as it is the same: what a
// stranger wrote, so every line is bounded and what is not understood is told with the number of its line.
#pragma once

#include <base/error.hpp>
#include <wire/series_selector.hpp>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace handoff::probe {

// Bounds of a page; beyond them it is refused.
constexpr std::size_t most_page_bytes = 8 * 1024 * 1024;
constexpr std::size_t most_line_bytes = 64 * 1024;
constexpr std::size_t most_labels = 64;             // of one series
constexpr std::size_t most_value_bytes = 4 * 1024;  // of a label's value

// One series with its value now; times and exemplars are left out.
struct sample {
  std::string name;
  std::vector<series_label> labels;
  double value = 0;  // may be no number, or infinite
};

// Calls `take` for each sample in the order of the page. Comments, HELP and TYPE say nothing that matters
// here. https://prometheus.io/docs/instrumenting/exposition_formats/
result<> read_exposition(std::string_view page, std::function<void(sample const&)> const& take);

// One sample as a line of a page, without its end.
std::string to_line(sample const&);

// What the series of each selector add up to; nothing where none matches.
using sums = std::vector<std::optional<double>>;
result<sums> add_up(std::string_view page, std::span<series_selector const>);

}  // namespace handoff::probe
