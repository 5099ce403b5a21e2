#include "edge_support.hpp"

#include <os/descriptor_disposer.hpp>

#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>

using namespace handoff;
using namespace handoff::test;

namespace {

// A connection with unsent data whose last close() waits for `seconds`: the other side never reads.
struct lingering_connection {
  unique_fd listening{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  unique_fd ours, theirs;

  explicit lingering_connection(int seconds) {
    int small = 4096;
    ::setsockopt(listening.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    listener_settings any{"any", inet_address{"127.0.0.1", 0}, socket_type::stream, {}};
    auto address = address_of(any);
    REQUIRE(::bind(listening.get(), address->get(), address->length) == 0);
    REQUIRE(::listen(listening.get(), 1) == 0);
    ours = connect_to(*bound_address(listening.get()));
    theirs = unique_fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    linger wait{1, seconds};
    REQUIRE(::setsockopt(ours.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof wait) == 0);
    std::string block(65536, 'x');
    while (::send(ours.get(), block.data(), block.size(), MSG_DONTWAIT) > 0) {}
  }
};

template <class Body>
std::chrono::milliseconds time_of(Body body) {
  auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
}

struct disposing {
  std::vector<pid_t> born;
  descriptor_disposer dispose{[this](pid_t child) { born.push_back(child); }};
};

}  // namespace

TEST_CASE("a lingering close stops whoever does it, but not the one who disposes of it") {
  lingering_connection plain(1);
  auto closed = time_of([&] { plain.ours.reset(); });
  REQUIRE(closed >= std::chrono::milliseconds(900));  // else this test proves nothing

  disposing d;
  lingering_connection first(30), second(30);
  std::vector<unique_fd> both;
  both.push_back(std::move(first.ours));
  both.push_back(std::move(second.ours));
  auto disposed = time_of([&] { d.dispose.dispose(std::move(both)); });
  CHECK(disposed < closed / 4);
  REQUIRE(d.born.size() == 1);
  CHECK(exit_code_of(d.born[0]) == 0);
  // The connections are gone: what was sent can be read, and then the end.
  std::string block(1 << 20, ' ');
  ssize_t length;
  while ((length = ::recv(first.theirs.get(), block.data(), block.size(), 0)) > 0) {}
  CHECK(length == 0);
}

TEST_CASE("pipes need no child") {
  disposing d;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  unique_fd other(ends[1]);
  d.dispose.dispose(unique_fd(ends[0]));
  CHECK(d.born.empty());
  pollfd broken{other.get(), POLLOUT, 0};
  CHECK(::poll(&broken, 1, 0) == 1);
  CHECK((broken.revents & POLLERR) != 0);
}

TEST_CASE("the child holds nothing but what it is to drop, and no signal wakes it") {
  disposing d;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  unique_fd reading(ends[0]);
  unique_fd writing(ends[1]);
  std::size_t before = open_descriptors();
  d.dispose.dispose(unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  writing.reset();
  char nothing;
  CHECK(::read(reading.get(), &nothing, 1) == 0);  // would wait for ever, if the child kept the other end
  REQUIRE(d.born.size() == 1);
  CHECK(exit_code_of(d.born[0]) == 0);
  CHECK(open_descriptors() == before - 1);
}

TEST_CASE("without a child the descriptors are kept, and go with the next call") {
  if (!is_root()) return;
  int failed = run_as_nobody([] {
    std::vector<pid_t> born;
    descriptor_disposer dispose([&](pid_t child) { born.push_back(child); });
    rlimit const few{0, 64};
    if (::setrlimit(RLIMIT_NPROC, &few) < 0) return 1;
    dispose.dispose(unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    if (!born.empty() || dispose.waiting() != 1) return 2;
    rlimit const more{64, 64};
    if (::setrlimit(RLIMIT_NPROC, &more) < 0) return 3;
    dispose.dispose(std::vector<unique_fd>());
    return born.size() == 1 && dispose.waiting() == 0 ? 0 : 4;
  });
  CHECK(failed == 0);
}
