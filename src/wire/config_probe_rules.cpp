#include "config_probe_rules.hpp"

#include <wire/config_section_rules.hpp>
#include <wire/config_values.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace handoff {

namespace {

constexpr std::array<std::string_view, 7> of_http{"path", "status", "body",  "header",
                                                  "host", "tls",    "verify"};
constexpr std::array<std::string_view, 2> of_both{"listener", "probe-timeout"};

// Why nobody knows which generation answers there; empty when that can be ruled.
std::string why_shared(listener_settings const& l, sharing how) {
  if (std::holds_alternative<systemd_address>(l.address)) return "it is adopted from systemd";
  if (std::holds_alternative<unix_address>(l.address)) return "it is a Unix socket";
  if (how == sharing::shared) return "sharing = \"shared\"";
  return l.steer ? "" : "steer = false";
}

// Why it may listen where this machine is not, and no probe can come from; empty when it is here.
std::string why_elsewhere(listener_settings const& l) {
  auto const* at = std::get_if<inet_address>(&l.address);
  if (at == nullptr || at->host == "0.0.0.0" || at->host == "::") return "";
  if (l.options.freebind) return "freebind";
  return l.options.transparent ? "transparent" : "";
}

std::string objection(listener_settings const& l, sharing how, probe_kind kind) {
  std::string who = in_quotes(l.name);
  if (std::string why = why_shared(l, how); !why.empty())
    return who + " is shared by all generations (" + why + "), so that nobody knows which one answers";
  if (!is_tcp(l)) return who + " is no TCP listener";
  if (kind == probe_kind::tcp && l.options.defer_accept)
    return who + " has 'defer-accept', and this probe sends nothing";
  if (std::string why = why_elsewhere(l); !why.empty())
    return who + " has " + in_quotes(why) + ", so that its address may not be here for a probe to come from";
  bool comes_over_loopback = l.options.interface.empty() || l.options.interface == "lo";
  return comes_over_loopback ? ""
                             : who + " takes only what comes from " + in_quotes(l.options.interface) +
                                   ", and a probe comes from this machine";
}

// The listeners of the file where a probe could be judged by them: all of them were readable.
bool are_clear(config_node const& file, settings const& value, config_report& report) {
  config_list const& nodes = tables_of(file, "listener");
  if (nodes.empty() || nodes.size() != value.listeners.size()) return false;
  config_node const* rollout = find(file, "rollout");
  if (rollout && !section_rules{*rollout, "[rollout]", report}.meant("sharing")) return false;
  return std::ranges::all_of(nodes, [&](config_node const& node) {
    section_rules rules{node, "[[listener]]", report};
    return is_clear_listener(rules) && rules.given("name");
  });
}

// One probe: where it stands, which key asks for it, and what else would do.
struct written_probe {
  section_rules rules;
  config_node const& asks;
  std::string_view key;
  std::string_view instead;
};

std::string no_such_listener(std::string const& wanted, std::vector<listener_settings> const& all) {
  std::vector<std::string_view> names;
  for (auto const& l : all) names.push_back(l.name);
  std::string_view meant = nearest(wanted, names);
  return "no listener is called " + in_quotes(wanted) +
         (meant.empty() ? "" : ": did you mean " + in_quotes(meant) + "?");
}

void check_listener(written_probe const& at, config_node const* named, settings const& value,
                    probe_settings& probe) {
  auto object = [&](std::string const& what) {
    at.rules.object(named ? *named : at.asks, named ? "listener" : at.key, what);
  };
  auto const& all = value.listeners;
  auto found = named ? std::ranges::find(all, probe.listener, &listener_settings::name)
                     : std::ranges::find_if(all, is_tcp);
  if (named && found == all.end()) return object(no_such_listener(probe.listener, all));
  if (found == all.end())
    return object("a probe needs a TCP listener, and there is none: use " + std::string(at.instead));
  probe.listener = found->name;
  if (std::string why = objection(*found, value.rollout.sharing, probe.kind); !why.empty())
    object(why + ": use " + std::string(at.instead));
}

void check_ready(config_node const& file, settings& value, bool clear, config_report& report) {
  config_node const* table = find(file, "ready");
  if (!table) return;
  section_rules rules{*table, "[ready]", report};
  ready_settings& ready = value.service.ready;
  if (!rules.meant("when")) return;
  bool http = ready.when == readiness::http;
  bool probed = http || ready.when == readiness::tcp;
  for (auto key : of_http) rules.only(http, key, "when = \"http\"");
  for (auto key : of_both) rules.only(probed, key, "when = \"http\" or \"tcp\"");
  if (!probed) return;
  if (!ready.probe) ready.probe.emplace();
  ready.probe->kind = http ? probe_kind::http : probe_kind::tcp;
  if (http) rules.only(ready.probe->tls, "verify", "tls = true");
  config_node const* when = rules.given("when");
  if (clear && when && rules.meant("listener"))
    check_listener({rules, *when, "when", "when = \"exec\" or \"notify\""}, rules.given("listener"), value,
                   *ready.probe);
}

// The listener of a probe that is a table of its own.
void check_inner(section_rules const& rules, section_rules const& inner, std::string_view key,
                 settings const& value, probe_settings& probe) {
  config_node const* named = inner.given("listener");
  if (!inner.meant("listener")) return;
  check_listener({named ? inner : rules, inner.table, key, "'command'"}, named, value, probe);
}

void check_check(section_rules const& rules, check_settings& check, settings const& value, bool clear) {
  config_node const* http = find(rules.table, "http");
  config_node const* tcp = find(rules.table, "tcp");
  bool command = find(rules.table, "command") != nullptr;
  int ways = (http != nullptr) + (tcp != nullptr) + command;
  if (ways == 0) rules.report.add(rules.table.at, "[[check]] needs 'command', 'http' or 'tcp'");
  if (ways > 1) rules.report.add(rules.table.at, "[[check]] needs just one of 'command', 'http' and 'tcp'");
  if (ways != 1 || command) return;
  std::string_view key = http ? "http" : "tcp";
  config_node const& written = http ? *http : *tcp;
  if (!check.probe || !std::holds_alternative<config_table>(written.value)) return;
  section_rules inner{written, http ? "[[check]] http" : "[[check]] tcp", rules.report};
  if (http && inner.meant("tls")) inner.only(check.probe->tls, "verify", "tls = true");
  if (clear) check_inner(rules, inner, key, value, *check.probe);
}

void check_page(section_rules const& rules, metric_settings& metric, settings const& value, bool clear) {
  config_node const* page = find(rules.table, "prometheus");
  if (!page || !metric.probe || !std::holds_alternative<config_table>(page->value)) return;
  section_rules inner{*page, "[[metric]] prometheus", rules.report};
  if (inner.meant("tls")) inner.only(metric.probe->tls, "verify", "tls = true");
  if (clear) check_inner(rules, inner, "prometheus", value, *metric.probe);
}

// ---- what steering counts

bool is_counted(listener_settings const& l, traffic_count what, sharing how) {
  bool comes = what == traffic_count::datagrams ? is_udp(l) : is_tcp(l);
  return comes && why_shared(l, how).empty();
}

void check_counted(section_rules const& rules, metric_settings const& metric, settings const& value) {
  config_node const* steering = rules.given("steering");
  if (!steering || !metric.steering || !rules.meant("listener")) return;
  std::string kind = *metric.steering == traffic_count::datagrams ? "UDP" : "TCP";
  auto const& all = value.listeners;
  auto counted = [&](auto const& l) { return is_counted(l, *metric.steering, value.rollout.sharing); };
  config_node const* named = rules.given("listener");
  if (!named) {
    if (std::ranges::none_of(all, counted))
      rules.object(*steering, "steering", "needs a " + kind + " listener that is steered, and there is none");
    return;
  }
  auto found = std::ranges::find(all, metric.listener, &listener_settings::name);
  if (found == all.end()) return rules.object(*named, "listener", no_such_listener(metric.listener, all));
  if (std::string why = why_shared(*found, value.rollout.sharing); !why.empty())
    return rules.object(*named, "listener",
                        in_quotes(found->name) + " is not steered (" + why +
                            "), so that nothing is counted for each generation");
  if (!counted(*found))
    rules.object(*named, "listener", in_quotes(found->name) + " is no " + kind + " listener");
}

}  // namespace

void check_probes(config_node const& file, settings& value, config_report& report) {
  bool clear = are_clear(file, value, report);
  check_ready(file, value, clear, report);
  config_list const& checks = tables_of(file, "check");
  for (std::size_t i = 0; i < checks.size() && checks.size() == value.checks.size(); ++i) {
    if (std::holds_alternative<config_table>(checks[i].value))
      check_check({checks[i], "[[check]]", report}, value.checks[i], value, clear);
  }
  config_list const& metrics = tables_of(file, "metric");
  for (std::size_t i = 0; i < metrics.size() && metrics.size() == value.metrics.size(); ++i) {
    if (!std::holds_alternative<config_table>(metrics[i].value)) continue;
    section_rules rules{metrics[i], "[[metric]]", report};
    check_page(rules, value.metrics[i], value, clear);
    if (clear) check_counted(rules, value.metrics[i], value);
  }
}

}  // namespace handoff
