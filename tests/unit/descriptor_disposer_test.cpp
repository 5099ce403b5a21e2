#include "edge_support.hpp"

#include <os/connections.hpp>
#include <os/descriptor_disposer.hpp>
#include <os/pidfd.hpp>

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

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

// Children that stop before they drop anything.
struct disposing_slowly {
  std::vector<pid_t> born;
  descriptor_disposer dispose{[this](pid_t child) {
    ::kill(child, SIGSTOP);
    born.push_back(child);
  }};

  void add(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      dispose.dispose(unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  }
  static int finish(pid_t child) {
    ::kill(child, SIGCONT);
    return exit_code_of(child);
  }
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
  CHECK(disposed < std::chrono::seconds(15));  // of the thirty
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

TEST_CASE("no more children than the bound are alive, and what waits goes together when one has ended") {
  disposing_slowly d;
  std::size_t before = open_descriptors();
  d.add(descriptor_disposer::most_children + 3);
  REQUIRE(d.born.size() == descriptor_disposer::most_children);
  CHECK(d.dispose.waiting() == 3);
  d.dispose.proceed();
  CHECK(d.dispose.waiting() == 3);  // nobody ended yet
  CHECK(disposing_slowly::finish(d.born[0]) == 0);
  d.dispose.proceed();
  CHECK(d.dispose.waiting() == 0);
  REQUIRE(d.born.size() == descriptor_disposer::most_children + 1);
  for (std::size_t i = 1; i < d.born.size(); ++i) CHECK(disposing_slowly::finish(d.born[i]) == 0);
  CHECK(open_descriptors() == before);
}

TEST_CASE("of children that do not end there is one more for each list that is full, so nothing piles up") {
  disposing_slowly d;
  d.add(descriptor_disposer::most_children + descriptor_disposer::most_waiting);
  CHECK(d.born.size() == descriptor_disposer::most_children);
  CHECK(d.dispose.waiting() == descriptor_disposer::most_waiting);
  d.add(1);
  CHECK(d.born.size() == descriptor_disposer::most_children + 1);
  CHECK(d.dispose.waiting() == 0);
  for (pid_t child : d.born) CHECK(disposing_slowly::finish(child) == 0);
}

TEST_CASE("what waits when a disposer ends goes with a last child") {
  std::vector<pid_t> born;
  std::size_t before = open_descriptors();
  {
    descriptor_disposer dispose([&](pid_t child) {
      ::kill(child, SIGSTOP);
      born.push_back(child);
    });
    for (std::size_t i = 0; i <= descriptor_disposer::most_children; ++i)
      dispose.dispose(unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    REQUIRE(dispose.waiting() == 1);
  }
  CHECK(born.size() == descriptor_disposer::most_children + 1);
  CHECK(open_descriptors() == before);
  for (pid_t child : born) CHECK(disposing_slowly::finish(child) == 0);
}

TEST_CASE("the connections of a process are counted without closing a duplicate of them") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  unique_fd one(ends[0]), other(ends[1]);
  pid_t child = start_child([] { return ::pause(); });
  process held(child, unique_fd(open_pidfd(child)));
  unique_fd allowed(static_cast<int>(::syscall(SYS_pidfd_getfd, held.pidfd(), one.get(), 0)));
  std::size_t before = open_descriptors();
  disposing d;
  std::size_t counted = count_connections(held, d.dispose);
  CHECK(open_descriptors() == before);
  ::kill(child, SIGKILL);
  CHECK(exit_code_of(child) == 128 + SIGKILL);
  for (pid_t born : d.born) CHECK(exit_code_of(born) == 0);
  if (!allowed) {
    WARN("pidfd_getfd is not allowed here");
    return;
  }
  CHECK(counted >= 2);
  CHECK(d.born.size() == 1);
}

TEST_CASE("without a child the descriptors are kept, and go with the next call") {
  if (!has_privileges()) return;
  int failed = run_as_nobody([] {
    std::vector<pid_t> born;
    descriptor_disposer dispose([&](pid_t child) { born.push_back(child); });
    rlimit const few{0, 64};
    if (::setrlimit(RLIMIT_NPROC, &few) < 0) return 1;
    dispose.dispose(unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    if (!born.empty() || dispose.waiting() != 1) return 2;
    rlimit const more{64, 64};
    if (::setrlimit(RLIMIT_NPROC, &more) < 0) return 3;
    dispose.proceed();
    return born.size() == 1 && dispose.waiting() == 0 ? 0 : 4;
  });
  CHECK(failed == 0);
}
