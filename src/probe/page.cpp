#include "page.hpp"

#include <probe/exposition.hpp>
#include <probe/http.hpp>

#include <cmath>
#include <cstdio>

namespace handoff::probe {

namespace {

// One number to print, and where it comes from.
struct wanted {
  std::string selector;
  bool may_be_missing = false;  // then it is 0
};

// A name, and what follows it, with an ending between them.
std::string with_ending(std::string const& selector, std::string_view ending) {
  std::string text = selector;
  std::size_t end = text.find_first_of("{ \t\n", text.find_first_not_of(" \t\n"));
  return text.insert(end == std::string::npos ? text.size() : end, ending);
}

// A counter with a label begins to exist when it first counts: no failure so far is a series that is not
// there.
std::vector<wanted> wanted_of(page_settings const& p) {
  if (!p.value.empty()) return {{p.value}};
  if (!p.mean.empty()) return {{with_ending(p.mean, "_sum")}, {with_ending(p.mean, "_count")}};
  return {{p.failures, true}, {p.all}};
}

std::string text(double number) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.17g", number);
  return buffer;
}

}  // namespace

std::expected<std::string, std::string> read_page(page_settings const& p, std::string_view page) {
  auto numbers = wanted_of(p);
  std::vector<series_selector> selectors;
  for (auto const& n : numbers) {
    auto read = series_selector::parse(n.selector);
    if (!read) return std::unexpected(n.selector + ": " + read.error().message());
    selectors.push_back(std::move(*read));
  }
  auto found = add_up(page, selectors);
  if (!found) return std::unexpected("no page of metrics: " + found.error().message());
  std::string line;
  for (std::size_t n = 0; n < numbers.size(); ++n) {
    if (!(*found)[n] && !numbers[n].may_be_missing)
      return std::unexpected("nothing to read: no series matches " + numbers[n].selector);
    double number = (*found)[n].value_or(0);
    if (!std::isfinite(number))
      return std::unexpected("nothing to read: what matches " + numbers[n].selector + " is " + text(number));
    line += (n == 0 ? "" : " ") + text(number);
  }
  return line;
}

std::expected<std::string, std::string> probe_page(options const& o, deadline until) {
  auto page = fetch_page(o, until, most_page_bytes);
  return page ? read_page(o.request.page, *page) : std::unexpected(page.error());
}

}  // namespace handoff::probe
