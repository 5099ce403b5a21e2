// Pages of metrics: what is read of them, and what is refused.
#include "repeated.hpp"

#include <catch2/catch.hpp>
#include <probe/exposition.hpp>

#include <cmath>

using namespace handoff;
using namespace handoff::probe;
using handoff::test::repeated;

namespace {

std::vector<sample> samples_of(std::string const& page) {
  std::vector<sample> all;
  auto read = read_exposition(page, [&](sample const& s) { all.push_back(s); });
  INFO(page);
  INFO((read ? "" : read.error().message()));
  REQUIRE(read);
  return all;
}

std::string objection(std::string const& page) {
  auto read = read_exposition(page, [](sample const&) {});
  return read ? "" : read.error().message();
}

double value_of(std::string const& text) {
  auto all = samples_of("x " + text + "\n");
  REQUIRE(all.size() == 1);
  return all[0].value;
}

}  // namespace

TEST_CASE("a line of a page is a name, labels and a value", "[exposition]") {
  struct {
    char const* says;
    std::string line;
    std::vector<series_label> labels;
    double value;
  } const cases[] = {
      {"the smallest", "x 1", {}, 1},
      {"no label", "x{} 1", {}, 1},
      {"labels", "x{a=\"b\",c_1=\"\"} 2.5", {{"a", "b"}, {"c_1", ""}}, 2.5},
      {"a comma at the end", "x{a=\"b\",} 1", {{"a", "b"}}, 1},
      {"blanks and tabs", " \tx { a = \"b\" , c = \"d\" }\t 1 \t", {{"a", "b"}, {"c", "d"}}, 1},
      {"no blank before the value", "x{a=\"b\"}1", {{"a", "b"}}, 1},
      {"escapes", "x{a=\"\\\\ \\\" \\n \\t\"} 1", {{"a", "\\ \" \n \\t"}}, 1},
      {"brackets and commas in a text", "x{a=\"},{\"} 1", {{"a", "},{"}}, 1},
      {"bytes of all kinds", "x{a=\"\xC3\xA9\xFF\"} 1", {{"a", "\xC3\xA9\xFF"}}, 1},
      {"a time in milliseconds", "x 1 1700000000000", {}, 1},
      {"a time in seconds", "x 1 1700000000.5", {}, 1},
      {"an exemplar", "x_bucket{le=\"1\"} 3 # {trace=\"a b\"} 0.5 1700000000.5", {{"le", "1"}}, 3},
      {"a time and an exemplar", "x 1 17 # {} 0.5", {}, 1},
  };
  for (auto const& c : cases) {
    INFO(c.says);
    auto all = samples_of(c.line + "\n");
    REQUIRE(all.size() == 1);
    CHECK(all[0].labels == c.labels);
    CHECK(all[0].value == c.value);
  }
}

TEST_CASE("values are those of strtod and Go", "[exposition]") {
  CHECK(value_of("+1.5e3") == 1500);
  CHECK(value_of("-0.25") == -0.25);
  CHECK(value_of(".5") == 0.5);
  CHECK(value_of("+Inf") == INFINITY);
  CHECK(value_of("-Inf") == -INFINITY);
  CHECK(std::isnan(value_of("NaN")));
}

TEST_CASE("comments and empty lines say nothing", "[exposition]") {
  CHECK(samples_of("").empty());
  CHECK(samples_of("\n \n#\n# HELP x Some {\"words\"\n# TYPE x counter\n# EOF\n").empty());
  auto all = samples_of("# TYPE x counter\nx 1\n\n# a word\ny 2\n# EOF\n");
  REQUIRE(all.size() == 2);
  CHECK(all[1].name == "y");
}

TEST_CASE("what is no page is told by its line", "[exposition]") {
  auto [page, message] = GENERATE(table<std::string, std::string>({
      {"<html>\n", "line 1: expected the name of a metric, found '<html>'"},
      {"x 1\n{\"a\": 1}\n", "line 2: expected the name of a metric, found '{\"a\": 1}'"},
      {"x\n", "line 1: expected a value, found the end of the line"},
      {"x one\n", "line 1: expected a value, found 'one'"},
      {"x 1one\n", "expected a value, found '1one'"},
      {"x +-1\n", "expected a value, found '+-1'"},
      {"x 1 soon\n", "expected a time, or the end of the line, found 'soon'"},
      {"x 1 2 3\n", "expected the end of the line, found '3'"},
      {"x 1\r\n", "expected a value, found '1\r'"},
      {"x{a} 1\n", "expected '=', found '} 1'"},
      {"x{a=b} 1\n", "expected '\"', found 'b} 1'"},
      {"x{a=\"b} 1\n", "expected '\"', found the end of the line"},
      {"x{a=\"b\"\n", "expected ',' or '}', found the end of the line"},
      {"x{1=\"b\"} 1\n", "expected the name of a label, found '=\"b\"} 1'"},
      {"x 1\nx 12", "line 2: it has no end: the page was cut off"},
  }));
  CAPTURE(page);
  CHECK_THAT(objection(page), Catch::Contains(message));
}

TEST_CASE("a page is bounded, at each limit and one past it", "[exposition]") {
  auto labels = [](std::size_t count) { return "x{" + repeated("a=\"\",", count) + "} 1\n"; };
  auto value = [](std::size_t bytes) { return "x{a=\"" + std::string(bytes, 'v') + "\"} 1\n"; };
  auto line = [](std::size_t bytes) { return "#" + std::string(bytes - 1, 'h') + "\n"; };
  CHECK(objection(labels(most_labels)) == "");
  CHECK_THAT(objection(labels(most_labels + 1)), Catch::Contains("more than 64 labels"));
  CHECK(objection(value(most_value_bytes)) == "");
  CHECK_THAT(objection(value(most_value_bytes + 1)), Catch::Contains("more than 4096 bytes"));
  CHECK(objection(line(most_line_bytes)) == "");
  CHECK_THAT(objection(line(most_line_bytes + 1)), Catch::Contains("line 1: it is too long"));
  CHECK(objection(std::string(most_page_bytes, '\n')) == "");
  CHECK_THAT(objection(std::string(most_page_bytes + 1, '\n')), Catch::Contains("larger than 8 MiB"));
}

TEST_CASE("all series that a selector matches are added up", "[exposition]") {
  std::string page =
      "hits{code=\"200\",path=\"/\"} 90\nhits{code=\"500\"} 3\nhits{code=\"503\"} 4\nother 7\n";
  std::vector<series_selector> selectors;
  for (auto text : {"hits", "hits{code=~\"5..\"}", "hits{code=\"404\"}", "missing"})
    selectors.push_back(*series_selector::parse(text));
  auto found = add_up(page, selectors);
  REQUIRE(found);
  CHECK(*found == sums{97, 7, std::nullopt, std::nullopt});
}
