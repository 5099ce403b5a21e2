#include "records.hpp"

#include <app/experiment_record.hpp>
#include <app/forecast.hpp>
#include <app/story.hpp>

#include <algorithm>

namespace handoff {

namespace {

// Milliseconds from now on; a deadline that has just passed is 0.
json until(std::optional<instant> moment, instant now) {
  if (!moment) return nullptr;
  return std::max<std::int64_t>(0, (*moment - now).count());
}

json or_null(std::uint32_t n) { return n == 0 ? json(nullptr) : json(n); }

template <class T>
json or_null(std::optional<T> const& value) {
  return value ? json(*value) : json(nullptr);
}

json percentage(weight w) { return number(w) / 100.0; }

// Its part of the traffic where there is a split at all.
weight weight_of(state const& s, generation_number g) {
  auto found = std::ranges::find(s.split.shares, g, &share::generation);
  return found == s.split.shares.end() ? no_weight : found->weight;
}

bool is_steered(state const& s, observations const& seen) {
  return !s.split.shares.empty() && std::ranges::any_of(seen.listeners, &observed_listener::steered);
}

json instance_record(instance const& i, observations const& seen, instant now) {
  json record{{"id", to_string(i.id)}, {"state", to_string(i.phase)}, {"restarts", i.restarts}};
  auto found = seen.instances.find(i.id);
  bool known = found != seen.instances.end() && i.is_running();
  record["pid"] = known && found->second.pid ? json(*found->second.pid) : json(nullptr);
  record["status"] = known && !found->second.status.empty() ? json(found->second.status) : json(nullptr);
  record["age_ms"] = i.is_running() ? json((now - i.launched_at).count()) : json(nullptr);
  return record;
}

json generation_record(state const& s, generation const& g, observations const& seen, instant now) {
  json instances = json::array();
  std::optional<instant> deadline;
  if (g.role == role::standby) deadline = g.standby_until;
  instant oldest = now;
  for (auto const& i : g.instances) {
    instances.push_back(instance_record(i, seen, now));
    if (i.is_running()) oldest = std::min(oldest, i.launched_at);
    if (g.role == role::draining && i.is_running())
      deadline = std::max(deadline.value_or(leaves_by(g, i)), leaves_by(g, i));
  }
  json record{{"number", number(g.number)},
              {"role", to_string(g.role)},
              {"weight", is_steered(s, seen) ? percentage(weight_of(s, g.number)) : json(nullptr)},
              {"instances", std::move(instances)},
              {"age_ms", (now - oldest).count()},
              {"deadline_in_ms", until(deadline, now)}};
  auto found = seen.generations.find(g.number);
  record["executable"] = found == seen.generations.end() ? "" : found->second.executable;
  record["executable_state"] = found == seen.generations.end() ? "missing" : found->second.executable_state;
  bool has_variant = found != seen.generations.end() && !found->second.variant.empty();
  record["variant"] = has_variant ? json(found->second.variant) : json(nullptr);
  return record;
}

// The plan in words, and which of them is under way: as far as the plan is known.
void add_steps(json& record, state const& s) {
  auto const& r = *s.rollout;
  auto told = tell_plan(r.plan, r.policy);
  bool returns = !told.empty() && r.cause == cause::rollback && r.source == no_generation;
  if (returns) told.front().text = "its instances stood by";
  std::size_t position = 0;
  json steps = json::array();
  for (std::size_t i = 0; i < told.size(); ++i) {
    if (told[i].first <= r.position) position = i;
    steps.push_back(told[i].text);
  }
  if (generation const* live = s.with_role(role::live); live != nullptr && !told.empty())
    steps.push_back(tell_end(r.policy, live->policy, "generation " + std::to_string(number(live->number))));
  record["steps"] = std::move(steps);
  record["position"] = position;
}

json rollout_record(state const& s, observations const& seen, instant now) {
  if (!s.rollout) return nullptr;
  auto const& r = *s.rollout;
  auto waited = waits_for(s);
  json record{{"number", number(r.number)},
              {"generation", or_null(number(r.candidate))},
              {"cause", to_string(r.cause)},
              {"stage", stage_of(r)},
              {"waiting_for", waited ? waited->what : ""},
              {"deadline_in_ms", until(waited ? waited->until : std::nullopt, now)},
              {"age_ms", (now - r.started).count()},
              {"strategy", to_string(r.plan.empty() ? s.policy.rollout.strategy : r.policy.rollout.strategy)},
              {"paused", r.paused},
              {"weight", r.weight ? percentage(*r.weight) : json(nullptr)},
              {"variants", variant_records(s, r, seen)},
              {"metrics", metric_records(r)}};
  add_steps(record, s);
  return record;
}

json slot_records(state const& s, observed_listener const& of) {
  json records = json::array();
  for (auto const& slot : of.slots)
    records.push_back({{"generation", number(slot.generation)},
                       {"weight", percentage(weight_of(s, slot.generation))},
                       {"queued", or_null(slot.queued)},
                       {"connections", or_null(slot.connections)},
                       {"datagrams", or_null(slot.datagrams)},
                       {"migrations", or_null(slot.migrations)}});
  return records;
}

std::string_view sharing_word(observed_listener const& l) {
  if (!l.steered) return "shared";
  return l.by_classic ? "steered_classic" : "steered";
}

json listener_records(state const& s, observations const& seen) {
  json records = json::array();
  for (auto const& l : seen.listeners)
    records.push_back({{"name", l.name},
                       {"address", l.address},
                       {"queued", or_null(l.queued)},
                       {"backlog", l.backlog},
                       {"reopened", l.reopened},
                       {"sharing", sharing_word(l)},
                       {"sharing_reason", l.sharing_reason},
                       {"slots", slot_records(s, l)}});
  return records;
}

constexpr std::string_view verdict_words[] = {"promoted", "rolled_back",
                                              "refused"};  // Varlink names have no '-'

std::string_view word(verdict_kind kind) { return verdict_words[static_cast<std::size_t>(kind)]; }

std::optional<verdict_kind> verdict_of(std::string const& text) {
  auto found = std::ranges::find(verdict_words, text);
  if (found == std::end(verdict_words)) return {};
  return static_cast<verdict_kind>(found - std::begin(verdict_words));
}

std::string text_of(json const& record, char const* key) {
  auto found = record.find(key);
  return found != record.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint32_t count_of(json const& record, char const* key) {
  auto found = record.find(key);
  return found != record.end() && found->is_number_unsigned() ? found->get<std::uint32_t>() : 0;
}

}  // namespace

json status_record(state const& s, observations const& seen, ended_rollout const* last, instant now) {
  json generations = json::array();
  for (auto const& g : s.generations) generations.push_back(generation_record(s, g, seen, now));
  generation const* live = s.with_role(role::live);
  auto waited = waits_for(s);
  return {{"service", seen.service},
          {"pid", seen.pid},
          {"version", seen.version},
          {"state", to_string(overall(s))},
          {"summary", summarize(s)},
          {"waiting_for", waited ? json(waited->what) : json(nullptr)},
          {"deadline_in_ms", until(waited ? waited->until : std::nullopt, now)},
          {"live", live == nullptr ? json(nullptr) : json(number(live->number))},
          {"generations", std::move(generations)},
          {"listeners", listener_records(s, seen)},
          {"rollout", rollout_record(s, seen, now)},
          {"pending", s.pending ? json(number(s.pending->number)) : json(nullptr)},
          {"last", last == nullptr ? json(nullptr) : to_record(*last)},
          {"stray_notifications", seen.stray_notifications},
          {"notes", seen.notes}};
}

json plan_record(state const& s, settings const& from_now_on, std::optional<std::string> refused) {
  auto policy = operator_policy_of(from_now_on);
  return {{"strategy", to_string(policy.rollout.strategy)},
          {"steps", forecast(s, policy, generation_policy_of(from_now_on.service))},
          {"refused", refused ? json(*refused) : json(nullptr)}};
}

json to_record(ended_rollout const& e) {
  return {{"rollout", number(e.number)},
          {"generation", or_null(number(e.generation))},
          {"cause", e.cause},
          {"verdict", word(e.verdict.kind)},
          {"reason", e.verdict.reason},
          {"stage", e.stage},
          {"started", e.started},
          {"seconds", e.seconds},
          {"output", e.output}};
}

std::optional<ended_rollout> to_ended_rollout(json const& record) {
  if (!record.is_object()) return {};
  auto kind = verdict_of(text_of(record, "verdict"));
  if (!kind || count_of(record, "rollout") == 0) return {};
  ended_rollout e{.number = rollout_number{count_of(record, "rollout")},
                  .generation = generation_number{count_of(record, "generation")},
                  .cause = text_of(record, "cause"),
                  .verdict = {*kind, text_of(record, "reason")},
                  .stage = text_of(record, "stage"),
                  .started = text_of(record, "started")};
  if (auto took = record.find("seconds"); took != record.end() && took->is_number())
    e.seconds = took->get<double>();
  if (auto lines = record.find("output"); lines != record.end() && lines->is_array())
    for (auto const& line : *lines)
      if (line.is_string()) e.output.push_back(line.get<std::string>());
  return e;
}

json event_record(std::uint64_t sequence, std::string_view time, fact const& f, std::string_view text) {
  json record{{"sequence", sequence},
              {"time", time},
              {"kind", to_string(f.kind)},
              {"text", text},
              {"rollout", or_null(number(f.rollout))},
              {"generation", or_null(number(f.generation))},
              {"instance", f.instance ? json(to_string(*f.instance)) : json(nullptr)}};
  record["verdict"] = f.verdict ? json(word(f.verdict->kind)) : json(nullptr);
  record["reason"] = f.verdict ? json(f.verdict->reason) : json(nullptr);
  record["weight"] = f.weight ? percentage(*f.weight) : json(nullptr);
  return record;
}

}  // namespace handoff
