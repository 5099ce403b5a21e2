// Visits every state that small bounds allow: no state breaks a promise, and from every state there is a way
// to rest. explore [--instances N] [--triggers N] [--mischief N] [--strategy 0..4] [--steered 0|1]
// [--slots N]
#include "world.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string_view>
#include <unordered_set>

using namespace handoff;
using namespace handoff::sim;

namespace {

// Short durations of few different lengths, so that worlds meet again.
rules small_rules() {
  rules r;
  auto& g = r.now.generation;
  g.instances = 2;
  g.ready_timeout = duration(2000);
  g.extend_max = duration(2000);
  g.drain_timeout = duration(2000);
  g.kill_timeout = duration(1000);
  auto& p = r.now.policy;
  p.restart = {
      .backoff_min = duration(1000), .backoff_max = duration(1000), .burst = 2, .window = duration(2000)};
  p.rollout.bake = duration(1000);
  p.rollout.max_draining = 1;
  r.triggers = 3;
  r.mischief = 0;  // more takes memory by the gigabyte
  return r;
}

unsigned option(int count, char** arguments, char const* name, unsigned otherwise) {
  for (int i = 1; i + 1 < count; ++i)
    if (std::strcmp(arguments[i], name) == 0) return static_cast<unsigned>(std::atoi(arguments[i + 1]));
  return otherwise;
}

int tell(world const& w) {
  for (auto const& line : w.history()) std::puts(line.c_str());
  std::printf("broken: %s\n", w.broken().c_str());
  return 1;
}

// One that a canary's second step chose, and its first did not.
void add_check(operator_policy& policy) {
  policy.checks = {{"first", duration(1000), duration(2000), 0, true}};
  policy.rollout.steps[0].checks.emplace();
  policy.rollout.steps[1].checks = {{"first"}};
}

}  // namespace

int main(int count, char** arguments) {
  rules r = small_rules();
  r.now.generation.instances = option(count, arguments, "--instances", r.now.generation.instances);
  r.triggers = option(count, arguments, "--triggers", r.triggers);
  r.mischief = option(count, arguments, "--mischief", r.mischief);
  r.now.policy.rollout.strategy = static_cast<strategy>(option(count, arguments, "--strategy", 0));
  r.now.policy.rollout.steps = {{weight{500}, duration(1000)}, {weight{5'000}, std::nullopt}};
  r.now.policy.rollout.standby = duration(1000);
  if (option(count, arguments, "--checks", 0) != 0) add_check(r.now.policy);
  r.now.generation.steered = option(count, arguments, "--steered", 1) != 0;
  if (r.now.generation.steered) r.now.generation.settle = duration(1000);
  r.now.generation.slots = option(count, arguments, "--slots", r.now.generation.slots);
  r.keep_history = option(count, arguments, "--history", 0) != 0;

  auto begin = std::chrono::steady_clock::now();
  std::unordered_set<std::string> seen;
  std::deque<world> frontier;
  std::uint64_t edges = 0;
  frontier.emplace_back(r).start();
  seen.insert(frontier.front().key());
  while (!frontier.empty()) {
    world here = frontier.front();
    frontier.pop_front();
    world calm = here;
    if (!calm.come_to_rest()) return tell(calm);
    for (choice const& c : here.choices()) {
      world next = here;
      next.happen(c);
      ++edges;
      if (!next.broken().empty()) return tell(next);
      if (seen.insert(next.key()).second) frontier.push_back(next);
    }
    if (seen.size() % 100'000 == 0 && count > 1)
      std::fprintf(stderr, "\r%zu states, %zu to visit  ", seen.size(), frontier.size());
  }
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%zu states, %llu transitions in %.1f s: every promise holds, every state finds rest\n",
              seen.size(), static_cast<unsigned long long>(edges), took.count());
}
