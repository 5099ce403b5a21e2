#include "edge_support.hpp"

#include <os/control_socket.hpp>
#include <os/socket_address.hpp>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

using namespace handoff;
using namespace std::chrono_literals;

namespace {

// A directory for one test, open to every user because some tests connect as others.
struct scratch {
  std::string path = "/tmp/control_socket_test.XXXXXX";
  scratch() {
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    ::chmod(path.c_str(), 0755);
  }
  ~scratch() { std::filesystem::remove_all(path); }
};

struct test_client {
  unique_fd fd;

  void say(std::string_view bytes) const {
    ssize_t sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent != ssize_t(bytes.size())) FAIL("sending: " << std::strerror(errno));
  }
  void say_message(std::string text) const { say(text + '\0'); }

  // What has come so far; `over` when the server has closed.
  struct heard {
    std::string bytes;
    bool over = false;
  };
  heard hear() const {
    heard h;
    char block[65536];
    for (;;) {
      ssize_t n = ::recv(fd.get(), block, sizeof block, MSG_DONTWAIT);
      if (n > 0) h.bytes.append(block, std::size_t(n));
      if (n == 0 || (n < 0 && errno != EAGAIN)) h.over = true;
      if (n <= 0) return h;
    }
  }
  // Looks without taking anything.
  bool is_over() const {
    pollfd ask{.fd = fd.get(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&ask, 1, 0) > 0 && (ask.revents & (POLLRDHUP | POLLHUP)) != 0;
  }
};

// A server whose program answers "echo X" at once, keeps "hold" open, and counts.
struct server {
  scratch directory;
  std::string path = directory.path + "/web.sock";
  owned_socket_file file;
  std::unique_ptr<loop> events = *loop::create();
  std::unique_ptr<control_socket> control;
  std::vector<std::string> messages;
  std::vector<client_id> held;
  std::vector<client_id> gone;
  control_peer last_peer;
  client_id last_id{};

  explicit server(control_limits limits = {}) {
    auto listening = listen_for_control(path, std::nullopt);
    REQUIRE(listening);
    file = std::move(listening->file);
    auto made = control_socket::serve(
        *events, std::move(listening->fd),
        {.on_message = [this](client_id id, control_peer const& p, std::string_view m) { answer(id, p, m); },
         .on_gone = [this](client_id id) { gone.push_back(id); }},
        std::string("no place\0", 9), limits);
    REQUIRE(made);
    control = std::move(*made);
  }

  void answer(client_id id, control_peer const& peer, std::string_view message) {
    messages.emplace_back(message);
    last_peer = peer;
    last_id = id;
    if (message == "hold") return held.push_back(id);
    control->send(id, std::string(message) + '\0');
    if (message == "bye") control->close_after_send(id);
  }

  test_client connect() const {
    test_client c{unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))};
    auto address = unix_socket_address(path);
    if (::connect(c.fd.get(), address->get(), address->length) < 0)
      FAIL("connecting: " << std::strerror(errno));
    return c;
  }

  test_client connect_as(uid_t uid) const {
    ::chmod(path.c_str(), 0666);
    REQUIRE(::seteuid(uid) == 0);
    auto c = connect();
    REQUIRE(::seteuid(0) == 0);
    return c;
  }

  // Runs the loop until `holds`, for at most ten seconds.
  bool until(std::function<bool()> holds) {
    bool held_true = false;
    auto look = events->before_sleep([&] {
      if ((held_true = holds())) events->stop();
    });
    // The loop sleeps between two looks; what a client sees changes without it.
    std::optional<watch> tick;
    std::function<void()> again = [&] { tick = std::move(*events->at(loop::now() + 1ms, again)); };
    again();
    auto late = events->at(loop::now() + 10s, [&] { events->stop(); });
    events->run();
    return held_true;
  }

  // What `c` hears until there is all of `expected`.
  bool hears(test_client const& c, std::string expected) {
    std::string all;
    return until([&] { return (all += c.hear().bytes) == expected; });
  }
  bool sees_end(test_client const& c) {
    return until([&] { return c.is_over(); });
  }
};

constexpr auto never = 1h;

}  // namespace

