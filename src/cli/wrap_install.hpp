// Putting the files of a wrapped service where they belong, and taking them away again.
#pragma once

#include <base/error.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace handoff::cli {

struct wrap_paths {
  std::string configuration;  // /etc/handoff/NAME.toml
  std::string drop_in;        // /etc/systemd/system/UNIT.d/50-handoff.conf
  std::string restart;        // what needrestart runs in place of a restart: /etc/needrestart/restart.d/UNIT
};
wrap_paths paths_of(std::string const& unit, std::string const& name);

// The directories of these files that are not there yet.
std::vector<std::string> missing_directories(wrap_paths const&);

// Fails when one of them is there already.
result<> are_free(wrap_paths const&);

// Whether needrestart is there, would restart the unit, and can run `restart` in place of that.
bool needs_restart_link(wrap_paths const&, std::string const& restart);

// Writes both files, or none, where they are free; a `secret` configuration for its owner alone. Where
// needrestart is, it gets a link to `restart`.
result<> install(wrap_paths const&, std::string_view configuration, bool secret, std::string_view drop_in,
                 std::string const& restart);

// Whether install() wrote for the unit.
bool is_wrapped(std::string const& unit);

// Takes away what install() wrote for the unit, the directories that it made among that. A configuration that
// was changed since is kept under another name, which is told in `notes`. Fails when the unit is not wrapped.
result<> uninstall(std::string const& unit, std::string const& restart, std::vector<std::string>& notes);

}  // namespace handoff::cli
