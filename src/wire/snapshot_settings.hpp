// The settings of a configuration, for snapshots. Only wire/snapshot.cpp includes it.
#pragma once

#include <wire/snapshot_words.hpp>

template <>
struct handoff::writing<handoff::listener_address> {
  static void from(cbor_writer& to, listener_address const& a) {
    if (auto const* inet = std::get_if<inet_address>(&a)) {
      to.begin_map(2);
      write_member(to, "host", inet->host);
      write_member(to, "port", inet->port);
    } else if (auto const* path = std::get_if<unix_address>(&a)) {
      to.begin_map(1);
      write_member(to, "path", path->path);
    } else {
      to.text("systemd");
    }
  }
};

template <>
struct nlohmann::adl_serializer<handoff::listener_address> {
  static void from_json(json const& from, handoff::listener_address& a) {
    if (from == "systemd") {
      a = handoff::systemd_address{};
    } else if (from.contains("path")) {
      handoff::read_member(from, "path", a.emplace<handoff::unix_address>().path);
    } else {
      auto& inet = a.emplace<handoff::inet_address>();
      handoff::expect_in_snapshot(from.contains("host") && from.contains("port"), "this is no address");
      handoff::read_member(from, "host", inet.host);
      handoff::read_member(from, "port", inet.port);
    }
  }
};

namespace handoff {

HANDOFF_KEPT(socket_options, backlog, v6only, freebind, transparent, keepalive, nodelay, non_blocking,
             interface, mark, receive_buffer, send_buffer, fast_open, defer_accept, user, group, mode)
HANDOFF_KEPT(listener_settings, name, address, type, options, steer, flow_timeout, connection_id_byte)
HANDOFF_KEPT(page_settings, failures, all, value, mean, aggregated)
HANDOFF_KEPT(status_range, first, last)
HANDOFF_KEPT(probe_settings, kind, listener, timeout, path, status, body, headers, host, tls, verify, page)
HANDOFF_KEPT(ready_settings, when, timeout, extend_max, command, interval, alive_for, probe)
HANDOFF_KEPT(drain_settings, signal, timeout, kill_timeout)
HANDOFF_KEPT(output_settings, kind, path)
HANDOFF_KEPT(resource_limit, name, soft, hard)
HANDOFF_KEPT(service_settings, name, command, instances, user, group, supplementary_groups, working_directory,
             umask, environment, environment_files, pass_environment, limits, nice, oom_score_adjust,
             no_new_privileges, ambient_capabilities, output, watchdog, fd_store_max, ready, drain)
HANDOFF_KEPT(restart_settings, backoff_min, backoff_max, burst, window)
HANDOFF_KEPT(canary_step, weight, hold, checks, metrics)
HANDOFF_KEPT(network, address, prefix)
HANDOFF_KEPT(route, from, to)
HANDOFF_KEPT(rollout_settings, strategy, sharing, bake, max_draining, candidate_restarts, retire_after,
             sticky, routes, steps, canary_instances, max_surge, max_unavailable, auto_promote, standby,
             experiment_weight, variants)
HANDOFF_KEPT(check_settings, name, command, interval, timeout, failures, during_bake, probe)
HANDOFF_KEPT(metric_settings, name, command, probe, steering, listener, kind, interval, timeout, max, ratio,
             confidence, least)
HANDOFF_KEPT(hook_settings, at, command, user, timeout)
HANDOFF_KEPT(control_settings, group, allow)
HANDOFF_KEPT(log_settings, file, level)
HANDOFF_KEPT(settings, service, listeners, restart, rollout, checks, metrics, hooks, control, log)

}  // namespace handoff
