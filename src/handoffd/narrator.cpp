#include "narrator.hpp"

#include <os/file.hpp>
#include <os/service_manager.hpp>
#include <wire/snapshot.hpp>

#include <algorithm>
#include <chrono>
#include <ctime>

namespace handoff {

namespace {

constexpr std::size_t history_bytes = 4 << 20;  // far above what we let the file grow to
constexpr duration patience_beat{5'000};
constexpr std::chrono::seconds patience{30};  // what each beat asks of systemd

std::string now_in_words() {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

log_level level_of(fact const& f) {
  switch (f.kind) {
    case fact_kind::degraded:
      return log_level::error;
    case fact_kind::verdict:
      return f.verdict->kind == verdict_kind::promoted ? log_level::info : log_level::error;
    case fact_kind::instance_restarting:
    case fact_kind::instance_killed:
    case fact_kind::listener_reopened:
    case fact_kind::steering_restored:
    case fact_kind::note:
      return log_level::warning;
    case fact_kind::settled:
      return log_level::debug;
    default:
      return log_level::info;
  }
}

bool succeeded(verdict const& v) { return v.kind == verdict_kind::promoted; }

}  // namespace

narrator::narrator(loop& on, journal& log, listener_names names, last_words words, std::string history_file)
    : loop_(on),
      journal_(log),
      names_(std::move(names)),
      last_words_(std::move(words)),
      history_file_(std::move(history_file)) {
  if (!history_file_.empty()) open_history();
}

// A file that is there and cannot be read is left alone: writing would put nothing in the place of something.
void narrator::open_history() {
  auto text = read_file(history_file_, history_bytes);
  bool is_new = !text && text.error().code == std::errc::no_such_file_or_directory;
  if (text) history_ = history::read(*text);
  auto usable = text || is_new ? replace_file(history_file_, history_.to_text())
                               : result<>(std::unexpected(std::move(text.error())));
  if (usable) return;
  journal_.write(log_level::warning, std::move(usable.error()).during("the history ends with us").message());
  history_file_.clear();
}

ended_rollout narrator::end(fact const& f) {
  ended_rollout done = std::move(current_);
  current_ = {};
  done.number = f.rollout;
  done.generation = f.generation;
  done.verdict = *f.verdict;
  bool never_begun = done.started.empty();  // refused while it waited for another one
  if (never_begun) done.started = now_in_words();
  if (!never_begun) done.seconds = std::chrono::duration<double>(loop::now() - begun_).count();
  if (!succeeded(done.verdict)) done.output = last_words_(f.generation);
  return done;
}

// Rollouts are told in the history before anybody but who asked hears of their number: whoever finds us dead
// can then tell the rollout they wait for from the next one, which never has its number.
void narrator::hear(fact const& f, state const& s) {
  if (f.kind == fact_kind::queued || f.kind == fact_kind::started)
    if (auto line = history_.begin(f.rollout, f.detail, now_in_words())) write_history(*line);
  std::string text = tell(f, s, names_);
  ++sequence_;
  journal_.write(level_of(f), text);
  std::vector<std::string> output;
  switch (f.kind) {
    case fact_kind::started:
      begun_ = loop::now();
      current_ = {.number = f.rollout, .cause = f.detail, .started = now_in_words()};
      break;
    case fact_kind::stage:
      current_.stage = f.detail;
      break;
    case fact_kind::verdict: {
      ended_rollout done = end(f);
      for (auto const& line : done.output) journal_.write(log_level::error, "  it wrote: " + line);
      output = done.output;
      write_history(history_.end(std::move(done)));
      break;
    }
    default:
      break;
  }
  if (control_ != nullptr && control_->is_watched()) {
    json event = event_record(sequence_, now_in_words(), f, text);
    if (f.verdict) event["output"] = std::move(output);
    control_->publish(event);
  }
  tell_systemd(f, s);
}

void narrator::keep(snapshot& to) const {
  to.ready_told = ready_told_;
  to.sequence = sequence_;
  to.rollout_begun = begun_;
  to.rollout_started = current_.started;
  to.rollout_stage = current_.stage;
}

// What is open in the history and not in the state has its verdict among the untold, and what ended before
// its beginning could be told.
void narrator::adopt(snapshot const& left, bool predecessor_died) {
  state const& s = left.state;
  sequence_ = left.sequence;
  ready_told_ = left.ready_told;
  if (auto const* last = history_.last(); last != nullptr && !s.rollout && !succeeded(last->verdict))
    trouble_ = to_string(last->verdict);
  if (s.rollout) {
    history_.go_on(s.rollout->number);
    begun_ = left.rollout_begun;
    current_ = {.number = s.rollout->number,
                .cause = std::string(to_string(s.rollout->cause)),
                .stage = left.rollout_stage,
                .started = left.rollout_started};
  }
  if (s.pending) history_.go_on(s.pending->number);
  for (auto const& v : left.untold) {
    if (!history_.is_open(v.rollout) && number(v.rollout) <= number(history_.last_number())) continue;
    hear(fact{.kind = fact_kind::verdict,
              .rollout = v.rollout,
              .generation = v.generation,
              .verdict = v.verdict},
         s);
  }
  // systemd may have started us, and waits for the word.
  bool serves = s.with_role(role::live) != nullptr && s.lifecycle == lifecycle::running;
  if (serves && (predecessor_died || !s.rollout)) {
    (void)service_manager::ready(status_line(s));
    ready_told_ = true;
  }
}

void narrator::hear(answer const& a) {
  if (control_ != nullptr) control_->hear(a);
}

void narrator::finish() {
  journal_.write(log_level::info, "stopped");
  loop_.stop();
}

// Appending is cheap, but the file must not grow for ever; a line that was cut short is mended by rewriting.
void narrator::write_history(std::string const& line) {
  if (history_file_.empty()) return;
  bool rewrite = --lines_to_rewrite_ == 0;
  auto written =
      rewrite ? replace_file(history_file_, history_.to_text()) : append_to_file(history_file_, line);
  if (rewrite) lines_to_rewrite_ = history::kept;
  if (written) return;
  lines_to_rewrite_ = 1;
  journal_.write(log_level::warning, std::move(written.error()).during("writing the history").message());
}

std::string narrator::status_line(state const& s) const {
  return trouble_.empty() ? summarize(s) : trouble_ + "; " + summarize(s);
}

// READY when the first generation serves; then RELOADING for each rollout and READY for each verdict. Who
// holds may do so for hours: the reload is over then, and the line of status says what goes on.
void narrator::tell_systemd(fact const& f, state const& s) {
  // A timeout of the unit may be shorter than the time to the next beat.
  bool begins = f.kind == fact_kind::queued || f.kind == fact_kind::started || f.kind == fact_kind::stopping;
  if (begins) (void)service_manager::extend_timeout(patience);
  if (f.kind == fact_kind::started) trouble_.clear();
  if (f.kind == fact_kind::verdict) trouble_ = succeeded(*f.verdict) ? "" : to_string(*f.verdict);
  std::string status = status_line(s);
  bool serves = s.with_role(role::live) != nullptr;
  if (f.kind == fact_kind::stopping) {
    (void)service_manager::stopping(status);
  } else if (f.kind == fact_kind::started && ready_told_) {
    (void)service_manager::reloading(status);
  } else if ((f.kind == fact_kind::verdict || f.kind == fact_kind::holding) && serves &&
             s.lifecycle == lifecycle::running) {
    (void)service_manager::ready(status);
    ready_told_ = true;
  } else if (status != last_status_) {
    (void)service_manager::status(status);
  }
  last_status_ = std::move(status);
}

void narrator::begin_heartbeat(std::function<bool()> busy) {
  busy_ = std::move(busy);
  beat();
}

void narrator::beat() {
  (void)service_manager::send_what_waits();
  if (busy_()) (void)service_manager::extend_timeout(patience);
  duration next = patience_beat;
  if (auto interval = service_manager::watchdog_interval()) {
    (void)service_manager::watchdog();
    next = std::min(next, std::chrono::floor<duration>(*interval));
  }
  auto armed = loop_.at(loop::now() + next, [this] { beat(); });
  if (armed) heartbeat_ = std::move(*armed);
}

}  // namespace handoff
