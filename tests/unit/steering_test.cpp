#include "steered.hpp"

#include <fcntl.h>

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
  if (!steering_works() || !has_privileges()) return;
  CHECK(run_as_nobody([] {
          auto loaded = steering::create(socket_type::stream);
          return loaded || !loaded.error().message().starts_with("loading the steering program: ");
        }) == 0);
}

namespace {

using kept_descriptors = std::array<unique_fd, steering::descriptor_count>;

kept_descriptors copies_of(steering const& program) {
  kept_descriptors copies;
  auto originals = program.descriptors();
  for (std::size_t i = 0; i < copies.size(); ++i)
    copies[i] = unique_fd(::fcntl(originals[i], F_DUPFD_CLOEXEC, 0));
  return copies;
}

steering_page all_to(std::uint32_t slot, std::uint32_t layout = steering_layout_version) {
  steering_page page{.layout = layout, .fallback = slot};
  page.connection_id_byte = steering_no_connection_id;
  return page;
}

// Two listening sockets of one group, without a steered_listener that would take care of them.
struct bare_group {
  std::optional<steering> program;
  std::vector<unique_fd> members;
  std::uint16_t port = free_port();

  bare_group() {
    auto made = steering::create(socket_type::stream);
    require(made);
    program = std::move(*made);
    auto address = address_of(tcp(port));
    int on = 1;
    for (std::uint32_t slot : {0U, 1U}) {
      unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
      if (slot == 0) require(program->attach(fd.get()));
      REQUIRE(::bind(fd.get(), address->get(), address->length) == 0);
      REQUIRE(::listen(fd.get(), 100) == 0);
      require(program->place(slot, fd.get()));
      members.push_back(std::move(fd));
    }
    require(program->apply(all_to(0)));
  }

  std::uint32_t clients_that_reach(std::size_t slot) {
    std::vector<unique_fd> made;
    auto address = address_of(tcp(port));
    for (int i = 0; i < 10; ++i) {
      unique_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      REQUIRE(client);
      REQUIRE(::connect(client.get(), address->get(), address->length) == 0);
      made.push_back(std::move(client));
    }
    eventually([&] {
      return accept_queue(members[0].get()).value() + accept_queue(members[1].get()).value() == 10;
    });
    auto reached = accept_queue(members[slot].get()).value();
    for (auto const& member : members) accept_all(member.get());
    return reached;
  }
};

}  // namespace

TEST_CASE("a successor that has the descriptors goes on where the one before it ended") {
  if (!steering_works()) return;
  bare_group group;
  CHECK(group.clients_that_reach(0) == 10);
  auto kept = copies_of(*group.program);
  group.program.reset();
  CHECK(group.clients_that_reach(0) == 10);
  auto successor = steering::adopt(std::move(kept));
  require(successor);
  CHECK(group.clients_that_reach(0) == 10);
  CHECK(successor->counts(0)->connections == 30);
  for (std::uint32_t turn = 0; turn < 2 * steering_pages; ++turn) {
    require(successor->apply(all_to((turn + 1) % 2)));
    CHECK(group.clients_that_reach((turn + 1) % 2) == 10);
  }
}

TEST_CASE("what is no steering program of this layout is not adopted") {
  if (!steering_works()) return;
  bare_group group;
  kept_descriptors swapped = copies_of(*group.program);
  std::swap(swapped[1], swapped[2]);
  auto adopted = steering::adopt(std::move(swapped));
  REQUIRE_FALSE(adopted);
  CHECK_THAT(adopted.error().message(), Catch::StartsWith("adopting a steering program and its maps: "));
  CHECK_FALSE(steering::adopt({}));
  require(group.program->apply(all_to(0, steering_layout_version + 1)));
  auto newer = steering::adopt(copies_of(*group.program));
  REQUIRE_FALSE(newer);
  CHECK(newer.error().message() == "the adopted steering program has layout 3, this handoffd knows 2");
}
