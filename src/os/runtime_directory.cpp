#include "runtime_directory.hpp"

#include <base/text.hpp>
#include <os/socket_path.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

namespace handoff {

namespace {

constexpr mode_t for_everybody = 0755;  // the control socket inside decides itself who may do what
constexpr mode_t for_passing = 0711;    // others reach what is theirs inside and see no other's name
constexpr int most_stale_sockets = 100'000;

std::string variable(char const* name) {
  char const* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// Makes the missing parents as well; those are everybody's to pass.
result<> make_parents(std::string const& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    std::string parent = path.substr(0, slash);
    if (::mkdir(parent.c_str(), for_everybody) < 0 && errno != EEXIST) return os_failure("making " + parent);
  }
  return {};
}

// A directory of ours with exactly that mode, whatever the umask says. One that somebody else owns is
// refused: its owner could put files of their own in the place of ours.
result<> make_directory(std::string const& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) < 0 && errno != EEXIST) return os_failure("making " + path);
  unique_fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat found;
  if (!directory || ::fstat(directory.get(), &found) < 0) return os_failure("opening " + path);
  if (found.st_uid != ::geteuid()) {
    return plain_failure(path + " belongs to user " + std::to_string(found.st_uid) + ", not to us");
  }
  if ((found.st_mode & 07777) != mode && ::fchmod(directory.get(), mode) < 0) {
    return os_failure("giving " + path + " its mode");
  }
  return {};
}

std::string first_line_of(int fd) {
  std::array<char, 32> bytes;
  ssize_t length = ::pread(fd, bytes.data(), bytes.size(), 0);
  std::string_view text(bytes.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return printable(text.substr(0, text.find('\n')), bytes.size());
}

// A child that a killed supervisor was just starting holds the lock until it is launched.
constexpr int most_tries = 200;
constexpr std::chrono::milliseconds between_tries(5);

bool is_gone(std::string const& holder) {
  pid_t pid = 0;
  std::from_chars(holder.data(), holder.data() + holder.size(), pid);
  return pid > 0 && ::kill(pid, 0) < 0 && errno == ESRCH;
}

result<unique_fd> take_lock(std::string const& path, std::string const& service) {
  unique_fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return os_failure("opening " + path);
  // Whoever may open the file may lock it, and keep us out.
  if (::fchmod(lock.get(), 0600) < 0) return os_failure("protecting " + path);
  for (int tries = 0; ::flock(lock.get(), LOCK_EX | LOCK_NB) < 0; ++tries) {
    if (errno != EWOULDBLOCK) return os_failure("locking " + path);
    std::string const holder = first_line_of(lock.get());
    if (!is_gone(holder) || tries == most_tries)
      return plain_failure("'" + service + "' is supervised already, by pid " + holder);
    std::this_thread::sleep_for(between_tries);
  }
  // The file stays when we are gone: removing it would let two processes lock two files of one name.
  std::string pid = std::to_string(::getpid()) + "\n";
  bool written = ::ftruncate(lock.get(), 0) == 0 &&
                 ::pwrite(lock.get(), pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size());
  if (!written) return os_failure("writing " + path);
  return lock;
}

void remove_stale_sockets(std::string const& directory) {
  auto close = [](DIR* open) { ::closedir(open); };
  std::unique_ptr<DIR, decltype(close)> entries(::opendir(directory.c_str()), close);
  if (!entries) return;
  std::vector<std::string> stale;
  while (dirent const* entry = ::readdir(entries.get())) {
    std::string path = directory + "/" + entry->d_name;
    if (look_at_socket_file(path) && !is_answered(path, socket_type::datagram)) stale.push_back(path);
    if (stale.size() >= most_stale_sockets) break;
  }
  for (auto const& path : stale) ::unlink(path.c_str());
}

}  // namespace

result<std::string> runtime_directory_path() {
  if (auto set = variable("HANDOFF_RUNTIME_DIR"); !set.empty()) return set;
  if (::geteuid() == 0) return "/run/handoff";
  if (auto users = variable("XDG_RUNTIME_DIR"); !users.empty()) return users + "/handoff";
  return plain_failure(
      "neither HANDOFF_RUNTIME_DIR nor XDG_RUNTIME_DIR says where to put the runtime directory");
}

result<std::string> state_directory_path() {
  if (auto set = variable("HANDOFF_STATE_DIR"); !set.empty()) return set;
  if (::geteuid() == 0) return "/var/lib/handoff";
  if (auto users = variable("XDG_STATE_HOME"); !users.empty()) return users + "/handoff";
  if (auto home = variable("HOME"); !home.empty()) return home + "/.local/state/handoff";
  return plain_failure(
      "none of HANDOFF_STATE_DIR, XDG_STATE_HOME and HOME says where to put the state directory");
}

result<runtime_directory> runtime_directory::open(std::string const& base, std::string const& service,
                                                  std::optional<unique_fd> inherited_lock) {
  auto in_story = [&](error e) {
    return std::unexpected(std::move(e).during("preparing the runtime directory"));
  };
  if (auto made = make_parents(base); !made) return in_story(made.error());
  if (auto made = make_directory(base, for_everybody); !made) return in_story(made.error());
  unique_fd lock;
  if (inherited_lock && *inherited_lock) {
    lock = std::move(*inherited_lock);
  } else {
    auto taken = take_lock(base + "/" + service + ".lock", service);
    if (!taken) return std::unexpected(std::move(taken).error());
    lock = std::move(*taken);
  }
  runtime_directory opened(base, service, std::move(lock));
  if (auto made = make_directory(opened.notify_directory(), for_passing); !made)
    return in_story(made.error());
  remove_stale_sockets(opened.notify_directory());
  return opened;
}

result<> make_state_directory(std::string const& path) {
  auto in_story = [&](error e) {
    return std::unexpected(std::move(e).during("preparing the state directory"));
  };
  if (auto made = make_parents(path); !made) return in_story(made.error());
  if (auto made = make_directory(path, for_passing); !made) return in_story(made.error());
  return {};
}

}  // namespace handoff
