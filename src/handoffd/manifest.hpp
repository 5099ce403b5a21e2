// The descriptors that a successor is to get, each under a name of its own. A name is never used for another
// one, so that a store which has it has the right one.
#pragma once

#include <map>
#include <string>

namespace handoff {

class manifest {
 public:
  // Returns the name, or an empty one for no descriptor. It stays the caller's.
  std::string add(std::string name, int fd) {
    if (fd < 0) return {};
    all_.insert_or_assign(name, fd);
    return name;
  }
  std::map<std::string, int> const& all() const { return all_; }

 private:
  std::map<std::string, int> all_;
};

}  // namespace handoff
