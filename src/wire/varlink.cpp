#include "varlink.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace handoff::varlink {

extern std::string_view const supervisor_description;

namespace {

constexpr std::string_view standard_name = "org.varlink.service";
constexpr std::string_view supervisor_name = "io.handoff.Supervisor";

// The interface that every Varlink service has (https://varlink.org/Service).
constexpr std::string_view standard_description = R"varlink(# What every Varlink service tells about itself.
interface org.varlink.service

method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
)varlink";

constexpr std::array description_parameters{parameter_rule{"interface", parameter_kind::string, true}};
constexpr std::array standard_methods{
    method_rule{"GetInfo", {}},
    method_rule{"GetInterfaceDescription", description_parameters},
};
constexpr interface standard_interface{standard_name, standard_description, standard_methods};

constexpr std::array history_parameters{parameter_rule{"limit", parameter_kind::count, false}};
constexpr std::array upgrade_parameters{parameter_rule{"experiment", parameter_kind::flag, false},
                                        parameter_rule{"weight", parameter_kind::percentage, false}};
constexpr std::array promote_parameters{parameter_rule{"full", parameter_kind::flag, false}};
constexpr std::array weight_parameters{parameter_rule{"weight", parameter_kind::percentage, true}};
constexpr std::array supervisor_methods{
    method_rule{"Status", {}},
    method_rule{"Upgrade", upgrade_parameters},
    method_rule{"Abort", {}},
    method_rule{"Promote", promote_parameters},
    method_rule{"Pause", {}},
    method_rule{"Resume", {}},
    method_rule{"SetWeight", weight_parameters},
    method_rule{"Plan", {}},
    method_rule{"Reexec", {}},
    method_rule{"Rollback", {}},
    method_rule{"Reload", {}},
    method_rule{"Stop", {}},
    method_rule{"Watch", {}, true},
    method_rule{"History", history_parameters},
};

// Copying and printing a value recurse, so its depth is bounded before there is a value.
bool is_too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > depth_limit) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

result<json> read_object(std::string_view message, std::size_t limit) {
  if (message.size() > limit)
    return plain_failure("a message of more than " + std::to_string(limit) + " bytes");
  // The parser would take a NUL for the end of the text.
  if (message.find('\0') != std::string_view::npos) return plain_failure("a NUL inside a message");
  if (is_too_deep(message)) return plain_failure("a message with too many levels");
  json value = json::parse(message, nullptr, false);
  if (!value.is_object()) return plain_failure("a message that is no JSON object");
  return value;
}

// Each takes one member into `target`; false when it has another type than the protocol gives it.
bool take(json& value, std::string& target) {
  auto* text = value.get_ptr<std::string*>();
  if (text != nullptr) target = std::move(*text);
  return text != nullptr;
}
bool take(json& value, bool& target) {
  auto const* flag = value.get_ptr<bool const*>();
  if (flag != nullptr) target = *flag;
  return flag != nullptr;
}
bool take(json& value, json& target) {
  if (value.is_null()) return true;  // some libraries write an empty object so
  if (!value.is_object()) return false;
  target = std::move(value);
  return true;
}

failure wrong_member(std::string_view name) {
  return plain_failure("a message with a wrong member \"" + std::string(name) + "\"");
}

std::string print(json const& value) {
  std::string bytes = value.dump(-1, ' ', false, json::error_handler_t::replace);
  bytes.push_back('\0');
  return bytes;
}

method_rule const* find_method(interface const& in, std::string_view name) {
  auto found = std::ranges::find(in.methods, name, &method_rule::name);
  return found == in.methods.end() ? nullptr : &*found;
}

bool is_count(json const& value) {
  auto const* count = value.get_ptr<json::number_unsigned_t const*>();
  return count != nullptr && *count <= std::numeric_limits<std::int32_t>::max();
}

// Two decimals as binary fractions are never exact.
bool is_percentage(json const& value) {
  constexpr double blur = 1e-6;
  if (!value.is_number()) return false;
  auto hundredths = value.get<double>() * 100;
  return hundredths >= 0 && hundredths <= 10'000 && std::abs(hundredths - std::round(hundredths)) < blur;
}

bool has_kind(json const& value, parameter_kind kind) {
  switch (kind) {
    case parameter_kind::count:
      return is_count(value);
    case parameter_kind::string:
      return value.is_string();
    case parameter_kind::flag:
      return value.is_boolean();
    case parameter_kind::percentage:
      return is_percentage(value);
  }
  return false;
}

// The name of the first parameter that breaks a rule of `method`. Optional parameters that are null are
// removed.
std::optional<std::string> find_wrong_parameter(method_rule const& method, json& parameters) {
  for (auto const& [name, value] : parameters.items()) {
    if (std::ranges::find(method.parameters, name, &parameter_rule::name) == method.parameters.end())
      return name;
  }
  for (auto const& rule : method.parameters) {
    auto found = parameters.find(rule.name);
    if (found != parameters.end() && found->is_null()) found = (parameters.erase(found), parameters.end());
    bool wrong = found == parameters.end() ? rule.required : !has_kind(*found, rule.kind);
    if (wrong) return std::string(rule.name);
  }
  return std::nullopt;
}

