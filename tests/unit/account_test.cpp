#include <os/account.hpp>

#include <catch2/catch.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

using namespace handoff;

namespace {

std::vector<std::string> const none;

}  // namespace

TEST_CASE("names and numbers of users and groups become numbers") {
  auto nobody = resolve_account("nobody", "", none).value();
  CHECK(nobody.user == 65534U);
  CHECK(nobody.group == 65534U);
  CHECK(nobody.groups == std::vector<std::uint32_t>{65534});
  CHECK(nobody.name == "nobody");
  CHECK(nobody.home == "/nonexistent");

  auto by_number = resolve_account("65534", "", none).value();
  CHECK(by_number.user == nobody.user);
  CHECK(by_number.groups == nobody.groups);
  CHECK(by_number.name == "nobody");

  auto stranger = resolve_account("4711", "4712", none).value();
  CHECK(stranger.user == 4711U);
  CHECK(stranger.group == 4712U);
  CHECK(stranger.groups.empty());
  CHECK(stranger.name.empty());
}

TEST_CASE("supplementary groups are the user's and the named ones, once each") {
  auto made =
      resolve_account("nobody", "daemon", std::vector<std::string>{"tty", "daemon", "4711", "tty"}).value();
  CHECK(made.group == 1U);
  CHECK(std::ranges::is_sorted(made.groups));
  for (std::uint32_t group : {1U, 5U, 4711U}) CHECK(std::ranges::count(made.groups, group) == 1);
}

TEST_CASE("nothing named is nothing changed") {
  auto made = resolve_account("", "", none).value();
  CHECK_FALSE(made.user);
  CHECK_FALSE(made.group);
  auto only_group = resolve_account("", "daemon", none).value();
  CHECK_FALSE(only_group.user);
  CHECK(only_group.group == 1U);
  // Supplementary groups need a user to go with: ours.
  auto ours = resolve_account("", "", std::vector<std::string>{"tty"}).value();
  CHECK(ours.user == ::getuid());
  CHECK(std::ranges::count(ours.groups, 5U) == 1);
}

TEST_CASE("who does not exist is refused by name") {
  auto message = [](auto const& refused) {
    REQUIRE_FALSE(refused);
    return refused.error().message();
  };
  CHECK(message(resolve_account("no-such-user", "", none)) == "there is no user 'no-such-user'");
  CHECK(message(resolve_account("nobody", "no-such-group", none)) == "there is no group 'no-such-group'");
  CHECK(message(resolve_account("4711", "", none)) == "user 4711 has no entry, so a group must be named");
  CHECK(message(resolve_account("4294967295", "1", none)) == "there is no user '4294967295'");
  CHECK(message(resolve_account("-1", "1", none)) == "there is no user '-1'");
  CHECK(message(resolve_account("nobody", "", std::vector<std::string>{"no-such-group"})) ==
        "there is no group 'no-such-group'");
}

TEST_CASE("an unprivileged supervisor may name the user that it is") {
  pid_t pid = ::fork();
  if (pid == 0) {
    if (::getuid() == 0 && (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0))
      ::_exit(9);
    auto made = resolve_account(std::to_string(::getuid()), "", none);
    ::_exit(made && !made->user && !made->group && made->groups.empty() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);
}
