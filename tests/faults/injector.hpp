// Counts the system calls of one program, and makes one of them fail.
#pragma once

#include "fault_table.hpp"
#include "filter.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace faults {

// What is to happen from now on. Counted is the program that joined last, once it has become what it was to
// become; or, with a name, all of its children that run a program of that name.
struct order {
  std::string whose;        // empty: its own
  std::size_t failing = 0;  // the n-th call, from 1; 0: none, only count
  std::size_t choice = 0;   // of the faults that the call has, modulo their number
  bool lasting = false;     // every later call like it fails as well
};

class injector {
 public:
  void add(joined);
  void begin(order);

  // What happened since begin(), and the end of it.
  nlohmann::json end();

  std::vector<int> descriptors() const;

  // Answers the question that waits at `fd`.
  void answer(int fd);
  // Nobody of that program is left who could ask.
  void forget(int fd);

 private:
  struct program {
    pid_t who;
    handoff::unique_fd asks;
    bool has_begun = false;  // it executes what it was to become
  };
  struct failed_call {
    seccomp_data call;
    char const* name;
    fault with;
    std::string about;
  };

  int decide(program&, seccomp_notif const&);
  int count(failing_call const&, seccomp_data const&, pid_t who);
  bool is_counted(program&, seccomp_notif const&) const;

  std::vector<program> programs_;
  std::optional<order> order_;
  nlohmann::json calls_;
  std::optional<failed_call> failed_;
  std::size_t times_ = 0;
  std::set<int> unknown_;
};

}  // namespace faults
