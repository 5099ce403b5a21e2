// The control protocol: Varlink calls and replies, bytes to values and back. Pure, and throws nothing.
//
// A message on the socket is one JSON object followed by a NUL byte (https://varlink.org/Method-Call). A call
// gets one reply; with `more` it may get a row of them, all but the last marked `continues`; with `oneway`
// none.
#pragma once

#include <base/error.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace handoff::varlink {

using json = nlohmann::json;

constexpr std::size_t call_limit = 64 * 1024;     // bytes of a call, its NUL not counted
constexpr std::size_t reply_limit = 1024 * 1024;  // bytes of a reply that we read, its NUL not counted
constexpr std::size_t depth_limit = 32;           // objects and arrays inside each other

struct call {
  std::string method;  // "io.handoff.Supervisor.Status"
  json parameters = json::object();
  bool more = false;
  bool oneway = false;

  bool operator==(call const&) const = default;
};

struct reply {
  std::string error;  // "io.handoff.Supervisor.Refused"; empty on success
  json parameters = json::object();
  bool continues = false;

  bool operator==(reply const&) const = default;
};

// Read one message, given without its NUL. Everything that the protocol does not know is an error.
result<call> read_call(std::string_view message);
result<reply> read_reply(std::string_view message);

// One message with its NUL. Strings that are not UTF-8 are mended, since JSON cannot carry them.
std::string to_bytes(call const&);
std::string to_bytes(reply const&);

// ---- serving

// A count is a whole number from 0 to 2^31 - 1, a percentage a number from 0 to 100 with at most two
// decimals.
enum class parameter_kind { count, string, flag, percentage };

struct parameter_rule {
  std::string_view name;
  parameter_kind kind;
  bool required;
};

struct method_rule {
  std::string_view name;  // without the interface
  std::span<parameter_rule const> parameters;
  bool streams = false;  // must be called with `more`
};

struct interface {
  std::string_view name;
  std::string_view description;  // the text of the .varlink file
  std::span<method_rule const> methods;
};

// io.handoff.Supervisor, as io.handoff.Supervisor.varlink describes it.
interface const& supervisor_interface();

// What org.varlink.service.GetInfo tells about the program.
struct service_info {
  std::string vendor;
  std::string product;
  std::string version;
  std::string url;
};

// A message that needs no decision: send `bytes` (none after a oneway call), and hang up when what came was
// no call at all.
struct answered {
  std::string bytes;
  bool hang_up = false;
};

// Reads one message to a service that has org.varlink.service and `known`. A call of `known` comes back with
// its bare method name ("Status") and with parameters that keep the rules of that method; an optional
// parameter that was null is left out. All else is answered here.
std::variant<call, answered> receive(std::string_view message, service_info const&, interface const& known);

// The reply to `asked` as bytes; empty when it was a oneway call, which must get none.
std::string reply_to(call const& asked, json parameters, bool continues = false);
// `error` without its interface is one of io.handoff.Supervisor: "NotAllowed", "Refused", …
std::string error_to(call const& asked, std::string_view error, json parameters);

}  // namespace handoff::varlink
