#include <wire/varlink.hpp>

#include <catch2/catch.hpp>

#include <limits>
#include <regex>
#include <set>

using namespace handoff;
using namespace handoff::varlink;

namespace {

service_info const info{
    .vendor = "handoff", .product = "handoffd", .version = "1.2", .url = "https://example.org"};

std::string without_nul(std::string bytes) {
  REQUIRE_FALSE(bytes.empty());
  REQUIRE(bytes.back() == '\0');
  bytes.pop_back();
  REQUIRE(bytes.find('\0') == std::string::npos);
  return bytes;
}

reply answer_to(std::string_view message) {
  auto got = receive(message, info, supervisor_interface());
  REQUIRE(std::holds_alternative<answered>(got));
  auto told = read_reply(without_nul(std::get<answered>(got).bytes));
  REQUIRE(told);
  return *told;
}

std::string nested(std::size_t levels) {
  return R"({"method":"a.B","parameters":)" + std::string(levels - 1, '[') + std::string(levels - 1, ']') +
         "}";
}

std::string padded_to(std::size_t size) {
  std::string start = R"({"method":"a.B","parameters":{"x":")", end = R"("}})";
  return start + std::string(size - start.size() - end.size(), 'x') + end;
}

}  // namespace

TEST_CASE("a call is read") {
  auto read = read_call(R"({"method":"io.handoff.Supervisor.History","parameters":{"limit":3},"more":true})");
  REQUIRE(read);
  CHECK(read->method == "io.handoff.Supervisor.History");
  CHECK(read->parameters == json{{"limit", 3}});
  CHECK(read->more);
  CHECK_FALSE(read->oneway);
  CHECK(read_call(R"({"method":"a.B","parameters":null,"upgrade":false})")->parameters == json::object());
}

TEST_CASE("what is no call is refused in words") {
  auto [says, message] = GENERATE(table<char const*, std::string>({
      {"nothing", ""},
      {"no JSON", "GET / HTTP/1.1\r\n"},
      {"half an object", R"({"method":"a.B")"},
      {"more after the object", R"({"method":"a.B"} {})"},
      {"a NUL after the object", std::string("{\"method\":\"a.B\"}\0x", 17)},
      {"an array", R"([{"method":"a.B"}])"},
      {"a comment", R"({"method":"a.B" /* */})"},
      {"no method", R"({"parameters":{}})"},
      {"an empty method", R"({"method":""})"},
      {"a method that is a number", R"({"method":7})"},
      {"parameters that are an array", R"({"method":"a.B","parameters":[]})"},
      {"more that is a string", R"({"method":"a.B","more":"yes"})"},
      {"more and oneway at once", R"({"method":"a.B","more":true,"oneway":true})"},
      {"leaving the protocol", R"({"method":"a.B","upgrade":true})"},
      {"a member that the protocol does not know", R"({"method":"a.B","mroe":true})"},
      {"not a number", R"({"method":"a.B","parameters":{"x":NaN}})"},
      {"a number beyond every range", R"({"method":"a.B","parameters":{"x":1e999}})"},
      {"broken UTF-8", "{\"method\":\"a.\xFF\"}"},
      {"half a surrogate pair", R"({"method":"a.\ud800"})"},
      {"a level too many", nested(depth_limit + 1)},
      {"a bomb of levels", R"({"method":"a.B","parameters":)" + std::string(60000, '[')},
      {"a byte too long", padded_to(call_limit + 1)},
  }));
  CAPTURE(says);
  auto read = read_call(message);
  REQUIRE_FALSE(read);
  CHECK_FALSE(read.error().message().empty());
  auto got = receive(message, info, supervisor_interface());
  REQUIRE(std::holds_alternative<answered>(got));
  CHECK(std::get<answered>(got).hang_up);
  CHECK(answer_to(message).error == "org.varlink.service.InvalidParameter");
}

