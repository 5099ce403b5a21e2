// How releases go over to a successor.
#include <os/inheritance.hpp>
#include <wire/snapshot.hpp>

#include <handoffd/manifest.hpp>
#include <handoffd/release_book.hpp>

namespace handoff {

namespace {

kept_executable keep_executable(pinned_executable const& e, descriptor_name name) {
  auto const& is = e.identity();
  return {.path = e.path(),
          .pinned = std::move(name),
          .device = is.device,
          .inode = is.inode,
          .size = is.size,
          .modified_seconds = is.modified_seconds,
          .modified_nanoseconds = is.modified_nanoseconds,
          .build_id = e.build_id(),
          .is_script = e.is_script()};
}

// Who may still run an executable that a predecessor pinned: its identity tells.
std::vector<pid_t> runners_in(snapshot const& left) {
  std::vector<pid_t> all;
  for (auto const& i : left.instances) {
    all.push_back(i.launched.pid);
    if (i.adopted) all.push_back(i.adopted->pid);
  }
  return all;
}

result<pinned_executable> take_executable(kept_executable const& kept, inherited_descriptors& from,
                                          std::span<pid_t const> runners) {
  executable_identity was{.device = kept.device,
                          .inode = kept.inode,
                          .size = kept.size,
                          .modified_seconds = kept.modified_seconds,
                          .modified_nanoseconds = kept.modified_nanoseconds};
  return pinned_executable::adopt(kept.path, from.take(kept.pinned), was, kept.build_id, kept.is_script,
                                  runners);
}

kept_release keep_release(release const& r, descriptor_name executable) {
  auto const& who = r.identity;
  kept_release kept{.number = r.number, .service = r.service};
  for (auto const& l : r.listeners) kept.listeners.push_back({l.name, l.listener});
  kept.executable = keep_executable(*r.executable, std::move(executable));
  kept.identity = {who.user, who.group, who.groups, who.name, who.home, who.shell};
  kept.working_directory = r.working_directory;
  kept.environment = r.environment;
  kept.variant = r.variant;
  return kept;
}

release take_release(kept_release const& kept) {
  auto const& who = kept.identity;
  release r{.number = kept.number, .service = kept.service};
  for (auto const& l : kept.listeners) r.listeners.push_back({l.name, l.listener});
  r.identity = {who.user, who.group, who.groups, who.name, who.home, who.shell};
  r.working_directory = kept.working_directory;
  r.environment = kept.environment;
  r.variant = kept.variant;
  return r;
}

}  // namespace

void release_book::keep(snapshot& to, manifest& with) const {
  to.current = current_;
  for (auto const& [number, r] : releases_)
    to.releases.push_back(keep_release(r, with.add(r.executable_name, r.executable->descriptor())));
}

// An executable that nobody has any more is no reason to part with what runs: the release is lost when
// somebody asks for it.
result<> release_book::adopt(snapshot const& left, inherited_descriptors& from) {
  current_ = left.current;
  auto const runners = runners_in(left);
  for (auto const& kept : left.releases) {
    release r = take_release(kept);
    auto const& name = kept.executable.pinned;  // empty where the descriptor was lost
    r.executable_name = name.empty() ? executable_name_for(kept.number) : name;
    auto same = std::ranges::find_if(
        releases_, [&](auto const& other) { return other.second.executable_name == r.executable_name; });
    if (same != releases_.end()) {
      r.executable = same->second.executable;
    } else {
      auto executable = take_executable(kept.executable, from, runners);
      if (!executable) return std::unexpected(std::move(executable).error());
      r.executable = std::make_shared<pinned_executable const>(std::move(*executable));
    }
    releases_.insert_or_assign(kept.number, std::move(r));
  }
  return {};
}

}  // namespace handoff
