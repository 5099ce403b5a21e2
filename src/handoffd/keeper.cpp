#include "keeper.hpp"

#include <os/service_manager.hpp>

#include <unistd.h>

#include <utility>

namespace handoff {

keeper::keeper(describe d, report r, std::string file, unique_fd predecessors)
    : describe_(std::move(d)),
      report_(std::move(r)),
      file_(std::move(file)),
      room_(service_manager::store_size()),
      has_store_(room_ > 0) {
  if (predecessors) memory_ = enduring_memory::adopt(std::move(predecessors));
}

void keeper::keep(state const& s, std::vector<fact> const& untold, std::vector<instance_id> const& parting) {
  auto done = remember(s, untold, parting);
  std::string const before = std::exchange(failure_, {});
  if (done) return;
  failure_ = done.error().message() + ": what changed since would be lost with a death of handoffd";
  if (before.empty()) report_(failure_);
}

result<> keeper::remember(state const& s, std::vector<fact> const& untold,
                          std::vector<instance_id> const& parting) {
  manifest with;
  snapshot now = describe_(s, untold, with);
  now.parting = parting;
  auto bytes = encode_snapshot(now);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  // A store that is too small for all must not lack the one that tells of them.
  if (auto begun = memory_ ? result<>() : begin(); !begun) return begun;
  // Whoever reads a name must find its descriptor, so they go first.
  if (has_store_) store(with);
  return memory_->write(*bytes);
}

result<> keeper::begin() {
  auto made = has_store_ ? enduring_memory::create() : enduring_memory::create(file_);
  if (!made) return std::unexpected(std::move(made.error()));
  if (has_store_) {
    (void)service_manager::forget(memory_name);  // one that could not be read
    if (auto stored = service_manager::store(memory_name, made->fd()); !stored) return stored;
  }
  memory_ = std::move(*made);
  return {};
}

// systemd drops without a word what it has no room for, and keeps nothing twice: what it may have dropped is
// sent again when there is room.
void keeper::store(manifest const& with) {
  bool const was_short = !shortage_.empty();
  look_at_room(with.all().size() + 1);
  bool const again = was_short && shortage_.empty();
  std::map<std::string, int> fresh;
  std::set<std::string> names;
  for (auto const& one : with.all()) {
    if (again || !stored_.contains(one.first)) fresh.insert(one);
    if (!fresh.contains(one.first) || send(one)) names.insert(one.first);
  }
  bool const is_tight = shortage_.empty() && stored_.size() + fresh.size() + 1 > room_;
  for (auto const& name : stored_)
    if (!names.contains(name)) (void)service_manager::forget(std::string(store_prefix) + name);
  if (is_tight)
    for (auto const& one : fresh) (void)send(one);
  stored_ = std::move(names);
}

bool keeper::send(std::pair<std::string const, int> const& one) {
  auto done = service_manager::store(std::string(store_prefix) + one.first, one.second);
  if (!done) report_(done.error().message());
  return done.has_value();
}

void keeper::look_at_room(std::size_t needed) {
  std::string before = std::exchange(shortage_, {});
  if (needed <= room_) return;
  shortage_ =
      "systemd keeps " + std::to_string(room_) + " descriptors for us, and " + std::to_string(needed) +
      " are needed (FileDescriptorStoreMax=): of the others, a death of handoffd leaves only what the "
      "service holds as well";
  if (before.empty()) report_(shortage_);
}

void keeper::know(std::vector<std::string> const& names) {
  stored_ = {names.begin(), names.end()};
  if (has_store_) look_at_room(stored_.size() + 1);
}

void keeper::forget() {
  if (!has_store_) {
    ::unlink(file_.c_str());
    return;
  }
  for (auto const& name : stored_) (void)service_manager::forget(std::string(store_prefix) + name);
  (void)service_manager::forget(memory_name);
  service_manager::send_all();
}

}  // namespace handoff