std::string standard_error(call const& asked, std::string_view error, json parameters) {
  return error_to(asked, std::string(standard_name) + "." + std::string(error), std::move(parameters));
}

std::string answer_standard(call const& asked, std::string_view method, service_info const& info,
                            interface const& known) {
  if (method == "GetInfo") {
    return reply_to(asked, {{"vendor", info.vendor},
                            {"product", info.product},
                            {"version", info.version},
                            {"url", info.url},
                            {"interfaces", {standard_name, known.name}}});
  }
  std::string const& wanted = *asked.parameters.find("interface")->get_ptr<std::string const*>();
  for (interface const* one : {&standard_interface, &known}) {
    if (wanted == one->name) return reply_to(asked, {{"description", one->description}});
  }
  return standard_error(asked, "InterfaceNotFound", {{"interface", wanted}});
}

}  // namespace

result<call> read_call(std::string_view message) {
  auto object = read_object(message, call_limit);
  if (!object) return failure(std::move(object.error()));
  call asked;
  for (auto& [name, value] : object->items()) {
    // "upgrade" asks to leave the protocol on this connection, which we never do.
    bool leave = false;
    bool good = name == "method"       ? take(value, asked.method)
                : name == "parameters" ? take(value, asked.parameters)
                : name == "more"       ? take(value, asked.more)
                : name == "oneway"     ? take(value, asked.oneway)
                                       : name == "upgrade" && take(value, leave) && !leave;
    if (!good) return wrong_member(name);
  }
  if (asked.method.empty()) return plain_failure("a message without a method");
  if (asked.more && asked.oneway) return plain_failure("a call with both more and oneway");
  return asked;
}

result<reply> read_reply(std::string_view message) {
  auto object = read_object(message, reply_limit);
  if (!object) return failure(std::move(object.error()));
  reply told;
  for (auto& [name, value] : object->items()) {
    bool good = name == "error"        ? take(value, told.error) && !told.error.empty()
                : name == "parameters" ? take(value, told.parameters)
                                       : name == "continues" && take(value, told.continues);
    if (!good) return wrong_member(name);
  }
  return told;
}

std::string to_bytes(call const& c) {
  json message{{"method", c.method}, {"parameters", c.parameters}};
  if (c.more) message["more"] = true;
  if (c.oneway) message["oneway"] = true;
  return print(message);
}

std::string to_bytes(reply const& r) {
  json message{{"parameters", r.parameters}};
  if (!r.error.empty()) message["error"] = r.error;
  if (r.continues) message["continues"] = true;
  return print(message);
}

interface const& supervisor_interface() {
  static interface const supervisor{supervisor_name, supervisor_description, supervisor_methods};
  return supervisor;
}

std::variant<call, answered> receive(std::string_view message, service_info const& info,
                                     interface const& known) {
  auto asked = read_call(message);
  if (!asked) {
    return answered{standard_error({}, "InvalidParameter", {{"parameter", asked.error().message()}}), true};
  }
  std::string_view qualified = asked->method;
  auto dot = qualified.rfind('.');
  std::string_view in = dot == std::string_view::npos ? std::string_view() : qualified.substr(0, dot);
  if (in != standard_name && in != known.name) {
    return answered{standard_error(*asked, "InterfaceNotFound", {{"interface", in}})};
  }
  bool standard = in == standard_name;
  auto const* method = find_method(standard ? standard_interface : known, qualified.substr(dot + 1));
  if (method == nullptr) return answered{standard_error(*asked, "MethodNotFound", {{"method", qualified}})};
  if (auto wrong = find_wrong_parameter(*method, asked->parameters)) {
    return answered{standard_error(*asked, "InvalidParameter", {{"parameter", *wrong}})};
  }
  if (standard) return answered{answer_standard(*asked, method->name, info, known)};
  if (method->streams && !asked->more)
    return answered{standard_error(*asked, "ExpectedMore", json::object())};
  asked->method = method->name;
  return std::move(*asked);
}

std::string reply_to(call const& asked, json parameters, bool continues) {
  if (asked.oneway) return {};
  return to_bytes(reply{.error = {}, .parameters = std::move(parameters), .continues = continues});
}

std::string error_to(call const& asked, std::string_view error, json parameters) {
  if (asked.oneway) return {};
  std::string name(error);
  if (name.find('.') == std::string::npos) name = std::string(supervisor_name) + "." + name;
  return to_bytes(reply{.error = std::move(name), .parameters = std::move(parameters)});
}

}  // namespace handoff::varlink
