// The files of a wrapped service, as text.
#pragma once

#include <core/settings.hpp>

#include <cli/wrap_decisions.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace handoff::cli {

// What handoff wrap decides about, as a configuration: read_config() reads the same settings from it.
std::string configuration_text(settings const&, std::string_view unit);

// Where the programs are.
struct installation {
  std::string handoffd, handoff, sweep;
};

// What belongs to a drop-in; its first lines tell it, for undoing.
struct wrapped {
  std::string configuration_path;
  std::string digest;                         // of the configuration when it was written
  std::vector<std::string> made_directories;  // that were not there
  bool operator==(wrapped const&) const = default;
};

// 50-handoff.conf.
std::string drop_in_text(wrapping const&, installation const&, wrapped const&);

// Nothing when it is not one of ours.
std::optional<wrapped> read_drop_in(std::string_view text);

// Tells whether a text was changed; no protection against anybody.
std::string digest_of(std::string_view text);

}  // namespace handoff::cli
