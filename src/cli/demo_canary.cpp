#include "demo_canary.hpp"

#include <load/generator.hpp>

#include <cli/demo_canary_view.hpp>
#include <cli/demo_screen.hpp>
#include <cli/demo_supervisor.hpp>
#include <cli/durations.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace handoff::cli {

namespace {

constexpr duration frame{100};
constexpr duration longest_interval{500};  // between two looks of the metric
constexpr unsigned least_counted = 200;    // requests of either side, for the metric to decide

// The counters of version and generation n are in the file with the name `counters`.n.
std::string configuration(unsigned version, std::string const& service, std::string const& address,
                          std::string const& counters, duration hold) {
  json command{service, "--version", std::to_string(version), "--counters", counters};
  if (version == bad_version)
    for (auto const& option : {std::string("--fail-every"), std::to_string(bad_fails_every)})
      command.push_back(option);
  json read{"/bin/sh", "-c", "exec cat \"$0.$HANDOFF_GENERATION\"", counters};
  auto interval = std::clamp(hold / 4, duration(1), longest_interval);
  std::string text = fmt::format(
      "[service]\nname = \"demo\"\ncommand = {}\n[[listener]]\nname = \"http\"\naddress = \"{}\"\n"
      "[rollout]\nsharing = \"steered\"\n",
      one_line(command), address);
  if (version == first_version) return text;
  return text + fmt::format(
                    "strategy = \"canary\"\n"
                    "steps = [{{ weight = 5, hold = \"{0}\" }}, {{ weight = 25, hold = \"{0}\" }}]\n"
                    "[[metric]]\nname = \"errors\"\ncommand = {1}\nmax-ratio = 1\nmin-count = {2}\n"
                    "interval = \"{3}\"\n",
                    spell(hold), one_line(read), least_counted, spell(interval));
}

class canary_play {
 public:
  canary_play(canary_request const& how, demo_screen& screen) : how_(how), screen_(screen) {}

  // What happened, also when not all of it was as it should be.
  result<canary_story> perform(demo_programs const&, std::string const& directory);

 private:
  result<> play_all();
  result<> stay(duration);
  result<> release_version(unsigned version);
  result<> step(duration at_most);
  void hear(json const& event);
  void hear_verdict(json const& event);
  void count() { story_.count(run_->report_so_far()); }
  void tell(std::string_view kind, unsigned version, std::string const& text,
            std::optional<weight> part = {});
  result<> draw();

