// Puts a program under a filter of seccomp(2) that asks us about each of its system calls, and those of its
// children.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <sys/types.h>

#include <string>

namespace faults {

// Where programs join.
handoff::result<handoff::unique_fd> listen_at(std::string const& path);

struct joined {
  pid_t who = -1;
  handoff::unique_fd asks;  // the notifications of seccomp_unotify(2)
};

handoff::result<joined> receive(int listening);

// Joins at `path` and becomes `arguments`. Returns only when that fails.
handoff::error join_and_become(std::string const& path, char** arguments);

}  // namespace faults
