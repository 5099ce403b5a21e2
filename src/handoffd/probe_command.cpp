#include "probe_command.hpp"

#include <wire/config_values.hpp>

namespace handoff {

command_line probe_command(probe_settings const& p, inet_address const& target) {
  constexpr std::string_view kinds[] = {"http", "tcp", "metrics"};
  command_line line{"handoff-probe", std::string(kinds[static_cast<std::size_t>(p.kind)]), "--socket=3",
                    "--connect=" + to_string(listener_settings{.address = target}),
                    "--timeout=" + duration_text(p.timeout)};
  if (p.kind == probe_kind::tcp) return line;
  line.push_back("--path=" + p.path);
  line.push_back("--status=" + status_text(p.status));
  if (!p.body.empty()) line.push_back("--body=" + p.body);
  for (auto const& header : p.headers) line.push_back("--header=" + header);
  if (!p.host.empty()) line.push_back("--host=" + p.host);
  if (p.tls) line.emplace_back("--tls");
  if (!p.verify) line.emplace_back("--insecure");
  for (auto const& [option, selector] :
       {std::pair<char const*, std::string const&>{"--failures=", p.page.failures},
        {"--all=", p.page.all},
        {"--value=", p.page.value},
        {"--mean=", p.page.mean}})
    if (!selector.empty()) line.push_back(option + selector);
  return line;
}

}  // namespace handoff
