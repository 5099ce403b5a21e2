#include "setup.hpp"

#include <exec/kernel.hpp>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string_view>

namespace handoff {

namespace {

constexpr int first_listener = 3;  // SD_LISTEN_FDS_START, sd_listen_fds(3)

using kernel::attempt;

// Moves a descriptor out of the way of the listeners.
int move_above(int& descriptor, int lowest) noexcept {
  if (descriptor < 0) return 0;
  long moved = kernel::call(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, lowest);
  if (moved < 0) return static_cast<int>(-moved);
  kernel::call(SYS_close, descriptor);
  descriptor = static_cast<int>(moved);
  return 0;
}

int write_once(int descriptor, std::string_view text) noexcept {
  return attempt(SYS_write, descriptor, text.data(), text.size());
}

// dup2(2), which not every architecture has; the two are never the same here.
int place_at(int place, int descriptor) noexcept { return attempt(SYS_dup3, descriptor, place, 0); }

// The descriptor, or an errno below zero.
int open_file(char const* path, int mode) noexcept {
  return static_cast<int>(kernel::call(SYS_openat, AT_FDCWD, path, mode | O_CLOEXEC));
}

int set_groups(launch_view const& view) noexcept {
  static std::array<gid_t, launch_bound::groups> groups;
  for (std::uint32_t i = 0; i < view.header.groups; ++i) groups[i] = view.group(i);
  return attempt(SYS_setgroups, view.header.groups, groups.data());
}

int raise_ambient(std::uint64_t wanted) noexcept {
  // Inheritable is what the kernel demands of ambient; permitted shrinks to what was asked unless we stay
  // root.
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (int failed = attempt(SYS_capget, &header, sets.data()); failed != 0) return failed;
  bool is_root = kernel::call(SYS_geteuid) == 0;
  std::array const halves{static_cast<std::uint32_t>(wanted), static_cast<std::uint32_t>(wanted >> 32)};
  static_assert(halves.size() == _LINUX_CAPABILITY_U32S_3);
  for (std::size_t half = 0; half < halves.size(); ++half) {
    auto bits = halves[half];
    sets[half].inheritable = bits;
    if (!is_root) sets[half].permitted = sets[half].effective = bits;
  }
  if (int failed = attempt(SYS_capset, &header, sets.data()); failed != 0) return failed;
  for (unsigned long number = 0; number < launch_bound::capabilities; ++number) {
    if ((wanted >> number & 1U) == 0) continue;
    int failed = attempt(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0);
    if (failed != 0) return failed;
  }
  return 0;
}

}  // namespace

int lay_out_descriptors(launch_order& order) noexcept {
  handed_over& handed = order.handed;
  kernel::call(SYS_close, handed.spec);
  int const end = first_listener + static_cast<int>(handed.listeners);
  for (int* special : {&handed.channel, &handed.executable, &handed.output, &handed.cgroup}) {
    if (int failed = move_above(*special, end); failed != 0) return failed;
  }
  for (std::uint32_t i = 0; i < handed.listeners; ++i) {
    // The kernel hands out the lowest free number, so none arrived below its place and none is overwritten
    // here.
    int place = first_listener + static_cast<int>(i);
    if (handed.listener[i] <= place) return EBADF;
    if (int failed = place_at(place, handed.listener[i]); failed != 0) return failed;
  }
  return attempt(SYS_close_range, static_cast<unsigned>(end), ~0U, CLOSE_RANGE_CLOEXEC);
}

int begin_session(launch_order&) noexcept { return attempt(SYS_setsid); }

int enter_cgroup(launch_order& order) noexcept {
  return order.handed.cgroup < 0 ? 0 : write_once(order.handed.cgroup, "0");
}

int connect_output(launch_order& order) noexcept {
  if (order.view.has(launch_flag::null_input)) {
    int null = open_file("/dev/null", O_RDONLY);
    if (null < 0) return -null;
    if (int failed = place_at(STDIN_FILENO, null); failed != 0) return failed;
  }
  int output = order.handed.output;
  if (output < 0) return 0;
  if (int failed = place_at(STDOUT_FILENO, output); failed != 0) return failed;
  return place_at(STDERR_FILENO, output);
}

int set_priority(launch_order& order) noexcept {
  launch_header const& wanted = order.view.header;
  if (order.view.has(launch_flag::nice))
    if (int failed = attempt(SYS_setpriority, PRIO_PROCESS, 0, wanted.nice); failed != 0) return failed;
  if (!order.view.has(launch_flag::oom_score_adjust)) return 0;
  std::array<char, 16> text{};
  auto end = std::to_chars(text.begin(), text.end(), wanted.oom_score_adjust).ptr;
  int file = open_file("/proc/self/oom_score_adj", O_WRONLY);
  if (file < 0) return -file;
  return write_once(file, {text.begin(), end});
}

int set_limits(launch_order& order) noexcept {
  for (std::uint32_t i = 0; i < order.view.header.limits; ++i) {
    launch_limit wanted = order.view.limit(i);
    rlimit pair{.rlim_cur = wanted.soft, .rlim_max = wanted.hard};
    if (int failed = attempt(SYS_prlimit64, 0, wanted.resource, &pair, nullptr); failed != 0) return failed;
  }
  if (order.view.has(launch_flag::umask)) kernel::call(SYS_umask, order.view.header.umask);
  return 0;
}

int change_identity(launch_order& order) noexcept {
  launch_view const& view = order.view;
  // Without this the change of user would drop what set_capabilities() is to keep.
  bool keep = view.has(launch_flag::user) && view.header.ambient_capabilities != 0;
  if (keep)
    if (int failed = attempt(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0); failed != 0) return failed;
  if (view.has(launch_flag::user))
    if (int failed = set_groups(view); failed != 0) return failed;
  gid_t group = view.header.group;
  if (view.has(launch_flag::group))
    if (int failed = attempt(SYS_setresgid, group, group, group); failed != 0) return failed;
  uid_t user = view.header.user;
  return view.has(launch_flag::user) ? attempt(SYS_setresuid, user, user, user) : 0;
}

int set_capabilities(launch_order& order) noexcept {
  // What handoffd itself was given as ambient is not the service's unless the configuration says so.
  int failed = attempt(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (failed != 0) return failed;
  std::uint64_t wanted = order.view.header.ambient_capabilities;
  if (wanted != 0) failed = raise_ambient(wanted);
  if (failed != 0) return failed;
  if (!order.view.has(launch_flag::no_new_privileges)) return 0;
  return attempt(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int enter_directory(launch_order& order) noexcept {
  char const* directory = order.view.working_directory;
  return *directory == '\0' ? 0 : attempt(SYS_chdir, directory);
}

}  // namespace handoff
