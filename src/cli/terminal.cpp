#include "terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace handoff::cli {

namespace {

bool is_set(char const* name) {
  char const* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

stream open_stream(int fd) {
  char const* kind = std::getenv("TERM");
  bool terminal = ::isatty(fd) == 1;
  bool dumb = kind == nullptr || std::string_view(kind) == "dumb";
  bool draws = terminal && !dumb;
  return {.fd = fd, .terminal = terminal, .draws = draws, .colours = draws && !is_set("NO_COLOR")};
}

std::string_view code(colour c) {
  switch (c) {
    case colour::plain:
      return "";
    case colour::bold:
      return "\x1B[1m";
    case colour::faint:
      return "\x1B[2m";
    case colour::red:
      return "\x1B[31m";
    case colour::green:
      return "\x1B[32m";
    case colour::yellow:
      return "\x1B[33m";
  }
  return "";
}

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](unsigned char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string stream::paint(colour c, std::string_view text) const {
  if (!colours || c == colour::plain) return std::string(text);
  return std::string(code(c)) + std::string(text) + "\x1B[0m";
}

void stream::line(std::string_view text) const { write(std::string(text) + "\n"); }

void stream::write(std::string_view text) const {
  while (!text.empty()) {
    ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // nobody reads; the exit code still tells how it went
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

stream const& out() {
  static stream const standard_output = open_stream(STDOUT_FILENO);
  return standard_output;
}

stream const& err() {
  static stream const standard_error = open_stream(STDERR_FILENO);
  return standard_error;
}

std::string bar(weight part, stream const& on) {
  constexpr std::size_t cells = 20;
  if (!on.draws) return spell(part);
  auto filled = number(part) * cells / number(full_weight);
  // However little it is, it shows; and all of it only when it is all.
  if (part > no_weight) filled = std::max<std::size_t>(filled, 1);
  return fmt::format("[{:#<{}}{:.<{}}] {}", "", filled, "", cells - filled, spell(part));
}

extent extent_of(stream const& s) {
  winsize size{};
  if (::ioctl(s.fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

table::table(std::vector<std::string> heads) {
  std::vector<cell> row;
  for (auto& head : heads) row.push_back({std::move(head), colour::bold});
  rows_.push_back(std::move(row));
}

std::vector<std::string> table::lines(stream const& to) const {
  std::vector<std::size_t> widths;
  for (auto const& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i].text));
  }
  std::vector<std::string> shown;
  for (auto const& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += to.paint(row[i].in, row[i].text);
      if (i + 1 < row.size()) line += std::string(widths[i] - columns_of(row[i].text) + 2, ' ');
    }
    shown.push_back(std::move(line));
  }
  return shown;
}

}  // namespace handoff::cli
