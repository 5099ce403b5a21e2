#include "full_snapshot.hpp"

namespace handoff {

namespace {

instant at(int milliseconds) { return instant(duration(milliseconds)); }

constexpr generation_number old_one{6}, live{7}, candidate{8};

// ---- a configuration

probe_settings some_probe() {
  return {.kind = probe_kind::page,
          .listener = "http",
          .timeout = duration(3000),
          .path = "/metrics",
          .status = {201, 299},
          .body = "fine",
          .headers = {"Accept: text/plain"},
          .host = "example.org",
          .tls = true,
          .verify = false,
          .page = {"errors_total", "all_total", "level", "latency", true}};
}

service_settings some_service() {
  return {.name = "web",
          .command = {"/usr/bin/web", "--text", "\xC3\xBC \xFF"},
          .instances = 2,
          .user = "www-data",
          .group = "www",
          .supplementary_groups = {"adm"},
          .working_directory = "/srv/app/41",
          .umask = 027,
          .environment = {{"MODE", "fast"}, {"EMPTY", ""}},
          .environment_files = {"-/etc/default/web"},
          .pass_environment = {"TZ"},
          .limits = {{"nofile", 1024, UINT64_MAX}},
          .nice = -5,
          .oom_score_adjust = -900,
          .no_new_privileges = true,
          .ambient_capabilities = {"CAP_NET_BIND_SERVICE"},
          .output = {output_kind::file, "/var/log/web"},
          .watchdog = duration(10'000),
          .fd_store_max = 4,
          .ready = {.when = readiness::http,
                    .timeout = duration(20'000),
                    .extend_max = duration(60'000),
                    .command = {"/bin/true"},
                    .interval = duration(250),
                    .alive_for = duration(2000),
                    .probe = some_probe()},
          .drain = {.signal = 3, .timeout = duration(30'000), .kill_timeout = duration(1000)}};
}

listener_settings some_listener(std::string name, listener_address address, socket_type type) {
  return {.name = std::move(name),
          .address = std::move(address),
          .type = type,
          .options = {.backlog = 128,
                      .v6only = true,
                      .freebind = true,
                      .transparent = true,
                      .keepalive = true,
                      .nodelay = true,
                      .non_blocking = true,
                      .interface = "eth0",
                      .mark = 7,
                      .receive_buffer = 65'536,
                      .send_buffer = 32'768,
                      .fast_open = 64,
                      .defer_accept = duration(5000),
                      .user = "web",
                      .group = "web",
                      .mode = 0660},
          .steer = false,
          .flow_timeout = duration(5000),
          .connection_id_byte = 3};
}

rollout_settings some_rollout_settings() {
  network from{.prefix = 104};
  from.address[12] = 10;
  return {.strategy = strategy::canary,
          .sharing = sharing::steered,
          .bake = duration(60'000),
          .max_draining = 2,
          .candidate_restarts = 1,
          .retire_after = duration(500),
          .sticky = true,
          .routes = {{from, side::live}},
          .steps = {{weight{500}, duration(120'000), {{"smoke"}}, {{"errors"}}}, {.weight = weight{2500}}},
          .canary_instances = 1,
          .max_surge = 2,
          .max_unavailable = 1,
          .auto_promote = true,
          .standby = duration(3'600'000),
          .experiment_weight = weight{1000},
          .variants = {"blue", "green"}};
}

restart_settings some_restart() { return {duration(50), duration(5000), 3, duration(20'000)}; }

settings some_settings() {
  return {.service = some_service(),
          .listeners = {some_listener("http", inet_address{"::", 443}, socket_type::datagram)},
          .restart = some_restart(),
          .rollout = some_rollout_settings(),
          .checks = {{.name = "smoke",
                      .command = {"/bin/smoke"},
                      .interval = duration(2000),
                      .timeout = duration(4000),
                      .failures = 1,
                      .during_bake = true,
                      .probe = some_probe()}},
          .metrics = {{.name = "errors",
                       .command = {"/bin/errors"},
                       .probe = some_probe(),
                       .steering = traffic_count::queued,
                       .listener = "http",
                       .kind = metric_kind::flow,
                       .interval = duration(1000),
                       .timeout = duration(2000),
                       .max = 0.01,
                       .ratio = 1.5,
                       .confidence = 0.95,
                       .least = 50}},
          .hooks = {{hook::switched, {"/bin/hook"}, "root", duration(9000)}},
          .control = {"operators", {"Status"}},
          .log = {"/var/log/handoff", log_level::debug}};
}

// ---- what was decided

operator_policy some_policy() {
  auto policy = operator_policy_of(some_settings());
  policy.metrics[0].kind = metric_kind::mean;
  policy.metrics[0].source = metric_source::page;
  return policy;
}

generation_policy some_generation_policy() {
  return {.instances = 2,
          .when = readiness::exec,
          .ready_timeout = duration(20'000),
          .extend_max = duration(60'000),
          .probe_interval = duration(250),
          .alive_for = duration(2000),
          .drain_timeout = duration(30'000),
          .kill_timeout = duration(1000),
          .watchdog = duration(10'000),
          .steered = true,
          .slots = 2,
          .settle = duration(100)};
}

generation some_generation(generation_number number, role as, std::vector<instance_phase> const& phases) {
  generation g{.number = number,
               .policy = some_generation_policy(),
               .role = as,
               .instances = {},
               .crashes = crash_history({at(100), at(250)}),
               .dismissed_by = rollout_number{4},
               .dismissed_at = at(400),
               .standby_until = at(90'000),
               .served = true,
               .candidate_crashes = 1};
  for (auto phase : phases)
    g.instances.push_back({.id = {number, static_cast<std::uint32_t>(g.instances.size() + 1), 2},
                           .phase = phase,
                           .until = at(30'000),
                           .launched_at = at(10'000),
                           .trying_since = at(9000),
                           .watchdog_due = at(20'000),
                           .watchdog = duration(10'000),
                           .probe = command_number{12},
                           .probe_at = at(11'000),
                           .probe_failure = "exited 1",
                           .failures = 2,
                           .restarts = 3,
                           .stopped = stopping::wanted_again});
  return g;
}

measurement some_measurement(double count) {
  return measurement({.count = count,
                      .failures = 3,
                      .mean = 0.25,
                      .squares = 1e-9,
                      .is_rate = true,
                      .counters = metric_reading{3, 400},
                      .flow = flow_look{1e300, at(500), weight{500}}});
}

plan some_plan() {
  return {hook_step{hook::ready},
          start_step{1},
          check_step{{{"smoke"}}},
          weight_step{weight{500}},
          hold_step{weight{500}, duration(120'000), {{"smoke"}}, {{"errors"}}},
          stop_step{1}};
}

rollout some_rollout() {
  return {.number = rollout_number{5},
          .cause = cause::rollback,
          .source = old_one,
          .wish = experiment_wish{weight{3000}},
          .phase = rollout_phase::executing,
          .candidate = candidate,
          .plan = some_plan(),
          .position = 4,
          .entered = true,
          .started = at(5000),
          .policy = some_policy(),
          .is_experiment = true,
          .weight = weight{500},
          .hold_until = at(125'000),
          .held = true,
          .gate_skipped = true,
          .gate_until = at(245'000),
          .skips_holds = true,
          .paused = true,
          .served = true,
          .behind = old_one,
          .hook = command_number{9},
          .checks = {{command_number{10}, at(6000), 1, true}},
          .metrics = {{.of_candidate = command_number{11},
                       .of_live = command_number{13},
                       .next_run = at(7000),
                       .candidate = some_measurement(400),
                       .live = some_measurement(7600),
                       .trouble = "of live: exited 1",
                       .unread = "no such page",
                       .last = {judgement::fail, "5.2 % of 400"}}}};
}

state some_state() {
  using enum instance_phase;
  return {.policy = some_policy(),
          .lifecycle = lifecycle::stopping,
          .generations = {some_generation(old_one, role::draining, {settling, draining, killed, gone}),
                          some_generation(live, role::live, {ready, queued}),
                          some_generation(candidate, role::candidate, {launching, starting})},
          .rollout = some_rollout(),
          .pending = trigger{rollout_number{6}, cause::signal, old_one, experiment_wish{weight{100}}},
          .commands = {{.number = command_number{12},
                        .what = command::purpose::probe,
                        .at = hook::failed,
                        .check = 1,
                        .metric = 2,
                        .instance = {candidate, 1, 2},
                        .generation = candidate,
                        .rollout = rollout_number{5},
                        .deadline = at(12'000)}},
          .previous = old_one,
          .last_generation = candidate,
          .last_rollout = rollout_number{6},
          .last_command = command_number{13},
          .deaf_up_to = old_one,
          .split = {live,
                    {{live, weight{9500}}, {candidate, weight{500}}},
                    {{some_rollout_settings().routes[0].from, candidate}},
                    true},
          .retry_at = at(8000),
          .failed_starts = 2,
          .degraded = true,
          .preparing = true};
}

// ---- what belongs to it

kept_listeners some_listeners() {
  kept_listener shared{.number = 1,
                       .settings = some_listener("a", unix_address{"@a"}, socket_type::datagram),
                       .why = "a Unix socket",
                       .backlog = 64,
                       .reopened = 2,
                       .socket = "listener.1.socket.77",
                       .cookie = 77};
  kept_listener steered{.number = 2,
                        .settings = some_listener("b", inet_address{"127.0.0.1", 80}, socket_type::stream)};
  steered.steered = steered.classic = true;
  steered.anchor = "listener.2.anchor";
  steered.program = {"listener.2.program.0", "", "listener.2.program.2"};
  steered.slots = {{1, live, true, true, "listener.2.socket.78", 78}};
  steered.order = {1, 0};
  kept_listener adopted{.number = 3,
                        .settings = some_listener("c", systemd_address{}, socket_type::seqpacket)};
  return {.open = {shared, steered, adopted},
          .configured = {1, 2},
          .users = {{live, {1, 2}}, {candidate, {1}}},
          .with_slots = {live},
          .unclaimed = {{"c", "unclaimed.c.79", false, 79}},
          .next = 4,
          .sticky_seed = 12'345};
}

kept_release some_release(generation_number number) {
  return {.number = number,
          .service = some_service(),
          .listeners = {{"http", 2}},
          .executable = {.path = "/usr/bin/web",
                         .pinned = "release.executable",
                         .device = 65'024,
                         .inode = 1'234'567,
                         .size = 4096,
                         .modified_seconds = 1'700'000'000,
                         .modified_nanoseconds = 999'999'999,
                         .build_id = "abcdef",
                         .is_script = true},
          .identity = {33, 34, {4, 33}, "www-data", "/var/www", "/bin/sh"},
          .working_directory = "/srv/app/41",
          .environment = {"BYTES=\xFF\xFE"},
          .variant = "blue"};
}

kept_instance some_instance() {
  return {.id = {live, 1, 2},
          .launched = {1000, 555, "instance.7.1.2.pidfd"},
          .adopted = kept_process{1001, 556, "instance.7.1.2.main.1001"},
          .notify = "instance.7.1.2.notify",
          .output = "instance.7.1.2.output",
          .output_device = 14,
          .output_inode = 4711,
          .output_partial = "half a li",
          .output_kept = "a line\n",
          .output_is_cut = true,
          .cgroup = "/sys/fs/cgroup/web/7.1",
          .status = "fine"};
}

}  // namespace

snapshot full_snapshot() {
  return {.program = "0.9",
          .service = "web",
          .configuration = "/etc/handoff/web.toml",
          .boot = "1f7a5f5e",
          .state = some_state(),
          .current = some_settings(),
          .listeners = some_listeners(),
          .releases = {some_release(old_one), some_release(live), some_release(candidate)},
          .instances = {some_instance()},
          .stored = {{"cache", "store.1", false, 1}},
          .next_stored = 2,
          .last_words = {{old_one, {"one", "two"}}},
          .experiment = rollout_number{5},
          .before_experiment = {{live, {10, 20}}},
          .untold = {{rollout_number{4}, live, {verdict_kind::rolled_back, "aborted"}}},
          .strangers = true,
          .parting = {{old_one, 3, 2}},
          .ready_told = true,
          .sequence = UINT64_MAX,
          .rollout_begun = at(5000),
          .rollout_started = "2026-01-01T00:00:00Z",
          .rollout_stage = "holding at 5 %",
          .control = "control",
          .clients = {{.connection = "control.0",
                       .unread = std::string("{\"a", 3),
                       .unsent = std::string("}\0{", 3),
                       .waiting = "Watch",
                       .ended = true,
                       .closing = true}},
          .lock = "lock",
          .in_store = {"control"},
          .descriptors = {{"control", 5}, {"lock", 4}}};
}

}  // namespace handoff
