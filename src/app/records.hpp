// Values as the JSON that the control interface describes.
#pragma once

#include <app/history.hpp>
#include <core/action.hpp>
#include <core/settings.hpp>
#include <core/state.hpp>

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace handoff {

using json = nlohmann::json;

// What the core does not know and an operator wants to: looked up when somebody asks.
struct observed_instance {
  std::optional<int> pid;
  std::string status;  // STATUS= of the service, printable
};
struct observed_generation {
  std::string executable;
  std::string executable_state;
  std::string variant;  // of the experiment that it was made for
};
// A generation's own socket of a steered listener, and what was counted there: nothing by classic BPF.
struct observed_slot {
  generation_number generation{};
  std::optional<std::uint32_t> queued;
  std::optional<std::uint64_t> connections;
  std::optional<std::uint64_t> datagrams;
  std::optional<std::uint64_t> migrations;  // that came here from slots that were closed
};
struct observed_listener {
  std::string name;
  std::string address;
  std::optional<std::uint32_t> queued;
  std::uint32_t backlog = 0;
  std::uint32_t reopened = 0;  // times
  bool steered = false;
  bool by_classic = false;     // and not by eBPF
  std::string sharing_reason;  // why not by eBPF
  std::vector<observed_slot> slots;
};
// What came to a generation at all steered listeners; nothing where one does not count.
struct counted_traffic {
  std::optional<std::uint64_t> connections = 0;
  std::optional<std::uint64_t> datagrams = 0;
};
struct observations {
  std::string service;
  int pid = 0;
  std::string version;
  std::map<instance_id, observed_instance> instances;
  std::map<generation_number, observed_generation> generations;
  std::vector<observed_listener> listeners;
  std::uint64_t stray_notifications = 0;
  std::vector<std::string> notes;
  // As counted when the experiment under way got its traffic; none before, and without one.
  std::optional<std::map<generation_number, counted_traffic>> before_experiment;
};

std::map<generation_number, counted_traffic> count_traffic(std::vector<observed_listener> const&);

json status_record(state const&, observations const&, ended_rollout const* last, instant now);

// What an upgrade would do now by these settings. `refused`: why it would not be done at all.
json plan_record(state const&, settings const& from_now_on, std::optional<std::string> refused);

json to_record(ended_rollout const&);
std::optional<ended_rollout> to_ended_rollout(json const&);

// A fact as the event that watchers get.
json event_record(std::uint64_t sequence, std::string_view time, fact const&, std::string_view text);

}  // namespace handoff
