#include "config_problem.hpp"

#include <base/text.hpp>

#include <algorithm>
#include <utility>

namespace handoff {

std::string to_string(config_problem const& problem, std::string_view file) {
  std::string text(file);
  if (problem.line != 0) text += ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column);
  return text + ": " + problem.what;
}

std::string in_quotes(std::string_view text) { return "'" + printable(text, limit::config_quote) + "'"; }

void config_report::add(config_place at, std::string what) {
  if (full()) {
    ++untold_;
    return;
  }
  auto place = [](config_problem const& problem) { return config_place{problem.line, problem.column}; };
  auto next = std::ranges::upper_bound(problems_, at, {}, place);
  problems_.insert(next, {at.line, at.column, std::move(what)});
}

void config_report::object(config_place at, std::string_view what) {
  add(at, subject + ": " + std::string(what));
}

bool config_report::sound(config_place at) const {
  return std::ranges::none_of(problems_, [&](config_problem const& problem) {
    return problem.line == at.line && problem.column == at.column;
  });
}

std::vector<config_problem> config_report::take() {
  if (untold_ != 0) {
    config_problem last{problems_.back().line, problems_.back().column,
                        "and " + std::to_string(untold_) + " more problems"};
    problems_.push_back(std::move(last));
  }
  return std::exchange(problems_, {});
}

}  // namespace handoff
