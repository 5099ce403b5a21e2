// Whether what runs is still what is on disk: the judgement, from what was seen. Pure.
#pragma once

#include <wire/process_maps.hpp>

#include <cli/told.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace handoff::cli {

// ---- one file

// A file that is mapped as code, and the other one that its path names now.
struct seen_code {
  mapping mapped;
  std::string build_id;     // of what is mapped; empty: not known
  bool is_program = false;  // the pinned executable, which is never scratch, wherever it lies
  struct other {
    std::uint64_t inode = 0;
    std::string build_id;
  };
  std::optional<other> on_disk;  // nothing when the path names nothing
};

// "/usr/lib/libfoo.so.1.2 replaced: inode 12 -> 34"; nothing when what runs is current. Another file with the
// same build-id is the same code. A file that the path does not show although it was not deleted is out of
// our sight.
std::optional<std::string> why_outdated(seen_code const&);

// Of a command line, the program that an interpreter (`executable` is one by its name) runs: its first
// argument that `is_file`. Nothing for a program given in words (-c, -e), for a module (-m), and where
// `executable` is none.
std::optional<std::string> find_script(std::string_view executable, std::vector<std::string> const& arguments,
                                       std::function<bool(std::string const&)> const& is_file);

// ---- one service

// What Status tells of the processes to look at: of the candidate while there is one with processes, since it
// is what will serve, else of the live generation.
struct running_release {
  std::int64_t generation = 0;
  std::string executable;        // the pinned file
  std::string executable_state;  // same, replaced, overwritten, missing, lost
  struct instance {
    std::string id;
    std::int64_t pid = 0;
  };
  std::vector<instance> instances;
};
std::optional<running_release> release_to_look_at(json const& status);

// Whether the operator went back on purpose, and nothing has been upgraded since.
bool went_back(json const& status);

// The last rollout, when it failed to bring another release.
struct failed_try {
  std::int64_t rollout = 0;
  std::string reason;        // a printable line
  std::int64_t started = 0;  // seconds since the epoch
};
std::optional<failed_try> last_failure(json const& status);

// Why a service is outdated, and since when: seconds since the epoch, nothing where no file tells.
struct reason {
  std::string what;
  std::optional<std::int64_t> since;
};

struct seen_service {
  std::optional<running_release> release;
  bool executable_is_mapped = false;  // so that its mapping tells
  bool went_back = false;
  std::optional<failed_try> last_failure;
  std::vector<reason> reasons;                  // of its files
  std::vector<std::string> out_of_sight;        // what could not be looked at, and why
  std::string configured;                       // the command's path in the configuration; empty: not known
  std::string resolved;                         // without links; empty: it names nothing
  std::optional<std::int64_t> program_changed;  // the file that `configured` names
  std::optional<std::int64_t> configuration_changed;  // nothing: not known
};

enum class freshness {
  current,
  outdated,
  left_alone,  // outdated, and an upgrade would be wrong
  unknown,
};

struct finding {
  freshness is = freshness::current;
  std::vector<std::string> why;  // printable lines
};
finding judge(seen_service const&);

}  // namespace handoff::cli
