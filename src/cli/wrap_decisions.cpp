#include "wrap_decisions.hpp"

#include <base/characters.hpp>

#include <strings.h>

#include <algorithm>
#include <array>

namespace handoff::cli {

namespace {

// "gunicorn@shop.service" is the service "gunicorn-shop".
std::string service_name(std::string unit) {
  if (unit.ends_with(".service")) unit.resize(unit.size() - std::string_view(".service").size());
  for (char& c : unit) {
    if (!is_in_name(c) && c != '.') c = '-';
  }
  unit.erase(0, unit.find_first_not_of("-."));
  return unit.substr(0, limit::name_length);
}

}  // namespace

std::string_view to_string(fate what) {
  switch (what) {
    case fate::carried:
      return "carried";
    case fate::kept:
      return "kept";
    case fate::changed:
      return "changed";
    case fate::dropped:
      return "dropped";
    case fate::refused:
      return "refused";
  }
  return "";
}

bool wrapping::possible() const {
  return std::ranges::none_of(decisions, [](decision const& d) { return d.what == fate::refused; });
}

wrapper::wrapper(surroundings const& of, wish const& wanted) : unit_(of.unit), of_(of), wanted_(wanted) {
  made_.unit = unit_.id;
  service_.name = wanted.name.empty() ? service_name(unit_.id) : wanted.name;
  if (!unit_.start.empty()) recipe_ = find_recipe(unit_.start[0].words);
}

wrapping wrapper::finish() && { return std::move(made_); }

// What is in force of it: an empty assignment takes back those before it.
std::string wrapper::written_value(std::string const& name) const {
  std::string value;
  for (auto const& d : unit_.written) {
    if (d.name != name) continue;
    if (d.value.empty())
      value.clear();
    else
      value += (value.empty() ? "" : "; ") + d.value;
  }
  return value;
}

// As systemd reads it: in any case of letters, and what is neither changes nothing.
bool wrapper::is_on(std::string const& name) const {
  constexpr std::array on{"1", "yes", "y", "true", "t", "on"}, off{"0", "no", "n", "false", "f", "off"};
  bool is = false;
  for (auto const& d : unit_.written) {
    auto says = [&](char const* word) { return ::strcasecmp(d.value.c_str(), word) == 0; };
    if (d.name == name) is = std::ranges::any_of(on, says) || (is && std::ranges::none_of(off, says));
  }
  return is;
}

bool wrapper::is_told(std::string const& name) const {
  return std::ranges::any_of(made_.decisions, [&](decision const& d) { return d.directive == name; });
}

void wrapper::tell(fate what, std::string const& name, std::string why) {
  if (unit_.writes(name) && !is_told(name)) say(what, name, written_value(name), std::move(why));
}

void wrapper::say(fate what, std::string const& name, std::string value, std::string why) {
  made_.decisions.push_back({what, name, std::move(value), std::move(why)});
}

void wrapper::note(std::string text) {
  if (std::ranges::find(made_.notes, text) == made_.notes.end()) made_.notes.push_back(std::move(text));
}

wrapping wrap(surroundings const& of, wish const& wanted) {
  wrapper w(of, wanted);
  w.refuse_what_cannot_be();
  w.take_listeners();
  w.take_command();
  w.take_identity();
  w.take_environment();
  w.take_directories();
  w.take_commands_around();
  w.take_times();
  w.take_restarts();
  w.open_sandbox();
  w.keep_the_rest();
  return std::move(w).finish();
}

}  // namespace handoff::cli
