#include "full_snapshot.hpp"

#include <wire/cbor_bounds.hpp>
#include <wire/completeness.hpp>
#include <wire/snapshot.hpp>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <map>
#include <set>

using namespace handoff;
using json = nlohmann::json;
using Catch::Matchers::Contains;

namespace {

std::string encoded(snapshot const& s) {
  auto bytes = encode_snapshot(s);
  REQUIRE(bytes);
  return *bytes;
}

std::string to_bytes(json const& whole) {
  std::string bytes;
  json::to_cbor(whole, bytes);
  return bytes;
}

json full_tree() { return json::from_cbor(encoded(full_snapshot())); }

std::string refusal(std::string_view bytes) {
  auto read = decode_snapshot(bytes);
  return read ? "" : read.error().message();
}

// Places in the tree, and without the positions in lists: of what they are.
struct place {
  json::json_pointer where;
  std::string of;
};

void collect(json const& tree, place const& here, std::vector<place>& into) {
  if (here.where != json::json_pointer()) into.push_back(here);
  if (tree.is_object())
    for (auto const& [key, value] : tree.items())
      collect(value, {here.where / key, here.of + "/" + key}, into);
  if (tree.is_array())
    for (std::size_t i = 0; i < tree.size(); ++i) collect(tree[i], {here.where / i, here.of + "/*"}, into);
}

std::vector<place> places_in(json const& tree) {
  std::vector<place> all;
  collect(tree, {json::json_pointer(), ""}, all);
  return all;
}

// What decodes is a snapshot like any other; all else is refused in words.
void check_soundness(std::string const& bytes) {
  auto read = decode_snapshot(bytes);
  if (!read) {
    CHECK(!read.error().message().empty());
    return;
  }
  auto again = encoded(*read);
  auto reread = decode_snapshot(again);
  REQUIRE(reread);
  CHECK(encoded(*reread) == again);
}

}  // namespace

TEST_CASE("a snapshot arrives as it was written") {
  auto bytes = encoded(full_snapshot());
  auto read = decode_snapshot(bytes);
  INFO(refusal(bytes));
  REQUIRE(read);
  CHECK(encoded(*read) == bytes);
  CHECK(encoded(decode_snapshot(encoded({})).value()) == encoded({}));
}

// Each member is written (or it would not compile), and here that each is read: without it, something else
// comes out. So no member of full_snapshot() may have its default everywhere.
TEST_CASE("what a snapshot lacks keeps its default") {
  json const whole = full_tree();
  auto bytes = encoded(full_snapshot());
  std::map<std::string, bool> matters;
  for (auto const& p : places_in(whole["content"])) {
    bool is_member = !p.of.ends_with("*") && !p.of.starts_with("/descriptors/");
    if (!is_member || matters[p.of]) continue;
    json without = whole;
    without["content"].at(p.where.parent_pointer()).erase(p.where.back());
    auto read = decode_snapshot(to_bytes(without));
    INFO(p.where.to_string() << (read ? "" : ": " + read.error().message()));
    bool is_one_of_several = p.of.contains("/plan/*/") || p.of.contains("/address/");
    if (!read) CHECK((is_one_of_several || read.error().message().contains("contradicts itself")));
    matters[p.of] |= !read || encoded(*read) != bytes;
  }
  CHECK(matters.size() > 300);
  for (auto const& [of, does] : matters) {
    INFO("of " << of);
    CHECK(does);
  }
}

TEST_CASE("what a snapshot has more than we know is ignored") {
  json whole = full_tree();
  auto bytes = encoded(full_snapshot());
  for (auto const& p : places_in(whole["content"])) {
    auto& there = whole["content"].at(p.where);
    bool is_map = p.of == "/descriptors";
    if (there.is_object() && !is_map) there["of the future"] = {1, "two"};
  }
  whole["of the future"] = 3;
  auto read = decode_snapshot(to_bytes(whole));
  REQUIRE(read);
  CHECK(encoded(*read) == bytes);
}

TEST_CASE("no value of another kind does harm") {
  json const whole = full_tree();
  json const others[] = {nullptr,
                         true,
                         -1,
                         0.5,
                         1e300,
                         UINT64_MAX,
                         "word",
                         json::array(),
                         json::object(),
                         {json::array({nullptr})},
                         json::binary({1, 2})};
  std::size_t n = 0;
  std::set<std::string> seen;
  for (auto const& p : places_in(whole)) {
    if (!seen.insert(p.of).second) continue;
    json changed = whole;
    changed.at(p.where) = others[n++ % std::size(others)];
    INFO(p.where.to_string() << " = " << changed.at(p.where));
    check_soundness(to_bytes(changed));
  }
}

