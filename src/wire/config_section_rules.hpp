// What rules across keys are written with: one section of the file while its rules are checked.
#pragma once

#include <wire/config_tree.hpp>

#include <string>
#include <string_view>

namespace handoff {

// One table of the file while its rules are checked.
struct section_rules {
  config_node const& table;
  std::string_view header;
  config_report& report;

  // The value of a key that is there and was readable; null for any other.
  config_node const* given(std::string_view key) const;
  // Whether what the settings hold for a key is meant: its value, or the default.
  bool meant(std::string_view key) const;
  void object(config_node const&, std::string_view key, std::string const& what) const;
  // The key has a meaning only where `holds`.
  void only(bool holds, std::string_view key, std::string_view where) const;
  void together(std::string_view key, std::string_view needed) const;
};

// What the section says its listener is can be trusted: everything that matters was readable.
bool is_clear_listener(section_rules const&);

// The tables of [[name]]; none when it is something else.
config_list const& tables_of(config_node const& file, std::string_view name);

}  // namespace handoff
