#include "rollout.hpp"

#include <cli/durations.hpp>
#include <cli/status_view.hpp>
#include <cli/terminal.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace handoff::cli {

namespace {

constexpr duration until_reconnecting{100};  // between two looks for a supervisor that went away
constexpr int most_doublings = 5;            // of that, when it is lost again and again

json const* find_entry(json const& history, std::int64_t rollout) {
  for (json const& entry : list(history, "rollouts")) {
    if (whole(entry, "rollout") == rollout) return &entry;
  }
  return nullptr;
}

bool anything_drains(json const& status) {
  return std::ranges::any_of(list(status, "generations"),
                             [](json const& g) { return raw_text(g, "role") == "draining"; });
}

// One rollout, from being asked for to what was waited for.
class followed_rollout {
 public:
  followed_rollout(supervisor const& of, rollout_request const& asked)
      : of_(of), asked_(asked), deadline_(deadline_after(asked.timeout)) {}

  ending run();

 private:
  ending follow(connection stream, interruptions const&);
  std::optional<ending> take(json const& event);
  std::optional<ending> take_verdict(json const& told);
  ending holds(json const& event);
  std::expected<connection, ending> find_again(interruptions const&);
  std::expected<std::optional<connection>, ending> look_again();
  std::optional<ending> told_otherwise(std::string_view reached, json const& told) const;
  ending reached(char const* what);
  ending failed(json const& told);
  ending give_up(error const&);
  std::string sentence(char const* what, json const& status) const;
  json outline() const { return {{"service", of_.name}, {"rollout", number_}}; }

