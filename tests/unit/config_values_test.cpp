#include <wire/config_address.hpp>
#include <wire/config_nesting.hpp>
#include <wire/config_network.hpp>
#include <wire/config_values.hpp>

#include <catch2/catch.hpp>

#include <limits>

using namespace handoff;
using namespace std::chrono_literals;

TEST_CASE("durations are whole numbers with units, largest first") {
  auto [text, value] = GENERATE(table<char const*, duration>({
      {"500ms", 500ms},
      {"2 s", 2s},
      {"1h30m", 90min},
      {"1h 30min", 90min},
      {" 1d 2h 3m 4s 5ms ", 26h + 3min + 4s + 5ms},
      {"0s", 0ms},
      {"36500d", 24h * 36500},
  }));
  CAPTURE(text);
  REQUIRE(parse_duration(text));
  CHECK(*parse_duration(text) == value);
}

TEST_CASE("what is no duration is refused") {
  auto text = GENERATE("", " ", "30", "s", "-1s", "1.5s", "1s1h", "1s 1s", "1m1min", "5 parsecs", "1S", "1s,",
                       "99999999999999999999s", "18446744073709551615d", "36601d");
  CAPTURE(text);
  CHECK_FALSE(parse_duration(text));
}

TEST_CASE("a duration's text is the shortest that reads as the same") {
  CHECK(duration_text(0ms) == "0s");
  CHECK(duration_text(90min) == "1h30m");
  CHECK(duration_text(30 * 24h) == "30d");
  auto value =
      GENERATE(duration(1), duration(999), duration(60'001), duration(86'399'999), duration(2'592'000'000));
  CHECK(parse_duration(duration_text(value)) == value);
}

TEST_CASE("sizes are bytes, with letters for powers of 1024") {
  CHECK(parse_size("4096") == 4096U);
  CHECK(parse_size("64K") == 65536U);
  CHECK(parse_size("1M") == 1U << 20);
  CHECK(parse_size("2G") == 2ULL << 30);
  CHECK(parse_size("17179869183G") == 17179869183ULL << 30);
  auto text = GENERATE("", "K", "-1", "64KB", "64 K", "1T", "17179869184G", "18446744073709551616");
  CAPTURE(text);
  CHECK_FALSE(parse_size(text));
}

TEST_CASE("modes are octal and leave out the special bits") {
  CHECK(parse_mode("0660") == 0660U);
  CHECK(parse_mode("22") == 022U);
  CHECK(parse_mode("0777") == 0777U);
  auto text = GENERATE("", "0888", "1777", "0o660", "-1", "0660 ", "000000660");
  CAPTURE(text);
  CHECK_FALSE(parse_mode(text));
}

TEST_CASE("parts of a whole are percentages") {
  CHECK(parse_percentage("0%") == 0U);
  CHECK(parse_percentage("25%") == 25U);
  CHECK(parse_percentage("100%") == 100U);
  auto text = GENERATE("", "%", "25", "101%", "-1%", "2.5%", "25 %", "25%%", "18446744073709551617%");
  CAPTURE(text);
  CHECK_FALSE(parse_percentage(text));
}

TEST_CASE("signals have names") {
  CHECK(parse_signal("SIGTERM") == 15);
  CHECK(parse_signal("USR2") == 12);
  CHECK_FALSE(parse_signal("SIGSTOP"));
  CHECK_FALSE(parse_signal("15"));
  CHECK_FALSE(parse_signal(""));
}

TEST_CASE("resource limits have a soft and a hard side") {
  constexpr auto infinity = std::numeric_limits<std::uint64_t>::max();
  CHECK(parse_limit("4096") == limit_pair{4096, 4096});
  CHECK(parse_limit("1024:64K") == limit_pair{1024, 65536});
  CHECK(parse_limit("infinity") == limit_pair{infinity, infinity});
  CHECK(parse_limit("0:infinity") == limit_pair{0, infinity});
  auto text = GENERATE("", ":", "1:", ":1", "2:1", "infinity:1", "1:2:3", "many");
  CAPTURE(text);
  CHECK_FALSE(parse_limit(text));
}

