// handoff watch: what happens, as it happens. On a terminal events above a picture that is drawn again, lines
// in a pipe.
#include <CLI/CLI.hpp>
#include <cli/live_region.hpp>
#include <cli/live_view.hpp>
#include <cli/status_view.hpp>
#include <cli/terminal_session.hpp>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <memory>

namespace handoff::cli {

namespace {

constexpr duration redraw_every{1000};
constexpr duration redraw_at_most_every{100};  // however much happens
constexpr duration until_looking_again{200};   // between two looks for a supervisor that went away
constexpr std::size_t kept_events = 200;       // between two pictures

struct watch_request {
  std::vector<std::string> names;
  bool json = false;
};

struct watched {
  supervisor of;
  std::optional<connection> link;  // nothing while it is being looked for
  instant lost_at;
  bool stopping = false;  // it said so: when it goes, it has ended
  bool over = false;
};

class watcher {
 public:
  explicit watcher(watch_request const& asked) : asked_(asked) {}
  ending run();

 private:
  std::optional<ending> begin();
  ending follow();
  void wait();
  void hear(watched&);
  void lose(watched&);
  void look_for(watched&);
  void show(watched&, json const& event);
  void heed_signals();
  void heed_keys();
  void press(char key);
  void act(char const* method);
  void draw();
  std::vector<std::string> picture();
  std::string keys_line() const;
  duration time_to_draw() const;
  bool draws() const { return terminal_.has_value(); }
  bool takes_keys() const { return terminal_ && terminal_->keys() >= 0; }

  watch_request const& asked_;
  ending outcome_ = ending::done;
  std::vector<watched> all_;

