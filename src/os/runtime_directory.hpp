// Where a supervisor keeps its files, and the lock that makes it the only one of its service.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <optional>
#include <string>

namespace handoff {

// HANDOFF_RUNTIME_DIR, else /run/handoff for root, else $XDG_RUNTIME_DIR/handoff. Fails when a user has
// neither.
result<std::string> runtime_directory_path();

// HANDOFF_STATE_DIR, else /var/lib/handoff for root, else $XDG_STATE_HOME/handoff
// ($HOME/.local/state/handoff).
result<std::string> state_directory_path();

// Where a supervisor without systemd remembers for its successor.
constexpr char const* memory_file_ending = ".memory";
inline std::string memory_file(std::string const& runtime_directory, std::string const& service) {
  return runtime_directory + "/" + service + memory_file_ending;
}

// Where the notify sockets of its instances are.
inline std::string notify_directory(std::string const& runtime_directory, std::string const& service) {
  return runtime_directory + "/" + service + ".notify";
}

// The files of one service in the runtime directory. The lock is held as long as this lives.
class runtime_directory {
 public:
  // Makes the directories, takes the lock and removes notify sockets that nobody answers any more (a
  // predecessor's that a service manager kept open for us stay). A second supervisor of the service is
  // refused, naming the first. `inherited_lock` is the lock of the process that we were before we exec'ed
  // ourselves.
  static result<runtime_directory> open(std::string const& base, std::string const& service,
                                        std::optional<unique_fd> inherited_lock = std::nullopt);

  std::string control_socket() const { return base_ + "/" + service_ + ".sock"; }
  std::string notify_directory() const { return handoff::notify_directory(base_, service_); }
  std::string memory_file() const { return handoff::memory_file(base_, service_); }
  int lock_fd() const { return lock_.get(); }

 private:
  runtime_directory(std::string base, std::string service, unique_fd lock)
      : base_(std::move(base)), service_(std::move(service)), lock_(std::move(lock)) {}

  std::string base_;
  std::string service_;
  unique_fd lock_;
};

// Makes the directory for what survives a reboot: only we can list it, its files have modes of their own.
result<> make_state_directory(std::string const& path);

}  // namespace handoff
