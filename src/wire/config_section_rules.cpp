#include "config_section_rules.hpp"

namespace handoff {

config_node const* section_rules::given(std::string_view key) const {
  config_node const* node = find(table, key);
  return node && report.sound(node->at) ? node : nullptr;
}

bool section_rules::meant(std::string_view key) const {
  config_node const* node = find(table, key);
  return !node || report.sound(node->at);
}

void section_rules::object(config_node const& node, std::string_view key, std::string const& what) const {
  report.add(node.at, std::string(header) + " " + std::string(key) + ": " + what);
}

void section_rules::only(bool holds, std::string_view key, std::string_view where) const {
  config_node const* node = given(key);
  if (node && !holds) object(*node, key, "has a meaning only for " + std::string(where));
}

void section_rules::together(std::string_view key, std::string_view needed) const {
  config_node const* node = given(key);
  if (node && !find(table, needed)) object(*node, key, "needs " + in_quotes(needed) + " beside it");
}

bool is_clear_listener(section_rules const& rules) {
  bool one_place = (find(rules.table, "address") == nullptr) != (find(rules.table, "from") == nullptr);
  return one_place && rules.meant("address") && rules.meant("from") && rules.meant("type") &&
         rules.meant("steer");
}

config_list const& tables_of(config_node const& file, std::string_view name) {
  static config_list const none;
  config_node const* node = find(file, name);
  auto const* list = node ? std::get_if<config_list>(&node->value) : nullptr;
  return list ? *list : none;
}

}  // namespace handoff
