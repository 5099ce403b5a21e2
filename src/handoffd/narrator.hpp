// Tells what happened to everybody at once, in the same words: the log, the watchers, the history, systemd.
#pragma once

#include <app/history.hpp>
#include <app/journal.hpp>
#include <app/story.hpp>
#include <core/ports.hpp>
#include <os/loop.hpp>

#include <handoffd/control_service.hpp>

#include <functional>
#include <string>
#include <vector>

namespace handoff {

struct snapshot;

class narrator final : public audience {
 public:
  using last_words = std::function<std::vector<std::string>(generation_number)>;

  // `history_file` may be empty or of no use: then the history lasts as long as we do.
  narrator(loop&, journal&, listener_names, last_words, std::string history_file);

  // For a successor; and what a successor does first.
  void keep(snapshot&) const;
  void adopt(snapshot const&, bool predecessor_died);

  void set_control(control_service* control) { control_ = control; }

  void hear(fact const&, state const&) override;
  void hear(answer const&) override;
  void finish() override;

  // Keeps systemd patient while there is something to wait for, and its watchdog fed.
  void begin_heartbeat(std::function<bool()> busy);

  handoff::history const& past() const { return history_; }

 private:
  void open_history();
  void write_history(std::string const& line);
  void tell_systemd(fact const&, state const&);
  std::string status_line(state const&) const;
  ended_rollout end(fact const&);
  void beat();

  loop& loop_;
  journal& journal_;
  listener_names names_;
  last_words last_words_;
  std::string history_file_;  // empty when there is none to write to
  handoff::history history_;
  control_service* control_ = nullptr;
  ended_rollout current_;  // the rollout under way, as far as it is known
  instant begun_{};
  std::uint64_t sequence_ = 0;
  bool ready_told_ = false;
  std::size_t lines_to_rewrite_ = history::kept;  // so many more, and the file is rewritten
  std::string trouble_;                           // how the last rollout failed, until the next one begins
  std::string last_status_;
  std::function<bool()> busy_;
  watch heartbeat_;
};

}  // namespace handoff