TEST_CASE("a range of durations grows") {
  CHECK(parse_duration_range("100ms..30s") == duration_range{100ms, 30s});
  CHECK(parse_duration_range("1s") == duration_range{1s, 1s});
  auto text = GENERATE("", "..", "1s..", "..1s", "2s..1s", "1s...2s", "1s-2s");
  CAPTURE(text);
  CHECK_FALSE(parse_duration_range(text));
}

TEST_CASE("output goes to a known place") {
  CHECK(parse_output("journal") == output_settings{output_kind::journal, {}});
  CHECK(parse_output("file:/var/log/x") == output_settings{output_kind::file, "/var/log/x"});
  auto text = GENERATE("", "file:", "file:x", "syslog");
  CAPTURE(text);
  CHECK_FALSE(parse_output(text));
}

TEST_CASE("addresses are read, and written as they are read") {
  auto [text, address, type, written] =
      GENERATE(table<std::string, listener_address, socket_type, std::string>({
          {"0.0.0.0:80", inet_address{"0.0.0.0", 80}, socket_type::stream, "0.0.0.0:80"},
          {"[::]:65535", inet_address{"::", 65535}, socket_type::stream, "[::]:65535"},
          {"[0:0:0:0:0:0:0:1]:80", inet_address{"::1", 80}, socket_type::stream, "[::1]:80"},
          {"[2001:DB8::A]:1", inet_address{"2001:db8::a", 1}, socket_type::stream, "[2001:db8::a]:1"},
          {"udp://127.0.0.1:53", inet_address{"127.0.0.1", 53}, socket_type::datagram, "udp://127.0.0.1:53"},
          {"udp://[::]:53", inet_address{"::", 53}, socket_type::datagram, "udp://[::]:53"},
          {"unix:/run/web.sock", unix_address{"/run/web.sock"}, socket_type::stream, "unix:/run/web.sock"},
          {"unix:@web", unix_address{"@web"}, socket_type::stream, "unix:@web"},
      }));
  CAPTURE(text);
  auto read = parse_address(text);
  REQUIRE(read);
  CHECK(read->address == address);
  CHECK(read->type == type);
  listener_settings listener;
  listener.address = read->address;
  listener.type = read->type;
  CHECK(to_string(listener) == written);
}

TEST_CASE("what is no address is refused") {
  auto text = GENERATE("", ":", "80", ":80", "*:80", "localhost:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
                       "127.0.0.1:65536", "127.0.0.1:+1", "127.0.0.1:80 ", "127.1:80", "::1:80", "[::1]",
                       "[::1]80", "[127.0.0.1]:80", "[]:80", "[:80", "tcp://0.0.0.0:80", "udp:0.0.0.0:80",
                       "unix:", "unix:@", "unix:run/web", "[fe80::1%eth0]:80");
  CAPTURE(text);
  CHECK_FALSE(parse_address(text));
}

TEST_CASE("networks are read, and written in their usual spelling") {
  auto [text, last_byte, prefix, written] = GENERATE(table<std::string, int, int, std::string>({
      {"10.0.9.0/24", 0, 120, "10.0.9.0/24"},
      {"10.0.9.7", 7, 128, "10.0.9.7"},
      {"10.0.9.7/32", 7, 128, "10.0.9.7"},
      {"10.0.9.6/31", 6, 127, "10.0.9.6/31"},
      {"0.0.0.0/0", 0, 96, "0.0.0.0/0"},
      {"::ffff:10.0.9.0/120", 0, 120, "10.0.9.0/24"},
      {"2001:DB8::/32", 0, 32, "2001:db8::/32"},
      {"0:0::1", 1, 128, "::1"},
      {"::/0", 0, 0, "::/0"},
  }));
  CAPTURE(text);
  auto read = parse_network(text);
  REQUIRE(read);
  CHECK(read->address.back() == last_byte);
  CHECK(read->prefix == prefix);
  CHECK(network_text(*read) == written);
  CHECK(parse_network(written) == *read);
}

