// One random life.
#include "world.hpp"

namespace handoff::sim {

namespace {

// splitmix64: small, fast, and every seed is a good one.
class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
  bool one_in(std::size_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

// Of the checks or metrics that there may be: as if nothing was said, none, or some.
selection choose(dice& d, std::vector<std::string> const& names) {
  if (!d.one_in(3)) return {};
  selection chosen(std::in_place);
  for (auto const& name : names)
    if (d.one_in(2)) chosen->push_back(name);
  return chosen;
}

void choose_strategy(dice& d, rollout_settings& how) {
  how.strategy = static_cast<strategy>(d.below(5));
  how.max_surge = static_cast<std::uint32_t>(d.below(3));
  how.max_unavailable = how.max_surge == 0 ? 1 : static_cast<std::uint32_t>(d.below(3));
  how.auto_promote = d.one_in(2);
  if (d.one_in(2)) how.standby = duration(40'000);
  if (d.one_in(4)) how.canary_instances = 1;
  for (std::uint32_t part = 500; part < 10'000 && !d.one_in(3); part *= 4)
    how.steps.push_back({weight{part}, d.one_in(4) ? std::nullopt : std::optional(duration(15'000)),
                         choose(d, {"first", "second"}), choose(d, {"errors", "again"})});
  if (d.one_in(4)) how.routes.push_back({{}, d.one_in(2) ? side::live : side::candidate});
}

rules random_rules(dice& d) {
  rules r;
  auto& g = r.now.generation;
  g.instances = 1 + static_cast<std::uint32_t>(d.below(3));
  g.when = d.one_in(4)   ? readiness::alive
           : d.one_in(4) ? (d.one_in(2) ? readiness::exec : readiness::http)
                         : readiness::notify;
  if (d.one_in(4)) g.watchdog = duration(10'000);
  g.steered = !d.one_in(4);
  if (d.one_in(3)) g.slots = 2;
  if (g.steered) g.settle = d.one_in(4) ? g.drain_timeout : duration(250);
  auto& p = r.now.policy;
  if (d.one_in(2)) choose_strategy(d, p.rollout);
  if (d.one_in(2)) p.rollout.bake = duration(20'000);
  p.rollout.max_draining = 1 + static_cast<std::uint32_t>(d.below(3));
  p.rollout.candidate_restarts = d.one_in(4) ? 1 : 0;
  p.restart.burst = 2 + static_cast<std::uint32_t>(d.below(3));
  for (auto& hook : p.hooks)
    if (d.one_in(5)) hook = duration(5'000);
  if (d.one_in(3)) p.checks.push_back({"first", duration(1'000), duration(2'000), 1, d.one_in(2)});
  if (d.one_in(6)) p.checks.push_back({"second", duration(3'000), duration(2'000), 0, true});
  if (d.one_in(3)) {
    metric_policy errors{.name = "errors", .interval = duration(2'000), .timeout = duration(1'000)};
    if (d.one_in(2)) errors.ratio = 1.0;
    if (!errors.ratio || d.one_in(3)) errors.max = 0.01;
    errors.least = d.one_in(3) ? 1'000'000 : d.one_in(2) ? 5'000 : 100;  // never, late, soon enough
    p.metrics.push_back(errors);
  }
  if (d.one_in(6)) {
    metric_policy again{.name = "again", .interval = duration(1'000), .timeout = duration(1'000)};
    again.kind = static_cast<metric_kind>(d.below(4));
    again.max = d.one_in(2) ? std::optional(1e9) : std::nullopt;
    if (!again.max || d.one_in(2)) again.ratio = 1.0;
    again.least = 3;
    p.metrics.push_back(again);
  }
  r.listeners = 1 + d.below(2);
  r.stops = d.one_in(6);
  r.crowds = d.one_in(6);
  r.dooms = true;
  r.grows = d.one_in(4);
  r.writes = d.one_in(1024);
  return r;
}

// Stops and lost listeners are rare, good news is common: else no life would see a second generation.
choice pick(dice& d, std::vector<choice> const& from) {
  using kind = choice::kind;
  for (int tries = 0; tries < 3; ++tries) {
    choice const& c = from[d.below(from.size())];
    bool helpful = c.what == kind::launched || c.what == kind::becomes_ready ||
                   c.what == kind::command_succeeds || c.what == kind::upgrade;
    if (helpful || d.one_in(4)) return c;
  }
  return from[d.below(from.size())];
}

}  // namespace

std::string live_through(std::uint64_t seed, std::vector<std::string>* history) {
  dice d(seed);
  rules r = random_rules(d);
  r.keep_history = history != nullptr;
  r.triggers = 1 + static_cast<unsigned>(d.below(5));
  world w(r);
  w.start();
  std::size_t length = 4 + d.below(28);
  for (std::size_t n = 0; n < length && w.broken().empty(); ++n) {
    auto const& choices = w.choices();
    if (choices.empty()) break;
    w.happen(pick(d, choices));
  }
  if (w.broken().empty()) w.come_to_rest();
  if (history != nullptr) *history = w.history();
  return w.broken();
}

}  // namespace handoff::sim