TEST_CASE("a message is answered and its sender known") {
  server s;
  auto c = s.connect();
  c.say_message("hello");
  CHECK(s.hears(c, std::string("hello\0", 6)));
  CHECK(s.last_peer.uid == ::geteuid());
  CHECK(s.last_peer.gid == ::getegid());
  CHECK(s.last_peer.pid == ::getpid());
  std::vector<gid_t> groups(std::size_t(::getgroups(0, nullptr)));
  REQUIRE(::getgroups(int(groups.size()), groups.data()) >= 0);
  CHECK(s.last_peer.groups == groups);
  for (gid_t g : groups) CHECK(is_member(s.last_peer, g));
  CHECK_FALSE(is_member(s.last_peer, 987654));
  c.fd.reset();
  CHECK(s.until([&] { return s.gone.size() == 1; }));
  CHECK(s.gone[0] == s.last_id);
  CHECK(s.control->clients() == 0);
}

TEST_CASE("many supplementary groups are all seen") {
  if (!test::has_privileges()) return;
  std::vector<gid_t> before(std::size_t(::getgroups(0, nullptr)));
  REQUIRE(::getgroups(int(before.size()), before.data()) >= 0);
  std::vector<gid_t> many;
  for (gid_t g = 0; g < 500; ++g) many.push_back(10000 + g);
  REQUIRE(::setgroups(many.size(), many.data()) == 0);
  server s;
  auto c = s.connect();
  REQUIRE(::setgroups(before.size(), before.data()) == 0);
  c.say_message("hello");
  REQUIRE(s.until([&] { return !s.messages.empty(); }));
  CHECK(s.last_peer.groups.size() == 500);
  CHECK(is_member(s.last_peer, 10499));
}

