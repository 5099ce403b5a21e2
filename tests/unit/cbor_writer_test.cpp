#include <wire/cbor_writer.hpp>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <limits>
#include <string>

using namespace handoff;
using json = nlohmann::json;

namespace {

json read_back(auto const& write) {
  std::string bytes;
  cbor_writer to(bytes);
  write(to);
  return json::from_cbor(bytes);
}

}  // namespace

TEST_CASE("whole numbers of each size are read back") {
  std::uint64_t const beyond[] = {0,      1,      23,         24,         255,        256,
                                  65'535, 65'536, UINT32_MAX, 1ULL << 32, UINT64_MAX, 1ULL << 63};
  for (auto n : beyond) CHECK(read_back([&](auto& to) { to.whole(n); }) == n);
  std::int64_t const below[] = {-1, -24, -25, -256, -257, -65'536, -65'537, INT32_MIN, INT64_MIN};
  for (auto n : below) CHECK(read_back([&](auto& to) { to.whole(n); }) == n);
}

TEST_CASE("each value takes as few bytes as the specification has for it") {
  auto written = [](std::uint64_t n) {
    std::string bytes;
    cbor_writer(bytes).whole(n);
    return bytes;
  };
  // RFC 8949, appendix A
  CHECK(written(23) == "\x17");
  CHECK(written(24) == "\x18\x18");
  CHECK(written(1000) == "\x19\x03\xe8");
  CHECK(written(1'000'000) == std::string("\x1a\x00\x0f\x42\x40", 5));
  CHECK(written(1'000'000'000'000) == std::string("\x1b\x00\x00\x00\xe8\xd4\xa5\x10\x00", 9));
}

TEST_CASE("other values are read back") {
  CHECK(read_back([](auto& to) { to.null(); }) == nullptr);
  CHECK(read_back([](auto& to) { to.boolean(true); }) == true);
  CHECK(read_back([](auto& to) { to.boolean(false); }) == false);
  for (double n : {0.0, -0.1, 1e300, std::numeric_limits<double>::infinity()})
    CHECK(read_back([&](auto& to) { to.number(n); }) == n);
  for (std::size_t length : {0, 23, 24, 255, 256, 65'536}) {
    std::string text(length, 'x');
    CHECK(read_back([&](auto& to) { to.text(text); }) == text);
    auto list = read_back([&](auto& to) {
      to.begin_list(length);
      for (std::size_t i = 0; i < length; ++i) to.boolean(true);
    });
    CHECK(list == json(std::vector<bool>(length, true)));
  }
  auto map = read_back([](auto& to) {
    to.begin_map(2);
    to.text("a");
    to.whole(1);
    to.text("b");
    to.begin_list(0);
  });
  CHECK(map == json({{"a", 1}, {"b", json::array()}}));
}
