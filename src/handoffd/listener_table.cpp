#include "listener_table.hpp"

#include <algorithm>

namespace handoff {

namespace {

constexpr duration reopen_again{100};

bool same_door(listener_settings const& a, listener_settings const& b) {
  bool by_name = std::holds_alternative<systemd_address>(a.address);
  return a.address == b.address && a.type == b.type && a.options.interface == b.options.interface &&
         (!by_name || a.name == b.name);
}

// What can change while the socket stays open is the backlog.
bool needs_new_socket(socket_options a, socket_options const& b) {
  a.backlog = b.backlog;
  return a != b;
}

}  // namespace

listener_table::listener_table(loop& on, post to_engine, report tell, std::vector<named_descriptor> adopted)
    : loop_(on), post_(std::move(to_engine)), report_(std::move(tell)), adopted_(std::move(adopted)) {}

result<std::unique_ptr<listener_table>> listener_table::create(loop& on, post to_engine, report tell,
                                                               std::vector<named_descriptor> adopted) {
  std::unique_ptr<listener_table> made(
      new listener_table(on, std::move(to_engine), std::move(tell), std::move(adopted)));
  auto hangups = hangup_watch::create(
      on, hangup::reading_too, [table = made.get()](std::uint64_t key) { table->post_(listener_shut{key}); });
  if (!hangups) return std::unexpected(hangups.error());
  made->hangups_ = std::move(*hangups);
  return made;
}

listener_table::entry* listener_table::find(listener_settings const& wanted) {
  auto found = std::ranges::find_if(
      entries_, [&](auto const& e) { return same_door(e.second.socket.settings(), wanted); });
  return found == entries_.end() ? nullptr : &found->second;
}

result<std::vector<named_listener>> listener_table::configure(std::vector<listener_settings> const& wanted) {
  std::vector<listener_settings> missing;
  for (auto const& w : wanted) {
    entry const* open = find(w);
    if (open == nullptr)
      missing.push_back(w);
    else if (needs_new_socket(open->socket.settings().options, w.options))
      return plain_failure("listener '" + w.name + "': only the backlog can change while " + to_string(w) +
                           " stays open; give the listener another address, or stop and start the service");
  }
  auto opened = open_listeners(missing, adopted_);
  if (!opened) return std::unexpected(opened.error());
  for (auto& socket : *opened) add(std::move(socket));

  configured_.clear();
  std::vector<named_listener> all;
  for (auto const& w : wanted) {
    auto at = std::ranges::find_if(entries_,
                                   [&](auto const& e) { return same_door(e.second.socket.settings(), w); });
    at->second.socket.set_backlog(w.options.backlog);
    configured_.insert(at->first);
    all.push_back({w.name, at->first});
  }
  close_unused();
  return all;
}

std::size_t listener_table::add(listener socket) {
  std::size_t number = next_++;
  entries_.emplace(number, entry{std::move(socket), 0, {}});
  watch_entry(number);
  return number;
}

void listener_table::watch_entry(std::size_t number) {
  auto const& socket = entries_.at(number).socket;
  if (!socket.can_be_reopened()) return;
  if (auto watched = hangups_->watch(number, socket.fd()); !watched)
    report_("watching listener '" + socket.name() + "': " + watched.error().message());
}

void listener_table::keep(generation_number g, std::vector<named_listener> const& listeners) {
  for (auto const& l : listeners) users_[g].insert(l.listener);
}

void listener_table::drop(generation_number g) {
  users_.erase(g);
  close_unused();
}

void listener_table::close_unused() {
  std::erase_if(entries_, [&](auto const& e) {
    bool used = configured_.contains(e.first) ||
                std::ranges::any_of(users_, [&](auto const& u) { return u.second.contains(e.first); });
    if (!used) hangups_->forget(e.first);
    return !used;
  });
}

std::string listener_table::name(std::size_t listener) const {
  auto found = entries_.find(listener);
  return found == entries_.end() ? "?" : found->second.socket.name();
}

std::vector<observed_listener> listener_table::observe() const {
  std::vector<observed_listener> all;
  for (auto const& [number, e] : entries_)
    all.push_back({.name = e.socket.name(),
                   .address = to_string(e.socket.settings()),
                   .queued = e.socket.queued(),
                   .backlog = e.socket.settings().options.backlog,
                   .reopened = e.reopened});
  return all;
}

void listener_table::restore_backlogs() {
  for (auto const& [number, e] : entries_)
    if (auto restored = e.socket.restore_backlog(); !restored) report_(restored.error().message());
}

void listener_table::reopen(std::size_t number, generation_number slot) {
  auto found = entries_.find(number);
  if (found == entries_.end()) return;
  entry& e = found->second;
  hangups_->forget(number);
  auto how = e.socket.reopen();
  if (!how) {
    report_(how.error().message() + "; tried again");
    auto retry = loop_.at(loop::now() + reopen_again, [this, number, slot] { reopen(number, slot); });
    if (retry) e.retry = std::move(*retry);
    return;
  }
  e.retry.reset();
  ++e.reopened;
  watch_entry(number);
  if (*how == reopening::replaced) post_(listener_replaced{number});
}

}  // namespace handoff
