// Names of users and groups as numbers. Asked once, when a generation is created: the answer may come over a
// network, and a generation is frozen.
#pragma once

#include <base/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace handoff {

inline constexpr std::size_t most_groups = 65536;  // of one user: NGROUPS_MAX, setgroups(2)

// Whom a service runs as. Unset: as we do.
struct account {
  std::optional<std::uint32_t> user;
  std::optional<std::uint32_t> group;
  std::vector<std::uint32_t> groups;  // supplementary, sorted; meant when `user` is set
  std::string name;                   // of the user, where there is an entry
  std::string home;
  std::string shell;
};

// `user` and `group` are names or numbers, or empty for ours. Without `group` it is the user's own; the
// supplementary groups are the user's (getgrouplist(3)) and the named ones. An unprivileged handoffd that
// names the very user and group it runs as gets an account with nothing to change.
result<account> resolve_account(std::string const& user, std::string const& group,
                                std::span<std::string const> supplementary);

// For a program of ours that reads what strangers send, in place of root: nobody. With nothing to change
// where we are not root ourselves, or may become nobody else (without CAP_SETUID, or in a user namespace that
// lacks the number).
account instead_of_root();

}  // namespace handoff
