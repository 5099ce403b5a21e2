#include "http_reply.hpp"

namespace handoff {

fixed_reply::fixed_reply(std::string_view status, std::string_view extra_header, std::string_view body) {
  auto write = [&](std::string_view connection) {
    form out;
    out.text.append("HTTP/1.1 ").append(status).append("\r\nContent-Type: text/plain\r\nContent-Length: ");
    out.text.append(std::to_string(body.size())).append("\r\n").append(extra_header);
    out.text.append("\r\nConnection: ").append(connection).append("\r\n\r\n");
    out.head_length = out.text.size();
    out.text.append(body);
    return out;
  };
  kept_ = write("keep-alive");
  closed_ = write("close");
}

std::string_view fixed_reply::bytes(bool keep_alive, bool head_only) const {
  form const& chosen = keep_alive ? kept_ : closed_;
  return std::string_view(chosen.text).substr(0, head_only ? chosen.head_length : std::string_view::npos);
}

}  // namespace handoff
