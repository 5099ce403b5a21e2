#include "probe_command.hpp"

#include <wire/config_values.hpp>

namespace handoff {

command_line probe_command(probe_settings const& p, inet_address const& target) {
  bool http = p.kind == probe_kind::http;
  command_line line{"handoff-probe", http ? "http" : "tcp", "--socket=3",
                    "--connect=" + to_string(listener_settings{.address = target}),
                    "--timeout=" + duration_text(p.timeout)};
  if (!http) return line;
  line.push_back("--path=" + p.path);
  line.push_back("--status=" + status_text(p.status));
  if (!p.body.empty()) line.push_back("--body=" + p.body);
  for (auto const& header : p.headers) line.push_back("--header=" + header);
  if (!p.host.empty()) line.push_back("--host=" + p.host);
  if (p.tls) line.emplace_back("--tls");
  if (!p.verify) line.emplace_back("--insecure");
  return line;
}

}  // namespace handoff
