// Lines at the bottom of a terminal that are drawn again and again, with lines that stay above them.
#pragma once

#include <cli/terminal.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace handoff::cli {

class live_region {
 public:
  explicit live_region(stream const& on) : on_(on) {}

  // Prints `above`, which scrolls away as all output does, and draws `picture` below it in place of the last
  // one. Of a picture higher than the terminal the top is shown.
  void show(std::vector<std::string> const& above, std::vector<std::string> const& picture);

  // Begins anew below what others wrote meanwhile, or on an empty terminal when it has another size: then
  // nobody knows where the last picture is.
  void leave() { height_ = 0; }
  void clear();

 private:
  stream const& on_;
  std::size_t height_ = 0;  // of the picture above the cursor
};

}  // namespace handoff::cli
