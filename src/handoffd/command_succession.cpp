// What a predecessor that died was running for the operator.
#include <os/pidfd.hpp>
#include <os/process_tree.hpp>

#include <handoffd/command_table.hpp>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace handoff {

namespace {

constexpr duration longest_ending{1'000};  // of who was killed: a disk or a network may hold it

// "ROLLOUT.NUMBER". What a hook left in the background when it ended is none of ours; what was started and
// not noted belongs to the rollout under way.
bool was_under_way(std::string_view which, state const& left) {
  std::uint32_t rollout = 0, command = 0;
  auto [point, failed] = std::from_chars(which.begin(), which.end(), rollout);
  if (failed != std::errc{} || point == which.end() || *point != '.') return false;
  if (std::from_chars(point + 1, which.end(), command).ec != std::errc{}) return false;
  command_number const which_one{command};
  if (left.rollout && rollout == number(left.rollout->number) && which_one > left.last_command) return true;
  return std::ranges::any_of(
      left.commands, [&](auto const& c) { return c.number == which_one && number(c.rollout) == rollout; });
}

}  // namespace

result<> command_table::find_left_behind(state const& left) {
  constexpr char const* looking = "looking for what a predecessor was running";
  std::string const mark = mark_of_commands(around_);
  std::array const known{::getpid()};
  auto found = find_carriers_of(known, mark);
  if (!found) return failure(std::move(found).error().during(looking));
  for (pid_t pid : *found) {
    process one(pid, unique_fd(open_pidfd(pid)));
    if (!one && errno != ESRCH) return os_failure(looking);
    if (one && was_under_way(rest_of_variable(pid, mark), left)) left_behind_.push_back(std::move(one));
  }
  return {};
}

void command_table::end_left_behind() {
  for (auto const& one : left_behind_) (void)one.kill_group();
  instant const deadline = loop::now() + longest_ending;
  for (auto const& one : left_behind_) {
    pollfd ended{.fd = one.pidfd(), .events = POLLIN, .revents = 0};
    auto const left = std::max(deadline - loop::now(), duration{0});
    (void)::poll(&ended, 1, static_cast<int>(left.count()));
    around_.log(log_level::warning, "process " + std::to_string(one.pid()) +
                                        " was run by our predecessor for a hook, a check, a metric or a "
                                        "probe, and is ended");
  }
  left_behind_.clear();
}

}  // namespace handoff
