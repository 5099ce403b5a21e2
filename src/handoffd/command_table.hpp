// Hooks, checks and probes: short-lived commands of the operator, run as the service's user (or the one a
// hook names), their last words kept for the verdict.
#pragma once

#include <handoffd/instance_table.hpp>

#include <map>
#include <memory>

namespace handoff {

class command_table final : public command_runner {
 public:
  struct description {
    command_line command;
    std::string user;  // empty: the service's
    std::vector<std::string> environment;
    release const* of = nullptr;
  };
  using describe = std::function<result<description>(command const&)>;

  command_table(surroundings const&, describe);
  ~command_table() override;

  void run(command const&) override;
  void cancel(command_number) override;
  std::vector<pid_t> pids() const;

 private:
  struct running;
  result<> start(command const&);
  result<> watch_over(running&, command_number);
  void read_report(command_number);
  void ended(command_number);

  surroundings around_;
  describe describe_;
  std::map<command_number, std::unique_ptr<running>> running_;
};

}  // namespace handoff
