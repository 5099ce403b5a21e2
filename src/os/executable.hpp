// The program of a generation, pinned: resolved once, opened, and kept, so that last good means last good
// whatever is on disk by now.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>

namespace handoff {

// What "same" and "outdated" mean for an executable.
struct executable_identity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;             // bytes
  std::int64_t modified_seconds = 0;  // since 1970
  std::int64_t modified_nanoseconds = 0;
  bool operator==(executable_identity const&) const = default;
};

enum class executable_state : std::uint8_t {
  same,         // the path names what was pinned
  replaced,     // the path names another file, or none; the pinned one is intact
  overwritten,  // the pinned file was written to in place: last good is lost
  missing,      // a script whose path names no file: scripts cannot run by descriptor, so last good is lost
  lost          // the path names another file, and nobody had the pinned one when our predecessor died
};

class pinned_executable {
 public:
  // Resolves symlinks in `path`, opens the file and remembers its identity. Fails with the errno that exec
  // would have: ENOENT, or EACCES for what is not a regular file or has no execute bit.
  static result<pinned_executable> open(std::string const& path);

  // Goes on with what a predecessor pinned. Without a descriptor the same file is looked for at the path,
  // then in `runners`, processes that may run it. Fails for a shortage that passes.
  static result<pinned_executable> adopt(std::string path, unique_fd descriptor, executable_identity,
                                         std::string build_id, bool is_script,
                                         std::span<pid_t const> runners = {});

  int descriptor() const noexcept { return descriptor_.get(); }  // O_PATH; ours. -1: lost, or a script's
  std::string const& path() const noexcept { return path_; }     // without symlinks
  executable_identity const& identity() const noexcept { return identity_; }
  // In hexadecimal digits; empty: none known.
  std::string const& build_id() const noexcept { return build_id_; }
  bool is_script() const noexcept { return is_script_; }  // begins with "#!"

  executable_state state() const;

  // Nobody can start it any more.
  bool is_lost() const noexcept { return !descriptor_ && !is_script_; }

  // Whether an instance is to be started from the descriptor: the path names another file by now. Never for
  // scripts, whose interpreter opens the path itself.
  bool by_descriptor() const;

 private:
  std::string path_;
  unique_fd descriptor_;
  executable_identity identity_;
  std::string build_id_;
  bool is_script_ = false;
};

}  // namespace handoff
