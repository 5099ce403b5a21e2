// handoff watch: what happens, as it happens. A picture that is drawn again on a terminal, lines in a pipe.
#include <cli/status_view.hpp>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <deque>
#include <memory>

namespace handoff::cli {

namespace {

constexpr duration redraw_every{1000};
constexpr duration breath{200};           // between two looks for a supervisor that went away
constexpr std::size_t kept_events = 200;  // more than any terminal has rows

// Home and clear, line by line, so that a picture that changes little does not flicker.
constexpr std::string_view home = "\x1B[H";
constexpr std::string_view clear_line_end = "\x1B[K\n";
constexpr std::string_view clear_rest = "\x1B[J";

struct request {
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
  explicit watcher(request const& asked) : asked_(asked), draws_(out().terminal && !asked.json) {}
  ending run();

 private:
  std::optional<ending> begin();
  void wait();
  void hear(watched&);
  void lose(watched&);
  void look_for(watched&);
  void show(watched&, json const& event);
  void draw();

  request const& asked_;
  bool draws_;
  bool changed_ = true;
  instant drawn_at_{};
  ending outcome_ = ending::done;
  std::vector<watched> all_;
  std::deque<std::string> events_;
};

ending watcher::run() {
  if (auto failed = begin()) return *failed;
  auto is_over = [](watched const& one) { return one.over; };
  for (;;) {
    // Before the first wait too: an event may have come together with the answer to Watch.
    for (auto& one : all_) {
      if (!one.link) look_for(one);
      if (one.link) hear(one);
    }
    if (std::ranges::all_of(all_, is_over)) return outcome_;
    if (draws_ && (changed_ || now() >= drawn_at_ + redraw_every)) draw();
    wait();
  }
}

std::optional<ending> watcher::begin() {
  for (auto& one : chosen_supervisors(asked_.names)) {
    auto link = begin_watch(one, now() + answer_patience);
    if (!link && !asked_.names.empty()) return tell(link.error());
    if (link) all_.push_back({.of = std::move(one), .link = std::move(*link)});
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
  auto patience = looks ? breath : redraw_every;
  ::poll(fds.data(), fds.size(), draws_ || looks ? static_cast<int>(patience.count()) : -1);
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
  if (!draws_) return out().line(said);
  events_.push_back(std::move(said));
  if (events_.size() > kept_events) events_.pop_front();
  changed_ = true;
}

void watcher::draw() {
  std::vector<asked_status> told;
  for (auto const& one : all_) told.push_back({one.of, ask(one.of, "Status")});
  auto picture =
      told.size() == 1 && told[0].told ? details(told[0].of, *told[0].told, out()) : overview(told, out());
  extent room = extent_of(out());
  picture.emplace_back();
  std::size_t left = room.rows > picture.size() + 1 ? room.rows - picture.size() - 1 : 0;
  std::size_t shown = std::min(left, events_.size());
  picture.insert(picture.end(), events_.end() - std::ptrdiff_t(shown), events_.end());
  // Lines are not wrapped while we draw, so that the picture keeps its height.
  std::string bytes = "\x1B[?7l" + std::string(home);
  for (std::size_t i = 0; i < std::min<std::size_t>(picture.size(), room.rows - 1); ++i) {
    bytes += picture[i];
    bytes += clear_line_end;
  }
  out().write(bytes + std::string(clear_rest) + "\x1B[?7h");
  drawn_at_ = now();
  changed_ = false;
}

}  // namespace

void add_watch(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<request>();
  auto* command =
      app.add_subcommand("watch", "Show what happens as it happens; of all services when none is named");
  add_names(*command, asked->names);
  add_json(*command, asked->json);
  command->callback([asked, &outcome] { outcome = watcher(*asked).run(); });
}

}  // namespace handoff::cli