TEST_CASE("the socket's file is its owner's, or also a group's") {
  scratch d;
  std::string path = d.path + "/s";
  auto first = listen_for_control(path, std::nullopt);
  REQUIRE(first);
  CHECK(look_at_socket_file(path)->access.mode == 0600);
  auto second = listen_for_control(path, ::getegid());
  REQUIRE(second);  // the file of the first one is replaced
  CHECK(look_at_socket_file(path)->access.mode == 0660);
  CHECK(look_at_socket_file(path)->access.group == ::getegid());
  CHECK((::fcntl(second->fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  first->file.remove();
  CHECK(std::filesystem::exists(path));
  second->file.remove();
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a file that is no socket is left alone") {
  scratch d;
  std::string path = d.path + "/precious";
  unique_fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK_FALSE(listen_for_control(path, std::nullopt));
  CHECK(std::filesystem::exists(path));
  CHECK_FALSE(listen_for_control(d.path + "/" + std::string(200, 'x'), std::nullopt));
}

TEST_CASE("messages may come in any pieces, and are answered in order") {
  server s;
  auto c = s.connect();
  for (char b : std::string("one\0two\0thr", 11)) {
    c.say({&b, 1});
    s.until([] { return true; });
  }
  c.say(std::string("ee\0", 3));
  CHECK(s.hears(c, std::string("one\0two\0three\0", 14)));
}

TEST_CASE("a second call waits until the first has its complete reply") {
  server s;
  auto c = s.connect();
  c.say(std::string("hold\0after\0", 11));
  REQUIRE(s.until([&] { return s.held.size() == 1; }));
  s.control->send(s.held[0], std::string("part\0", 5), reply_part::more_follow);
  CHECK(s.hears(c, std::string("part\0", 5)));
  CHECK(s.messages.size() == 1);
  s.control->send(s.held[0], std::string("last\0", 5));
  CHECK(s.hears(c, std::string("last\0after\0", 11)));
}

TEST_CASE("a message at the limit passes, one byte more is cut") {
  server s;
  std::string at_limit(64 * 1024, 'x');
  auto good = s.connect();
  good.say_message(at_limit);
  CHECK(s.hears(good, at_limit + '\0'));
  auto bad = s.connect();
  bad.say(at_limit + 'x');
  CHECK(s.sees_end(bad));
  CHECK(s.messages.size() == 1);
  CHECK(s.gone.empty());  // the program never heard of it
}

TEST_CASE("an endless message is cut and costs its limit") {
  server s;
  auto c = s.connect();
  ::fcntl(c.fd.get(), F_SETFL, O_NONBLOCK);
  std::string block(65536, 'x');
  std::size_t sent = 0;
  bool cut = s.until([&] {
    ssize_t n = ::send(c.fd.get(), block.data(), block.size(), MSG_NOSIGNAL);
    if (n > 0) sent += std::size_t(n);
    return n < 0 && errno != EAGAIN;
  });
  CHECK(cut);
  CHECK(sent < 2 * 1024 * 1024);  // what the kernel holds for both of us
}

TEST_CASE("close_after_send lets the reply out and takes nothing more") {
  server s;
  auto c = s.connect();
  c.say(std::string("bye\0never\0", 10));
  std::string all;
  CHECK(s.until([&] {
    auto h = c.hear();
    all += h.bytes;
    return h.over;
  }));
  CHECK(all == std::string("bye\0", 4));
  CHECK(s.messages.size() == 1);
  CHECK(s.gone.size() == 1);
}

TEST_CASE("who shuts its sending side still gets its reply") {
  server s;
  auto c = s.connect();
  c.say_message("hold");
  ::shutdown(c.fd.get(), SHUT_WR);
  REQUIRE(s.until([&] { return s.held.size() == 1; }));
  s.until([] { return true; });
  CHECK(s.gone.empty());
  s.control->send(s.held[0], std::string("late\0", 5));
  CHECK(s.hears(c, std::string("late\0", 5)));
  CHECK(s.sees_end(c));
}

TEST_CASE("a slow reader is cut off, and others are not held up") {
  server s({.unread_bytes = 100000});
  auto slow = s.connect();
  auto quick = s.connect();
  slow.say_message("hold");
  quick.say_message("hold");
  REQUIRE(s.until([&] { return s.held.size() == 2; }));
  std::string block(10000, 'x');
  std::size_t read = 0, sent = 0;
  bool slow_cut = s.until([&] {
    for (client_id id : s.held) s.control->send(id, block, reply_part::more_follow);
    sent += block.size();
    read += quick.hear().bytes.size();
    return !s.gone.empty() || sent > (64u << 20);
  });
  CHECK(slow_cut);
  CHECK(s.gone.size() == 1);
  CHECK(s.control->clients() == 1);
  CHECK(sent < (4u << 20));
  CHECK(s.until([&] { return (read += quick.hear().bytes.size()) == sent; }));
}

TEST_CASE("one reply may be larger than what may stay unread") {
  server s({.unread_bytes = 1000});
  auto c = s.connect();
  c.say_message("hold");
  REQUIRE(s.until([&] { return s.held.size() == 1; }));
  std::string large(3 << 20, 'x');
  s.control->send(s.held[0], large);
  CHECK(s.hears(c, large));
}

TEST_CASE("who says nothing, or only part of a message, is cut") {
  server s({.patience = 50ms});
  auto silent = s.connect();
  auto partial = s.connect();
  partial.say("hel");
  auto waiting = s.connect();
  waiting.say_message("hold");
  auto trickling = s.connect();
  bool over = false;
  CHECK(s.until([&] {
    over = over || ::send(trickling.fd.get(), "x", 1, MSG_NOSIGNAL) < 0;
    return over && silent.is_over() && partial.is_over();
  }));
  CHECK(s.control->clients() == 1);
  CHECK_FALSE(waiting.is_over());  // it waits for us
  s.control->send(s.held.at(0), std::string("done\0", 5));
  CHECK(s.hears(waiting, std::string("done\0", 5)));
  CHECK(s.sees_end(waiting));  // now it is its turn
}

TEST_CASE("who does not read its last reply does not stay for ever") {
  server s({.patience = 50ms});
  auto c = s.connect();
  c.say_message("hold");
  REQUIRE(s.until([&] { return s.held.size() == 1; }));
  s.control->send(s.held[0], std::string(4 << 20, 'x'), reply_part::more_follow);
  CHECK(s.until([&] { return s.control->clients() == 0; }));
}

TEST_CASE("a client that stuffs its input while it waits does not spin the loop") {
  server s({.patience = 50ms});
  auto c = s.connect();
  c.say_message("hold");
  ::fcntl(c.fd.get(), F_SETFL, O_NONBLOCK);
  std::string block(65536, 'x');
  while (::send(c.fd.get(), block.data(), block.size(), MSG_NOSIGNAL) > 0) {}
  REQUIRE(s.until([&] { return s.held.size() == 1; }));
  s.until([] { return true; });
  int rounds = 0;
  auto count = s.events->before_sleep([&] { ++rounds; });
  auto stop = s.events->at(loop::now() + 200ms, [&] { s.events->stop(); });
  s.events->run();
  CHECK(rounds < 50);
  c.fd.reset();  // noticed although nothing watches it
  CHECK(s.until([&] { return s.gone.size() == 1; }));
}

TEST_CASE("an idle client gives its place to a newcomer") {
  server s({.places = {.total = 8, .for_one_user = 4, .reserved = 2}, .patience = never});
  std::vector<test_client> idle;
  for (int i = 0; i < 100; ++i) {
    idle.push_back(s.connect());
    idle.back().say("part of a mess");
    REQUIRE(s.until([&] { return s.control->clients() == std::min<std::size_t>(idle.size(), 4); }));
  }
  auto abort = s.connect();
  abort.say_message("abort");
  CHECK(s.hears(abort, std::string("abort\0", 6)));
  CHECK(s.control->clients() <= 4);
}

TEST_CASE("an abort gets in though watchers fill every place") {
  server s({.places = {.total = 8, .for_one_user = 4, .reserved = 2}, .patience = never});
  std::vector<test_client> watchers;
  for (std::size_t i = 0; i < 4; ++i) {
    watchers.push_back(s.connect());
    watchers.back().say_message("hold");
    REQUIRE(s.until([&] { return s.held.size() == i + 1; }));
  }
  auto abort = s.connect();
  abort.say_message("abort");
  CHECK(s.hears(abort, std::string("abort\0", 6)));
  CHECK(s.gone == std::vector{s.held[0]});
}

TEST_CASE("strangers never take the places of root") {
  if (!test::has_privileges()) return;
  server s({.places = {.total = 6, .for_one_user = 2, .reserved = 2}, .patience = never});
  std::vector<test_client> strangers;
  for (uid_t uid : {1001, 1001, 1002, 1002}) {
    strangers.push_back(s.connect_as(uid));
    strangers.back().say_message("hold");
  }
  REQUIRE(s.until([&] { return s.held.size() == 4; }));
  auto turned_away = s.connect_as(1003);
  CHECK(s.hears(turned_away, std::string("no place\0", 9)));
  CHECK(turned_away.is_over());
  auto root = s.connect();
  root.say_message("abort");
  CHECK(s.hears(root, std::string("abort\0", 6)));
  CHECK(s.gone.empty());
}

TEST_CASE("without descriptors root still gets in, and nothing spins") {
  server s({.patience = never});
  auto first = s.connect();
  first.say_message("hold");
  REQUIRE(s.until([&] { return s.held.size() == 1; }));
  // Connect first: the limit is this process's, so it would refuse the client's own socket too.
  auto second = s.connect();
  second.say_message("abort");
  auto third = s.connect();
  third.say_message("late");
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit tight{.rlim_cur = 256, .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  std::vector<unique_fd> fill;
  for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) fill.emplace_back(fd);

  // Nothing is checked before there are descriptors again: sanitizers need some to look at what Catch does.
  bool spare_used = s.hears(second, std::string("abort\0", 6));
  bool idle_left = s.hears(third, std::string("late\0", 5)) && s.sees_end(second);
  third.say_message("hold");
  bool all_busy = s.until([&] { return s.held.size() == 2; });
  fill.pop_back();
  test_client fourth = s.connect();
  fourth.say_message("more");
  int rounds = 0;
  {
    auto count = s.events->before_sleep([&] { ++rounds; });
    auto stop = s.events->at(loop::now() + 200ms, [&] { s.events->stop(); });
    s.events->run();
  }
  bool fourth_waits = s.messages.back() == "hold";
  s.control->send(s.held[0], std::string("\0", 1));
  s.control->close_after_send(s.held[0]);
  bool fourth_gets_in = s.hears(fourth, std::string("more\0", 5));
  fill.clear();
  ::setrlimit(RLIMIT_NOFILE, &before);

  CHECK(spare_used);
  CHECK(idle_left);
  CHECK(all_busy);
  CHECK(rounds < 50);
  CHECK(fourth_waits);
  CHECK(fourth_gets_in);
}

TEST_CASE("clients come and go without leaving anything") {
  server s;
  auto count = [] { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); };
  auto one = [&](std::string const& text) {
    auto c = s.connect();
    c.say_message(text);
    REQUIRE(s.hears(c, text + '\0'));
    c.fd.reset();
    REQUIRE(s.until([&] { return s.control->clients() == 0; }));
  };
  one("first");
  auto before = count();
  for (int i = 0; i < 500; ++i) one(std::to_string(i));
  CHECK(count() == before);
}

TEST_CASE("who gets a place when places are short") {
  constexpr uid_t us = 900;
  control_places const places{.total = 6, .for_one_user = 3, .reserved = 2};
  auto place = [](unsigned id, uid_t uid, bool busy, int since) {
    return taken_place{client_id{id}, uid, busy, instant(duration(since))};
  };
  using crowd = std::vector<taken_place>;
  auto admitted = [](unsigned evicted) {
    return admission{true, evicted ? std::optional(client_id{evicted}) : std::nullopt};
  };
  auto [says, taken, uid, expected] = GENERATE_REF(table<char const*, crowd, uid_t, admission>({
      {"the first one is let in", {}, 7, admitted(0)},
      {"the last of a user's share is let in", {place(1, 7, true, 1), place(2, 7, true, 2)}, 7, admitted(0)},
      {"beyond its share a user replaces its own longest idle one",
       {place(1, 7, true, 1), place(2, 7, false, 9), place(3, 7, false, 5)},
       7,
       admitted(3)},
      {"beyond its share a busy user is refused",
       {place(1, 7, true, 1), place(2, 7, true, 2), place(3, 7, true, 3)},
       7,
       admission{}},
      {"beyond its share root ends its oldest call",
       {place(1, 0, true, 4), place(2, 0, true, 2), place(3, 0, true, 3)},
       0,
       admitted(2)},
      {"so does our own user",
       {place(1, us, true, 4), place(2, us, true, 2), place(3, us, true, 3)},
       us,
       admitted(2)},
      {"reserved places are not for strangers",
       {place(1, 7, true, 1), place(2, 7, true, 2), place(3, 8, false, 3), place(4, 8, true, 4)},
       9,
       admission{}},
      {"a stranger may still replace its own",
       {place(1, 7, true, 1), place(2, 7, true, 2), place(3, 8, false, 3), place(4, 8, true, 4)},
       8,
       admitted(3)},
      {"reserved places are for root",
       {place(1, 7, true, 1), place(2, 7, true, 2), place(3, 8, false, 3), place(4, 8, true, 4)},
       0,
       admitted(0)},
      {"when all is full root replaces whoever is idle",
       {place(1, 7, true, 1), place(2, 7, true, 2), place(3, 8, true, 3), place(4, 8, false, 4),
        place(5, us, true, 5), place(6, us, false, 6)},
       0,
       admitted(4)},
      {"root ends a call rather than turn out who came just now",
       {place(1, 0, true, 4), place(2, 0, false, 99999), place(3, 0, true, 3)},
       0,
       admitted(3)},
      {"but turns out the first of these when there is nobody else",
       {place(1, 0, false, 99998), place(2, 0, false, 99997), place(3, 0, false, 99999)},
       0,
       admitted(2)},
      {"a stranger turns out its own newcomer",
       {place(1, 7, true, 4), place(2, 7, false, 99999), place(3, 7, true, 3)},
       7,
       admitted(2)},
      {"when all is full and busy root ends the oldest call",
       {place(1, 7, true, 3), place(2, 7, true, 2), place(3, 8, true, 3), place(4, 8, true, 4),
        place(5, us, true, 1), place(6, us, true, 6)},
       0,
       admitted(5)},
  }));
  CAPTURE(says);
  CHECK(admit(places, taken, uid, us, instant(duration(100000))) == expected);
}
