#include <wire/listen_environment.hpp>

#include <catch2/catch.hpp>

using namespace handoff;

TEST_CASE("listeners are told as sd_listen_fds(3) has it") {
  std::vector<std::string> names{"http", "https", "http"};
  CHECK(listen_environment(names) ==
        std::vector<std::string>{"LISTEN_FDS=3", "LISTEN_FDNAMES=http:https:http"});
  CHECK(listen_environment({}).empty());
}

TEST_CASE("descriptor numbers take the place of names") {
  std::vector<std::string> names{"http", "admin", "http", "fd:x"};
  auto [says, text, expected] = GENERATE(table<char const*, char const*, char const*>({
      {"alone", "{fd:http}", "3"},
      {"inside", "fd://{fd:admin}/", "fd://4/"},
      {"more than once", "{fd:http},{fd:admin},{fd:http}", "3,4,3"},
      {"text without any stays", "--listen", "--listen"},
      {"nothing stays nothing", "", ""},
      {"other braces stay", "{\"a\": {}} ${X} {fd} {FD:http}", "{\"a\": {}} ${X} {fd} {FD:http}"},
      {"one that never ends stays", "x{fd:http", "x{fd:http"},
      {"braces around it stay", "{{fd:http}}", "{3}"},
      {"a name may look like one", "{fd:fd:x}", "6"},
  }));
  CAPTURE(says);
  auto replaced = with_descriptor_numbers(text, names);
  REQUIRE(replaced);
  CHECK(*replaced == expected);
}

TEST_CASE("a name that no listener has is an error") {
  std::vector<std::string> names{"http"};
  auto text = GENERATE("{fd:https}", "{fd:}", "{fd:http}{fd:Http}");
  CHECK_FALSE(with_descriptor_numbers(text, names));
  CHECK(with_descriptor_numbers("{fd:web}", names).error().message() == "{fd:web} names no listener");
}

TEST_CASE("names of descriptors") {
  CHECK(is_descriptor_name("http"));
  CHECK(is_descriptor_name("a b~"));
  CHECK(is_descriptor_name(std::string(255, 'x')));
  CHECK_FALSE(is_descriptor_name(std::string(256, 'x')));
  auto bad = GENERATE("", "a:b", "a\nb", "a\x7F", "\xC3\xBC");
  CAPTURE(bad);
  CHECK_FALSE(is_descriptor_name(bad));
}
