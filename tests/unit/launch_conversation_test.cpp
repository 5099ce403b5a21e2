// The launcher's end of the conversation, against a sender that does not keep to it.
#include "launching.hpp"

#include <os/launch_conversation.hpp>

#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <optional>

using namespace handoff;
using namespace handoff::testing;
namespace talk = handoff::launch_conversation;

namespace {

// A conversation written by hand: each message as bytes and descriptors.
class liar {
 public:
  liar() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
    ours_ = unique_fd(ends[0]);
    theirs_ = unique_fd(ends[1]);
  }

  template <class Payload>
  void say(Payload const& payload, std::vector<int> const& descriptors, std::size_t size = sizeof(Payload)) {
    std::array<Payload, 2> padded{payload, payload};
    iovec data{.iov_base = padded.data(), .iov_len = size};
    alignas(cmsghdr) std::array<std::byte, 2048> control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
    }
    REQUIRE(::sendmsg(ours_.get(), &message, 0) == static_cast<ssize_t>(size));
  }

  // Starts the launcher on what was said; its report, and that it ended with 127.
  std::string hear() {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, theirs_.get(), talk::channel);
    std::string name = launcher_path;
    std::array<char*, 2> arguments{name.data(), nullptr};
    pid_t pid = -1;
    REQUIRE(::posix_spawn(&pid, name.c_str(), &actions, nullptr, arguments.data(), environ) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
    theirs_.reset();
    REQUIRE(becomes_readable(ours_.get()));
    auto report = read_launch_report(ours_.get());
    siginfo_t ended{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED) == 0);
    CHECK(ended.si_status == 127);
    REQUIRE(report);
    REQUIRE(report->progress == launch_progress::failed);
    return describe_launch_failure(report->stage, report->error_number);
  }

 private:
  unique_fd ours_, theirs_;
};

unique_fd memory_of(std::vector<std::byte> const& bytes, int seals) {
  unique_fd memory(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(::write(memory.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  REQUIRE(::fcntl(memory.get(), F_ADD_SEALS, seals) == 0);
  return memory;
}

constexpr int all_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
constexpr talk::opening opening{.magic = talk::magic, .version = talk::version, .listeners = 0, .special = 0};

std::vector<std::byte> bytes_for(std::uint32_t listeners) {
  launch_spec spec = spec_for(describe_process);
  spec.listeners = listeners;
  return encode_launch(spec).value();
}

unique_fd good_spec(std::uint32_t listeners = 0) { return memory_of(bytes_for(listeners), all_seals); }

std::string const garbled = "conversation: EBADMSG (Bad message)";
std::string const other_version = "conversation: EPROTONOSUPPORT (Protocol not supported)";

talk::opening with_listeners(std::uint32_t count) {
  talk::opening changed = opening;
  changed.listeners = count;
  return changed;
}

}  // namespace

TEST_CASE("the launcher refuses an opening that is not as agreed") {
  liar sender;
  auto spec = good_spec();
  std::vector<int> just_spec{spec.get()};
  talk::opening changed = opening;
  SECTION("silence") { CHECK(sender.hear() == garbled); }
  SECTION("a message too short") {
    sender.say(opening, just_spec, sizeof opening - 1);
    CHECK(sender.hear() == garbled);
  }
  SECTION("a message too long") {
    sender.say(opening, just_spec, sizeof opening + 1);
    CHECK(sender.hear() == garbled);
  }
  SECTION("another magic") {
    changed.magic++;
    sender.say(changed, just_spec);
    CHECK(sender.hear() == garbled);
  }
  SECTION("another version") {
    changed.version++;
    sender.say(changed, just_spec);
    CHECK(sender.hear() == other_version);
  }
  SECTION("too many listeners") {
    sender.say(with_listeners(talk::most_listeners + 1), just_spec);
    CHECK(sender.hear() == garbled);
  }
  SECTION("no spec") {
    sender.say(opening, {});
    CHECK(sender.hear() == garbled);
  }
  SECTION("a special descriptor that was not announced") {
    sender.say(opening, {spec.get(), spec.get()});
    CHECK(sender.hear() == garbled);
  }
  SECTION("a special descriptor that did not come") {
    changed.special = talk::has_output;
    sender.say(changed, just_spec);
    CHECK(sender.hear() == garbled);
  }
  SECTION("more descriptors than any opening has") {
    sender.say(opening, std::vector<int>(100, spec.get()));
    CHECK(sender.hear() == garbled);
  }
}

TEST_CASE("the launcher refuses a spec that is not as agreed") {
  liar sender;
  auto hear_about = [&](unique_fd const& spec, talk::opening const& first = opening) {
    sender.say(first, {spec.get()});
    return sender.hear();
  };
  auto bytes = bytes_for(0);
  SECTION("one that could still change") {
    CHECK(hear_about(memory_of(bytes, F_SEAL_SHRINK | F_SEAL_GROW)) == garbled);
  }
  SECTION("one that is no memory at all") { CHECK(hear_about(make_pipe().read_end) == garbled); }
  SECTION("an empty one") { CHECK(hear_about(memory_of({}, all_seals)) == garbled); }
  SECTION("a garbled one") {
    bytes[0] = std::byte{0};
    CHECK(hear_about(memory_of(bytes, all_seals)) == garbled);
  }
  SECTION("another version") {
    bytes[4] = std::byte{200};
    CHECK(hear_about(memory_of(bytes, all_seals)) == other_version);
  }
  SECTION("one too large") {
    bytes.resize(launch_bound::bytes + 1);
    CHECK(hear_about(memory_of(bytes, all_seals)) == garbled);
  }
  SECTION("one that speaks of other descriptors than came") { CHECK(hear_about(good_spec(1)) == garbled); }
}

TEST_CASE("the launcher refuses listeners that are not as agreed") {
  liar sender;
  auto spec = good_spec(2);
  int fd = spec.get();
  sender.say(with_listeners(2), {fd});
  SECTION("none of them") {}
  SECTION("not all of them") { sender.say(talk::batch{talk::magic, 0, 1}, {fd}); }
  SECTION("a batch without descriptors") { sender.say(talk::batch{talk::magic, 0, 0}, {}); }
  SECTION("a batch that counts wrong") { sender.say(talk::batch{talk::magic, 0, 2}, {fd}); }
  SECTION("a batch that begins elsewhere") { sender.say(talk::batch{talk::magic, 1, 2}, {fd, fd}); }
  SECTION("more than announced") { sender.say(talk::batch{talk::magic, 0, 3}, {fd, fd, fd}); }
  SECTION("another magic") { sender.say(talk::batch{0, 0, 2}, {fd, fd}); }
  CHECK(sender.hear() == garbled);
}

TEST_CASE("descriptors that do not fit into the launcher's limit are told as such") {
  liar sender;
  auto spec = good_spec(50);
  sender.say(with_listeners(50), {spec.get()});
  sender.say(talk::batch{talk::magic, 0, 50}, std::vector<int>(50, spec.get()));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit tight{.rlim_cur = 30, .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  std::string told = sender.hear();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(told == "conversation: EMFILE (Too many open files)");
}

TEST_CASE("a report that makes no sense is an error, not a success") {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
  unique_fd ours(ends[0]);
  unique_fd theirs(ends[1]);
  CHECK(read_launch_report(ours.get()).value().progress == launch_progress::running);
  REQUIRE(::send(theirs.get(), "nonsense", 8, 0) == 8);
  CHECK_FALSE(read_launch_report(ours.get()));
  theirs.reset();
  CHECK(read_launch_report(ours.get()).value().progress == launch_progress::executed);
}
