#include <catch2/catch.hpp>
#include <demo/http_reply.hpp>
#include <demo/http_request.hpp>

#include <string>

using namespace handoff;

TEST_CASE("the demonstration service reads requests strictly") {
  using f = request_form;
  auto [says, bytes, form] = GENERATE(table<char const*, std::string, request_form>({
      {"a plain GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", f::complete},
      {"without headers", "GET / HTTP/1.0\r\n\r\n", f::complete},
      {"a body of length 0", "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", f::complete},
      {"not all there yet", "GET / HTTP/1.1\r\nHost: x\r\n", f::incomplete},
      {"nothing", "", f::incomplete},
      {"a body", "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", f::unsupported},
      {"a chunked body", "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", f::unsupported},
      {"another method", "POST / HTTP/1.1\r\n\r\n", f::unsupported},
      {"another protocol", "GET / HTTP/2.0\r\n\r\n", f::malformed},
      {"no path", "GET\r\n\r\n", f::malformed},
      {"a header without colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", f::malformed},
      {"only a blank line", "\r\n\r\n", f::malformed},
  }));
  CAPTURE(says);
  request_head head;
  CHECK(read_request(bytes, head) == form);
}

TEST_CASE("the connection is kept as the protocol says") {
  auto [version, header, kept] = GENERATE(table<std::string, std::string, bool>({
      {"1.1", "", true},
      {"1.1", "Connection: close\r\n", false},
      {"1.1", "connection: Upgrade, CLOSE\r\n", false},
      {"1.0", "", false},
      {"1.0", "Connection: Keep-Alive\r\n", true},
  }));
  CAPTURE(version, header);
  request_head head;
  std::string bytes = "HEAD /healthz HTTP/" + version + "\r\n" + header + "\r\n";
  std::string pipelined = bytes + "GET / HTTP/1.1\r\n";
  REQUIRE(read_request(pipelined, head) == request_form::complete);
  CHECK(head.keep_alive == kept);
  CHECK(head.head_only);
  CHECK(head.path == "/healthz");
  CHECK(head.length == bytes.size());
}

TEST_CASE("a fixed reply has a length, a generation, and a body unless only the head was asked for") {
  fixed_reply page("200 OK", "X-Handoff-Generation: 3", "hello\n");
  std::string all(page.bytes(true, false)), head(page.bytes(false, true));
  CHECK(all.find("\r\nContent-Length: 6\r\n") != std::string::npos);
  CHECK(all.ends_with("\r\n\r\nhello\n"));
  CHECK(head.find("\r\nX-Handoff-Generation: 3\r\n") != std::string::npos);
  CHECK(head.ends_with("Connection: close\r\n\r\n"));
}
