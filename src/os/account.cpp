#include "account.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>

namespace handoff {

namespace {

constexpr std::size_t most_entry_bytes = 1 << 20;  // of one entry; groups list their members
constexpr std::uint32_t nobodys_number = 65534;

struct user_entry {
  uid_t user = 0;
  gid_t group = 0;
  std::string name, home, shell;
};

// Calls `ask` with a growing buffer until the answer fits. True when an entry was found; errno else, 0: none.
template <class Ask>
int ask_with_room(Ask ask) {
  for (std::size_t room = 4096; room <= most_entry_bytes; room *= 4) {
    std::vector<char> buffer(room);
    int failed = ask(buffer);
    if (failed != ERANGE) return failed;
  }
  return ERANGE;
}

result<std::optional<user_entry>> find_user(std::string const& name, std::optional<uid_t> number) {
  std::optional<user_entry> found;
  int failed = ask_with_room([&](std::vector<char>& buffer) {
    passwd entry{};
    passwd* answer = nullptr;
    int status = number ? ::getpwuid_r(*number, &entry, buffer.data(), buffer.size(), &answer)
                        : ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &answer);
    if (answer != nullptr) found = {entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir, entry.pw_shell};
    return status;
  });
  // Some sources say "no such entry" by an errno, getpwnam(3).
  if (failed != 0 && failed != ENOENT && failed != ESRCH)
    return os_failure("looking user '" + name + "' up", failed);
  return found;
}

// Whole text a number that setresuid(2) takes; -1 means "leave as it is" there.
std::optional<std::uint32_t> as_number(std::string_view text) {
  std::uint32_t number = 0;
  auto [end, failed] = std::from_chars(text.begin(), text.end(), number);
  if (failed != std::errc{} || end != text.end() || number == UINT32_MAX) return std::nullopt;
  return number;
}

result<gid_t> find_group(std::string const& name) {
  if (auto number = as_number(name)) return *number;
  std::optional<gid_t> found;
  int failed = ask_with_room([&](std::vector<char>& buffer) {
    ::group entry{};
    ::group* answer = nullptr;
    int status = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &answer);
    if (answer != nullptr) found = entry.gr_gid;
    return status;
  });
  if (failed != 0 && failed != ENOENT && failed != ESRCH)
    return os_failure("looking group '" + name + "' up", failed);
  if (!found) return plain_failure("there is no group '" + name + "'");
  return *found;
}

result<std::vector<std::uint32_t>> groups_of(std::string const& user, gid_t group) {
  std::vector<gid_t> groups(64);
  auto count = static_cast<int>(groups.size());
  while (::getgrouplist(user.c_str(), group, groups.data(), &count) < 0) {
    if (groups.size() >= most_groups) return plain_failure("user '" + user + "' is in too many groups");
    groups.resize(std::max(groups.size() * 2, static_cast<std::size_t>(count)));
    count = static_cast<int>(groups.size());
  }
  groups.resize(static_cast<std::size_t>(count));
  return groups;
}

result<> fill_user(account& made, std::string const& user, bool has_group) {
  auto number = as_number(user);
  auto entry = find_user(user, number);
  if (!entry) return failure(std::move(entry.error()));
  if (*entry) {
    made.user = (*entry)->user;
    made.group = (*entry)->group;
    made.name = (*entry)->name;
    made.home = (*entry)->home;
    made.shell = (*entry)->shell;
    return {};
  }
  if (!number) return plain_failure("there is no user '" + user + "'");
  if (!has_group) return plain_failure("user " + user + " has no entry, so a group must be named");
  made.user = number;
  return {};
}

result<> fill_groups(account& made, std::span<std::string const> supplementary) {
  if (!made.name.empty()) {
    auto groups = groups_of(made.name, *made.group);
    if (!groups) return failure(std::move(groups.error()));
    made.groups = std::move(*groups);
  }
  for (auto const& name : supplementary) {
    auto group = find_group(name);
    if (!group) return failure(std::move(group.error()));
    made.groups.push_back(*group);
  }
  std::ranges::sort(made.groups);
  auto repeated = std::ranges::unique(made.groups);
  made.groups.erase(repeated.begin(), repeated.end());
  return {};
}

// Without privileges setgroups(2) is refused even when it would change nothing.
bool is_already(account const& wanted) {
  return ::geteuid() != 0 && wanted.user == ::getuid() && wanted.group == ::getgid();
}

bool may_change_users() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3]{};
  constexpr std::uint32_t both = 1U << CAP_SETUID | 1U << CAP_SETGID;
  return ::syscall(SYS_capget, &header, sets) == 0 && (sets[0].effective & both) == both;
}

// A user namespace need not have every number, user_namespaces(7).
bool is_mapped(std::uint32_t user) {
  std::ifstream ranges("/proc/self/uid_map");
  for (std::uint64_t first = 0, outside = 0, count = 0; ranges >> first >> outside >> count;)
    if (user >= first && user - first < count) return true;
  return false;
}

}  // namespace

result<account> resolve_account(std::string const& user, std::string const& group,
                                std::span<std::string const> supplementary) {
  account made;
  if (!user.empty() || !supplementary.empty()) {
    // Supplementary groups can only be set together with a user: ours, when none was named.
    auto filled = fill_user(made, user.empty() ? std::to_string(::getuid()) : user, !group.empty());
    if (!filled) return failure(std::move(filled.error()));
  }
  if (!group.empty()) {
    auto found = find_group(group);
    if (!found) return failure(std::move(found.error()));
    made.group = *found;
  }
  if (made.user) {
    if (auto filled = fill_groups(made, supplementary); !filled) return failure(std::move(filled.error()));
  }
  if (supplementary.empty() && is_already(made)) made.user.reset(), made.group.reset(), made.groups.clear();
  return made;
}

account instead_of_root() {
  if (::geteuid() != 0 || !may_change_users()) return {};
  account nobody{.user = nobodys_number, .group = nobodys_number};
  if (auto found = resolve_account("nobody", {}, {})) nobody = std::move(*found);
  return is_mapped(*nobody.user) ? nobody : account();
}

}  // namespace handoff
