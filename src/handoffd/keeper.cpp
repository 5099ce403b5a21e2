#include "keeper.hpp"

#include <os/service_manager.hpp>

#include <unistd.h>

namespace handoff {

keeper::keeper(describe d, report r, std::string file, unique_fd predecessors)
    : describe_(std::move(d)),
      report_(std::move(r)),
      file_(std::move(file)),
      has_store_(service_manager::keeps_descriptors()) {
  if (predecessors) memory_ = enduring_memory::adopt(std::move(predecessors));
}

void keeper::keep(state const& s, std::vector<fact> const& untold, std::vector<instance_id> const& parting) {
  auto done = remember(s, untold, parting);
  if (!done && !failed_) report_(done.error().message() + ": a death of handoffd would end its service");
  failed_ = !done;
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

void keeper::store(manifest const& with) {
  std::set<std::string> names;
  for (auto const& [name, fd] : with.all()) {
    result<> done;
    if (!stored_.contains(name)) done = service_manager::store(std::string(store_prefix) + name, fd);
    if (done)
      names.insert(name);
    else
      report_(done.error().message());
  }
  for (auto const& name : stored_)
    if (!names.contains(name)) (void)service_manager::forget(std::string(store_prefix) + name);
  stored_ = std::move(names);
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
