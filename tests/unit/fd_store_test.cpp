#include "edge_support.hpp"

#include <os/fd_store.hpp>

#include <sys/eventfd.h>
#include <sys/mman.h>

using namespace handoff;
using namespace handoff::test;

namespace {

struct storing_things {
  std::unique_ptr<loop> events = *loop::create();
  std::vector<pid_t> born;
  descriptor_disposer dispose{[this](pid_t child) { born.push_back(child); }};
  std::unique_ptr<fd_store> store;

  explicit storing_things(std::uint32_t most) : store(*fd_store::create(*events, dispose, most)) {}
  ~storing_things() {
    store.reset();
    for (pid_t child : born) ::waitpid(child, nullptr, 0);
  }
  storing add(char const* name, unique_fd fd, store_polling polling = store_polling::until_hangup) const {
    return store->add(name, fd, polling);
  }
  std::string names() const {
    std::string all;
    for (auto const& one : store->entries()) all += one.name + " ";
    return all;
  }
};

unique_fd memory() { return unique_fd(::memfd_create("state", MFD_CLOEXEC)); }

struct connected_pair {
  unique_fd one, other;
  connected_pair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    one = unique_fd(ends[0]);
    other = unique_fd(ends[1]);
  }
};

}  // namespace

TEST_CASE("a store keeps descriptors in order, under names that need not be unique") {
  storing_things s(8);
  CHECK(s.add("state", memory()) == storing::stored);
  CHECK(s.add("client", unique_fd(::eventfd(0, EFD_CLOEXEC))) == storing::stored);
  CHECK(s.add("state", memory()) == storing::stored);
  CHECK(s.names() == "state client state ");
  CHECK(s.store->remove("state") == 2);
  CHECK(s.store->remove("state") == 0);
  CHECK(s.names() == "client ");
}

TEST_CASE("a store is bounded, and keeps nothing at all by default") {
  storing_things s(2);
  CHECK(s.add("a", memory()) == storing::stored);
  CHECK(s.add("b", memory()) == storing::stored);
  std::size_t before = open_descriptors();
  CHECK(s.add("c", memory()) == storing::full);
  CHECK(open_descriptors() == before);
  auto refused = memory();
  CHECK(s.store->add("c", refused, store_polling::never) == storing::full);
  CHECK(refused);  // still the caller's, who disposes of many at once
  CHECK(s.born.empty());
  CHECK(storing_things(0).add("a", memory()) == storing::full);
}

TEST_CASE("the same open file is kept once") {
  storing_things s(8);
  auto file = memory();
  connected_pair pair;
  CHECK(s.add("first", unique_fd(::dup(file.get()))) == storing::stored);
  CHECK(s.add("again", std::move(file)) == storing::duplicate);
  CHECK(s.add("one", std::move(pair.one)) == storing::stored);
  CHECK(s.add("other", std::move(pair.other)) == storing::stored);
  CHECK(s.names() == "first one other ");
}

TEST_CASE("what hung up is dropped, unless the service said FDPOLL=0") {
  storing_things s(8);
  connected_pair polled, kept;
  REQUIRE(s.add("polled", std::move(polled.one)) == storing::stored);
  REQUIRE(s.add("kept", std::move(kept.one), store_polling::never) == storing::stored);
  REQUIRE(::write(polled.other.get(), "x", 1) == 1);
  run_what_is_ready(*s.events);
  CHECK(s.names() == "polled kept ");  // data is no reason
  polled.other.reset();
  kept.other.reset();
  CHECK(run_until(*s.events, [&] { return s.names() == "kept "; }));
  CHECK(s.born.size() == 1);
}

TEST_CASE("a store that ends leaves no descriptor behind") {
  std::size_t before = open_descriptors();
  {
    storing_things s(8);
    s.add("a", memory());
    s.add("b", unique_fd(::eventfd(0, EFD_CLOEXEC)));
  }
  CHECK(open_descriptors() == before);
}
