#include "release_book.hpp"

#include <algorithm>

namespace handoff {

namespace {

std::string_view word(executable_state s) {
  constexpr std::string_view names[] = {"same", "replaced", "overwritten", "missing", "lost"};
  return names[static_cast<std::size_t>(s)];
}

std::string joined(problems const& all) {
  std::string text;
  for (auto const& p : all) text += (text.empty() ? "" : "; ") + p;
  return text;
}

// What cannot change while the supervisor runs: it is what operators and locks know us by.
std::optional<std::string> why_not(settings const& was, settings const& is) {
  if (is.service.name != was.service.name)
    return "[service] name cannot change from '" + was.service.name + "' to '" + is.service.name +
           "' while the supervisor runs";
  if (is.control.group != was.control.group)
    return "[control] group cannot change from '" + was.control.group + "' to '" + is.control.group +
           "' while the supervisor runs: its socket keeps the group it was opened with";
  return {};
}

// What a generation with slots of its own waits for before it is told to drain.
duration settle_time(service_settings const& s, listener_table::sharing_summary const& shared) {
  if (shared.any_flows) return s.drain.timeout;  // flows may live as long as connections
  return shared.any_steered ? std::min(queues_settle_for, s.drain.timeout) : duration{};
}

std::string why_not(rollout_settings const& wanted, listener_table::sharing_summary const& listeners) {
  if (!needs_steering(wanted)) return {};
  std::string what = "[rollout] strategy '" + std::string(to_string(wanted.strategy)) + "' needs steering";
  if (wanted.strategy == strategy::handoff || wanted.strategy == strategy::rolling)
    what = "[rollout] sticky and route need steering";
  if (!listeners.not_steered.empty()) return what + ", and " + listeners.not_steered;
  return listeners.any_steered ? "" : what + ", and no listener is steered";
}

// A probe that is to ask one generation needs a listener where each has a slot.
std::string why_not(probe_settings const& probe, listener_table const& table,
                    std::vector<named_listener> const& known) {
  auto named = std::ranges::find(known, probe.listener, &named_listener::name);
  if (named == known.end()) return "there is no listener '" + probe.listener + "'";
  std::string why = table.why_not_steered(named->listener);
  if (why.empty()) return {};
  return "listener '" + probe.listener + "' is shared (" + why + "), so that nobody knows who answers";
}

std::string why_not(metric_settings const& metric, listener_table const& table,
                    std::vector<named_listener> const& known) {
  if (metric.probe) return why_not(*metric.probe, table, known);
  if (!metric.steering) return {};
  std::string const& name = metric.listener;
  if (std::string why = name.empty() ? "" : why_not(probe_settings{.listener = name}, table, known);
      !why.empty())
    return why;
  bool counted = std::ranges::any_of(known, [&](named_listener const& l) {
    return (name.empty() || l.name == name) && table.counts(*metric.steering, l.listener);
  });
  if (counted) return {};
  return (name.empty() ? "no listener is" : "listener '" + name + "' is not") + " steered where " +
         std::string(to_string(*metric.steering)) + " are counted";
}

}  // namespace

std::string why_not(settings const& wanted, listener_table const& table,
                    std::vector<named_listener> const& known) {
  if (auto why = why_not(wanted.rollout, table.summary(known)); !why.empty()) return why;
  auto const& ready = wanted.service.ready;
  if (std::string why = ready.probe ? why_not(*ready.probe, table, known) : ""; !why.empty())
    return "[ready] when = '" + std::string(ready.when == readiness::http ? "http" : "tcp") + "': " + why +
           ": use when = 'exec' or 'notify'";
  for (auto const& check : wanted.checks)
    if (std::string why = check.probe ? why_not(*check.probe, table, known) : ""; !why.empty())
      return "[[check]] '" + check.name + "': " + why + ": use 'command'";
  for (auto const& metric : wanted.metrics)
    if (std::string why = why_not(metric, table, known); !why.empty())
      return "[[metric]] '" + metric.name + "': " + why + ": use 'command'";
  return {};
}

release_book::release_book(std::string path, settings first, listener_table& listeners, post to_engine,
                           changed tell)
    : file_(std::move(path)),
      current_(std::move(first)),
      listeners_(listeners),
      post_(std::move(to_engine)),
      changed_(std::move(tell)) {}

std::expected<release, verdict> release_book::make_from_file(act::prepare const& a) {
  auto refuse = [](std::string why) {
    return std::unexpected(verdict{verdict_kind::refused, std::move(why)});
  };
  auto read = file_.read();
  if (!read) return refuse(joined(read.error()));
  if (auto why = why_not(current_, *read)) return refuse(*why);
  bool compares = read->rollout.strategy == strategy::experiment;
  if (a.must_be_experiment && !compares)
    return refuse("this is no experiment: write strategy = \"experiment\" into [rollout] of " + file_.path());
  auto made = make_release(a.generation, read->service);
  if (!made) {
    auto kind = made.error().executable_is_bad ? verdict_kind::rolled_back : verdict_kind::refused;
    return std::unexpected(verdict{kind, made.error().reason});
  }
  // Last of all that can fail: who is refused leaves no listener behind.
  auto listeners = listeners_.configure(read->listeners, read->rollout);
  if (!listeners) return refuse(listeners.error().message());
  if (auto why = handoff::why_not(*read, listeners_, *listeners); !why.empty()) {
    (void)listeners_.configure(current_.listeners, current_.rollout);
    return refuse(why);
  }
  made->listeners = std::move(*listeners);
  current_ = std::move(*read);
  changed_(current_);
  if (compares && a.beside_live) made->variant = current_.rollout.variants[1];
  return std::move(*made);
}

void release_book::add(act::prepare const& a, release r) {
  r.number = a.generation;
  listeners_.keep(a.generation, r.listeners);
  if (auto added = listeners_.add_slots(a.generation, r.listeners); !added) {
    listeners_.drop(a.generation);
    return post_(preparation_failed{a.rollout, {verdict_kind::rolled_back, added.error().message()}});
  }
  auto policy = generation_policy_of(r.service);
  auto shared = listeners_.summary(r.listeners);
  policy.steered = shared.any_steered;
  policy.slots = shared.slots;
  policy.settle = settle_time(r.service, shared);
  releases_.insert_or_assign(a.generation, std::move(r));
  post_(prepared{a.rollout, a.generation, policy, operator_policy_of(current_)});
}

void release_book::prepare(act::prepare const& a) {
  release const* source = find(a.source);
  if (source != nullptr && source->executable->is_lost())
    return post_(preparation_failed{a.rollout, {verdict_kind::rolled_back, "exec: " + why_lost(*source)}});
  if (source != nullptr) return add(a, *source);
  auto made = make_from_file(a);
  if (!made) return post_(preparation_failed{a.rollout, made.error()});
  add(a, std::move(*made));
}

void release_book::forget(generation_number g) {
  releases_.erase(g);
  listeners_.drop(g);
}

auto release_book::reload(request_number whose) -> std::expected<std::vector<std::string>, refusal> {
  auto read = file_.read();
  if (!read) return std::unexpected(refusal{"the configuration is invalid", read.error()});
  if (auto why = why_not(current_, *read)) return std::unexpected(refusal{*why, {}});
  if (read->service != current_.service || read->listeners != current_.listeners)
    return std::unexpected(refusal{
        "what shapes a launch has changed ([service], [ready], [drain] or a listener): use upgrade", {}});
  // The same ones: this only asks for them, and whether they can be shared as is now wanted.
  auto listeners = listeners_.configure(read->listeners, read->rollout);
  if (!listeners) return std::unexpected(refusal{listeners.error().message(), {}});
  if (auto why = handoff::why_not(*read, listeners_, *listeners); !why.empty())
    return std::unexpected(refusal{why, {}});
  std::vector<std::string> sections;
  if (read->restart != current_.restart) sections.emplace_back("restart");
  if (read->rollout != current_.rollout) sections.emplace_back("rollout");
  if (read->checks != current_.checks) sections.emplace_back("check");
  if (read->metrics != current_.metrics) sections.emplace_back("metric");
  if (read->hooks != current_.hooks) sections.emplace_back("hooks");
  if (read->control != current_.control) sections.emplace_back("control");
  if (read->log != current_.log) sections.emplace_back("log");
  current_ = std::move(*read);
  changed_(current_);
  post_(policy_changed{operator_policy_of(current_), whose});
  return sections;
}

std::optional<std::string> release_book::objection_to(settings const& s) const {
  return why_not(current_, s);
}

release const* release_book::find(generation_number g) const {
  auto found = releases_.find(g);
  return found == releases_.end() ? nullptr : &found->second;
}

std::map<generation_number, observed_generation> release_book::observe() const {
  std::map<generation_number, observed_generation> all;
  for (auto const& [n, r] : releases_)
    all[n] = {r.executable->path(), std::string(word(r.executable->state())), r.variant};
  return all;
}

bool release_book::has_diverged(release const& r) const {
  auto is_it = [&](named_listener const& has, listener_settings const& says) {
    return has.name == says.name && listeners_.is_at(has.listener, says);
  };
  return r.service != current_.service || !std::ranges::equal(r.listeners, current_.listeners, is_it);
}

std::vector<std::string> release_book::notes(std::optional<generation_number> live) const {
  std::vector<std::string> all;
  release const* serves = live ? find(*live) : nullptr;
  if (serves != nullptr && has_diverged(*serves))
    all.push_back(file_.path() + " has diverged from what serves, generation " +
                  std::to_string(number(*live)) + ": the next upgrade begins what the file says");
  for (auto const& [n, r] : releases_) {
    std::string whose = "generation " + std::to_string(number(n)) + ": " + r.executable->path();
    switch (r.executable->state()) {
      case executable_state::same:
        break;
      case executable_state::replaced:
        all.push_back(whose + " was replaced on disk; restarts use the pinned one");
        break;
      case executable_state::overwritten:
        all.push_back(whose + " was overwritten in place: last good is lost");
        break;
      case executable_state::missing:
        all.push_back(whose + " is missing, and a script cannot be started without it");
        break;
      case executable_state::lost:
        all.push_back("generation " + std::to_string(number(n)) + ": " + why_lost(r));
        break;
    }
  }
  return all;
}

}  // namespace handoff
