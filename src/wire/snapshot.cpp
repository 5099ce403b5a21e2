#include "snapshot.hpp"

#include <wire/cbor_bounds.hpp>
#include <wire/snapshot_state.hpp>

#include <set>

namespace handoff {

HANDOFF_KEPT(kept_slot, index, owner, shut, retired, socket, cookie)
HANDOFF_KEPT(kept_listener, number, settings, why, backlog, reopened, socket, cookie, steered, classic,
             anchor, program, slots, order)
HANDOFF_KEPT(kept_stored, name, descriptor, until_hangup, key)
HANDOFF_KEPT(kept_use, name, listener)
HANDOFF_KEPT(kept_listeners, open, configured, users, with_slots, unclaimed, next, sticky_seed)
HANDOFF_KEPT(kept_executable, path, pinned, device, inode, size, modified_seconds, modified_nanoseconds,
             build_id, is_script)
HANDOFF_KEPT(kept_account, user, group, groups, name, home, shell)
HANDOFF_KEPT(kept_release, number, service, listeners, executable, identity, working_directory, environment,
             variant)
HANDOFF_KEPT(kept_process, pid, started, pidfd)
HANDOFF_KEPT(kept_instance, id, launched, adopted, notify, output, output_device, output_inode,
             output_partial, output_kept, output_is_cut, cgroup, status)
HANDOFF_KEPT(kept_count, connections, datagrams)
HANDOFF_KEPT(kept_client, connection, unread, unsent, waiting, ended, closing)
HANDOFF_KEPT(verdict, kind, reason)
HANDOFF_KEPT(kept_verdict, rollout, generation, verdict)
HANDOFF_KEPT(snapshot, program, service, configuration, boot, state, current, listeners, releases, instances,
             stored, next_stored, last_words, experiment, strangers, parting, before_experiment, untold,
             ready_told, sequence, rollout_begun, rollout_started, rollout_stage, control, clients, lock,
             in_store, descriptors)

namespace {

using json = nlohmann::json;

constexpr char const* format_key = "handoff-snapshot";

bool has_release(snapshot const& s, generation_number g) {
  return std::ranges::find(s.releases, g, &kept_release::number) != s.releases.end();
}

std::string name_of(generation_number g) { return "generation " + std::to_string(number(g)); }

// What the core takes for granted.
std::string contradiction(snapshot const& s) {
  std::set<role> once;
  for (auto const& g : s.state.generations) {
    if (!has_release(s, g.number)) return name_of(g.number) + " has no release";
    bool may_repeat = g.role == role::draining;
    if (!may_repeat && !once.insert(g.role).second) return "two generations have one role";
  }
  if (auto const& r = s.state.rollout; r && r->phase == rollout_phase::executing) {
    generation const* candidate = s.state.with_role(role::candidate);
    if (candidate == nullptr || candidate->number != r->candidate) return "the rollout has no candidate";
    if (r->position >= r->plan.size()) return "the rollout is beyond its plan";
    bool sized = r->checks.size() == r->policy.checks.size() && r->metrics.size() <= r->policy.metrics.size();
    if (!sized) return "the rollout lost count of its checks";
    if (r->weight && *r->weight > full_weight) return "the rollout has more than all of the traffic";
  }
  for (auto const& i : s.instances)
    if (!has_release(s, i.id.generation)) return "an instance of " + name_of(i.id.generation) + ", unknown";
  std::set<std::size_t> open;
  for (auto const& l : s.listeners.open) {
    if (!open.insert(l.number).second || l.number >= s.listeners.next) return "listeners are numbered twice";
  }
  for (auto const& r : s.releases)
    for (auto const& use : r.listeners)
      if (!open.contains(use.listener)) return name_of(r.number) + " uses a listener that is not open";
  return {};
}

result<snapshot> from_json_of(json const& whole) {
  try {
    return whole.at("content").get<snapshot>();
  } catch (std::exception const& e) {  // of nlohmann's, and of what is none of our values
    return plain_failure("the snapshot cannot be read: " + std::string(reason_of(e)));
  }
}

}  // namespace

result<std::string> encode_snapshot(snapshot const& s) {
  constexpr std::size_t usual = 16 << 10;
  std::string bytes;
  bytes.reserve(usual);
  cbor_writer to(bytes);
  to.begin_map(3);
  write_member(to, format_key, snapshot_format);
  write_member(to, "program", s.program);
  write_member(to, "content", s);
  if (bytes.size() > snapshot_bytes)
    return plain_failure("the snapshot has " + std::to_string(bytes.size()) + " bytes, at most " +
                         std::to_string(snapshot_bytes) + " can be kept");
  return bytes;
}

result<snapshot> decode_snapshot(std::string_view bytes) {
  if (bytes.size() > snapshot_bytes) return plain_failure("this is too long for a snapshot");
  if (!is_bounded_cbor(bytes)) return plain_failure("this is no snapshot of handoffd");
  json whole = json::from_cbor(bytes, true, false);
  auto format = whole.is_object() ? whole.find(format_key) : whole.end();
  if (!whole.is_object() || format == whole.end() || !format->is_number_unsigned())
    return plain_failure("this is no snapshot of handoffd");
  auto written = format->get<std::uint64_t>();
  if (written < oldest_snapshot_format || written > snapshot_format) {
    std::string by = whole.contains("program") && whole["program"].is_string()
                         ? " of handoffd " + whole["program"].get<std::string>()
                         : "";
    return plain_failure("the snapshot" + by + " has format " + std::to_string(written) +
                         ", this handoffd reads " + std::to_string(oldest_snapshot_format) + " to " +
                         std::to_string(snapshot_format));
  }
  auto read = from_json_of(whole);
  if (!read) return read;
  if (read->descriptors.size() > snapshot_descriptors)
    return plain_failure("the snapshot names too many descriptors");
  if (auto wrong = contradiction(*read); !wrong.empty())
    return plain_failure("the snapshot contradicts itself: " + wrong);
  return read;
}

}  // namespace handoff
