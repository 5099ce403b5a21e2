// The parts of a supervisor. Its own header, because life and succession are two files.
#pragma once

#include <app/engine.hpp>
#include <os/inheritance.hpp>
#include <os/runtime_directory.hpp>

#include <handoffd/command_table.hpp>
#include <handoffd/control_service.hpp>
#include <handoffd/instance_table.hpp>
#include <handoffd/keeper.hpp>
#include <handoffd/listener_table.hpp>
#include <handoffd/narrator.hpp>
#include <handoffd/release_book.hpp>
#include <handoffd/supervisor.hpp>
#include <handoffd/trial.hpp>

namespace handoff {

// On the way to become another handoffd.
struct succession {
  unique_fd program;
  std::unique_ptr<handoff::trial> trial;  // none: it succeeded
  watch deadline;                         // to find a moment at which nothing is in flight
  std::string waits_for;                  // what was in flight when it was looked at last
  bool now = false;                       // such a moment
};

struct supervisor::parts {
  explicit parts(supervisor_options o) : options(std::move(o)) {}

  supervisor_options options;
  std::unique_ptr<loop> events;
  std::unique_ptr<journal> log;
  std::optional<runtime_directory> directory;
  unique_fd launcher;
  std::unique_ptr<listener_table> listeners;
  std::unique_ptr<release_book> releases;
  std::unique_ptr<instance_table> instances;
  std::unique_ptr<command_table> commands;
  std::unique_ptr<alarm_clock> clock;
  std::unique_ptr<narrator> tells;
  std::unique_ptr<engine> mind;
  std::unique_ptr<control_service> control;
  std::unique_ptr<keeper> memory;
  std::vector<watch> watches;
  rollout_number experiment{};  // whose traffic was counted when it began
  std::map<generation_number, counted_traffic> before_experiment;
  bool leaving = false;  // nothing is left to decide

  std::optional<succession> becoming;
  std::vector<process> strangers;  // instances that a predecessor started and did not live to note
  watch strangers_deadline;
  std::uint64_t lines_remembered = 0;  // of the candidate's
  watch remembering;                   // for a while nothing is, again
  watch sending;                       // what systemd had no room for
  duration send_after{};               // the longer the less it reads
  std::size_t sent_before = 0;

  std::string const& service() const { return options.first.service.name; }
  void post(happening h) { mind->post(std::move(h)); }
  std::function<void(happening)> poster() {
    return [this](happening h) { post(std::move(h)); };
  }
  void write(log_level level, std::string const& line) { log->write(level, line); }

  result<> open_house();
  result<> open_doors();
  result<> hire();
  result<> listen_to_operators();
  result<> listen_to_signals();
  result<> on_signal(int number, std::function<void()>);
  surroundings around();
  result<command_table::description> describe(command const&);
  void apply(settings const&);
  void child_ended();
  void see_everybody_out();
  std::expected<std::vector<std::string>, release_book::refusal> reload(request_number);
  std::expected<json, problems> plan();
  void note_experiment();
  json status();
  json past(std::size_t most) const;

  // supervisor_succession.cpp
  result<> adopt_doors();
  result<> adopt_staff();
  void begin_anew();
  void go_on();
  void believe_the_unheard();
  bool may_be_ours(pid_t) const;
  result<> find_strangers();
  result<> part_with_leftovers();
  void part_with_strangers();
  void await_strangers();
  void part_with_store();
  snapshot describe_now(state const&, std::vector<fact> const& untold, manifest&) const;
  std::optional<std::string> begin_reexec();
  result<> begin_trial();
  void tried(result<> outcome);
  std::string what_is_in_flight() const;
  void watch_for_calm();
  void send_what_waits();
  void remember_words();
  void become_successor();
  void end_reexec(std::string const& why);
};

}  // namespace handoff
