#include "config_grammar.hpp"

#include <wire/config_address.hpp>
#include <wire/config_metric.hpp>
#include <wire/config_probe.hpp>
#include <wire/config_reader.hpp>
#include <wire/config_rollout.hpp>

#include <algorithm>
#include <limits>

namespace handoff {

namespace {

using namespace config;
using namespace std::chrono_literals;

// ---- values that only one key has

void read_address(config_node const& node, config_report& report, listener_settings& into) {
  auto value = parsed(parse_address, "an address such as \"0.0.0.0:80\"")(node, report);
  if (!value) return;
  // A Unix address leaves the type to the key `type`, which may stand before it.
  if (std::holds_alternative<inet_address>(value->address)) into.type = value->type;
  into.address = std::move(value->address);
}

void read_backoff(config_node const& node, config_report& report, restart_settings& into) {
  auto value = parsed(parse_duration_range, "two durations such as \"100ms..30s\"")(node, report);
  if (!value) return;
  if (value->min < moment || value->max > limit::longest) {
    wrong_type(node, report,
               "durations from " + duration_text(moment) + " to " + duration_text(limit::longest));
    return;
  }
  into.backoff_min = value->min;
  into.backoff_max = value->max;
}

using variables = std::vector<std::pair<std::string, std::string>>;

std::optional<variables> environment(config_node const& node, config_report& report) {
  config_table const* table = as_table(node, report, "[service] environment");
  if (!table) return std::nullopt;
  variables values;
  for (auto const& [name, at, value] : *table) {
    std::string objection = variable_name(name);
    if (!objection.empty()) report.object(at, objection);
    auto content = text(any_text)(value, report);
    if (content) values.emplace_back(name, std::move(*content));
  }
  return values;
}

std::optional<limit_pair> limit_value(config_node const& node, config_report& report) {
  if (!std::holds_alternative<std::int64_t>(node.value)) {
    return parsed(parse_limit, "a limit such as 65536, \"1024:4096\" or \"infinity\"")(node, report);
  }
  auto value = whole<std::uint64_t>(0, std::numeric_limits<std::int64_t>::max())(node, report);
  return value ? std::optional(limit_pair{*value, *value}) : std::nullopt;
}

std::optional<std::vector<resource_limit>> limits(config_node const& node, config_report& report) {
  constexpr std::string_view header = "[service] limits";
  config_table const* table = as_table(node, report, header);
  if (!table) return std::nullopt;
  std::vector<resource_limit> values;
  for (config_entry const& entry : *table) {
    bool known = std::ranges::find(limit_names(), entry.key) != limit_names().end();
    if (!known) unknown_key(entry, report, header, limit_names());
    auto value = limit_value(entry.node, report);
    if (value) values.push_back({entry.key, value->soft, value->hard});
  }
  return values;
}

std::optional<std::vector<std::string>> environment_files(config_node const& node, config_report& report) {
  if (std::holds_alternative<config_list>(node.value)) return list(text(optional_path))(node, report);
  auto one = text(optional_path)(node, report);
  return one ? std::optional(std::vector{std::move(*one)}) : std::nullopt;
}

std::string capability(std::string_view name) {
  if (std::ranges::find(capability_names(), name) != capability_names().end()) return {};
  std::string_view meant = nearest(name, capability_names());
  return "unknown capability " + in_quotes(name) +
         (meant.empty() ? "" : ": did you mean " + in_quotes(meant) + "?");
}

// The methods of io.handoff.Supervisor.varlink.
auto method() {
  std::vector<std::pair<std::string_view, std::string>> words;
  for (char const* name : {"Status", "Upgrade", "Abort", "Promote", "Pause", "Resume", "SetWeight", "Plan",
                           "Rollback", "Reload", "Reexec", "Stop", "Watch", "History"}) {
    words.emplace_back(name, name);
  }
  return choice(words);
}

// ---- sections

grammar<service_settings> const& service_keys() {
  using s = service_settings;
  static grammar<s> const keys{
      {"name", &s::name, text(service_name), presence::required},
      {"command", &s::command, command, presence::required},
      {"instances", &s::instances, whole(1U, limit::instances)},
      {"user", &s::user, text(account_name)},
      {"group", &s::group, text(account_name)},
      {"supplementary-groups", &s::supplementary_groups, list(text(account_name))},
      {"working-directory", &s::working_directory, text(absolute_path)},
      {"umask", &s::umask, parsed(parse_mode, "an octal text such as \"0022\"")},
      {"environment", &s::environment, environment},
      {"environment-file", &s::environment_files, environment_files},
      {"pass-environment", &s::pass_environment, list(text(variable_name))},
      {"limits", &s::limits, limits},
      {"nice", &s::nice, whole(-20, 19)},
      {"oom-score-adjust", &s::oom_score_adjust, whole(-1000, 1000)},
      {"no-new-privileges", &s::no_new_privileges, flag},
      {"ambient-capabilities", &s::ambient_capabilities, list(text(capability))},
      {"output", &s::output,
       parsed(parse_output, "\"capture\", \"journal\", \"inherit\", \"null\" or \"file:/path\"")},
      {"watchdog", &s::watchdog, time(moment)},
      {"fd-store-max", &s::fd_store_max, whole(0U, limit::stored_descriptors)},
  };
  return keys;
}

// Where a key goes that belongs to a listener's options.
template <class Value>
auto option(Value socket_options::* member) {
  return [member](listener_settings& into) -> Value& { return into.options.*member; };
}

grammar<listener_settings> const& listener_keys() {
  using l = listener_settings;
  using o = socket_options;
  constexpr std::uint32_t most = std::numeric_limits<std::int32_t>::max();
  constexpr std::uint32_t any_mark = std::numeric_limits<std::uint32_t>::max();
  static grammar<l> const keys{
      {"name", &l::name, text(listener_name), presence::required},
      {"address", read_address},
      {"from", &l::address, choice<listener_address>({{"systemd", systemd_address{}}})},
      {"type", &l::type,
       choice<socket_type>({{"stream", socket_type::stream},
                            {"datagram", socket_type::datagram},
                            {"seqpacket", socket_type::seqpacket}})},
      {"backlog", option(&o::backlog), whole(1U, most)},
      {"v6only", option(&o::v6only), flag},
      {"freebind", option(&o::freebind), flag},
      {"transparent", option(&o::transparent), flag},
      {"keepalive", option(&o::keepalive), flag},
      {"nodelay", option(&o::nodelay), flag},
      {"non-blocking", option(&o::non_blocking), flag},
      {"interface", option(&o::interface), text(interface_name)},
      {"mark", option(&o::mark), whole(0U, any_mark)},
      {"receive-buffer", option(&o::receive_buffer), size},
      {"send-buffer", option(&o::send_buffer), size},
      {"fast-open", option(&o::fast_open), whole(1U, most)},
      {"defer-accept", option(&o::defer_accept), time(1s, 1h)},
      {"user", option(&o::user), text(account_name)},
      {"group", option(&o::group), text(account_name)},
      {"mode", option(&o::mode), parsed(parse_mode, "an octal text such as \"0660\"")},
      {"steer", &l::steer, flag},
      {"flow-timeout", &l::flow_timeout, time(moment)},
      {"connection-id-byte", &l::connection_id_byte,
       whole(std::uint8_t{0}, std::uint8_t{limit::connection_id_bytes - 1})},
  };
  return keys;
}

grammar<ready_settings> const& ready_keys() {
  using r = ready_settings;
  static grammar<r> const own{
      {"when", &r::when,
       choice<readiness>({{"notify", readiness::notify},
                          {"exec", readiness::exec},
                          {"http", readiness::http},
                          {"tcp", readiness::tcp},
                          {"alive", readiness::alive}},
                         {"listening"})},
      {"timeout", &r::timeout, time(moment)},
      {"extend-max", &r::extend_max, time(moment)},
      {"command", &r::command, command},
      {"interval", &r::interval, time(moment)},
      {"for", &r::alive_for, time(moment)},
  };
  static grammar<r> const keys = with_probe_keys(own);
  return keys;
}

grammar<drain_settings> const& drain_keys() {
  using d = drain_settings;
  static grammar<d> const keys{
      {"signal", &d::signal, parsed(parse_signal, "a signal such as \"SIGTERM\"")},
      {"timeout", &d::timeout, time(now)},
      {"kill-timeout", &d::kill_timeout, time(moment)},
  };
  return keys;
}

grammar<restart_settings> const& restart_keys() {
  using r = restart_settings;
  static grammar<r> const keys{
      {"backoff", read_backoff},
      {"burst", &r::burst, whole(1U, limit::restart_burst)},
      {"window", &r::window, time(moment)},
  };
  return keys;
}

probe_settings& http_of(check_settings& c) { return c.probe.emplace(); }
probe_settings& tcp_of(check_settings& c) { return c.probe.emplace(probe_settings{.kind = probe_kind::tcp}); }

grammar<check_settings> const& check_keys() {
  using c = check_settings;
  static grammar<c> const keys{
      {"name", &c::name, text(label)},
      {"command", &c::command, command},
      key<c>::nested("http", http_of, http_probe_keys, "[[check]] http"),
      key<c>::nested("tcp", tcp_of, tcp_probe_keys, "[[check]] tcp"),
      {"interval", &c::interval, time(moment)},
      {"timeout", &c::timeout, time(moment)},
      {"failures", &c::failures, whole(0U, limit::forgiven_failures)},
      {"during-bake", &c::during_bake, flag},
  };
  return keys;
}

grammar<hook_settings> const& hook_keys() {
  using h = hook_settings;
  static grammar<h> const keys{
      {"command", &h::command, command, presence::required},
      {"user", &h::user, text(account_name)},
      {"timeout", &h::timeout, time(moment)},
  };
  return keys;
}

// A hook is a command, or a table with a command and more.
auto hook_at(hook at) {
  return [at](config_node const& node, config_report& report) -> std::optional<hook_settings> {
    hook_settings value;
    value.at = at;
    if (std::holds_alternative<config_table>(node.value)) {
      read_section(node, hook_keys(), "[hooks] " + std::string(to_string(at)), report, value);
      return value;
    }
    auto words = command(node, report);
    if (words) value.command = std::move(*words);
    return value;
  };
}

using hook_list = std::vector<hook_settings>;
hook_settings& one_more(hook_list& hooks) { return hooks.emplace_back(); }

grammar<hook_list> const& hooks_keys() {
  static grammar<hook_list> const keys{
      {"preflight", one_more, hook_at(hook::preflight)}, {"ready", one_more, hook_at(hook::ready)},
      {"switched", one_more, hook_at(hook::switched)},   {"drained", one_more, hook_at(hook::drained)},
      {"failed", one_more, hook_at(hook::failed)},
  };
  return keys;
}

grammar<control_settings> const& control_keys() {
  using c = control_settings;
  static grammar<c> const keys{
      {"group", &c::group, text(account_name)},
      {"allow", &c::allow, list(method())},
  };
  return keys;
}

grammar<log_settings> const& log_keys() {
  using l = log_settings;
  static grammar<l> const keys{
      {"file", &l::file, text(absolute_path)},
      {"level", &l::level,
       choice<log_level>({{"debug", log_level::debug},
                          {"info", log_level::info},
                          {"warning", log_level::warning},
                          {"error", log_level::error}})},
  };
  return keys;
}

ready_settings& ready_of(settings& s) { return s.service.ready; }
drain_settings& drain_of(settings& s) { return s.service.drain; }

grammar<settings> const& file_keys() {
  using s = settings;
  using k = key<settings>;
  static grammar<s> const keys{
      k::nested("service", &s::service, service_keys, "[service]", presence::required),
      {"listener", &s::listeners, sections(listener_keys, "[[listener]]", limit::listeners),
       presence::required},
      k::nested("ready", ready_of, ready_keys, "[ready]"),
      k::nested("drain", drain_of, drain_keys, "[drain]"),
      k::nested("restart", &s::restart, restart_keys, "[restart]"),
      k::nested("rollout", &s::rollout, rollout_keys, "[rollout]"),
      {"check", &s::checks, sections(check_keys, "[[check]]", limit::checks)},
      {"metric", &s::metrics, sections(metric_keys, "[[metric]]", limit::metrics)},
      k::nested("hooks", &s::hooks, hooks_keys, "[hooks]"),
      k::nested("control", &s::control, control_keys, "[control]"),
      k::nested("log", &s::log, log_keys, "[log]"),
  };
  return keys;
}

template <class Section>
void add_names(std::vector<std::string>& names, std::string_view section, grammar<Section> const& keys) {
  for (auto const& one : keys) {
    if (one.unsupported.empty()) names.push_back(std::string(section) + "." + std::string(one.name));
  }
}

}  // namespace

settings read_settings(config_node const& file, config_report& report) {
  settings value;
  read_section(file, file_keys(), "", report, value);
  std::ranges::sort(value.hooks, {}, &hook_settings::at);
  return value;
}

std::vector<std::string> configuration_keys() {
  std::vector<std::string> names;
  add_names(names, "service", service_keys());
  add_names(names, "listener", listener_keys());
  add_names(names, "ready", ready_keys());
  add_names(names, "drain", drain_keys());
  add_names(names, "restart", restart_keys());
  add_names(names, "rollout", rollout_keys());
  add_names(names, "steps", step_keys());
  add_names(names, "route", route_keys());
  add_names(names, "check", check_keys());
  add_names(names, "metric", metric_keys());
  add_names(names, "http", http_probe_keys());
  add_names(names, "prometheus", page_keys());
  add_names(names, "hooks", hooks_keys());
  add_names(names, "hooks", hook_keys());
  add_names(names, "control", control_keys());
  add_names(names, "log", log_keys());
  return names;
}

}  // namespace handoff