TEST_CASE("values out of their range are refused, and said where") {
  auto [at, value, says] = GENERATE(table<std::string, json, std::string>({
      {"/content/state/rollout/position", "first", "state: rollout: position: this is no whole number"},
      {"/content/state/rollout/position", -1, "state: rollout: position: this is out of range"},
      {"/content/state/rollout/position", 1.5, "position: this is no whole number"},
      {"/content/state/rollout/position", 1e300, "position: this is no whole number"},
      {"/content/state/rollout/position", true, "position: this is no whole number"},
      {"/content/state/rollout/hold_until", 1e300, "hold_until: this is no whole number"},
      {"/content/state/rollout/hold_until", UINT64_MAX, "hold_until: this is out of range"},
      {"/content/state/rollout/entered", 1, "entered: type must be boolean"},
      {"/content/state/last_generation", 1ULL << 32, "last_generation: this is out of range"},
      {"/content/current/listeners/0/connection_id_byte", 256, "connection_id_byte: this is out of range"},
      {"/content/current/listeners/0/address", "somewhere", "listeners: address: this is no address"},
      {"/content/current/listeners/0/address/port", 65'536, "address: port: this is out of range"},
      {"/content/state/generations/1/role", "king", "generations: role: unknown word 'king'"},
      {"/content/state/generations/1/role", 1, "generations: role: this is no word"},
      {"/content/state/generations/1", 3, "generations: this is no object"},
      {"/content/state/generations/1/instances", "none", "instances: this is no list"},
      {"/content/state/generations/1/crashes/0", -0.5, "crashes: this is no whole number"},
      {"/content/current/rollout/variants", {"one"}, "variants: this is no list of 2"},
      {"/content/current/rollout/variants", {"one", "two", "three"}, "variants: this is no list of 2"},
      {"/content/current/service/environment/0", {"one"}, "environment: this is no pair"},
      {"/content/listeners/users/1/0", 7, "users: two entries have one key"},
      {"/content/descriptors", {1, 2}, "descriptors: this is no object"},
      {"/content/descriptors/lock", 1LL << 31, "descriptors: this is out of range"},
      {"/content/state/rollout/plan/0", json::object(), "plan: unknown step of a plan"},
  }));
  json whole = full_tree();
  whole.at(json::json_pointer(at)) = value;
  CHECK_THAT(refusal(to_bytes(whole)), Contains(says));
}

TEST_CASE("a snapshot that contradicts itself is refused") {
  using change = std::function<void(snapshot&)>;
  auto [says, spoil] = GENERATE(table<std::string, change>({
      {"generation 7 has no release", [](auto& s) { s.releases.erase(s.releases.begin() + 1); }},
      {"two generations have one role", [](auto& s) { s.state.generations[0].role = role::live; }},
      {"the rollout has no candidate", [](auto& s) { s.state.rollout->candidate = generation_number{7}; }},
      {"the rollout has no candidate", [](auto& s) { s.state.generations.pop_back(); }},
      {"the rollout is beyond its plan", [](auto& s) { s.state.rollout->position = 6; }},
      {"the rollout lost count of its checks", [](auto& s) { s.state.rollout->checks.clear(); }},
      {"the rollout lost count of its checks", [](auto& s) { s.state.rollout->metrics.resize(2); }},
      {"the rollout has more than all of the traffic",
       [](auto& s) { s.state.rollout->weight = weight{10'001}; }},
      {"an instance of generation 9, unknown",
       [](auto& s) { s.instances[0].id.generation = generation_number{9}; }},
      {"listeners are numbered twice", [](auto& s) { s.listeners.open[0].number = 2; }},
      {"listeners are numbered twice", [](auto& s) { s.listeners.next = 3; }},
      {"generation 7 uses a listener that is not open",
       [](auto& s) { s.releases[1].listeners[0].listener = 0; }},
  }));
  snapshot s = full_snapshot();
  spoil(s);
  CHECK_THAT(refusal(encoded(s)), Contains("contradicts itself: " + says));
}

TEST_CASE("a snapshot cut short anywhere is refused") {
  auto [bytes, pace] = GENERATE(table<std::string, std::size_t>({
      {encode_snapshot({}).value(), 1},
      {encode_snapshot(full_snapshot()).value(), 61},
  }));
  for (std::size_t length = 0; length < bytes.size(); length += pace) {
    INFO("the first " << length << " bytes of " << bytes.size());
    REQUIRE_THAT(refusal(std::string_view(bytes).substr(0, length)), Contains("no snapshot of handoffd"));
  }
  CHECK_THAT(refusal(bytes + '\0'), Contains("no snapshot of handoffd"));
}

TEST_CASE("a snapshot of another format is refused by name") {
  json whole = full_tree();
  whole["program"] = "7.5";
  whole["content"] = "none that we could read";
  whole["handoff-snapshot"] = snapshot_format + 1;
  CHECK_THAT(refusal(to_bytes(whole)),
             Contains("the snapshot of handoffd 7.5 has format 2, this handoffd reads 1 to 1"));
  whole["handoff-snapshot"] = oldest_snapshot_format - 1;
  CHECK_THAT(refusal(to_bytes(whole)), Contains("has format 0"));
  whole.erase("program");
  CHECK_THAT(refusal(to_bytes(whole)), Contains("the snapshot has format 0"));
  for (json const& no_number : {json(-1), json("1"), json(1.0), json(nullptr)}) {
    whole["handoff-snapshot"] = no_number;
    CHECK_THAT(refusal(to_bytes(whole)), Contains("no snapshot of handoffd"));
  }
}

TEST_CASE("what is no CBOR, or would cost too much to read, is refused before it is read") {
  std::string const list_of_any("\x81", 1), endless("\x9f", 1), none("\xf6", 1);
  auto repeated = [](std::string const& what, std::size_t times) {
    std::string all;
    for (std::size_t i = 0; i < times; ++i) all += what;
    return all;
  };
  auto [says, bytes] = GENERATE_COPY(table<std::string, std::string>({
      {"nothing", ""},
      {"text", "{\"handoff-snapshot\": 1}"},
      {"a million lists in one another", repeated(list_of_any, 1 << 20) + none},
      {"a million endless lists", repeated(endless, 1 << 20)},
      {"a list of 2^63 entries", std::string("\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", 9)},
      {"a list of 2^64 - 1 entries", std::string("\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 9)},
      {"a map of 2^63 entries", std::string("\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", 9)},
      {"a text of 2^63 bytes", std::string("\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", 9)},
      {"bytes of 2^63 bytes", std::string("\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", 9)},
      {"four million values in an endless list", endless + repeated(none, 4 << 20) + '\xff'},
      {"more entries than a list may have", std::string("\x9a\x00\x02\x00\x01", 5) + repeated(none, 131'073)},
  }));
  CAPTURE(says);
  CHECK_FALSE(is_bounded_cbor(bytes));
  CHECK_THAT(refusal(bytes), Contains("no snapshot of handoffd"));
}

TEST_CASE("bounds of CBOR are reached and not crossed") {
  auto nested = [](std::size_t levels) {
    json tree;
    for (std::size_t i = 0; i < levels; ++i) tree = json::array({std::move(tree)});
    return to_bytes(tree);
  };
  CHECK(is_bounded_cbor(nested(cbor_bound::depth)));
  CHECK_FALSE(is_bounded_cbor(nested(cbor_bound::depth + 1)));
  auto list = [](std::size_t entries) { return to_bytes(json::array_t(entries)); };
  CHECK(is_bounded_cbor(list(cbor_bound::entries)));
  CHECK_FALSE(is_bounded_cbor(list(cbor_bound::entries + 1)));
  auto lists = [](std::size_t values) {  // the outer list, and eight inner ones
    json tree = json::array();
    for (std::size_t left = values - 9, n = 8; n > 0; --n) {
      tree.push_back(json::array_t(left / n));
      left -= left / n;
    }
    return to_bytes(tree);
  };
  CHECK(is_bounded_cbor(lists(cbor_bound::values)));
  CHECK_FALSE(is_bounded_cbor(lists(cbor_bound::values + 1)));
}

TEST_CASE("a snapshot has a bounded length, written and read") {
  snapshot s;
  s.rollout_stage.assign(snapshot_bytes, 'x');
  auto bytes = encode_snapshot(s);
  REQUIRE_FALSE(bytes);
  CHECK_THAT(bytes.error().message(), Contains("can be kept"));
  CHECK_THAT(refusal(std::string(snapshot_bytes + 1, '\xf6')), Contains("too long"));
}

TEST_CASE("a list that names too few members, or words, is noticed") {
  struct two {
    std::string one;
    std::optional<std::vector<int>> other;
  };
  enum class three { a, b, c };
  CHECK(has_members<two, count_names("one, other")>());
  CHECK_FALSE(has_members<two, 1>());
  CHECK_FALSE(has_members<two, 3>());
  CHECK(has_enumerators<three, 3>());
  CHECK_FALSE(has_enumerators<three, 2>());
  CHECK_FALSE(has_enumerators<three, 4>());
}
