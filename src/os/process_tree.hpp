// Descendants that lost their parent. handoffd is the child subreaper, so whatever a service leaves behind
// becomes our child, and can be told by the variables that it inherited.
//
// What this cannot see: a process that was started with another environment, or wrote over its own (as
// programs do that change their title). Only a cgroup finds those: os/cgroup.
#pragma once

#include <base/error.hpp>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace handoff {

// prctl(2), PR_SET_CHILD_SUBREAPER: for us and until we end; it survives exec.
result<> become_child_subreaper();

// When a process began, in clock ticks since boot (proc_pid_stat(5)): with its number it names the process
// for as long as the machine runs. 0 when there is none of that number.
std::uint64_t start_time(pid_t);

// -1 when there is no such process.
pid_t parent_of(pid_t);

// Who started it, proc_pid_status(5): not whose rights it has by a set-user-ID program. Nothing when it is
// gone.
std::optional<uid_t> real_user_of(pid_t);

// The processes whose parent we are now, zombies included.
result<std::vector<pid_t>> direct_children();

// Those of any process that may be seen, zombies included; none when it is gone.
std::vector<pid_t> children_of(pid_t);

// True when the process was started with each of these "KEY=value". False also when its environment cannot be
// read.
bool carries_variables(pid_t, std::span<std::string const> variables);

// What follows this beginning of a variable that the process was started with; empty when nothing does, or it
// cannot be read.
std::string rest_of_variable(pid_t, std::string const& beginning);

// Sends SIGKILL to each direct child that is not `known` (all other children of ours: instances, hooks,
// helpers) and carries the variables. Its own children come to us when it dies, so call again until it
// returns 0 and no orphan is ending.
result<std::size_t> kill_orphans(std::span<pid_t const> known, std::span<std::string const> variables);

// Every process that carries a variable that begins so but none of the `settled` ones, whoever its parent is,
// and that is none of `known`. Looks at all processes; fails when one could not be looked at for another
// reason than having ended or being somebody else's.
result<std::vector<pid_t>> find_carriers_of(std::span<pid_t const> known, std::string const& beginning,
                                            std::span<std::string const> settled = {});

// Sends SIGKILL to every process that carries the variables, whoever its parent is, and that is none of
// `known`. Looks at all processes; returns how many it killed.
std::size_t kill_carriers(std::span<pid_t const> known, std::span<std::string const> variables);

// The members of these sessions (setsid(2)), also of one whose leader is gone, but for those that are known.
result<std::vector<pid_t>> find_members(std::span<pid_t const> known, std::span<pid_t const> sessions);

// Whether a direct child that is not `known` is on its way out or a zombie.
result<bool> is_an_orphan_ending(std::span<pid_t const> known);

// Collects the zombies among the direct children that are not `known`. Returns how many.
result<std::size_t> reap_orphans(std::span<pid_t const> known);

}  // namespace handoff
