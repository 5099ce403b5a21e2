#include <base/text.hpp>

#include <catch2/catch.hpp>

using handoff::printable;

TEST_CASE("strangers' bytes become one printable line") {
  auto [says, bytes, shown] = GENERATE(table<char const*, std::string, std::string>({
      {"plain text passes", "ready in 3 s", "ready in 3 s"},
      {"valid UTF-8 passes", "gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
      {"line ends cannot forge a second line", "ok\nMAINPID=1\r\n", "ok MAINPID=1  "},
      {"terminal escapes lose their escape", "\x1B[2J\x07", "?[2J?"},
      {"a NUL is shown", std::string("a\0b", 3), "a?b"},
      {"C1 controls are controls", "\xC2\x9B", "?"},
      {"a broken sequence is one mark a byte", "\xC3(\xFF", "?(?"},
      {"overlong forms and surrogates are broken", "\xC0\xAF\xED\xA0\x80", "?????"},
      {"text cannot turn its direction",
       "a\xE2\x80\xAE"
       "b",
       "a?b"},
  }));
  CAPTURE(says);
  CHECK(printable(bytes, 100) == shown);
}

TEST_CASE("a long text is cut, never inside a character") {
  CHECK(printable("0123456789", 10) == "0123456789");
  CHECK(printable("0123456789A", 10) == "0123456...");
  CHECK(printable("\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC", 6) == "\xC3\xBC...");
  CHECK(printable("abc", 2) == "..");
  CHECK(printable(std::string(1 << 20, '\x1B'), 64).size() == 64);
}
