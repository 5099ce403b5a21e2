#include "options.hpp"

#include <wire/config_address.hpp>
#include <wire/config_values.hpp>
#include <wire/series_selector.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>

namespace handoff::probe {

namespace {

// The texts of the command line, before they are values.
struct texts {
  std::string address;
  std::string timeout = "2s";
  std::string status = "200-399";
  bool insecure = false;
};

// A check for CLI11: what `parse` objects to.
template <class Value>
auto readable_by(result<Value> (*parse)(std::string_view)) {
  return [parse](std::string const& text) -> std::string {
    auto value = parse(text);
    return value ? "" : value.error().message();
  };
}

void add_target(CLI::App& app, texts& t, options& o) {
  app.add_option("--connect", t.address, "where to: \"127.0.0.1:80\", \"[::1]:80\", \"unix:/path\"")
      ->required()
      ->check(readable_by(parse_address));
  app.add_option("--socket", o.socket, "descriptor of a TCP socket to connect with, bound already")
      ->check(CLI::Range(3, 1 << 20));
  app.add_option("--timeout", t.timeout, "for all of it; default \"2s\"")->check(readable_by(parse_duration));
}

void add_request(CLI::App& app, texts& t, probe_settings& r) {
  app.add_option("--path", r.path, "default \"/\"");
  app.add_option("--status", t.status, "accepted, such as 200 or \"200-399\", the default")
      ->check(readable_by(parse_status_range));
  app.add_option("--header", r.headers, "\"Name: value\" to send; may be repeated")->allow_extra_args(false);
  app.add_option("--host", r.host, "the host to ask for; default: the address");
  app.add_flag("--tls", r.tls, "speak TLS");
  app.add_flag("--insecure", t.insecure, "take any certificate");
}

void add_page(CLI::App& app, page_settings& p) {
  auto selector = readable_by(series_selector::parse);
  app.add_option("--failures", p.failures, "counters, as a selector such as 'requests_total{code=~\"5..\"}'")
      ->check(selector);
  app.add_option("--all", p.all, "likewise")->check(selector);
  app.add_option("--value", p.value, "a gauge")->check(selector);
  app.add_option("--mean", p.mean, "a histogram or summary")->check(selector);
}

result<> understand(texts const& t, options& o) {
  auto where = parse_address(t.address);
  auto timeout = parse_duration(t.timeout);
  auto status = parse_status_range(t.status);
  if (!where || !timeout || !status) return plain_failure("unreadable options");  // they were checked
  if (where->type != socket_type::stream) return plain_failure("--connect: UDP has no connections");
  o.target.address = where->address;
  page_settings const& page = o.request.page;
  bool rate = !page.failures.empty() && !page.all.empty();
  if (o.request.kind == probe_kind::page && rate + !page.value.empty() + !page.mean.empty() != 1)
    return plain_failure("expected --failures and --all, --value, or --mean");
  if (o.request.kind == probe_kind::tcp && std::holds_alternative<unix_address>(where->address))
    return plain_failure("--connect: tcp needs an internet address");
  auto address = address_of(o.target);
  if (!address) return std::unexpected(std::move(address.error()).during("--connect"));
  o.address = *address;
  o.request.timeout = *timeout;
  o.request.status = *status;
  o.request.verify = !t.insecure;
  return {};
}

}  // namespace

std::expected<options, int> read_options(int count, char** arguments) {
  CLI::App app{
      "handoff-probe asks a service one thing; exits 0 when it passed, 1 with a line that says why not"};
  app.set_version_flag("--version", "handoff-probe " HANDOFF_VERSION);
  options o;
  texts t;
  auto* http = app.add_subcommand("http", "A GET request is answered as it should be");
  auto* tcp = app.add_subcommand("tcp", "A connection is accepted");
  auto* page = app.add_subcommand("metrics", "Prints what the series of a page of metrics add up to");
  app.require_subcommand(1);
  add_target(*http, t, o);
  add_request(*http, t, o.request);
  http->add_option("--body", o.request.body, "a text that the body must contain");
  add_target(*tcp, t, o);
  add_target(*page, t, o);
  add_request(*page, t, o.request);
  add_page(*page, o.request.page);
  try {
    app.parse(count, arguments);
  } catch (CLI::ParseError const& e) {
    return std::unexpected(app.exit(e) == 0 ? passed : invalid_use);
  }
  o.request.kind = http->parsed() ? probe_kind::http : tcp->parsed() ? probe_kind::tcp : probe_kind::page;
  auto understood = understand(t, o);
  if (understood) return o;
  std::fprintf(stderr, "handoff-probe: %s\n", understood.error().message().c_str());
  return std::unexpected(invalid_use);
}

}  // namespace handoff::probe
