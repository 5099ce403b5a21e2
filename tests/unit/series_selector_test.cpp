// Selectors of series: what they choose, and what is wrong with one.
#include "repeated.hpp"

#include <wire/series_selector.hpp>

#include <catch2/catch.hpp>

using namespace handoff;
using handoff::test::repeated;

namespace {

std::string objection(std::string const& text) {
  auto read = series_selector::parse(text);
  return read ? "" : read.error().message();
}

}  // namespace

TEST_CASE("a selector chooses by name and labels", "[selector]") {
  std::vector<series_label> const labels{{"code", "503"}, {"path", "/a\"b\\c\nd"}, {"empty", ""}};
  auto [says, text, chosen] = GENERATE(table<char const*, std::string, bool>({
      {"the name alone", "hits", true},
      {"another name", "hit", false},
      {"no matcher", "hits{}", true},
      {"blanks everywhere", " hits { code = \"503\" , } ", true},
      {"equal", "hits{code=\"503\"}", true},
      {"not equal", "hits{code!=\"503\"}", false},
      {"like", "hits{code=~\"5..\"}", true},
      {"all of the value is meant", "hits{code=~\"5\"}", false},
      {"not like", "hits{code!~\"[1-4].*\"}", true},
      {"one of two", "hits{code=~\"502|503\"}", true},
      {"a class, escaped for the quotes", "hits{code=~\"5\\\\d+\"}", true},
      {"a class between backticks", "hits{code=~`5\\d+`}", true},
      {"single quotes", "hits{code='503'}", true},
      {"escapes", "hits{path=\"/a\\\"b\\\\c\\nd\"}", true},
      {"counted", "hits{code=~\"[05]{2,3}3|a{1},12345\"}", true},
      {"both must hold", "hits{code=\"503\", path=\"/\"}", false},
      {"what is not there is empty", "hits{method=\"\"}", true},
      {"and may match", "hits{method=~\"GET|\"}", true},
      {"or not", "hits{method!=\"\"}", false},
      {"empty is as if it was not there", "hits{empty!=\"\"}", false},
  }));
  CAPTURE(says);
  auto read = series_selector::parse(text);
  REQUIRE(read);
  CHECK(read->matches("hits", labels) == chosen);
}

TEST_CASE("a mistake in a selector says what was expected, and behind what", "[selector]") {
  auto [text, message] = GENERATE(table<std::string, std::string>({
      {"", "expected the name of a metric, and there it ends"},
      {"5xx", "expected the name of a metric, found '5xx'"},
      {"{code=\"5\"}", "expected the name of a metric, found '{code=\"5\"}'"},
      {"hits total", "expected '{', or nothing more, behind 'hits ', found 'total'"},
      {"hits{code=\"5\"}[5m]", "expected nothing more behind 'hits{code=\"5\"}', found '[5m]'"},
      {"hits{", "expected the name of a label behind 'hits{', and there it ends"},
      {"hits{a:b=\"\"}", "expected the name of a label behind 'hits{', found 'a:b=\"\"}'"},
      {"hits{code}", "expected =, !=, =~ or !~ behind 'hits{code', found '}'"},
      {"hits{code!\"5\"}", "expected =, !=, =~ or !~ behind 'hits{code', found '!\"5\"}'"},
      {"hits{code=5}", "expected a text in quotes behind 'hits{code=', found '5}'"},
      {"hits{code=\"5}", "expected the end of the text, \", behind 'hits{code=\"5}', and there it ends"},
      {"hits{code=\"\\d\"}", "expected one of \\ \" ' n r t behind 'hits{code=\"\\', found 'd\"}'"},
      {"hits{code=\"5\" a=\"b\"}", "expected ',' or '}' behind 'hits{code=\"5\" ', found 'a=\"b\"}'"},
      {"hits{code=~\"5(\"}",
       "expected a regular expression, found '\"5(\"': a '(', ')', '*', '+' or '?' without "
       "what belongs to it"},
      {"hits{code=~\"[5\"}", "expected a regular expression, found '\"[5\"': a '[' without its ']'"},
      {"hits{code=~\"*\"}", "a '(', ')', '*', '+' or '?' without what belongs to it"},
      {"hits{code=~`(.)\\1`}", "back references are not supported"},
      {"hits{code=~`\\\\(.)\\44444444444444444444`}", "back references are not supported"},
      {"hits{code=~\"((.{1000}){1000}){1000}\"}", "it is too large"},
      {"hits{code=~\"5{44444444444444444444}\"}", "it is too large"},
      {"hits{code=~\"5{1,44444444444444444444}\"}", "it is too large"},
  }));
  CAPTURE(text);
  CHECK_THAT(objection(text), Catch::Contains(message));
}

TEST_CASE("a selector is bounded", "[selector]") {
  auto many = [](std::size_t count) { return "hits{" + repeated("a=\"\",", count) + "}"; };
  CHECK(objection(many(limit::matchers)) == "");
  CHECK(objection(many(limit::matchers + 1)) == "must not have more than 16 matchers");
  CHECK(objection(std::string(limit::selector, 'a')) == "");
  CHECK(objection(std::string(limit::selector + 1, 'a')) == "must not have more than 1024 bytes");
}

TEST_CASE("a pattern takes no time for a text that is made to take it", "[selector]") {
  auto pattern = text_pattern::compile("(a*)*(a|aa)*b");
  REQUIRE(pattern);
  CHECK_FALSE(pattern->matches(std::string(2'000, 'a')));
  CHECK(pattern->matches("aab"));
}
