#include "setup.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>

namespace handoff {

namespace {

constexpr int first_listener = 3;  // SD_LISTEN_FDS_START, sd_listen_fds(3)

int outcome(int returned) noexcept { return returned < 0 ? errno : 0; }

// Moves a descriptor out of the way of the listeners.
int move_above(int& descriptor, int lowest) noexcept {
  if (descriptor < 0) return 0;
  int moved = ::fcntl(descriptor, F_DUPFD_CLOEXEC, lowest);
  if (moved < 0) return errno;
  ::close(descriptor);
  descriptor = moved;
  return 0;
}

int write_once(int descriptor, std::string_view text) noexcept {
  return outcome(static_cast<int>(::write(descriptor, text.data(), text.size())));
}

int raise_ambient(std::uint64_t wanted) noexcept {
  // Inheritable is what the kernel demands of ambient; permitted shrinks to what was asked unless we stay
  // root.
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return errno;
  bool is_root = ::geteuid() == 0;
  std::array const halves{static_cast<std::uint32_t>(wanted), static_cast<std::uint32_t>(wanted >> 32)};
  static_assert(halves.size() == _LINUX_CAPABILITY_U32S_3);
  for (std::size_t half = 0; half < halves.size(); ++half) {
    auto bits = halves[half];
    sets[half].inheritable = bits;
    if (!is_root) sets[half].permitted = sets[half].effective = bits;
  }
  if (::syscall(SYS_capset, &header, sets.data()) != 0) return errno;
  for (unsigned long number = 0; number < launch_bound::capabilities; ++number) {
    if ((wanted >> number & 1U) == 0) continue;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0UL, 0UL) != 0) return errno;
  }
  return 0;
}

}  // namespace

int lay_out_descriptors(launch_order& order) noexcept {
  handed_over& handed = order.handed;
  ::close(handed.spec);
  int const end = first_listener + static_cast<int>(handed.listeners);
  for (int* special : {&handed.channel, &handed.executable, &handed.output, &handed.cgroup}) {
    if (int failed = move_above(*special, end); failed != 0) return failed;
  }
  for (std::uint32_t i = 0; i < handed.listeners; ++i) {
    // The kernel hands out the lowest free number, so none arrived below its place and none is overwritten
    // here.
    int place = first_listener + static_cast<int>(i);
    if (handed.listener[i] <= place) return EBADF;
    if (::dup2(handed.listener[i], place) < 0) return errno;
  }
  return outcome(::close_range(static_cast<unsigned>(end), ~0U, CLOSE_RANGE_CLOEXEC));
}

int begin_session(launch_order&) noexcept { return outcome(::setsid()); }

int enter_cgroup(launch_order& order) noexcept {
  return order.handed.cgroup < 0 ? 0 : write_once(order.handed.cgroup, "0");
}

int connect_output(launch_order& order) noexcept {
  if (order.view.has(launch_flag::null_input)) {
    int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || ::dup2(null, STDIN_FILENO) < 0) return errno;
  }
  int output = order.handed.output;
  if (output < 0) return 0;
  if (::dup2(output, STDOUT_FILENO) < 0 || ::dup2(output, STDERR_FILENO) < 0) return errno;
  return 0;
}

int set_priority(launch_order& order) noexcept {
  launch_header const& wanted = order.view.header;
  if (order.view.has(launch_flag::nice) && ::setpriority(PRIO_PROCESS, 0, wanted.nice) != 0) return errno;
  if (!order.view.has(launch_flag::oom_score_adjust)) return 0;
  std::array<char, 16> text{};
  auto end = std::to_chars(text.begin(), text.end(), wanted.oom_score_adjust).ptr;
  int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return errno;
  return write_once(file, {text.begin(), end});
}

int set_limits(launch_order& order) noexcept {
  for (std::uint32_t i = 0; i < order.view.header.limits; ++i) {
    launch_limit wanted = order.view.limit(i);
    rlimit pair{.rlim_cur = wanted.soft, .rlim_max = wanted.hard};
    if (::setrlimit(static_cast<__rlimit_resource>(wanted.resource), &pair) != 0) return errno;
  }
  if (order.view.has(launch_flag::umask)) ::umask(order.view.header.umask);
  return 0;
}

int change_identity(launch_order& order) noexcept {
  launch_view const& view = order.view;
  // Without this the change of user would drop what set_capabilities() is to keep.
  bool keep = view.has(launch_flag::user) && view.header.ambient_capabilities != 0;
  if (keep && ::prctl(PR_SET_KEEPCAPS, 1UL, 0UL, 0UL, 0UL) != 0) return errno;
  if (view.has(launch_flag::user)) {
    static std::array<gid_t, launch_bound::groups> groups;
    for (std::uint32_t i = 0; i < view.header.groups; ++i) groups[i] = view.group(i);
    if (::setgroups(view.header.groups, groups.data()) != 0) return errno;
  }
  gid_t group = view.header.group;
  if (view.has(launch_flag::group) && ::setresgid(group, group, group) != 0) return errno;
  uid_t user = view.header.user;
  if (view.has(launch_flag::user) && ::setresuid(user, user, user) != 0) return errno;
  return 0;
}

int set_capabilities(launch_order& order) noexcept {
  // What handoffd itself was given as ambient is not the service's unless the configuration says so.
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) != 0) return errno;
  std::uint64_t wanted = order.view.header.ambient_capabilities;
  if (int failed = wanted == 0 ? 0 : raise_ambient(wanted); failed != 0) return failed;
  if (!order.view.has(launch_flag::no_new_privileges)) return 0;
  return outcome(::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL));
}

int enter_directory(launch_order& order) noexcept {
  char const* directory = order.view.working_directory;
  return *directory == '\0' ? 0 : outcome(::chdir(directory));
}

}  // namespace handoff
