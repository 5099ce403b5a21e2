// All that a successor of handoffd needs to go on: what was decided, and what belongs to it, with descriptors
// by name. Bytes and values; who carries the bytes and the descriptors is os/inheritance.
//
// The bytes are CBOR (RFC 8949), since environments may hold what JSON cannot. A field that a snapshot lacks
// keeps its default, so that fields may be added; whatever else changes is another format.
#pragma once

#include <base/error.hpp>
#include <core/state.hpp>
#include <core/verdict.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace handoff {

constexpr std::uint32_t snapshot_format = 1;           // that we write
constexpr std::uint32_t oldest_snapshot_format = 1;    // that we read
constexpr std::size_t snapshot_bytes = 8 << 20;        // of one at most
constexpr std::size_t snapshot_descriptors = 1 << 16;  // of one at most

// The name under which a descriptor travels; empty: there is none.
using descriptor_name = std::string;

struct kept_slot {
  std::uint32_t index = 0;
  generation_number owner{};
  bool shut = false;
  bool retired = false;
  descriptor_name socket;
  std::uint64_t cookie = 0;  // SO_COOKIE of it
};

struct kept_listener {
  std::size_t number = 0;
  listener_settings settings;
  std::string why;  // shared, or not steered by eBPF
  std::uint32_t backlog = 0;
  std::uint32_t reopened = 0;
  descriptor_name socket;    // shared: everybody's
  std::uint64_t cookie = 0;  // SO_COOKIE of it
  bool steered = false;
  bool classic = false;
  descriptor_name anchor;                // steered by eBPF
  std::vector<descriptor_name> program;  // and its maps
  std::vector<kept_slot> slots;
  std::vector<std::uint32_t> order;  // of the slots in the kernel's group, classic
};

struct kept_use {  // of a listener by a generation
  std::string name;
  std::size_t listener = 0;
};

struct kept_stored {  // a descriptor under the name by which somebody else knows it
  std::string name;
  descriptor_name descriptor;
  bool until_hangup = true;  // of the service's own store
  std::uint64_t key = 0;     // there; SO_COOKIE of a socket that no listener names
};

struct kept_listeners {
  std::vector<kept_listener> open;
  std::vector<std::size_t> configured;
  std::map<generation_number, std::vector<std::size_t>> users;
  std::vector<generation_number> with_slots;
  std::vector<kept_stored> unclaimed;  // that systemd passed and no listener names yet
  std::size_t next = 0;
  std::uint32_t sticky_seed = 0;
};

struct kept_executable {
  std::string path;
  descriptor_name pinned;
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified_seconds = 0, modified_nanoseconds = 0;
  std::string build_id;
  bool is_script = false;
};

struct kept_account {
  std::optional<std::uint32_t> user, group;
  std::vector<std::uint32_t> groups;
  std::string name, home, shell;
};

struct kept_release {
  generation_number number{};
  service_settings service;
  std::vector<kept_use> listeners;
  kept_executable executable;
  kept_account identity;
  std::string working_directory;
  std::vector<std::string> environment;
  std::string variant;
};

struct kept_process {
  std::int32_t pid = 0;
  std::uint64_t started = 0;  // proc_pid_stat(5): clock ticks since boot
  descriptor_name pidfd;
};

struct kept_instance {
  instance_id id;
  kept_process launched;
  std::optional<kept_process> adopted;  // MAINPID=
  descriptor_name notify;
  descriptor_name output;
  std::uint64_t output_device = 0, output_inode = 0;  // of the pipe that it is, fstat(2)
  std::string output_partial, output_kept;            // what was read of it
  bool output_is_cut = false;
  std::string cgroup;
  std::string status;
};

struct kept_count {  // of an experiment's traffic, before it began
  std::optional<std::uint64_t> connections, datagrams;
};

struct kept_client {  // of the control socket
  descriptor_name connection;
  std::string unread;   // bytes that came
  std::string unsent;   // bytes that are to go
  std::string waiting;  // the method whose reply, or more of it, is to come; empty: none
  bool ended = false;
  bool closing = false;
};

// A verdict that was not told yet when this was written.
struct kept_verdict {
  rollout_number rollout{};
  generation_number generation{};
  handoff::verdict verdict;
};

struct snapshot {
  std::string program;  // version of who wrote it
  std::string service;
  std::string configuration;  // its path
  std::string boot;           // boot_id of random(4): moments are of that boot alone
  handoff::state state;
  settings current;
  kept_listeners listeners;
  std::vector<kept_release> releases;
  std::vector<kept_instance> instances;
  std::vector<kept_stored> stored;  // the service's own
  std::uint64_t next_stored = 0;    // its key
  std::map<generation_number, std::vector<std::string>> last_words;
  rollout_number experiment{};
  std::map<generation_number, kept_count> before_experiment;
  std::vector<kept_verdict> untold;
  bool strangers = false;            // of a predecessor's are told to end
  std::vector<instance_id> parting;  // about to be asked to leave or killed when this was written
  bool ready_told = false;           // to systemd
  std::uint64_t sequence = 0;        // of the last event told
  instant rollout_begun{};           // when the rollout under way was told
  std::string rollout_started;       // likewise, RFC 3339
  std::string rollout_stage;
  descriptor_name control;  // the listening control socket
  std::vector<kept_client> clients;
  descriptor_name lock;
  std::vector<descriptor_name> in_store;  // that systemd keeps
  // Where descriptors are when they travel by exec: name to number. A store has them by name.
  std::map<descriptor_name, int> descriptors;
};

result<std::string> encode_snapshot(snapshot const&);

// Fails for what is no snapshot, for a format that we do not read (naming who wrote it), and for one that
// contradicts itself.
result<snapshot> decode_snapshot(std::string_view bytes);

}  // namespace handoff
