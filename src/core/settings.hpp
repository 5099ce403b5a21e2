// A validated configuration. The service part is frozen into each generation at its birth; the rest belongs
// to the operator and is always the current one. Read from TOML by wire/config_toml.
#pragma once

#include <core/ids.hpp>

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace handoff {

// Every bound of a configuration, in one place.
namespace limit {
constexpr std::size_t name_length = 64;            // of services; also part of file names
constexpr std::size_t listener_name_length = 255;  // sd_listen_fds_with_names(3)
constexpr std::size_t listeners = 4096;
constexpr std::uint32_t instances = 256;
constexpr std::size_t checks = 32;
constexpr std::size_t metrics = 16;
constexpr std::size_t configuration_bytes = 1 << 20;
constexpr std::uint32_t stored_descriptors = 512;
constexpr std::uint32_t draining = 64;          // generations at once
constexpr std::uint32_t steered_draining = 24;  // generations at once, where they have slots
constexpr std::size_t steps = 64;               // of a canary
// Each has a program, some milliseconds to load it and eight descriptors: what a service with a thousand
// listeners should ask for.
constexpr std::size_t steered_unasked = 32;
constexpr std::size_t routes = 32;
constexpr std::uint32_t restart_burst = 10'000;           // crashes within a window
constexpr std::uint32_t forgiven_failures = 10'000;       // of a check, in a row
constexpr std::uint8_t connection_id_bytes = 20;          // of QUIC, RFC 9000
constexpr std::size_t probe_headers = 32;                 // that one probe sends
constexpr duration longest{std::chrono::hours(24 * 30)};  // of any configured duration
}  // namespace limit

using command_line = std::vector<std::string>;  // command_line[0] is an absolute path

// ---- listeners

enum class socket_type { stream, datagram, seqpacket };

struct inet_address {
  std::string host;  // numeric IPv4 or IPv6, without brackets
  std::uint16_t port = 0;
  bool operator==(inet_address const&) const = default;
};
struct unix_address {
  std::string path;  // absolute, or "@name" for the abstract namespace
  bool operator==(unix_address const&) const = default;
};
struct systemd_address {  // adopted from LISTEN_FDS by the listener's name
  bool operator==(systemd_address const&) const = default;
};
using listener_address = std::variant<inet_address, unix_address, systemd_address>;

// The options of systemd.socket(5) that people know, by the same meaning.
struct socket_options {
  std::uint32_t backlog = 4096;
  bool v6only = false;
  bool freebind = false;
  bool transparent = false;
  bool keepalive = false;
  bool nodelay = false;
  bool non_blocking = false;  // O_NONBLOCK, which all who hold the socket share
  std::string interface;
  std::optional<std::uint32_t> mark;
  std::optional<std::uint32_t> receive_buffer;  // bytes
  std::optional<std::uint32_t> send_buffer;     // bytes
  std::optional<std::uint32_t> fast_open;       // queue length
  std::optional<duration> defer_accept;         // whole seconds
  std::string user;                             // owner of a Unix path; empty: ours
  std::string group;
  std::uint32_t mode = 0666;  // of a Unix path
  bool operator==(socket_options const&) const = default;
};

struct listener_settings {
  std::string name;
  listener_address address;
  socket_type type = socket_type::stream;
  socket_options options;
  bool steer = true;  // false: its generations share one socket, whatever [rollout] sharing says
  duration flow_timeout = std::chrono::seconds(30);  // a UDP flow that was silent for so long is over
  // QUIC: the byte, from 0, of the connection ids its service gives out that is the generation modulo 256.
  std::optional<std::uint8_t> connection_id_byte;
  bool operator==(listener_settings const&) const = default;
};

bool is_inet(listener_settings const&);  // IPv4 or IPv6
bool is_tcp(listener_settings const&);
bool is_udp(listener_settings const&);
std::string to_string(listener_settings const&);  // "0.0.0.0:80", "[::]:80", "udp://…", "unix:/path"

// ---- the service: frozen at the birth of a generation

enum class probe_kind {
  http,
  tcp,
  page  // of metrics, in Prometheus's text format
};

// What is read of a page of metrics, as selectors (wire/series_selector).
struct page_settings {
  std::string failures, all;  // counters, of a rate
  std::string value;          // a gauge: one sample a look
  std::string mean;           // a histogram or summary: what it grew by, divided, is one sample a look
  bool aggregated = false;    // the page speaks for all instances, whichever answers
  bool operator==(page_settings const&) const = default;
};

struct status_range {  // of HTTP, both ends included
  std::uint16_t first = 200;
  std::uint16_t last = 399;
  bool operator==(status_range const&) const = default;
};

// One request to the generation under test, and what shall come of it.
struct probe_settings {
  probe_kind kind = probe_kind::http;
  std::string listener;  // by name; the first TCP one when none is written
  duration timeout = std::chrono::seconds(2);
  // All that follows: not probe_kind::tcp.
  std::string path = "/";
  status_range status;
  std::string body;                  // probe_kind::http: a text that it must contain; empty: any
  std::vector<std::string> headers;  // "Name: value"
  std::string host;                  // empty: the address
  bool tls = false;
  bool verify = true;  // the certificate
  page_settings page;  // probe_kind::page
  bool operator==(probe_settings const&) const = default;
};

enum class readiness { notify, exec, alive, http, tcp };

// Whether a command of ours finds out: its own, or a probe's.
constexpr bool is_probed(readiness when) {
  return when == readiness::exec || when == readiness::http || when == readiness::tcp;
}

struct ready_settings {
  readiness when = readiness::notify;
  duration timeout = std::chrono::seconds(30);
  duration extend_max =
      std::chrono::minutes(10);  // EXTEND_TIMEOUT_USEC reaches no further than this after launch
  command_line command;          // readiness::exec: ready when it exits 0
  duration interval = std::chrono::milliseconds(500);  // is_probed(): between two runs
  duration alive_for = std::chrono::seconds(1);        // readiness::alive
  std::optional<probe_settings> probe;                 // readiness::http, readiness::tcp
  bool operator==(ready_settings const&) const = default;
};

struct drain_settings {
  int signal = 15;  // SIGTERM
  duration timeout = std::chrono::seconds(60);
  duration kill_timeout = std::chrono::seconds(5);
  bool operator==(drain_settings const&) const = default;
};

enum class output_kind { capture, journal, inherit, null, file };

struct output_settings {
  output_kind kind = output_kind::capture;
  std::string path;  // output_kind::file
  bool operator==(output_settings const&) const = default;
};

struct resource_limit {
  std::string name;  // "nofile", "core", … as in setrlimit(2), without RLIMIT_, small letters
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;  // UINT64_MAX: infinity
  bool operator==(resource_limit const&) const = default;
};

struct service_settings {
  std::string name;
  command_line command;
  std::uint32_t instances = 1;
  std::string user;  // empty: ours
  std::string group;
  std::vector<std::string> supplementary_groups;
  std::string working_directory = "/";
  std::optional<std::uint32_t> umask;
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> environment_files;  // a leading '-' : may be missing
  std::vector<std::string> pass_environment;
  std::vector<resource_limit> limits;
  std::optional<int> nice;
  std::optional<int> oom_score_adjust;
  bool no_new_privileges = false;
  std::vector<std::string> ambient_capabilities;  // "CAP_NET_BIND_SERVICE"
  output_settings output;
  std::optional<duration> watchdog;
  std::uint32_t fd_store_max = 0;
  ready_settings ready;
  drain_settings drain;
  bool operator==(service_settings const&) const = default;
};

// ---- the operator's part

struct restart_settings {
  duration backoff_min = std::chrono::milliseconds(100);
  duration backoff_max = std::chrono::seconds(30);
  std::uint32_t burst = 5;  // crashes within `window` before the generation counts as bad
  duration window = std::chrono::seconds(60);
  bool operator==(restart_settings const&) const = default;
};

enum class strategy { handoff, rolling, blue_green, canary, experiment };

// How the generations of a service share its TCP and UDP listeners.
enum class sharing {
  automatic,  // steered where it works
  steered,  // each generation has a slot of its own and the kernel chooses; else the configuration is refused
  shared    // all generations hold the same socket
};

// Which checks or metrics, by name; nothing: as if no step chose.
using selection = std::optional<std::vector<std::string>>;

bool is_selected(selection const&, std::string const& name);

struct canary_step {
  handoff::weight weight{};
  std::optional<duration> hold;  // none: until somebody promotes
  selection checks;              // must pass before; those with during-bake watch while it holds
  selection metrics;             // decide while it holds
  bool operator==(canary_step const&) const = default;
};

// IPv4 as ::ffff:a.b.c.d, with 96 added to the prefix.
struct network {
  std::array<std::uint8_t, 16> address{};  // its bits behind the prefix are 0
  std::uint8_t prefix = 0;                 // 0..128
  bool operator==(network const&) const = default;
};

enum class side { live, candidate };

// Clients of a network go to one side of a rollout, whatever the weights are.
struct route {
  network from;
  side to = side::candidate;
  bool operator==(route const&) const = default;
};

struct rollout_settings {
  handoff::strategy strategy = strategy::handoff;
  handoff::sharing sharing = sharing::automatic;
  duration bake{0};
  std::uint32_t max_draining = 3;
  std::uint32_t candidate_restarts = 0;
  duration retire_after = std::chrono::seconds(1);  // a draining generation's queue that stood still so long
  bool sticky = false;                              // by the client's address: it changes sides once at most
  std::vector<route> routes;                        // the first that matches decides
  std::vector<canary_step> steps;                   // canary
  std::uint32_t canary_instances = 0;               // canary: to begin with; 0: as the weight needs
  std::uint32_t max_surge = 1;                      // rolling: instances more than configured
  std::uint32_t max_unavailable = 0;                // rolling: instances fewer than configured
  bool auto_promote = false;                        // blue-green: no person is asked
  duration standby{0};                              // blue-green: how long the old one is kept warm
  handoff::weight experiment_weight{5000};          // experiment: of the candidate
  // Experiment: what live and the candidate are called.
  std::array<std::string, 2> variants{"control", "treatment"};
  bool operator==(rollout_settings const&) const = default;
};

// Whether it takes a split of the traffic that shared listeners cannot have.
bool needs_steering(rollout_settings const&);

struct check_settings {
  std::string name;
  command_line command;  // either this or a probe
  duration interval = std::chrono::seconds(1);
  duration timeout = std::chrono::seconds(10);
  std::uint32_t failures = 0;  // failed runs in a row that are forgiven
  bool during_bake = false;
  std::optional<probe_settings> probe;
  bool operator==(check_settings const&) const = default;
};

enum class metric_kind {
  rate,   // failures of all, as two counters that only grow
  value,  // samples: the less the better
  mean,   // the same, of two counters that only grow: a sum, and of how many
  flow    // the same, of one counter: what it grew by in a second, for each percent of the traffic
};

enum class metric_source { command, page, steering };

// What the steering program and the kernel count for each slot.
enum class traffic_count { connections, datagrams, queued };

// A number for each generation that decides whether a step of a rollout may end well.
struct metric_settings {
  std::string name;
  command_line command;                 // prints the numbers of the generation that its environment names; or
  std::optional<probe_settings> probe;  // asks the generation for them; or
  std::optional<traffic_count> steering;  // handoffd knows them
  std::string listener;                   // whose, of `steering`; empty: of all that are steered
  metric_kind kind = metric_kind::rate;
  duration interval = std::chrono::seconds(5);
  duration timeout = std::chrono::seconds(10);
  std::optional<double> max;    // the candidate's may be this much
  std::optional<double> ratio;  // and so many times live's
  double confidence = 0.99;     // that a failure is none of chance
  std::uint32_t least = 100;    // of all, or samples: with fewer nothing is decided
  bool operator==(metric_settings const&) const = default;
};

metric_source source_of(metric_settings const&);

enum class hook { preflight, ready, switched, drained, failed };
constexpr std::size_t hook_kinds = 5;

struct hook_settings {
  hook at = hook::preflight;
  command_line command;
  std::string user;  // empty: the service's
  duration timeout = std::chrono::seconds(30);
  bool operator==(hook_settings const&) const = default;
};

struct control_settings {
  std::string group;               // members may call what `allow` names
  std::vector<std::string> allow;  // method names, e.g. "Status"
  bool operator==(control_settings const&) const = default;
};

enum class log_level { debug, info, warning, error };

struct log_settings {
  std::string file;  // empty: standard error
  log_level level = log_level::info;
  bool operator==(log_settings const&) const = default;
};

struct settings {
  service_settings service;
  std::vector<listener_settings> listeners;
  restart_settings restart;
  rollout_settings rollout;
  std::vector<check_settings> checks;
  std::vector<metric_settings> metrics;
  std::vector<hook_settings> hooks;  // at most one for each kind
  control_settings control;
  log_settings log;
  bool operator==(settings const&) const = default;
};

std::string_view to_string(hook);
std::string_view to_string(strategy);
std::string_view to_string(metric_source);  // "command", "prometheus", "steering": the key
std::string_view to_string(traffic_count);  // "connections"

}  // namespace handoff
