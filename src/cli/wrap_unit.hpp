// What systemd knows about a service, as far as `handoff wrap` has to know it.
#pragma once

#include <base/error.hpp>
#include <core/settings.hpp>

#include <cli/told.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace handoff::cli {

using variables = std::vector<std::pair<std::string, std::string>>;

// A line such as ExecStart=, systemd.service(5).
struct unit_command {
  std::vector<std::string> words;  // the first is an absolute path; variables are not expanded
  bool may_fail = false;           // "-"
  bool as_root = false;            // "+", "!" or "!!"
  bool expands = true;             // not ":"
};

// A directory that systemd makes for the service: RuntimeDirectory= and its kin.
struct unit_directory {
  std::string path;
  std::string variable;  // RUNTIME_DIRECTORY
  std::uint32_t mode = 0755;
};

// The variables that name them; several of one kind stand between colons.
variables directory_variables(std::vector<unit_directory> const&);

// A line of a [Service] section. A later one adds to, or replaces, an earlier one.
struct directive {
  std::string name, value;
  bool operator==(directive const&) const = default;
};

// A unit as it is loaded: the answer of org.freedesktop.systemd1(5), with the lines that somebody wrote.
struct unit_facts {
  std::string id;    // "nginx.service", whatever alias was asked for
  std::string type;  // "simple", "notify", "forking", …
  bool active = false;
  std::vector<std::string> files;  // the unit file and its drop-ins
  std::string cgroup;              // empty when it does not run
  std::vector<directive> written;

  std::vector<unit_command> start, start_pre, start_post, stop_post;
  std::vector<std::string> sockets;  // socket units that trigger it

  std::string user, group;
  std::vector<std::string> supplementary_groups;
  std::string working_directory;
  variables environment;
  std::vector<std::string> environment_files;  // a leading '-': may be missing
  std::vector<std::string> pass_environment;
  std::vector<unit_directory> directories;
  std::uint64_t bounding_set = ~std::uint64_t{0};

  int kill_signal = 15;
  std::optional<duration> start_timeout, stop_timeout;  // none: infinity
  std::optional<duration> watchdog;
  duration restart_pause{100};
  std::uint32_t stored_descriptors = 0;

  bool writes(std::string_view name) const;
};

// From the properties of a service unit, an object of names with {"type", "data"}.
result<unit_facts> read_unit(json const& properties);

// The lines of all [Service] sections of a unit file, continued lines joined.
std::vector<directive> directives_of(std::string_view unit_file);

// The words with $VARIABLES put in as systemd does: ${NAME} anywhere, $NAME alone, split at blanks; $$ is $.
// A variable that is not there is empty. The names of those that were put in are added to `used`.
std::vector<std::string> expand(std::vector<std::string> const& words, variables const& known,
                                std::vector<std::string>& used);

}  // namespace handoff::cli
