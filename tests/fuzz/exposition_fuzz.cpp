// Any bytes as a page of metrics: every sample is within its bounds, and written again it reads the same. The
// first line may be a selector: what matches is what it adds up.
#include "support.hpp"

#include <probe/exposition.hpp>

#include <algorithm>
#include <cmath>

using namespace handoff;
using namespace handoff::probe;

namespace {

bool same(sample const& a, sample const& b) {
  bool value = a.value == b.value || (std::isnan(a.value) && std::isnan(b.value));
  return a.name == b.name && a.labels == b.labels && value;
}

bool repeats(label_matcher const& m) { return m.pattern && m.value.find('{') != std::string::npos; }

void check(sample const& s) {
  require(is_metric_name(s.name) && s.labels.size() <= most_labels);
  for (auto const& label : s.labels)
    require(is_label_name(label.name) && label.value.size() <= most_value_bytes);
  std::size_t seen = 0;
  auto again = read_exposition(to_line(s) + "\n", [&](sample const& other) {
    require(same(s, other));
    ++seen;
  });
  // Escaped, it may be longer than a line may be.
  require(again ? seen == 1 : to_line(s).size() > most_line_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  auto text = as_text(data, size);
  std::size_t bytes = 0;
  (void)read_exposition(text, [&](sample const& s) {
    check(s);
    bytes += s.name.size();
  });
  require(bytes <= size);
  auto selector = series_selector::parse(text.substr(0, text.find('\n')));
  // Whoever writes a configuration may write an expression that repeats itself a hundred thousand times.
  if (!selector || std::ranges::any_of(selector->matchers, repeats)) return 0;
  std::string_view page = text.substr(std::min(size, text.find('\n') + 1));
  std::size_t matching = 0;
  auto read =
      read_exposition(page, [&](sample const& s) { matching += selector->matches(s.name, s.labels); });
  auto sum = add_up(page, {&*selector, 1});
  require(read.has_value() == sum.has_value() && (!sum || (*sum)[0].has_value() == (matching > 0)));
  return 0;
}
