// What a process has mapped to execute, from the text of its /proc/PID/maps (proc_pid_maps(5)). The names of
// files in it are chosen by strangers.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

// A file as the kernel tells it there: on btrfs and overlayfs that is another device than stat(2) gives.
struct mapped_identity {
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  std::uint64_t inode = 0;
  auto operator<=>(mapped_identity const&) const = default;
};

struct mapping {
  std::uint64_t begin = 0;  // the addresses name it in /proc/PID/map_files
  std::uint64_t end = 0;    // behind its last byte
  bool executable = false;
  mapped_identity file;  // inode 0: none
  std::string path;      // absolute, as it was opened; or "[heap]" and the like, or nothing
  bool deleted = false;  // the path names it no more
  bool operator==(mapping const&) const = default;
};

// One line, without its end; false when it makes no sense, and `read` is as it was. A file whose own name
// ends in " (deleted)" cannot be told from one that was deleted.
bool read_mapping(std::string_view line, mapping& read);

// The mappings that may be executed and have a file that holds a program's code, one for each file: no memory
// of other kinds (memfd, SysV, asynchronous I/O, devices).
std::vector<mapping> read_code_mappings(std::string_view maps);

// Which file is mapped at `address`, whatever for; inode 0 for none.
mapped_identity find_mapped(std::string_view maps, std::uint64_t address);

}  // namespace handoff
