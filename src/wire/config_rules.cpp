#include "config_rules.hpp"

#include <wire/config_metric_rules.hpp>
#include <wire/config_probe_rules.hpp>
#include <wire/config_rollout_rules.hpp>
#include <wire/config_section_rules.hpp>
#include <wire/config_values.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace handoff {

namespace {

void check_ready(section_rules const& rules, ready_settings& ready) {
  if (rules.meant("when")) {
    bool exec = ready.when == readiness::exec;
    rules.only(exec, "command", "when = \"exec\"");
    rules.only(is_probed(ready.when), "interval", "when = \"exec\", \"http\" or \"tcp\"");
    rules.only(ready.when == readiness::alive, "for", "when = \"alive\"");
    config_node const* when = rules.given("when");
    if (exec && when && !find(rules.table, "command"))
      rules.object(*when, "when", "\"exec\" needs 'command' beside it");
  }
  if (!rules.meant("timeout")) return;
  config_node const* extended = rules.given("extend-max");
  if (!extended) {
    ready.extend_max = std::max(ready.extend_max, ready.timeout);
  } else if (ready.extend_max < ready.timeout) {
    rules.object(*extended, "extend-max",
                 "is shorter than 'timeout', which is " + duration_text(ready.timeout));
  }
  config_node const* alive_for = rules.given("for");
  if (alive_for && ready.alive_for >= ready.timeout) {
    rules.object(*alive_for, "for",
                 "must be shorter than 'timeout', which is " + duration_text(ready.timeout));
  }
}

// ---- listeners

bool is_adopted(listener_settings const& l) { return std::holds_alternative<systemd_address>(l.address); }
bool is_ours(listener_settings const& l) { return !is_adopted(l); }
bool is_not_inet(listener_settings const& l) { return !is_inet(l); }
bool is_inet6(listener_settings const& l) {
  auto const* address = std::get_if<inet_address>(&l.address);
  return address && address->host.find(':') != std::string::npos;
}
bool is_path(listener_settings const& l) {
  auto const* address = std::get_if<unix_address>(&l.address);
  return address && address->path.starts_with('/');
}
bool has_connections(listener_settings const& l) { return l.type != socket_type::datagram; }

struct option_scope {
  std::string_view key;
  bool (*fits)(listener_settings const&);
  std::string_view where;
};

constexpr std::array<option_scope, 18> option_scopes{{
    {"type", is_not_inet, "Unix and systemd sockets (for UDP write address = \"udp://…\")"},
    {"backlog", has_connections, "sockets that accept connections"},
    {"v6only", is_inet6, "IPv6 addresses"},
    {"freebind", is_inet, "IP addresses"},
    {"transparent", is_inet, "IP addresses"},
    {"interface", is_inet, "IP addresses"},
    {"mark", is_inet, "IP addresses"},
    {"keepalive", is_tcp, "TCP addresses"},
    {"nodelay", is_tcp, "TCP addresses"},
    {"fast-open", is_tcp, "TCP addresses"},
    {"defer-accept", is_tcp, "TCP addresses"},
    {"flow-timeout", is_udp, "UDP addresses"},
    {"connection-id-byte", is_udp, "UDP addresses"},
    {"user", is_path, "paths of Unix sockets"},
    {"group", is_path, "paths of Unix sockets"},
    {"mode", is_path, "paths of Unix sockets"},
    {"receive-buffer", is_ours, "sockets that handoffd makes itself"},
    {"send-buffer", is_ours, "sockets that handoffd makes itself"},
}};

void check_listener(section_rules const& rules, listener_settings const& listener) {
  config_node const* address = find(rules.table, "address");
  config_node const* from = find(rules.table, "from");
  if (!address && !from)
    rules.report.add(rules.table.at, "[[listener]] needs 'address' or from = \"systemd\"");
  if (address && from) rules.object(*from, "from", "excludes 'address'");
  // What a listener is must be clear before its options can be judged.
  if ((address == nullptr) == (from == nullptr)) return;
  if (!rules.meant("address") || !rules.meant("from") || !rules.meant("type")) return;
  for (auto const& [key, fits, where] : option_scopes) rules.only(fits(listener), key, where);
  config_node const* steer = rules.given("steer");
  if (steer && listener.steer && !is_inet(listener))
    rules.object(*steer, "steer",
                 "expected false, for only TCP and UDP addresses can be steered, found true");
  auto defer = listener.options.defer_accept.value_or(duration{0});
  config_node const* deferred = rules.given("defer-accept");
  if (deferred && defer % std::chrono::seconds(1) != duration{0}) {
    rules.object(*deferred, "defer-accept", "expected whole seconds, found " + duration_text(defer));
  }
}

// Remembers what was given where, and objects to the second of two that are the same.
class uniqueness {
 public:
  void check(section_rules const& rules, std::string_view key, std::string const& value) {
    config_node const* node = rules.given(key);
    if (!node) return;
    auto [first, added] = lines_.try_emplace(value, node->at.line);
    if (!added)
      rules.object(*node, key, in_quotes(value) + " stands already in line " + std::to_string(first->second));
  }

