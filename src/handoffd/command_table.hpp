// Hooks, checks, metrics and probes: short-lived commands of the operator, or our own handoff-probe, run as
// the service's user (or the one a hook names; handoff-probe never as root), their last words kept for the
// verdict. What is counted for the slots is answered at once, without a process.
#pragma once

#include <os/account.hpp>
#include <os/executable.hpp>
#include <os/launch.hpp>

#include <handoffd/instance_table.hpp>
#include <handoffd/listener_table.hpp>

#include <deque>
#include <map>
#include <memory>

namespace handoff {

// By this variable a successor knows what a predecessor ran.
inline std::string mark_of_commands(surroundings const& around) {
  return "HANDOFF_COMMAND=" + around.control_socket + ":";
}

class command_table final : public command_runner {
 public:
  struct description {
    command_line command;
    std::optional<probe_settings> probe;    // in place of a command
    std::optional<traffic_count> steering;  // likewise
    std::string listener;                   // of `steering`; empty: all
    std::string user;                       // empty: the service's
    std::vector<std::string> environment;
    release const* of = nullptr;
  };
  using describe = std::function<result<description>(command const&)>;

  // `helper` is the path of handoff-probe: pinned now, so that an upgrade of the package cannot pair us with
  // a newer one.
  command_table(surroundings const&, listener_table&, std::string const& helper, describe);
  ~command_table() override;

  void run(command const&) override;
  void cancel(command_number) override;
  std::vector<pid_t> pids() const;
  // For the successor of one that died: what it had under way runs on without us, and is ended before
  // anything is run again.
  result<> find_left_behind(state const&);
  void end_left_behind();
  bool is_calm() const { return running_.empty() && waiting_.empty(); }

 private:
  struct running;
  result<account> runs_as(description const&);
  result<> start(command const&, description const&);
  result<std::vector<double>> count(command const&, description const&) const;
  result<> open_way(running&, command const&, description const&);
  result<launched_process> launch_with(running const&, launch_spec, int output) const;
  void start_waiting();
  std::size_t probes() const;
  result<> watch_over(running&, command_number);
  void read_report(command_number);
  void ended(command_number);

  surroundings around_;
  listener_table& listeners_;
  result<pinned_executable> helper_;
  std::optional<account> instead_of_root_;  // a probe runs as; looked up when the first needs it
  describe describe_;
  std::map<command_number, std::unique_ptr<running>> running_;
  std::deque<command> waiting_;       // probes beyond those that may run at once
  std::vector<process> left_behind_;  // by a predecessor
};

}  // namespace handoff