  supervisor const& of_;
  rollout_request const& asked_;
  instant deadline_;
  std::int64_t number_ = 0;
  std::optional<std::int64_t> generation_;
  bool promoted_ = false;
  int losses_ = 0;  // of the connection
};

ending followed_rollout::run() {
  std::optional<connection> stream;
  if (asked_.until != goal::asked) {
    auto begun = begin_watch(of_, deadline_);
    if (!begun) return tell(begun.error());
    stream = std::move(*begun);
  }
  auto told = ask(of_, asked_.method, asked_.parameters);
  if (!told) {
    // Here a broken configuration is a rollout that failed: the last good generation serves.
    auto how = told.error().how == ending::usage ? ending::failed : told.error().how;
    return tell({how, told.error().what});
  }
  number_ = whole(*told, "rollout").value_or(0);
  if (!stream) {
    json outlined = outline();
    outlined["reached"] = "asked";
    out().line(asked_.as_json ? one_line(outlined)
                              : fmt::format("{}: rollout {} asked for", of_.name, number_));
    return ending::done;
  }
  auto caught = interruptions::catch_them();
  if (!caught) return tell(trouble_with(of_, caught.error()));
  stream->heed(*caught);
  return follow(std::move(*stream), *caught);
}

ending followed_rollout::follow(connection stream, interruptions const& by) {
  for (;;) {
    auto told = stream.receive(deadline_);
    if (told && told->error.empty()) {
      if (auto over = take(member(told->parameters, "event"))) return *over;
      continue;
    }
    if (!told && (is(told.error(), std::errc::timed_out) || is(told.error(), std::errc::interrupted))) {
      return give_up(told.error());
    }
    auto again = find_again(by);
    if (!again) return again.error();
    stream = std::move(*again);
  }
}

// What one event means for us; nothing while there is more to come.
std::optional<ending> followed_rollout::take(json const& event) {
  if (whole(event, "rollout") != number_) return std::nullopt;
  std::string kind = raw_text(event, "kind");
  bool about_the_old = kind == "draining" || kind == "gone";
  if (auto of_event = whole(event, "generation"); of_event && !about_the_old) generation_ = of_event;
  if (kind == "verdict") return take_verdict(event);
  if (err().terminal && !asked_.as_json)
    err().line(err().paint(colour::faint, of_.name + ": " + text(event, "text")));
  if (kind == "serving" && asked_.until == goal::serving) return reached("serving");
  if (kind == "holding" && asked_.until == goal::serving) return holds(event);
  if (kind == "settled" && promoted_) return reached("drained");
  return std::nullopt;
}

// `told` is the event of the verdict or the entry of the history.
std::optional<ending> followed_rollout::take_verdict(json const& told) {
  if (auto of_verdict = whole(told, "generation")) generation_ = of_verdict;
  if (raw_text(told, "verdict") != "promoted") return failed(told);
  promoted_ = true;
  if (asked_.until == goal::drained) return std::nullopt;
  return reached("promoted");
}

// The supervisor is gone: it may have been killed and restarted, or it cut us off.
std::expected<connection, ending> followed_rollout::find_again(interruptions const& by) {
  auto interrupted = [this] {
    return std::unexpected(give_up(error{std::make_error_code(std::errc::interrupted), {}}));
  };
  // When there are more who wait than places, they must not drive each other out as fast as they can.
  if (losses_++ > 0 && by.come_within(until_reconnecting * (1 << std::min(losses_, most_doublings))))
    return interrupted();
  instant patience = std::min(deadline_, now() + return_patience);
  do {
    auto looked = look_again();
    if (!looked) return std::unexpected(looked.error());
    if (*looked) {
      (*looked)->heed(by);
      return std::move(**looked);
    }
    if (by.come_within(until_reconnecting)) return interrupted();
  } while (now() < patience);
  if (now() >= deadline_)
    return std::unexpected(give_up(error{std::make_error_code(std::errc::timed_out), {}}));
  return std::unexpected(
      tell({ending::absent, fmt::format("{}: the supervisor went away during rollout {} and did not "
                                        "come back; how it ended is not known",
                                        of_.name, number_)}));
}

// A new stream when the rollout still has something to tell, an ending when it has none, nothing when there
// is no supervisor (any more).
std::expected<std::optional<connection>, ending> followed_rollout::look_again() {
  auto stream = begin_watch(of_, deadline_);
  auto history = stream ? ask(of_, "History") : std::unexpected(stream.error());
  auto status = history ? ask(of_, "Status") : std::unexpected(history.error());
  if (!status) return std::nullopt;
  if (json const* entry = find_entry(*history, number_)) {
    if (auto over = take_verdict(*entry)) return std::unexpected(*over);
    if (!anything_drains(*status)) return std::unexpected(reached("drained"));
    return std::move(*stream);
  }
  bool known = whole(member(*status, "rollout"), "number") == number_ || whole(*status, "pending") == number_;
  if (known) return std::move(*stream);
  return std::unexpected(
      tell({ending::absent, fmt::format("{}: the supervisor came back and knows nothing of rollout "
                                        "{}; how it ended is not known",
                                        of_.name, number_)}));
}

std::string followed_rollout::sentence(char const* what, json const& status) const {
  std::string said = fmt::format("{}: generation {}", of_.name, generation_.value_or(0));
  json const& last = member(status, "last");
  bool ended_well = whole(last, "rollout") == number_ && raw_text(last, "verdict") == "promoted";
  if (std::string_view(what) == "serving" && !promoted_ && !ended_well) {
    return said + fmt::format(" serves; rollout {} is not over yet", number_);
  }
  said += " promoted";
  if (whole(last, "rollout") == number_ && member(last, "seconds").is_number()) {
    double seconds = std::clamp(member(last, "seconds").get<double>(), 0.0, 1e9);
    said += " in " + humane(duration(std::llround(seconds * 1000)));
  }
  if (std::string_view(what) == "drained") return said + "; the generation before it is gone";
  for (json const& g : list(status, "generations")) {
    if (raw_text(g, "role") != "draining") continue;
    said += fmt::format("; generation {} drains", whole(g, "number").value_or(0));
    if (auto left = span(g, "deadline_in_ms")) said += " for at most " + humane(*left);
  }
  return said;
}

std::optional<ending> followed_rollout::told_otherwise(std::string_view reached, json const& told) const {
  return asked_.then ? asked_.then({number_, generation_, reached, told}) : std::nullopt;
}

ending followed_rollout::reached(char const* what) {
  if (auto over = told_otherwise(what, {})) return *over;
  json status = ask(of_, "Status").value_or(json::object());
  if (!asked_.as_json) {
    out().line(sentence(what, status));
    return ending::done;
  }
  json told = outline();
  told["reached"] = what;
  told["generation"] = generation_ ? json(*generation_) : json();
  if (promoted_) told["verdict"] = "promoted";
  if (whole(member(status, "last"), "rollout") == number_)
    told["seconds"] = member(member(status, "last"), "seconds");
  out().line(one_line(told));
  return ending::done;
}

// A plan that holds at a part of the traffic may do so for days: whoever waits for it to serve need not.
ending followed_rollout::holds(json const& event) {
  if (auto over = told_otherwise("holding", event)) return *over;
  if (asked_.as_json) {
    json told = outline();
    told["reached"] = "holding";
    told["generation"] = generation_ ? json(*generation_) : json();
    told["weight"] = member(event, "weight");
    out().line(one_line(told));
  } else {
    out().line(fmt::format("{}: {}; rollout {} is not over yet (handoff status {})", of_.name,
                           text(event, "text"), number_, of_.name));
  }
  return ending::done;
}

ending followed_rollout::failed(json const& told) {
  if (auto over = told_otherwise("failed", told)) return *over;
  std::string verdict = raw_text(told, "verdict");
  if (asked_.as_json) {
    json outlined = outline();
    outlined["generation"] = generation_ ? json(*generation_) : json();
    for (char const* name : {"verdict", "reason", "output"}) outlined[name] = member(told, name);
    out().line(one_line(outlined));
    return ending::failed;
  }
  std::string what = fmt::format("{}: rollout {} ", of_.name, number_);
  what += verdict == "refused" ? "refused" : verdict == "rolled_back" ? "rolled back" : "failed";
  what += ": " + text(told, "reason");
  if (auto status = ask(of_, "Status")) what += "; " + who_serves(*status);
  for (auto const& line : lines(told, "output")) what += "\n  | " + line;
  return tell({ending::failed, what});
}

ending followed_rollout::give_up(error const& why) {
  std::string waited = is(why, std::errc::interrupted)
                           ? "interrupted"
                           : "gave up waiting after " + humane(asked_.timeout.value_or(duration(0)));
  return tell({ending::gave_up, fmt::format("{}: {}; rollout {} goes on (handoff status {})", of_.name,
                                            waited, number_, of_.name)});
}

}  // namespace

ending run_rollout(supervisor const& of, rollout_request const& asked) {
  return followed_rollout(of, asked).run();
}

}  // namespace handoff::cli
