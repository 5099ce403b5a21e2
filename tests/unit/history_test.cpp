#include <app/history.hpp>
#include <app/records.hpp>

#include <catch2/catch.hpp>

using namespace handoff;

namespace {

constexpr char const* noon = "2024-05-06T12:00:00Z";

ended_rollout promoted(std::uint32_t n) {
  return {.number = rollout_number{n},
          .generation = generation_number{n},
          .cause = "HUP",
          .stage = "baking",
          .started = noon,
          .seconds = 1.5};
}

ended_rollout died(std::uint32_t n) {
  return {.number = rollout_number{n},
          .cause = "HUP",
          .verdict = {verdict_kind::rolled_back, "supervisor died"},
          .started = noon};
}

std::vector<ended_rollout> entries(std::string const& text) {
  history h = history::read(text);
  return {h.all().begin(), h.all().end()};
}

std::size_t bytes_of_a_reply(history const& h) {
  json records = json::array();
  for (auto const& e : h.all()) records.push_back(to_record(e));
  return records.dump().size();
}

}  // namespace

TEST_CASE("the history reads what it wrote", "[history]") {
  ended_rollout failed = promoted(2);
  failed.verdict = {verdict_kind::rolled_back, "exited 1 before ready"};
  failed.output = {"loading \"it\"", "",
                   "gl\xc3\xbc"
                   "ck"};
  history h;
  std::string text = h.end(promoted(1));
  text += h.end(failed);
  CHECK(entries(text) == std::vector{promoted(1), failed});
  CHECK(h.to_text() == text);
  CHECK(history::read(text).last_number() == rollout_number{2});
  CHECK(history().last_number() == rollout_number{});
}

TEST_CASE("a rollout that nothing follows in the text was ended by the death of the supervisor",
          "[history]") {
  history h;
  std::string text = h.end(promoted(1));
  text += *h.begin(rollout_number{2}, "HUP", noon);
  CHECK(h.all().size() == 1);
  CHECK(entries(text) == std::vector{promoted(1), died(2)});
  CHECK(entries(h.to_text()) == std::vector{promoted(1), died(2)});
  CHECK(history::read(text).last_number() == rollout_number{2});

  SECTION("it is told once, though it waits before it starts") {
    CHECK_FALSE(h.begin(rollout_number{2}, "HUP", noon));
  }
  SECTION("the one that waits for it is told as well, and the verdicts replace both in their places") {
    text += *h.begin(rollout_number{3}, "HUP", noon);
    text += h.end(promoted(2));
    CHECK(entries(text) == std::vector{promoted(1), promoted(2), died(3)});
    text += h.end(promoted(3));
    CHECK(entries(text) == std::vector{promoted(1), promoted(2), promoted(3)});
    CHECK(h.to_text() == history::read(text).to_text());
  }
}

TEST_CASE("lines that are none are left out of the history", "[history]") {
  history h;
  std::string first = h.end(promoted(1));
  std::string second = h.end(promoted(2));
  std::string broken =
      GENERATE_COPY(std::string("\n"), std::string("nonsense\n"), std::string("[]\n"),
                    std::string("{\"verdict\":\"promoted\"}\n"), first.substr(0, first.size() / 2) + "\n");
  CHECK(entries(first + broken + second) == std::vector{promoted(1), promoted(2)});
  CHECK(entries(first + second + first.substr(0, first.size() / 2)) == std::vector{promoted(1), promoted(2)});
}

TEST_CASE("the history keeps the newest entries, and who is under way", "[history]") {
  history h;
  (void)h.begin(rollout_number{1'000}, "HUP", noon);
  for (std::uint32_t n = 1; n <= history::kept + 7; ++n) (void)h.end(promoted(n));
  CHECK(h.all().size() == history::kept);
  CHECK(h.all().front() == promoted(8));
  CHECK(h.last_number() == rollout_number{history::kept + 7});
  CHECK(entries(h.to_text()).back() == died(1'000));
}

TEST_CASE("all entries fit into one reply, however long their output and reasons are", "[history]") {
  ended_rollout talkative = promoted(1);
  talkative.verdict = {verdict_kind::refused, std::string(100'000, '"')};
  char filling = GENERATE('x', '"', '\\');
  for (int i = 0; i < 20; ++i)
    talkative.output.push_back("line " + std::to_string(i) + std::string(1'000, filling));
  history h;
  for (std::uint32_t n = 1; n <= history::kept; ++n) {
    talkative.number = rollout_number{n};
    (void)h.end(talkative);
  }
  CHECK(bytes_of_a_reply(h) < 700'000);
  REQUIRE_FALSE(h.last()->output.empty());
  CHECK(h.last()->output.size() < 20);
  CHECK(h.last()->output.back() == talkative.output.back());
  CHECK(history::read(h.to_text()).all() == h.all());
}

TEST_CASE("entries that are too long in the text are cut when they are read", "[history]") {
  ended_rollout talkative = promoted(1);
  for (int i = 0; i < 5'000; ++i) talkative.output.push_back("");
  history h = history::read(to_record(talkative).dump() + "\n");
  REQUIRE(h.last() != nullptr);
  CHECK(to_record(*h.last())["output"].dump().size() <= history::output_bytes + 1);
}