TEST_CASE("a call at the limits is read") {
  CHECK(read_call(padded_to(call_limit)));
  CHECK_FALSE(read_call(nested(depth_limit)));  // deep enough, but parameters are no array
  CHECK(read_call(nested(depth_limit)).error().message().find("levels") == std::string::npos);
  CHECK(read_call(R"({"method":"a.B","parameters":{"x":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[["}})"));
}

TEST_CASE("replies and calls survive their bytes") {
  reply told{
      .error = "io.handoff.Supervisor.Refused", .parameters = {{"reason", "a\nb\"\0c"}}, .continues = true};
  CHECK(read_reply(without_nul(to_bytes(told))) == told);
  CHECK(read_reply("{}") == reply{});
  call asked{.method = "a.B", .parameters = {{"x", {1, 2, nullptr}}}, .more = true};
  CHECK(read_call(without_nul(to_bytes(asked))) == asked);
  CHECK_FALSE(read_reply(R"({"error":""})"));
  CHECK_FALSE(read_reply(R"({"parameters":[]})"));
  CHECK_FALSE(read_reply(R"({"continues":1})"));
}

TEST_CASE("what JSON cannot carry is mended, not thrown") {
  std::string bytes = to_bytes(reply{.parameters = {{"text", "a\xFF\xC3"}}});
  CHECK(read_reply(without_nul(bytes))->parameters == json{{"text", "a\xEF\xBF\xBD\xEF\xBF\xBD"}});
  bytes = to_bytes(reply{.parameters = {{"ratio", std::numeric_limits<double>::quiet_NaN()}}});
  CHECK(read_reply(without_nul(bytes))->parameters == json{{"ratio", nullptr}});
  bytes = to_bytes(reply{.parameters = {{"text", std::string("a\0b", 3)}}});
  CHECK(read_reply(without_nul(bytes))->parameters == json{{"text", std::string("a\0b", 3)}});
}

TEST_CASE("a call of the supervisor's reaches the program") {
  auto got = receive(R"({"method":"io.handoff.Supervisor.History","parameters":{"limit":null}})", info,
                     supervisor_interface());
  REQUIRE(std::holds_alternative<call>(got));
  CHECK(std::get<call>(got) == call{.method = "History"});
  got = receive(R"({"method":"io.handoff.Supervisor.Watch","more":true})", info, supervisor_interface());
  CHECK(std::get<call>(got) == call{.method = "Watch", .more = true});
}

TEST_CASE("a weight has up to two decimals") {
  std::string weight = GENERATE("0", "100", "5", "0.01", "0.07", "33.33", "99.99", "1e1");
  CAPTURE(weight);
  auto got = receive(R"({"method":"io.handoff.Supervisor.SetWeight","parameters":{"weight":)" + weight + "}}",
                     info, supervisor_interface());
  CHECK(std::holds_alternative<call>(got));
}