 private:
  std::map<std::string, unsigned> lines_;
};

void check_listeners(config_node const& file, std::vector<listener_settings> const& listeners,
                     config_report& report) {
  config_list const& nodes = tables_of(file, "listener");
  if (listeners.size() != nodes.size()) return;
  uniqueness names, addresses;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!std::holds_alternative<config_table>(nodes[i].value)) continue;
    section_rules rules{nodes[i], "[[listener]]", report};
    check_listener(rules, listeners[i]);
    names.check(rules, "name", listeners[i].name);
    // The same address on two interfaces is two addresses.
    std::string device = listeners[i].options.interface;
    addresses.check(rules, "address", to_string(listeners[i]) + (device.empty() ? "" : " on " + device));
  }
}

// ---- {fd:NAME}

void check_references(config_node const& node, std::string_view header,
                      std::span<std::string_view const> names, config_report& report) {
  constexpr std::string_view opening = "{fd:";
  auto const* text = std::get_if<std::string>(&node.value);
  if (!text) return;
  for (std::size_t at = text->find(opening); at != std::string::npos; at = text->find(opening, at + 1)) {
    std::size_t start = at + opening.size();
    std::size_t end = text->find('}', start);
    if (end == std::string::npos) return;
    std::string_view name = std::string_view(*text).substr(start, end - start);
    if (std::ranges::find(names, name) != names.end()) continue;
    std::string_view meant = report.full() ? std::string_view{} : nearest(name, names);
    report.add(node.at, std::string(header) + ": no listener is called " + in_quotes(name) +
                            (meant.empty() ? "" : ": did you mean " + in_quotes(meant) + "?"));
  }
}

void check_service(config_node const& file, settings const& value, config_report& report) {
  config_node const* service = find(file, "service");
  if (!service) return;
  section_rules{*service, "[service]", report}.together("supplementary-groups", "user");

  std::vector<std::string_view> names;
  for (listener_settings const& listener : value.listeners) {
    if (listener.name.empty()) return;  // a broken name, reported already, may be the one that is referred to
    names.push_back(listener.name);
  }
  config_node const* command = find(*service, "command");
  auto const* words = command ? std::get_if<config_list>(&command->value) : nullptr;
  for (std::size_t i = 0; words && i < words->size(); ++i) {
    check_references((*words)[i], "[service] command", names, report);
  }
  config_node const* environment = find(*service, "environment");
  auto const* variables = environment ? std::get_if<config_table>(&environment->value) : nullptr;
  for (std::size_t i = 0; variables && i < variables->size(); ++i) {
    check_references((*variables)[i].node, "[service] environment", names, report);
  }
}

// ---- the operator's part

void check_checks(config_node const& file, std::vector<check_settings>& checks, config_report& report) {
  config_list const& nodes = tables_of(file, "check");
  if (checks.size() != nodes.size()) return;
  uniqueness names;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (checks[i].name.empty()) checks[i].name = "check " + std::to_string(i + 1);
    names.check({nodes[i], "[[check]]", report}, "name", checks[i].name);
  }
}

}  // namespace

void check_rules(config_node const& file, settings& value, config_report& report) {
  config_node const* listeners = find(file, "listener");
  if (listeners && tables_of(file, "listener").empty() && report.sound(listeners->at)) {
    report.add(listeners->at, "the file needs at least one [[listener]]");
  }
  check_listeners(file, value.listeners, report);
  check_service(file, value, report);
  if (auto const* ready = find(file, "ready")) check_ready({*ready, "[ready]", report}, value.service.ready);
  check_rollout(file, value, report);
  check_checks(file, value.checks, report);
  check_metrics(file, value, report);
  check_selections(file, value, report);
  check_probes(file, value, report);
  if (auto const* control = find(file, "control")) {
    section_rules rules{*control, "[control]", report};
    rules.together("allow", "group");
    rules.together("group", "allow");
  }
}

}  // namespace handoff
