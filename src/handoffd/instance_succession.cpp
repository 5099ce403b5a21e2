// How running instances go over to a successor.
#include <os/inheritance.hpp>
#include <os/process_tree.hpp>
#include <os/survivors.hpp>
#include <wire/snapshot.hpp>

#include <handoffd/manifest.hpp>
#include <handoffd/running_instance.hpp>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace handoff {

namespace {

constexpr std::size_t most_output_kept = snapshot_bytes / 8;  // of all together

// Of one that had ended already when we began there is only the number, which may be another's by now.
kept_process keep_process(process const& p, std::string const& name, manifest& with) {
  return {p.pid(), p ? p.started() : 0, with.add(name, p.pidfd())};
}

// Without its descriptor a process is found by its number, and known by when it began.
result<process> take_process(kept_process const& kept, inherited_descriptors& from) {
  if (auto pidfd = from.take(kept.pidfd)) return process(kept.pid, std::move(pidfd));
  auto held = hold_process(kept.pid, kept.started);
  if (!held) return std::unexpected(std::move(held).error());
  return *held ? process(kept.pid, std::move(*held)) : process();
}

std::string name_of(instance_id const& id) {
  return "instance." + to_string(id) + "." + std::to_string(id.incarnation) + ".";
}

}  // namespace

void instance_table::keep(snapshot& to, manifest& with) const {
  std::size_t const most_output = most_output_kept / std::max<std::size_t>(running_.size(), 1);
  for (auto const& [id, r] : running_) {
    std::string const name = name_of(id);
    kept_instance kept{.id = id, .launched = keep_process(r->launched, name + "pidfd", with)};
    if (r->adopted)
      kept.adopted = keep_process(*r->adopted, name + "main." + std::to_string(r->adopted->pid()), with);
    kept.notify = with.add(name + "notify", r->notify->fd());
    if (r->output) {
      auto memory = r->output->remembered(most_output);
      auto const pipe = number_of_pipe(r->output->fd()).value_or(pipe_number{});
      kept.output = with.add(name + "output", r->output->fd());
      kept.output_device = pipe.device;
      kept.output_inode = pipe.inode;
      kept.output_partial = std::move(memory.partial);
      kept.output_kept = std::move(memory.kept);
      kept.output_is_cut = memory.kept_is_cut;
    }
    if (r->cgroup) kept.cgroup = r->cgroup->path();
    kept.status = r->status;
    to.instances.push_back(std::move(kept));
  }
  for (auto const& stored : store_->entries())
    to.stored.push_back({stored.name, with.add("store." + std::to_string(stored.key), stored.fd),
                         stored.polling == store_polling::until_hangup, stored.key});
  to.next_stored = store_->next_key();
  to.last_words = last_words_;
}

bool instance_table::is_calm() const {
  return std::ranges::none_of(running_, [](auto const& r) { return static_cast<bool>(r.second->channel); });
}

result<> instance_table::adopt(snapshot const& left, inherited_descriptors& from) {
  last_words_ = left.last_words;
  store_->set_most(limit::stored_descriptors);
  for (auto const& kept : left.stored) {
    auto fd = from.take(kept.descriptor);
    auto polling = kept.until_hangup ? store_polling::until_hangup : store_polling::never;
    store_->skip_keys_to(kept.key);
    if (fd)
      (void)store_->add(kept.name, fd, polling);
    else
      around_.log(log_level::warning,
                  "what the service stored as '" + kept.name + "' is lost: nobody kept it");
  }
  store_->skip_keys_to(left.next_stored);
  for (auto const& kept : left.instances)
    if (auto adopted = adopt(kept, from); !adopted)
      return failure(std::move(adopted.error()).during("adopting instance " + to_string(kept.id)));
  return {};
}

result<> instance_table::adopt(kept_instance const& kept, inherited_descriptors& from) {
  auto r = std::make_unique<running>();
  r->id = kept.id;
  auto launched = take_process(kept.launched, from);
  if (!launched) return std::unexpected(launched.error());
  auto main = kept.adopted ? take_process(*kept.adopted, from) : process();
  if (!main) return std::unexpected(main.error());
  if (!*launched && !*main) {  // gone, without a trace
    keep_words(kept);
    return {};
  }
  // Of a service whose first process went away its number remains: its session's.
  r->launched = *launched ? std::move(*launched) : process(kept.launched.pid, unique_fd());
  if (*main) r->adopted = std::move(*main);
  r->is_strangers_child = !r->launched || parent_of(kept.launched.pid) != ::getpid();
  if (!kept.cgroup.empty()) r->cgroup = generation_cgroup::adopt(kept.cgroup);
  r->status = kept.status;
  if (auto done = adopt_surroundings(*r, kept, from); !done) return done;
  auto watched = watch_end(r->main(), kept.id);
  if (!watched) return std::unexpected(watched.error());
  r->process_watch = std::move(*watched);
  running_.emplace(kept.id, std::move(r));
  return {};
}

// Empty when nobody read it before, or nothing comes of it any more.
result<unique_fd> instance_table::take_output(running& r, kept_instance const& kept,
                                              inherited_descriptors& from) {
  auto passed = from.take(kept.output);
  if (passed || kept.output.empty()) return passed;
  std::array const writers{r.launched.pid(), r.main().pid()};
  auto found = take_back_output(writers, {kept.output_device, kept.output_inode});
  if (!found || *found) return found;
  if (auto ended = r.main().peek(); ended && !*ended)
    tell(log_level::warning, r.id, "its output is not the pipe any more that it got: it is not logged");
  return found;
}

result<> instance_table::adopt_surroundings(running& r, kept_instance const& kept,
                                            inherited_descriptors& from) {
  release const* of = release_of_(kept.id.generation);
  if (of == nullptr) return plain_failure("its release is gone");
  auto notify = from.take(kept.notify);
  if (notify) {
    auto user = of->identity.user.value_or(::getuid());
    auto adopted = notify_socket::adopt(around_.events, std::move(notify), user, disposer_, hears(r.id));
    if (!adopted) return std::unexpected(adopted.error());
    r.notify = std::move(*adopted);
  } else if (auto opened = open_notify_socket(r, *of); !opened) {
    return opened;
  } else {
    unheard_.push_back(r.id);
  }
  if (of->service.output.kind != output_kind::capture) return {};
  auto output = take_output(r, kept, from);
  if (!output) return std::unexpected(output.error());
  if (!*output) {
    keep_words(kept);
    return {};
  }
  auto reader = output_pipe::adopt(around_.events, std::move(*output), logs(r.id),
                                   {kept.output_partial, kept.output_kept, kept.output_is_cut});
  if (!reader) return std::unexpected(reader.error());
  r.output = std::move(*reader);
  return {};
}

}  // namespace handoff