  // On a terminal only.
  std::optional<terminal_session> terminal_;
  live_region region_{out()};
  live_view view_;
  std::deque<std::string> events_;  // not shown yet
  bool changed_ = true;
  instant drawn_at_{};
  json status_;              // of the only one that is watched
  bool asks_abort_ = false;  // and the next key answers
  bool quits_ = false;
  std::optional<int> killed_by_;
};

ending watcher::run() {
  if (auto failed = begin()) return *failed;
  if (out().draws && !asked_.json) terminal_.emplace(out());
  ending ended = follow();
  terminal_.reset();
  if (killed_by_) die_of(*killed_by_);
  return ended;
}

ending watcher::follow() {
  auto is_over = [](watched const& one) { return one.over; };
  for (;;) {
    // Before the first wait too: an event may have come together with the answer to Watch.
    for (auto& one : all_) {
      if (!one.link) look_for(one);
      if (one.link) hear(one);
    }
    if (draws()) heed_signals();
    if (draws()) heed_keys();
    bool over = quits_ || killed_by_ || std::ranges::all_of(all_, is_over);
    if (draws() && (over || time_to_draw() == duration::zero())) draw();
    if (over) return outcome_;
    wait();
  }
}

std::optional<ending> watcher::begin() {
  for (auto& one : chosen_supervisors(asked_.names)) {
    auto link = begin_watch(one, now() + answer_patience);
    if (!link && !asked_.names.empty()) return tell(link.error());
    if (link) all_.push_back({.of = std::move(one), .link = std::move(*link), .lost_at = {}});
  }
  if (all_.empty()) return tell(no_supervisors());
  return std::nullopt;
}

void watcher::wait() {
  std::vector<pollfd> fds;
  bool looks = false;
  for (auto const& one : all_) {
    if (one.link) fds.push_back({one.link->fd(), POLLIN, 0});
    looks = looks || (!one.link && !one.over);
  }
  duration patience{-1};  // as long as it takes
  if (draws()) {
    fds.push_back({terminal_->signals(), POLLIN, 0});
    fds.push_back({terminal_->keys(), POLLIN, 0});
    patience = time_to_draw();
  }
  if (looks) patience = draws() ? std::min(patience, until_looking_again) : until_looking_again;
  ::poll(fds.data(), fds.size(), static_cast<int>(patience.count()));
}

void watcher::hear(watched& one) {
  for (;;) {
    auto told = one.link->receive_if_there();
    if (!told || (*told && !(*told)->error.empty())) return lose(one);
    if (!*told) return;
    show(one, member((*told)->parameters, "event"));
  }
}

void watcher::lose(watched& one) {
  one.link.reset();
  one.lost_at = now();
  one.over = one.stopping;
}

void watcher::look_for(watched& one) {
  if (one.over) return;
  if (auto link = begin_watch(one.of, now() + answer_patience)) {
    one.link = std::move(*link);
    changed_ = true;
  } else if (now() >= one.lost_at + return_patience) {
    one.over = true;
    outcome_ = tell({ending::absent, one.of.name + ": the supervisor went away and did not come back"});
  }
}

void watcher::show(watched& one, json const& event) {
  if (!event.is_object()) return;
  if (raw_text(event, "kind") == "stopping") one.stopping = true;
  if (asked_.json) {
    json line = event;
    line["service"] = one.of.name;
    return out().line(one_line(line));
  }
  std::string said = fmt::format("{}  {}: {}", text(event, "time"), one.of.name, text(event, "text"));
  if (!draws()) return out().line(said);
  events_.push_back(std::move(said));
  if (events_.size() > kept_events) events_.pop_front();
  changed_ = true;
}

// ---- the terminal

void watcher::heed_signals() {
  while (auto signal = terminal_->take_signal()) {
    changed_ = true;
    if (*signal == SIGWINCH) {
      region_.clear();
    } else if (*signal == SIGTSTP) {
      terminal_->suspend();
      region_.leave();
    } else {
      killed_by_ = *signal;
    }
  }
}

void watcher::heed_keys() {
  while (auto key = terminal_->take_key()) press(*key);
}

void watcher::press(char key) {
  changed_ = true;
  if (key == 'q') {
    quits_ = true;
  } else if (all_.size() != 1) {
    return;
  } else if (std::exchange(asks_abort_, false)) {
    if (key == 'y') act("Abort");
  } else if (key == 'p') {
    act("Promote");
  } else if (key == ' ') {
    act(member(member(status_, "rollout"), "paused") == true ? "Resume" : "Pause");
  } else if (key == 'a') {
    asks_abort_ = true;
  }
}

// What comes of it is told by an event; only a refusal is not.
void watcher::act(char const* method) {
  auto told = ask(all_.front().of, method);
  if (!told) events_.push_back(out().paint(colour::red, told.error().what));
}

duration watcher::time_to_draw() const {
  auto due = drawn_at_ + (changed_ ? redraw_at_most_every : redraw_every);
  return std::max(due - now(), duration::zero());
}

std::string watcher::keys_line() const {
  if (!takes_keys()) return {};
  if (asks_abort_) return out().paint(colour::bold, "  abort? y");
  if (all_.size() != 1) return out().paint(colour::faint, "  q quit");
  bool paused = member(member(status_, "rollout"), "paused") == true;
  return out().paint(colour::faint,
                     fmt::format("  p promote   space {}   a abort   q quit", paused ? "resume" : "pause"));
}

std::vector<std::string> watcher::picture() {
  constexpr std::size_t around = 3;  // lines: an empty one, the keys, and the cursor's
  std::size_t rows = extent_of(out()).rows;
  std::vector<asked_status> told;
  for (auto const& one : all_) told.push_back({one.of, ask(one.of, "Status")});
  bool alone = told.size() == 1 && told[0].told;
  status_ = alone ? *told[0].told : json();
  return alone ? view_.draw(told[0].of, status_, out(), rows > around ? rows - around : 1)
               : overview(told, out());
}

void watcher::draw() {
  std::vector<std::string> shown{""};
  std::ranges::move(picture(), std::back_inserter(shown));
  shown.push_back(keys_line());
  region_.show({events_.begin(), events_.end()}, shown);
  events_.clear();
  drawn_at_ = now();
  changed_ = false;
}

}  // namespace

void add_watch(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<watch_request>();
  auto* command =
      app.add_subcommand("watch", "Show what happens as it happens; of all services when none is named");
  add_names(*command, asked->names);
  add_json(*command, asked->json);
  command->callback([asked, &outcome] { outcome = watcher(*asked).run(); });
}

}  // namespace handoff::cli
