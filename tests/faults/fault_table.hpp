// Which system calls are made to fail, and with what; which are left alone, and why.
#pragma once

#include <linux/seccomp.h>
#include <sys/types.h>

#include <span>
#include <vector>

namespace faults {

// When a call can fail in this way at all.
enum class only { always, creating, copying, adding, on_files, non_blocking, blocking, waiting };

struct fault {
  int error = 0;
  only when = only::always;
  bool may_last = true;  // false: passing by nature, so that a program may try again until it is over
};

struct failing_call {
  int number;
  char const* name;
  std::vector<fault> faults;
};

struct exempt_call {
  int number;
  char const* why;
};

std::span<failing_call const> failing_calls();
std::span<exempt_call const> exempt_calls();

// Nullptr for a call that is in neither table, which is a mistake of the tables, or exempt.
failing_call const* find_failing(int number);

// Those that this very call of process `who` can fail with.
std::vector<fault> faults_of(failing_call const&, seccomp_data const& call, pid_t who);

// For the reader of a report: "EMFILE".
char const* name_of_error(int error);

}  // namespace faults
