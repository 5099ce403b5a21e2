#include "records.hpp"

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

json instance_record(instance const& i, observations const& seen, instant now) {
  json record{{"id", to_string(i.id)}, {"state", to_string(i.phase)}, {"restarts", i.restarts}};
  auto found = seen.instances.find(i.id);
  bool known = found != seen.instances.end() && i.is_running();
  record["pid"] = known && found->second.pid ? json(*found->second.pid) : json(nullptr);
  record["status"] = known && !found->second.status.empty() ? json(found->second.status) : json(nullptr);
  record["age_ms"] = i.is_running() ? json((now - i.launched_at).count()) : json(nullptr);
  return record;
}

json generation_record(generation const& g, observations const& seen, instant now) {
  json instances = json::array();
  std::optional<instant> deadline;
  instant oldest = now;
  for (auto const& i : g.instances) {
    instances.push_back(instance_record(i, seen, now));
    if (i.is_running()) oldest = std::min(oldest, i.launched_at);
    if (g.role == role::draining && i.is_running()) deadline = std::max(deadline.value_or(i.until), i.until);
  }
  json record{{"number", number(g.number)},
              {"role", to_string(g.role)},
              {"instances", std::move(instances)},
              {"age_ms", (now - oldest).count()},
              {"deadline_in_ms", until(deadline, now)}};
  auto found = seen.generations.find(g.number);
  record["executable"] = found == seen.generations.end() ? "" : found->second.executable;
  record["executable_state"] = found == seen.generations.end() ? "missing" : found->second.executable_state;
  return record;
}

json rollout_record(state const& s, instant now) {
  if (!s.rollout) return nullptr;
  auto const& r = *s.rollout;
  auto waited = waits_for(s);
  return {{"number", number(r.number)},
          {"generation", or_null(number(r.candidate))},
          {"cause", to_string(r.cause)},
          {"stage", stage_of(r)},
          {"waiting_for", waited ? waited->what : ""},
          {"deadline_in_ms", until(waited ? waited->until : std::nullopt, now)},
          {"age_ms", (now - r.started).count()}};
}

json listener_records(observations const& seen) {
  json records = json::array();
  for (auto const& l : seen.listeners)
    records.push_back({{"name", l.name},
                       {"address", l.address},
                       {"queued", l.queued ? json(*l.queued) : json(nullptr)},
                       {"backlog", l.backlog},
                       {"reopened", l.reopened}});
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
  for (auto const& g : s.generations) generations.push_back(generation_record(g, seen, now));
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
          {"listeners", listener_records(seen)},
          {"rollout", rollout_record(s, now)},
          {"pending", s.pending ? json(number(s.pending->number)) : json(nullptr)},
          {"last", last == nullptr ? json(nullptr) : to_record(*last)},
          {"stray_notifications", seen.stray_notifications},
          {"notes", seen.notes}};
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
  return record;
}

}  // namespace handoff
