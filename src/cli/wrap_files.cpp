#include "wrap_files.hpp"

#include <cli/wrap_words.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>

namespace handoff::cli {

namespace {

constexpr std::string_view mark = "# Written by `handoff wrap ";
constexpr std::string_view belongs = "# configuration ";
constexpr std::string_view made_mark = "# made ";

// A basic string of TOML 1.0.
std::string toml_string(std::string_view text) {
  std::string made = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\')
      made += fmt::format("\\{}", static_cast<char>(c));
    else if (c < 0x20 || c == 0x7f)
      made += fmt::format("\\u{:04X}", c);
    else
      made += static_cast<char>(c);
  }
  return made + "\"";
}

std::string list_of(std::vector<std::string> const& all) {
  std::vector<std::string> items;
  for (auto const& one : all) items.push_back(toml_string(one));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

std::string table_of(std::vector<std::pair<std::string, std::string>> const& all) {
  std::vector<std::string> items;
  for (auto const& [name, value] : all)
    items.push_back(fmt::format("{} = {}", toml_string(name), toml_string(value)));
  return fmt::format("{{ {} }}", fmt::join(items, ", "));
}

std::string name_of_signal(int number) {
  constexpr std::array<std::pair<int, char const*>, 9> names{{{SIGTERM, "SIGTERM"},
                                                              {SIGINT, "SIGINT"},
                                                              {SIGQUIT, "SIGQUIT"},
                                                              {SIGHUP, "SIGHUP"},
                                                              {SIGUSR1, "SIGUSR1"},
                                                              {SIGUSR2, "SIGUSR2"},
                                                              {SIGWINCH, "SIGWINCH"},
                                                              {SIGABRT, "SIGABRT"},
                                                              {SIGKILL, "SIGKILL"}}};
  for (auto const& [value, name] : names)
    if (value == number) return name;
  return std::to_string(number);  // which the reader of configurations refuses
}

// Lines of keys; what is as it would be without them is left out.
class writer {
 public:
  void head(std::string_view section) { text_ += fmt::format("\n{}\n", section); }
  void raw(std::string_view key, std::string_view value) { text_ += fmt::format("{} = {}\n", key, value); }
  void text(std::string_view key, std::string const& value) {
    if (!value.empty()) raw(key, toml_string(value));
  }
  void list(std::string_view key, std::vector<std::string> const& all) {
    if (!all.empty()) raw(key, list_of(all));
  }
  void time(std::string_view key, duration value) { raw(key, toml_string(spell(value))); }
  std::string take() && { return std::move(text_); }

 private:
  std::string text_;
};

void write_service(writer& w, service_settings const& s) {
  w.head("[service]");
  w.text("name", s.name);
  w.list("command", s.command);
  w.text("user", s.user);
  w.text("group", s.group);
  w.list("supplementary-groups", s.supplementary_groups);
  if (s.working_directory != "/") w.text("working-directory", s.working_directory);
  if (!s.environment.empty()) w.raw("environment", table_of(s.environment));
  w.list("environment-file", s.environment_files);
  w.list("pass-environment", s.pass_environment);
  w.list("ambient-capabilities", s.ambient_capabilities);
  if (s.watchdog) w.time("watchdog", *s.watchdog);
  if (s.fd_store_max != 0) w.raw("fd-store-max", std::to_string(s.fd_store_max));
}

void write_listener(writer& w, listener_settings const& l) {
  w.head("[[listener]]");
  w.text("name", l.name);
  if (std::holds_alternative<systemd_address>(l.address))
    w.text("from", "systemd");
  else
    w.text("address", to_string(l));
  bool named = !std::holds_alternative<inet_address>(l.address);
  if (named && l.type != socket_type::stream)
    w.text("type", l.type == socket_type::datagram ? "datagram" : "seqpacket");
  if (l.options.v6only) w.raw("v6only", "true");
  if (l.options.non_blocking) w.raw("non-blocking", "true");
  w.text("user", l.options.user);
  w.text("group", l.options.group);
  if (l.options.mode != listener_settings().options.mode)
    w.text("mode", fmt::format("{:04o}", l.options.mode));
}

void write_ready(writer& w, ready_settings const& r) {
  w.head("[ready]");
  w.text("when", r.when == readiness::notify ? "notify" : r.when == readiness::exec ? "exec" : "alive");
  w.time("timeout", r.timeout);
  if (r.extend_max != std::max(ready_settings().extend_max, r.timeout)) w.time("extend-max", r.extend_max);
  w.list("command", r.command);
  if (is_probed(r.when)) w.time("interval", r.interval);
  if (r.when == readiness::alive) w.time("for", r.alive_for);
}

// What every drop-in says.
std::vector<std::string> frame(std::string const& name, installation const& at, std::string const& path) {
  return {
      "[Unit]",
      "# handoffd is restarted however often it ends: while it is down, nobody holds the door.",
      "StartLimitIntervalSec=0",
      "",
      "[Service]",
      "NotifyAccess=main",
      "ExecStartPre=",
      "ExecStart=",
      "ExecStart=" + exec_line({at.handoffd, path}),
      "ExecStartPost=",
      "ExecReload=",
      "ExecReload=" + exec_line({at.handoff, "upgrade", "--wait", "--until=serving", name}),
      "ExecStop=",
      "KillMode=process",
      "Restart=always",
      "RestartSec=100ms",
      "WatchdogSec=30s",
      "OOMPolicy=continue",
      "FileDescriptorStoreMax=4096",
      "Environment=FDSTORE=4096",
      "Delegate=yes",
  };
}

}  // namespace

std::string configuration_text(settings const& s, std::string_view unit) {
  writer w;
  write_service(w, s.service);
  for (auto const& l : s.listeners) write_listener(w, l);
  write_ready(w, s.service.ready);
  w.head("[drain]");
  w.text("signal", name_of_signal(s.service.drain.signal));
  w.time("timeout", s.service.drain.timeout);
  if (s.restart != restart_settings()) {
    w.head("[restart]");
    w.text("backoff", fmt::format("{}..{}", spell(s.restart.backoff_min), spell(s.restart.backoff_max)));
  }
  if (!s.hooks.empty()) w.head("[hooks]");
  for (auto const& h : s.hooks) {
    std::string user = h.user.empty() ? "" : ", user = " + toml_string(h.user);
    w.raw(to_string(h.at), fmt::format("{{ command = {}{}, timeout = {} }}", list_of(h.command), user,
                                       toml_string(spell(h.timeout))));
  }
  return fmt::format("# {}, see handoff.toml(5). Made from its unit by `handoff wrap`; yours to change.\n",
                     unit) +
         std::move(w).take();
}

std::string drop_in_text(wrapping const& w, installation const& at, wrapped const& owned) {
  std::string name = w.configuration.service.name;
  std::vector<std::string> lines = {
      fmt::format("{}{}`; `handoff wrap --undo {}` takes it away again.", mark, w.unit, w.unit),
      fmt::format("{}{} {}", belongs, owned.digest, owned.configuration_path)};
  for (auto const& directory : owned.made_directories)
    lines.push_back(fmt::format("{}{}", made_mark, directory));
  for (auto const& line : frame(name, at, owned.configuration_path)) lines.push_back(line);
  lines.insert(lines.end(), w.lines.begin(), w.lines.end());
  // Behind what may have emptied them.
  for (auto line : {"RuntimeDirectory=handoff", "RuntimeDirectoryPreserve=yes", "StateDirectory=handoff"})
    lines.emplace_back(line);
  lines.push_back(fmt::format("ExecStopPost=+{} %n", exec_line({at.sweep})));
  return fmt::format("{}\n", fmt::join(lines, "\n"));
}

std::optional<wrapped> read_drop_in(std::string_view text) {
  auto next_line = [&] {
    auto end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    return line;
  };
  if (!next_line().starts_with(mark)) return std::nullopt;
  std::string_view line = next_line();
  if (!line.starts_with(belongs)) return std::nullopt;
  line.remove_prefix(belongs.size());
  auto blank = line.find(' ');
  if (blank == line.npos) return std::nullopt;
  wrapped owned{std::string(line.substr(blank + 1)), std::string(line.substr(0, blank)), {}};
  for (line = next_line(); line.starts_with(made_mark); line = next_line())
    owned.made_directories.emplace_back(line.substr(made_mark.size()));
  return owned;
}

// FNV-1a.
std::string digest_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (unsigned char c : text) hash = (hash ^ c) * 1099511628211U;
  return fmt::format("{:016x}", hash);
}

}  // namespace handoff::cli
