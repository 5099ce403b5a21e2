// Remembers for a successor that comes after our death: the snapshot in memory that outlives us, and every
// descriptor in systemd's store. Without systemd the memory is a file, and descriptors are got back from the
// processes that have copies.
#pragma once

#include <core/ports.hpp>
#include <os/enduring_memory.hpp>
#include <wire/snapshot.hpp>

#include <handoffd/manifest.hpp>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace handoff {

// In the store the names of our descriptors begin with it, and so can be told from those of socket units.
constexpr std::string_view store_prefix = "handoff.";
constexpr char const* memory_key = "memory";
constexpr char const* memory_name = "handoff.memory";  // of a store

class keeper final : public remembrance {
 public:
  using describe = std::function<snapshot(state const&, std::vector<fact> const& untold, manifest&)>;
  using report = std::function<void(std::string)>;

  // `file` is used where nobody keeps descriptors for us. A predecessor's memory is written on, so that at no
  // moment there is none.
  keeper(describe, report, std::string file, unique_fd predecessors);

  void keep(state const&, std::vector<fact> const& untold, std::vector<instance_id> const& parting) override;

  // Names that are in systemd's store.
  void know(std::vector<std::string> const& names);
  std::vector<std::string> known() const { return {stored_.begin(), stored_.end()}; }

  // What an operator should know of the store, and of the memory; empty when all is well.
  std::string const& shortage() const { return shortage_; }
  std::string const& failure() const { return failure_; }

  // What goes over to a successor by exec.
  void add_to(manifest& with) const {
    if (memory_) with.add(memory_key, memory_->fd());
  }

  // An orderly end: nobody is to follow.
  void forget();

 private:
  result<> remember(state const&, std::vector<fact> const& untold, std::vector<instance_id> const& parting);
  result<> begin();
  void store(manifest const&);
  bool send(std::pair<std::string const, int> const&);
  void look_at_room(std::size_t needed);

  describe describe_;
  report report_;
  std::string file_;
  std::size_t room_;  // of systemd's store
  bool has_store_;
  std::optional<enduring_memory> memory_;
  std::set<std::string> stored_;
  std::string shortage_;
  std::string failure_;  // of the last writing
};

}  // namespace handoff
