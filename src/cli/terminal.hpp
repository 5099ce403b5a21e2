// What goes to standard output and standard error: lines, colours on a terminal only, tables.
#pragma once

#include <core/ids.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace handoff::cli {

enum class colour { plain, bold, faint, red, green, yellow };

// One of the two streams, and what it can show.
struct stream {
  int fd = 1;
  bool terminal = false;
  bool draws = false;    // bars and pictures: on a terminal, unless TERM is "dumb"
  bool colours = false;  // where it draws, unless NO_COLOR is set (https://no-color.org)

  std::string paint(colour, std::string_view text) const;
  void line(std::string_view text) const;
  // At once, whatever it is, without a line end.
  void write(std::string_view text) const;
};

stream const& out();
stream const& err();

// A part of the whole traffic: "[##........] 20 %" where that is drawn, "20 %" elsewhere.
std::string bar(weight part, stream const& on);

// What the terminal shows at once; 80 by 24 when nobody knows.
struct extent {
  unsigned columns = 80;
  unsigned rows = 24;
};
extent extent_of(stream const&);

struct cell {
  std::string text;
  colour in = colour::plain;
};

// Columns as wide as their widest cell. Texts count one column a character.
class table {
 public:
  table() = default;
  explicit table(std::vector<std::string> heads);
  void add(std::vector<cell> row) { rows_.push_back(std::move(row)); }
  std::vector<std::string> lines(stream const&) const;

 private:
  std::vector<std::vector<cell>> rows_;  // the heads first
};

}  // namespace handoff::cli
