// Descendants that lost their parent. handoffd is the child subreaper, so whatever a service leaves behind
// becomes our child, and can be told by the variables that it inherited.
//
// What this cannot see: a process that was started with another environment, or wrote over its own (as
// programs do that change their title). Only a cgroup finds those: os/cgroup.
#pragma once

#include <base/error.hpp>

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace handoff {

// prctl(2), PR_SET_CHILD_SUBREAPER: for us and until we end; it survives exec.
result<> become_child_subreaper();

// The processes whose parent we are now, zombies included.
result<std::vector<pid_t>> direct_children();

// True when the process was started with each of these "KEY=value". False also when its environment cannot be
// read.
bool carries_variables(pid_t, std::span<std::string const> variables);

// Sends SIGKILL to each direct child that is not `known` (all other children of ours: instances, hooks,
// helpers) and carries the variables. Its own children come to us when it dies, so call again until it
// returns 0 and no orphan is ending.
result<std::size_t> kill_orphans(std::span<pid_t const> known, std::span<std::string const> variables);

// Whether a direct child that is not `known` is on its way out or a zombie.
result<bool> is_an_orphan_ending(std::span<pid_t const> known);

// Collects the zombies among the direct children that are not `known`. Returns how many.
result<std::size_t> reap_orphans(std::span<pid_t const> known);

}  // namespace handoff
