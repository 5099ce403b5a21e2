#include "http_request.hpp"

#include <strings.h>

namespace handoff {

namespace {

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Whether the comma-separated `list` has the word, in any case.
bool has_word(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    std::size_t comma = list.find(',');
    if (same_word(trimmed(list.substr(0, comma)), word)) return true;
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return false;
}

// Takes the text before `end` from the front of `text`, and `end` with it.
std::string_view take_until(std::string_view& text, std::string_view end) {
  std::size_t at = text.find(end);
  std::string_view taken = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + end.size());
  return taken;
}

}  // namespace

request_form read_request(std::string_view bytes, request_head& head) {
  constexpr std::string_view line_end = "\r\n";
  std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return request_form::incomplete;

  std::string_view lines = bytes.substr(0, end);
  std::string_view request_line = take_until(lines, line_end);
  std::string_view method = take_until(request_line, " ");
  std::string_view path = take_until(request_line, " ");
  std::string_view version = request_line;
  if (method.empty() || path.empty() || (version != "HTTP/1.1" && version != "HTTP/1.0"))
    return request_form::malformed;

  bool keep_alive = version == "HTTP/1.1";
  bool has_body = false;
  while (!lines.empty()) {
    std::string_view line = take_until(lines, line_end);
    std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return request_form::malformed;
    std::string_view name = line.substr(0, colon);
    std::string_view value = trimmed(line.substr(colon + 1));
    if (same_word(name, "connection")) {
      if (has_word(value, "close")) keep_alive = false;
      if (has_word(value, "keep-alive")) keep_alive = true;
    } else if (same_word(name, "transfer-encoding") || (same_word(name, "content-length") && value != "0")) {
      has_body = true;
    }
  }
  if (has_body || (method != "GET" && method != "HEAD")) return request_form::unsupported;
  head = {.length = end + 4, .path = path, .head_only = method == "HEAD", .keep_alive = keep_alive};
  return request_form::complete;
}

}  // namespace handoff
