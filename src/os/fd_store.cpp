#include "fd_store.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

namespace handoff {

namespace {

// What kind of file it is and which one. Asked without synchronising: fstat() of a file on a network or in
// user space could wait for its server, which may be the service itself.
std::optional<struct statx> look_at(int fd) {
  struct statx file;
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &file) < 0)
    return std::nullopt;
  return file;
}

bool is_same_open_file(int a, int b) {
  long order = ::syscall(SYS_kcmp, ::getpid(), ::getpid(), KCMP_FILE, a, b);
  if (order >= 0) return order == 0;
  // Containers often forbid kcmp(). The same inode opened in the same way is then taken for the same, as
  // systemd does.
  auto left = look_at(a);
  auto right = look_at(b);
  if (!left || !right) return false;
  bool same_file = left->stx_ino == right->stx_ino && left->stx_dev_major == right->stx_dev_major &&
                   left->stx_dev_minor == right->stx_dev_minor && left->stx_mode == right->stx_mode;
  return same_file && ::fcntl(a, F_GETFL) == ::fcntl(b, F_GETFL);
}

// Sockets, pipes and the kernel's own descriptors answer poll() at once; a file or device may be served by a
// process in user space, which could stop the loop.
bool is_safe_to_poll(int fd) {
  auto file = look_at(fd);
  if (!file) return false;
  auto kind = file->stx_mode & S_IFMT;
  return kind == S_IFSOCK || kind == S_IFIFO || kind == 0;
}

}  // namespace

result<std::unique_ptr<fd_store>> fd_store::create(loop& on, descriptor_disposer& dispose, std::uint32_t most,
                                                   std::function<void()> dropped) {
  std::unique_ptr<fd_store> made(new fd_store(dispose, most, std::move(dropped)));
  auto watch =
      hangup_watch::create(on, hangup::both_ways, [raw = made.get()](auto key) { raw->hung_up(key); });
  if (!watch) return std::unexpected(std::move(watch).error().during("creating a descriptor store"));
  made->watch_ = std::move(*watch);
  return made;
}

fd_store::~fd_store() {
  std::vector<unique_fd> left;
  for (auto& one : kept_) {
    watch_->forget(one.key);
    left.push_back(std::move(one.fd));
  }
  dispose_.dispose(std::move(left));
}

storing fd_store::add(std::string name, unique_fd& descriptor, store_polling polling) {
  bool known = std::any_of(kept_.begin(), kept_.end(), [&](kept const& one) {
    return is_same_open_file(one.fd.get(), descriptor.get());
  });
  if (known) return storing::duplicate;
  if (kept_.size() >= most_) return storing::full;
  std::uint64_t key = next_key_++;
  int raw = descriptor.get();
  kept_.push_back({key, std::move(name), std::move(descriptor), polling});
  if (polling == store_polling::until_hangup && is_safe_to_poll(raw)) {
    // What cannot be watched is kept until it is removed by name.
    static_cast<void>(watch_->watch(key, raw));
  }
  return storing::stored;
}

std::size_t fd_store::remove(std::string_view name) {
  std::vector<unique_fd> removed;
  for (auto& one : kept_) {
    if (one.name != name) continue;
    watch_->forget(one.key);
    removed.push_back(std::move(one.fd));
  }
  std::erase_if(kept_, [](kept const& one) { return !one.fd; });
  std::size_t count = removed.size();
  dispose_.dispose(std::move(removed));
  return count;
}

void fd_store::hung_up(std::uint64_t key) {
  auto one = std::find_if(kept_.begin(), kept_.end(), [&](kept const& k) { return k.key == key; });
  if (one == kept_.end()) return;
  dispose_.dispose(std::move(one->fd));
  kept_.erase(one);
  dropped_();
}

std::vector<fd_store::entry> fd_store::entries() const {
  std::vector<entry> all;
  for (auto const& one : kept_) all.push_back({one.key, one.name, one.fd.get(), one.polling});
  return all;
}

}  // namespace handoff
