#include "settings.hpp"

#include <algorithm>

namespace handoff {

namespace {

std::string text(inet_address const& at, socket_type type) {
  bool v6 = at.host.find(':') != std::string::npos;
  std::string host = v6 ? "[" + at.host + "]" : at.host;
  return (type == socket_type::datagram ? "udp://" : "") + host + ":" + std::to_string(at.port);
}

std::string text(unix_address const& at, socket_type) { return "unix:" + at.path; }

std::string text(systemd_address const&, socket_type) { return "systemd"; }

}  // namespace

bool is_inet(listener_settings const& l) { return std::holds_alternative<inet_address>(l.address); }
bool is_tcp(listener_settings const& l) { return is_inet(l) && l.type == socket_type::stream; }
bool is_udp(listener_settings const& l) { return is_inet(l) && l.type == socket_type::datagram; }

std::string to_string(listener_settings const& listener) {
  return std::visit([&](auto const& address) { return text(address, listener.type); }, listener.address);
}

bool is_selected(selection const& s, std::string const& name) {
  return !s || std::ranges::find(*s, name) != s->end();
}

bool needs_steering(rollout_settings const& r) {
  bool by_weight = r.strategy != strategy::handoff && r.strategy != strategy::rolling;
  return by_weight || r.sticky || !r.routes.empty();
}

metric_source source_of(metric_settings const& m) {
  if (m.steering) return metric_source::steering;
  return m.probe ? metric_source::page : metric_source::command;
}

std::string_view to_string(hook at) {
  switch (at) {
    case hook::preflight:
      return "preflight";
    case hook::ready:
      return "ready";
    case hook::switched:
      return "switched";
    case hook::drained:
      return "drained";
    case hook::failed:
      return "failed";
  }
  return "unknown";
}

std::string_view to_string(strategy s) {
  switch (s) {
    case strategy::handoff:
      return "handoff";
    case strategy::rolling:
      return "rolling";
    case strategy::blue_green:
      return "blue-green";
    case strategy::canary:
      return "canary";
    case strategy::experiment:
      return "experiment";
  }
  return "unknown";
}

std::string_view to_string(metric_source source) {
  constexpr std::string_view names[] = {"command", "prometheus", "steering"};
  return names[static_cast<std::size_t>(source)];
}

std::string_view to_string(traffic_count count) {
  constexpr std::string_view names[] = {"connections", "datagrams", "queued"};
  return names[static_cast<std::size_t>(count)];
}

}  // namespace handoff