TEST_CASE("a call that breaks the interface is answered") {
  auto [says, message, error, parameters] = GENERATE(table<char const*, std::string, std::string, json>({
      {"another interface", R"({"method":"io.other.Thing.Do"})", "InterfaceNotFound",
       json{{"interface", "io.other.Thing"}}},
      {"no interface", R"({"method":"Status"})", "InterfaceNotFound", json{{"interface", ""}}},
      {"another method", R"({"method":"io.handoff.Supervisor.status"})", "MethodNotFound",
       json{{"method", "io.handoff.Supervisor.status"}}},
      {"an unknown parameter", R"({"method":"io.handoff.Supervisor.Stop","parameters":{"now":true}})",
       "InvalidParameter", json{{"parameter", "now"}}},
      {"a negative limit", R"({"method":"io.handoff.Supervisor.History","parameters":{"limit":-1}})",
       "InvalidParameter", json{{"parameter", "limit"}}},
      {"a limit with a fraction", R"({"method":"io.handoff.Supervisor.History","parameters":{"limit":1.5}})",
       "InvalidParameter", json{{"parameter", "limit"}}},
      {"a huge limit", R"({"method":"io.handoff.Supervisor.History","parameters":{"limit":2147483648}})",
       "InvalidParameter", json{{"parameter", "limit"}}},
      {"a limit beyond integers",
       R"({"method":"io.handoff.Supervisor.History","parameters":{"limit":99999999999999999999999}})",
       "InvalidParameter", json{{"parameter", "limit"}}},
      {"no weight", R"({"method":"io.handoff.Supervisor.SetWeight"})", "InvalidParameter",
       json{{"parameter", "weight"}}},
      {"more than all", R"({"method":"io.handoff.Supervisor.SetWeight","parameters":{"weight":100.01}})",
       "InvalidParameter", json{{"parameter", "weight"}}},
      {"less than nothing", R"({"method":"io.handoff.Supervisor.SetWeight","parameters":{"weight":-0.01}})",
       "InvalidParameter", json{{"parameter", "weight"}}},
      {"a third decimal", R"({"method":"io.handoff.Supervisor.SetWeight","parameters":{"weight":0.125}})",
       "InvalidParameter", json{{"parameter", "weight"}}},
      {"a weight in words", R"({"method":"io.handoff.Supervisor.SetWeight","parameters":{"weight":"5"}})",
       "InvalidParameter", json{{"parameter", "weight"}}},
      {"a flag that is a number", R"({"method":"io.handoff.Supervisor.Promote","parameters":{"full":1}})",
       "InvalidParameter", json{{"parameter", "full"}}},
      {"Watch without more", R"({"method":"io.handoff.Supervisor.Watch"})", "ExpectedMore", json::object()},
      {"no interface to describe", R"({"method":"org.varlink.service.GetInterfaceDescription"})",
       "InvalidParameter", json{{"parameter", "interface"}}},
      {"an unknown interface to describe",
       R"({"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"a.b"}})",
       "InterfaceNotFound", json{{"interface", "a.b"}}},
  }));
  CAPTURE(says);
  reply told = answer_to(message);
  CHECK(told.error == "org.varlink.service." + error);
  CHECK(told.parameters == parameters);
}

TEST_CASE("the service describes itself") {
  reply told = answer_to(R"({"method":"org.varlink.service.GetInfo"})");
  CHECK(told.parameters == json{{"vendor", "handoff"},
                                {"product", "handoffd"},
                                {"version", "1.2"},
                                {"url", "https://example.org"},
                                {"interfaces", {"org.varlink.service", "io.handoff.Supervisor"}}});
  for (std::string name : {"org.varlink.service", "io.handoff.Supervisor"}) {
    told =
        answer_to(R"({"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":")" +
                  name + "\"}}");
    auto const& text = told.parameters["description"].get_ref<std::string const&>();
    CHECK(text.find("\ninterface " + name + "\n") != std::string::npos);
  }
}

TEST_CASE("the methods we serve are the methods we describe") {
  std::string text(supervisor_interface().description);
  std::set<std::string> described, served;
  std::regex method(R"(method (\w+)\()");
  for (std::sregex_iterator it(text.begin(), text.end(), method), end; it != end; ++it)
    described.insert((*it)[1]);
  for (auto const& rule : supervisor_interface().methods) served.insert(std::string(rule.name));
  CHECK(served == described);
}

TEST_CASE("a oneway call gets no reply") {
  for (std::string message : {R"({"method":"org.varlink.service.GetInfo","oneway":true})",
                              R"({"method":"nobody.Knows","oneway":true})"}) {
    CAPTURE(message);
    CHECK(std::get<answered>(receive(message, info, supervisor_interface())).bytes.empty());
  }
  CHECK(reply_to(call{.method = "Stop", .oneway = true}, json::object()).empty());
}

TEST_CASE("errors without an interface are the supervisor's") {
  auto told = read_reply(without_nul(error_to({}, "Refused", {{"reason", "no rollout"}})));
  CHECK(told == reply{.error = "io.handoff.Supervisor.Refused", .parameters = {{"reason", "no rollout"}}});
}
