#include "steered.hpp"

using namespace handoff;
using namespace handoff::test;

TEST_CASE("a lost program is noticed once the anchor gets something, and repaired") {
  if (!steering_works()) return;
  auto http = open_steered(steered_tcp(), {g1});
  int slot = *http->fd(g1), none = 0;
  REQUIRE(exit_code_of(start_child([&] {
            return ::setsockopt(slot, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof none);
          })) == 0);
  CHECK(http->intact());  // nothing went wrong yet
  std::vector<unique_fd> held;
  REQUIRE(eventually([&] {
    held.push_back(client_at("127.0.0.1", *http));
    return !http->intact();
  }));
  require(http->reattach());
  CHECK(http->intact());
  for (auto& client : clients(50, *http)) held.push_back(std::move(client));
  CHECK(accept_queue(*http->anchor()) == 0);
  serve_all(*http->fd(g1), held);
}

TEST_CASE("a service cannot attach a program through its slot") {
  if (!steering_works()) return;
  auto http = open_steered(steered_tcp(), {g1});
  auto other = steering::create(socket_type::stream);
  REQUIRE(other);
  auto attached = other->attach(*http->fd(g1));
  REQUIRE_FALSE(attached);
  CHECK(attached.error().code == std::errc::operation_not_permitted);
}

TEST_CASE("without privileges loading is refused in words") {
  if (!steering_works() || !is_root()) return;
  CHECK(run_as_nobody([] {
          auto loaded = steering::create(socket_type::stream);
          return loaded || !loaded.error().message().starts_with("loading the steering program: ");
        }) == 0);
}
