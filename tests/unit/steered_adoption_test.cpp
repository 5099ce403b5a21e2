// Groups that a successor goes on with, of which not everything came.
#include "steered.hpp"

using namespace handoff;
using namespace handoff::test;

namespace {

enum class lost { nothing, anchor, program, both };

// What a predecessor left, as far as it came: copies, since it may still stand.
inherited_group copies_of(steered_listener const& l, lost what) {
  auto seen = l.group();
  inherited_group left{.slots = {}, .order = seen.order, .anchor = {}, .program = {}};
  for (auto const& s : seen.slots)
    left.slots.push_back({s.index, s.owner, s.shut, s.retired, unique_fd(::dup(s.socket))});
  bool with_anchor = what != lost::anchor && what != lost::both;
  bool with_program = what != lost::program && what != lost::both;
  if (seen.anchor && with_anchor) left.anchor = unique_fd(::dup(*seen.anchor));
  for (std::size_t i = 0; with_program && i < seen.program.size(); ++i)
    left.program[i] = unique_fd(::dup(seen.program[i]));
  return left;
}

std::unique_ptr<steered_listener> successor_of(std::unique_ptr<steered_listener> predecessor, lost what) {
  auto left = copies_of(*predecessor, what);
  auto settings = predecessor->settings();
  auto method = predecessor->method();
  predecessor.reset();  // a socket is in the map of one program at most
  auto made = steered_listener::adopt(settings, 7, method, std::move(left));
  INFO((made ? "" : made.error().message()));
  REQUIRE(made);
  return std::move(*made);
}

}  // namespace

TEST_CASE("a group goes on, whatever of it did not come") {
  if (!steering_works()) return;
  auto what = GENERATE(lost::nothing, lost::anchor, lost::program, lost::both);
  CAPTURE(static_cast<int>(what));
  auto predecessor = open_steered(steered_tcp(), {g1, g2});
  require(predecessor->apply(canary(10'000)));
  auto early = clients(20, *predecessor);
  CHECK(comes_to(*predecessor, g2, 20));
  auto const program = predecessor->group().program_id;
  CHECK(program != 0);

  auto l = successor_of(std::move(predecessor), what);
  CHECK((l->group().program_id == program) == (what == lost::nothing || what == lost::anchor));
  CHECK(waiting(*l, g1) == 0);
  CHECK(waiting(*l, g2) == 20);  // what waited goes on waiting
  require(l->apply(canary(10'000)));
  CHECK(l->intact());
  auto late = clients(20, *l);
  CHECK(comes_to(*l, g2, 40));
  require(l->apply(canary(0)));
  auto last = clients(20, *l);
  CHECK(comes_to(*l, g1, 20));
  require(l->shut(g2));
  CHECK(comes_to(*l, g1, 60));  // and moves as ever
  l->remove(g2);
  require(l->add(g3));
  CHECK(l->intact());
}

TEST_CASE("whoever comes before the first split of a successor is lost by nobody") {
  if (!steering_works()) return;
  auto what = GENERATE(lost::nothing, lost::anchor, lost::program, lost::both);
  CAPTURE(static_cast<int>(what));
  auto l = successor_of(open_steered(steered_tcp(), {g1, g2}), what);
  auto all = clients(50, *l);
  require(l->apply(canary(0)));
  CHECK(eventually([&] { return waiting(*l, g1) + waiting(*l, g2) == 50; }));
}

TEST_CASE("a successor counts on where the program came, and from 0 where not") {
  if (!steering_works()) return;
  auto [what, before] = GENERATE(table<lost, std::uint64_t>({{lost::nothing, 5}, {lost::program, 0}}));
  auto predecessor = open_steered(steered_tcp(), {g1});
  auto early = clients(5, *predecessor);
  CHECK(comes_to(*predecessor, g1, 5));
  auto l = successor_of(std::move(predecessor), what);
  require(l->apply(canary(0)));
  auto late = clients(3, *l);
  CHECK(comes_to(*l, g1, 8));
  CHECK(l->counts(g1)->connections == before + 3);
}

TEST_CASE("datagrams go on to the side that was chosen, whatever did not come") {
  if (!steering_works()) return;
  auto what = GENERATE(lost::nothing, lost::anchor, lost::program, lost::both);
  CAPTURE(static_cast<int>(what));
  auto l = successor_of(open_steered(steered_udp(), {g1, g2}), what);
  require(l->apply(canary(10'000)));
  auto all = clients(10, *l);
  say(all);
  int got = 0;
  CHECK(eventually([&] { return (got += read_all(*l->fd(g2))) == 10; }));
  CHECK(read_all(*l->fd(g1)) == 0);
}

TEST_CASE("a slot that was shut stays shut, and its number is not given away") {
  if (!steering_works()) return;
  auto what = GENERATE(lost::nothing, lost::both);
  auto predecessor = open_steered(steered_tcp(), {g1, g2});
  require(predecessor->shut(g2));
  auto l = successor_of(std::move(predecessor), what);
  require(l->apply(canary(10'000)));
  auto all = clients(10, *l);
  CHECK(comes_to(*l, g1, 10));
  CHECK_FALSE(l->reopen(g2));
  CHECK_FALSE(l->add(g2));
}

TEST_CASE("a group of which no slot came is opened anew behind the anchor") {
  if (!steering_works()) return;
  auto settings = steered_tcp();
  auto l = successor_of(open_steered(settings), lost::nothing);
  CHECK(l->group().slots.empty());
  auto early = clients(5, *l);  // the anchor has them
  require(l->add(g1));
  require(l->apply(canary(0)));
  CHECK(comes_to(*l, g1, 5));
}

TEST_CASE("a classic group goes on with the sockets that somebody held") {
  bool all_came = GENERATE(true, false);
  auto predecessor = open_steered(steered_tcp(), {g1, g2}, steering_method::classic);
  require(predecessor->apply(canary(10'000)));
  auto settings = predecessor->settings();
  auto left = copies_of(*predecessor, lost::nothing);
  if (!all_came) left.slots.erase(left.slots.begin());
  predecessor.reset();
  auto adopted = steered_listener::adopt(settings, 7, steering_method::classic, std::move(left));
  REQUIRE(adopted);
  auto& l = **adopted;
  auto early = clients(10, l);
  CHECK(comes_to(l, g2, 10));
  if (!all_came) require(l.add(g1));
  require(l.apply(canary(0)));
  auto late = clients(10, l);
  CHECK(comes_to(l, g1, 10));
  CHECK(waiting(l, g2) == 10);
}

TEST_CASE("a classic group of which nobody held a socket is opened anew") {
  auto predecessor = open_steered(steered_tcp(), {g1}, steering_method::classic);
  auto settings = predecessor->settings();
  auto left = copies_of(*predecessor, lost::nothing);
  left.slots.clear();
  predecessor.reset();
  auto adopted = steered_listener::adopt(settings, 7, steering_method::classic, std::move(left));
  REQUIRE(adopted);
  auto& l = **adopted;
  require(l.add(g1));
  require(l.apply(canary(0)));
  auto all = clients(10, l);
  CHECK(comes_to(l, g1, 10));
}