  canary_request const& how_;
  demo_screen& screen_;
  std::string service_, address_, counters_;
  std::optional<demo_supervisor> supervisor_;
  std::unique_ptr<load::generator> run_;  // ends before the supervisor
  std::int64_t began_ns_ = 0;
  canary_story story_;
  unsigned live_ = first_version, tried_ = first_version;
  bool settled_ = true;
};

result<canary_story> canary_play::perform(demo_programs const& programs, std::string const& directory) {
  auto address = free_address();
  if (!address) return std::unexpected(address.error());
  service_ = programs.service;
  address_ = *address;
  counters_ = directory + "/errors";
  auto supervisor = demo_supervisor::start(
      programs, directory, configuration(first_version, service_, address_, counters_, how_.hold));
  if (!supervisor) return std::unexpected(supervisor.error());
  supervisor_ = std::move(*supervisor);
  auto where = load::parse_target(address_);
  if (!where) return std::unexpected(where.error());
  auto run = load::generator::start({.where = *where, .clients = how_.clients});
  if (!run) return std::unexpected(run.error());
  run_ = std::move(*run);
  began_ns_ = load::monotonic_ns();
  auto played = play_all();
  run_->stop();
  auto told = run_->wait();
  story_.count(told);
  story_.end();
  screen_.close();
  if (!played) return std::unexpected(played.error());
  if (story_.failed_otherwise() > 0)
    for (auto const& note : told.notes) err().line("handoff: " + note.what);
  return story_;
}

result<> canary_play::play_all() {
  tell("serving", first_version, "version 1 serves", full_weight);
  duration beat = how_.hold / 2;
  if (auto stayed = stay(beat); !stayed) return stayed;
  for (unsigned version : {bad_version, good_version}) {
    if (auto released = release_version(version); !released) return released;
    if (auto stayed = stay(beat); !stayed) return stayed;
  }
  return {};
}

result<> canary_play::stay(duration time) {
  auto until = deadline_after(time);
  while (now() < until)
    if (auto stepped = step(std::min(frame, until - now())); !stepped) return stepped;
  return {};
}

// Returns when the rollout is over, however it ended.
result<> canary_play::release_version(unsigned version) {
  tried_ = version;
  settled_ = false;
  tell("released", version,
       version == bad_version
           ? fmt::format("version {} is released; it answers each {}th request with an error", version,
                         bad_fails_every)
           : fmt::format("version {} is released; it is good", version));
  auto asked = supervisor_->upgrade(configuration(version, service_, address_, counters_, how_.hold));
  if (!asked) return asked;
  // A step of two may hold twice as long when there is too little to judge by.
  auto deadline = deadline_after(demo_patience + 4 * how_.hold);
  while (!settled_) {
    if (now() >= deadline)
      return plain_failure(fmt::format("the rollout of version {} does not end", version));
    if (auto stepped = step(frame); !stepped) return stepped;
  }
  return {};
}

result<> canary_play::step(duration at_most) {
  if (auto waited = screen_.wait(supervisor_->events_fd(), at_most); !waited) return waited;
  for (;;) {
    auto event = supervisor_->event_if_there();
    if (!event) return std::unexpected(event.error());
    if (!*event) break;
    hear(**event);
  }
  return screen_.draws() ? draw() : result<>();
}

void canary_play::hear(json const& event) {
  auto kind = raw_text(event, "kind");
  auto version =
      static_cast<unsigned>(std::clamp<std::int64_t>(whole(event, "generation").value_or(0), 0, 4));
  bool ours = first_version <= version && version <= good_version;
  auto took = [&](weight part, std::string const& for_how_long) {
    count();
    story_.split(version, part, live_, load::monotonic_ns());
    tell(kind, version,
         fmt::format("version {} takes {} of the traffic{}", version, spell(part), for_how_long), part);
  };
  if (kind == "holding" && ours) took(part(event, "weight").value_or(no_weight), " for " + spell(how_.hold));
  if (kind == "serving" && ours) {
    live_ = version;
    took(full_weight, "");
  }
  if (kind == "verdict") hear_verdict(event);
  if (kind == "settled") settled_ = true;
}

void canary_play::hear_verdict(json const& event) {
  unsigned version = tried_;  // a refused one has no generation
  auto verdict = raw_text(event, "verdict");
  auto moment = load::monotonic_ns();
  count();
  story_.judged(version, verdict, text(event, "reason"), moment);
  settled_ = verdict == "refused";
  if (verdict == "promoted") return tell("verdict", version, fmt::format("version {} is promoted", version));
  story_.split(version, no_weight, live_, moment);
  auto const& counts = story_.counts();
  auto own = story_.of(version).errors;
  tell("verdict", version,
       fmt::format("version {} is {}: {}; {} of all {} requests met an error, {} of them its own", version,
                   settled_ ? "refused" : "rolled back", text(event, "reason"), counts.failed, counts.total,
                   own == counts.failed ? "all" : std::to_string(own)));
}

void canary_play::tell(std::string_view kind, unsigned version, std::string const& text,
                       std::optional<weight> part) {
  double seconds = static_cast<double>(load::monotonic_ns() - began_ns_) / 1e9;
  if (!how_.json) return screen_.tell(fmt::format("{:5.1f} s  {}", seconds, text));
  screen_.tell(one_line({{"record", "stage"},
                         {"seconds", seconds},
                         {"kind", kind},
                         {"version", version},
                         {"weight", part ? json(number(*part) / 100.0) : json(nullptr)},
                         {"text", text}}));
}

result<> canary_play::draw() {
  count();
  auto status = supervisor_->status();
  if (!status) return std::unexpected(status.error());
  json const& rollout = member(*status, "rollout");
  std::string doing = fmt::format("version {} serves", live_);
  if (rollout.is_object()) doing = fmt::format("version {}: {}", tried_, text(rollout, "stage"));
  if (auto left = span(rollout, "deadline_in_ms")) doing += ", " + humane(*left) + " left";
  screen_.show(canary_picture(story_, doing, out()));
  return {};
}

result<canary_story> play(canary_request const& how) {
  auto programs = demo_programs::find();
  if (!programs) return std::unexpected(programs.error());
  auto screen = demo_screen::open(how.json);
  if (!screen) return std::unexpected(screen.error());
  scratch place;
  if (place.path().empty()) return os_failure("making a directory for the demonstration");
  if (!how.json) {
    screen->tell(fmt::format(
        "{} clients, a new connection for each request. A new release gets 5 %, then 25 %, then all",
        how.clients));
    screen->tell("traffic, while the metric \"errors\" compares it with the one that serves.");
  }
  return canary_play(how, *screen).perform(*programs, place.path());
}

void conclude(canary_request const& how, canary_story const& story) {
  if (how.json) {
    for (auto const& record : canary_records(story)) out().line(one_line(record));
    return;
  }
  out().line("");
  for (auto const& line : canary_table(story, out())) out().line(line);
  out().line("");
  for (auto const& sentence : canary_conclusions(story)) out().line(sentence);
}

}  // namespace

ending demonstrate_canary(canary_request const& how) {
  auto story = play(how);
  if (!story) return tell({ending::failed, story.error().message()});
  conclude(how, *story);
  return story->went_well() ? ending::done : ending::failed;
}

}  // namespace handoff::cli
