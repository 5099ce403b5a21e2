#include "reply_reader.hpp"

#include <strings.h>

#include <algorithm>
#include <charconv>

namespace handoff::load {

namespace {

constexpr std::size_t chunk_line_max = 256;

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool parse_whole(std::string_view text, std::uint64_t& value, int base) {
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return !text.empty() && code == std::errc{} && end == text.data() + text.size();
}

}  // namespace

void reply_reader::start(bool keep_body) {
  stage_ = stage::head;
  head_.clear();
  body_.clear();
  keep_body_ = keep_body;
  status_ = 0;
}

reply_reader::progress reply_reader::broken() {
  stage_ = stage::broken;
  return progress::malformed;
}

reply_reader::progress reply_reader::take(std::string_view bytes) {
  if (stage_ == stage::done || stage_ == stage::broken) return bytes.empty() ? progress::complete : broken();
  if (stage_ == stage::head) {
    constexpr std::string_view blank_line = "\r\n\r\n";
    std::size_t searched = head_.size() < 3 ? 0 : head_.size() - 3;
    std::size_t had = head_.size();
    head_.append(bytes.substr(0, head_max - had));
    std::size_t end = head_.find(blank_line, searched);
    if (end == std::string::npos) return head_.size() == head_max ? broken() : progress::more;
    head_.resize(end + blank_line.size());
    bytes.remove_prefix(head_.size() - had);
    if (!read_head()) return broken();
    stage_ = stage::body;
  }
  if (framing_ == framing::chunked) return take_chunks(bytes);
  if (framing_ == framing::until_close) {
    take_body(bytes, UINT64_MAX);
    return progress::more;
  }
  take_body(bytes, left_);
  if (!bytes.empty()) return broken();
  if (left_ > 0) return progress::more;
  stage_ = stage::done;
  return progress::complete;
}

bool reply_reader::read_head() {
  std::string_view line = std::string_view(head_).substr(0, head_.find("\r\n"));
  std::uint64_t status = 0;
  bool http = line.starts_with("HTTP/1.") && line.size() >= 12 && line[8] == ' ';
  if (!http || !parse_whole(line.substr(9, 3), status, 10)) return false;
  status_ = static_cast<int>(status);
  std::string_view connection = header("Connection");
  bool old_protocol = line[7] == '0';
  server_closes_ = same_word(connection, "close") || (old_protocol && !same_word(connection, "keep-alive"));
  return read_framing();
}

bool reply_reader::read_framing() {
  left_ = 0;
  if (same_word(header("Transfer-Encoding"), "chunked")) {
    framing_ = framing::chunked;
    chunk_ = chunk_part::size;
    chunk_line_.clear();
    return true;
  }
  std::string_view length = header("Content-Length");
  bool without_body = status_ == 204 || status_ == 304;
  framing_ = length.empty() && !without_body ? framing::until_close : framing::length;
  return length.empty() || parse_whole(length, left_, 10);
}

std::string_view reply_reader::header(std::string_view name) const {
  std::string_view rest = head_;
  for (std::size_t end = rest.find("\r\n"); end != std::string_view::npos; end = rest.find("\r\n")) {
    rest.remove_prefix(end + 2);
    if (rest.size() <= name.size() || rest[name.size()] != ':' ||
        !same_word(rest.substr(0, name.size()), name))
      continue;
    std::string_view value = rest.substr(name.size() + 1, rest.find("\r\n") - name.size() - 1);
    while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
    while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
    return value;
  }
  return {};
}

void reply_reader::take_body(std::string_view& bytes, std::uint64_t most) {
  auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), most));
  if (keep_body_) body_.append(bytes.substr(0, std::min(taken, body_kept_max - body_.size())));
  bytes.remove_prefix(taken);
  if (framing_ != framing::until_close) left_ -= taken;
}

reply_reader::progress reply_reader::take_chunks(std::string_view bytes) {
  while (!bytes.empty()) {
    if (stage_ == stage::done) return broken();
    if (chunk_ == chunk_part::data && left_ > 0) {
      take_body(bytes, left_);
      if (left_ == 0) chunk_ = chunk_part::data_end;
      continue;
    }
    char c = bytes.front();
    bytes.remove_prefix(1);
    if (c != '\n') {
      if (chunk_line_.size() == chunk_line_max) return broken();
      chunk_line_ += c;
      continue;
    }
    if (!chunk_line_.ends_with('\r') || !chunk_line_done()) return broken();
    chunk_line_.clear();
  }
  return stage_ == stage::done ? progress::complete : progress::more;
}

// A line of the chunked framing has ended (its carriage return is still there): what comes next.
bool reply_reader::chunk_line_done() {
  std::string_view line = std::string_view(chunk_line_).substr(0, chunk_line_.size() - 1);
  switch (chunk_) {
    case chunk_part::size:
      if (!parse_whole(line.substr(0, line.find_first_of("; \t")), left_, 16)) return false;
      chunk_ = left_ > 0 ? chunk_part::data : chunk_part::trailer;
      return true;
    case chunk_part::data:
      return false;
    case chunk_part::data_end:
      chunk_ = chunk_part::size;
      return line.empty();
    case chunk_part::trailer:
      if (line.empty()) stage_ = stage::done;
      return true;
  }
  return false;
}

}  // namespace handoff::load
