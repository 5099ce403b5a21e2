#include "injector.hpp"

#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace faults {

using nlohmann::json;

namespace {

std::string program_of(pid_t who) {
  std::array<char, 512> path;
  ssize_t length = ::readlink(("/proc/" + std::to_string(who) + "/exe").c_str(), path.data(), path.size());
  std::string whole(path.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return whole.substr(whole.rfind('/') + 1);
}

std::string text_at(pid_t who, std::uint64_t address) {
  std::array<char, 128> text{};
  iovec ours{text.data(), text.size() - 1};
  iovec theirs{reinterpret_cast<void*>(address), text.size() - 1};
  ::process_vm_readv(who, &ours, 1, &theirs, 1, 0);
  return text.data();
}

// For the reader of a report: which file it was.
std::string about(seccomp_data const& call, pid_t who) {
  switch (call.nr) {
    case SYS_openat:
    case SYS_newfstatat:
    case SYS_statx:
    case SYS_readlinkat:
    case SYS_unlinkat:
    case SYS_mkdirat:
      return text_at(who, call.args[1]);
    case SYS_readlink:
    case SYS_unlink:
    case SYS_mkdir:
    case SYS_rename:
      return text_at(who, call.args[0]);
    default:
      break;
  }
  std::array<char, 128> file{};
  std::string link = "/proc/" + std::to_string(who) + "/fd/" + std::to_string(call.args[0]);
  ::readlink(link.c_str(), file.data(), file.size() - 1);
  return file.data();
}

}  // namespace

void injector::add(joined one) { programs_.push_back({one.who, std::move(one.asks)}); }

void injector::begin(order o) {
  order_ = std::move(o);
  calls_ = json::array();
  failed_.reset();
  times_ = 0;
  unknown_.clear();
}

json injector::end() {
  json told{{"calls", std::move(calls_)}, {"failed", nullptr}, {"times", times_}, {"unknown", unknown_}};
  if (failed_)
    told["failed"] = {{"call", failed_->name},
                      {"error", name_of_error(failed_->with.error)},
                      {"about", failed_->about},
                      {"arguments", {failed_->call.args[0], failed_->call.args[1], failed_->call.args[2]}}};
  order_.reset();
  calls_ = json::array();
  return told;
}

std::vector<int> injector::descriptors() const {
  std::vector<int> all;
  for (auto const& p : programs_) all.push_back(p.asks.get());
  return all;
}

void injector::forget(int fd) {
  std::erase_if(programs_, [&](auto const& p) { return p.asks.get() == fd; });
}

void injector::answer(int fd) {
  auto found = std::ranges::find_if(programs_, [&](auto const& p) { return p.asks.get() == fd; });
  seccomp_notif question{};
  if (::ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &question) < 0) return;  // who asked was killed
  int error = decide(*found, question);
  seccomp_notif_resp reply{.id = question.id};
  if (error != 0)
    reply.error = -error;
  else
    reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  ::ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

bool injector::is_counted(program& p, seccomp_notif const& question) const {
  auto who = static_cast<pid_t>(question.pid);
  if (!order_ || &p != &programs_.back()) return false;
  if (order_->whose.empty()) return p.has_begun && who == p.who;
  return who != p.who && program_of(who) == order_->whose;
}

// The error that a call is to fail with, or 0.
int injector::decide(program& p, seccomp_notif const& question) {
  bool counted = is_counted(p, question);
  if (question.data.nr == SYS_execve && static_cast<pid_t>(question.pid) == p.who) p.has_begun = true;
  if (!counted) return 0;
  failing_call const* known = find_failing(question.data.nr);
  if (known == nullptr) unknown_.insert(question.data.nr);
  return known == nullptr ? 0 : count(*known, question.data, static_cast<pid_t>(question.pid));
}

int injector::count(failing_call const& known, seccomp_data const& call, pid_t who) {
  auto possible = faults_of(known, call, who);
  if (order_->lasting) std::erase_if(possible, [](fault const& f) { return !f.may_last; });
  if (possible.empty()) return 0;
  calls_.push_back({known.name, possible.size()});
  bool like_it = failed_ && order_->lasting && failed_->call.nr == call.nr &&
                 std::ranges::find(possible, failed_->with.error, &fault::error) != possible.end();
  if (calls_.size() == order_->failing) {
    failed_ = {call, known.name, possible[order_->choice % possible.size()], about(call, who)};
    like_it = true;
  }
  if (!like_it) return 0;
  ++times_;
  return failed_->with.error;
}

}  // namespace faults