TEST_CASE("a network with bits behind its prefix names the one that was probably meant") {
  auto [text, meant] = GENERATE(table<std::string, std::string>({
      {"10.0.9.1/24", "\"10.0.9.0/24\""},
      {"10.0.9.1/31", "\"10.0.9.0/31\""},
      {"255.255.255.255/0", "\"0.0.0.0/0\""},
      {"10.255.0.0/9", "\"10.128.0.0/9\""},
      {"2001:db8::1/32", "\"2001:db8::/32\""},
      {"2001:db8:ffff::/33", "\"2001:db8:8000::/33\""},
      {"::ffff:10.0.9.1/120", "\"10.0.9.0/24\""},
      {"::ffff:0:0/95", "\"::fffe:0:0/95\""},
  }));
  CAPTURE(text);
  auto read = parse_network(text);
  REQUIRE_FALSE(read);
  CHECK(read.error().doing == "expected " + meant + ", with no bit set behind the prefix");
}

TEST_CASE("what is no network is refused") {
  auto text = GENERATE("", "/", "/24", "10.0.9.0/", "10.0.9.0/33", "10.0.9.0/-1", "10.0.9.0/+1",
                       "10.0.9.0/24 ", "10.0.9/24", "10.0.9.0/24/24", "10.0.9.0/255.255.255.0", "::/129",
                       "::/256", "[::1]", "fe80::1%eth0", "example.org", "010.0.0.0/8");
  CAPTURE(text);
  CHECK_FALSE(parse_network(text));
  CHECK_FALSE(parse_network(std::string("10.0.0.0\0/8", 11)));
}

TEST_CASE("a Unix address fits the kernel's structure") {
  constexpr std::size_t longest = 107;
  CHECK(parse_address("unix:/" + std::string(longest - 1, 'x')));
  CHECK_FALSE(parse_address("unix:/" + std::string(longest, 'x')));
  CHECK(parse_address("unix:@" + std::string(longest, 'x')));
  CHECK_FALSE(parse_address("unix:@" + std::string(longest + 1, 'x')));
}

TEST_CASE("the nearest name is a plausible slip of the finger") {
  std::array<std::string_view, 4> names{"command", "instances", "user", "umask"};
  CHECK(nearest("comand", names) == "command");
  CHECK(nearest("commadn", names) == "command");
  CHECK(nearest("instance", names) == "instances");
  CHECK(nearest("usr", names) == "user");
  CHECK(nearest("colour", names).empty());
  CHECK(nearest("", names).empty());
  CHECK(nearest(std::string(100'000, 'x'), names).empty());
}

TEST_CASE("capabilities stand at their numbers") {
  CHECK(capability_names()[10] == "CAP_NET_BIND_SERVICE");
  CHECK(capability_names()[21] == "CAP_SYS_ADMIN");
  CHECK(capability_names()[40] == "CAP_CHECKPOINT_RESTORE");
}

TEST_CASE("only keys with too many parts are too deep") {
  auto [says, text, line] = GENERATE(table<char const*, std::string, unsigned>({
      {"three parts are allowed", "a.b.c = 1.5\n", 0},
      {"four are not", "x = 1\na.b.c.d = 1", 2},
      {"nor in a header", "[a.b.c.d]", 1},
      {"nor with blanks and quotes", "'a' . \"b\" .c . d = 1", 1},
      {"nor within braces", "x = {\n a.b.c.d = 1", 2},
      {"dots in strings are none", "a = \"1.2.3.4.5\"\nb = '1.2.3.4.5'", 0},
      {"an escaped quote ends no string", R"(a = "\".b.c.d.e")", 0},
      {"a literal string has no escapes", "a = '\\' # '\nb.c.d.e = 1", 2},
      {"strings of many lines hide dots", "a = \"\"\"\n...\\\"\"\"...\"\"\"\"\"\n'''....''' ", 0},
      {"and end", "a = '''x'''''\nb.c.d.e = 1", 2},
      {"an empty string is no beginning of a long one", "a = ''\nb.c.d.e = 1", 2},
      {"comments hide dots", "# a.b.c.d.e ' \"\na.b.c = 1", 0},
      {"each value of a list begins anew", "a = [1.0, 2.0, 3.0, 4.0, 5.0]", 0},
  }));
  CAPTURE(says);
  auto at = key_with_too_many_parts(text, 4 - 1);
  CHECK((at ? at->line : 0) == line);
}
