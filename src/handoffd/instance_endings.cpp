// How instances end, and what is left of them.
#include <os/process_tree.hpp>
#include <wire/snapshot.hpp>

#include <handoffd/running_instance.hpp>

#include <csignal>

namespace handoff {

namespace {

constexpr std::size_t verdict_lines = 20;
constexpr std::size_t generations_quoted = 8;  // a verdict asks about the newest one
constexpr duration longest_collection{50};     // of an ended process, by its parent
constexpr int most_rounds = 16;  // of one sweep: a service that forks without end must not hold up the loop

// No more than a verdict quotes: the last ones.
void append_words(std::vector<std::string>& words, std::vector<std::string> const& more) {
  words.insert(words.end(), more.begin(), more.end());
  if (words.size() > verdict_lines)
    words.erase(words.begin(), words.end() - static_cast<std::ptrdiff_t>(verdict_lines));
}

}  // namespace

result<> instance_table::watch_launched(running& r) {
  auto reported = around_.events.on_fd(r.channel.get(), readiness_of_fd::readable,
                                       [this, id = r.id] { read_report(id); });
  if (!reported) return std::unexpected(reported.error());
  r.channel_watch = std::move(*reported);
  auto watched = watch_end(r.launched, r.id);
  if (!watched) return std::unexpected(watched.error());
  r.process_watch = std::move(*watched);
  return {};
}

result<watch> instance_table::watch_end(process const& p, instance_id const& id) {
  return around_.events.on_fd(p.pidfd(), readiness_of_fd::readable, [this, id] { ended(id); });
}

void instance_table::ended(instance_id const& id) {
  auto found = running_.find(id);
  if (found == running_.end()) return;
  running& r = *found->second;
  auto how = r.main().peek();
  if (how && !*how) return;
  if (how && (*how)->how == exit_status::kind::uncollected && await_collection(r)) return;
  if (r.channel) read_report(id);
  pid_t const who = r.main().pid();
  r.notify->receive();                // last words may be under way
  if (r.main().pid() != who) return;  // and may name its successor
  exit_status status = how ? **how : exit_status{};
  bury(r);
  auto event = r.launch_failure ? happening(launch_failed{id, *r.launch_failure, r.failure_is_transient})
                                : happening(exited{id, to_string(status)});
  running_.erase(id);
  around_.post(std::move(event));
}

// Whether it is worth the wait: its parent may never do it.
bool instance_table::await_collection(running& r) {
  if (r.collection_deadline) return false;
  r.process_watch.reset();
  auto look_again = [this, id = r.id] { ended(id); };
  auto collected = around_.events.on_fd(r.main().pidfd(), readiness_of_fd::hung_up, look_again);
  auto overdue = around_.events.at(loop::now() + longest_collection, look_again);
  if (!collected || !overdue) return false;
  r.process_watch = std::move(*collected);
  r.collection_deadline = std::move(*overdue);
  return true;
}

// Kills the rest of the instance, reaps it, and keeps its last words.
void instance_table::bury(running& r) {
  if (r.cgroup) (void)r.cgroup->kill_all();
  (void)r.launched.kill_group();
  if (r.output) {
    r.output->drain_now();
    keep_words(r.id.generation, r.output->tail(verdict_lines));
  }
  strays_ += r.notify->seen().strangers + r.notify->seen().broken;
  if (r.adopted) (void)r.adopted->reap();
  (void)r.launched.reap();
  remains_.push_back({identity_variables(around_, r.id), std::move(r.cgroup), r.is_strangers_child});
  ::raise(SIGCHLD);  // its own may have been answered before we knew of the end: there is more to sweep
  listeners_.restore_backlogs();
}

void instance_table::sweep(std::vector<pid_t> const& known) {
  auto is_over = [&](remains const& left) {
    auto killed = kill_orphans(known, left.variables);
    if (left.are_strangers_children && kill_carriers(known, left.variables) > 0) return false;
    // Who is ending carries no variables any more, and may leave us children that do.
    bool nobody = killed && *killed == 0 && !is_an_orphan_ending(known).value_or(true);
    if (!left.cgroup) return nobody;
    (void)left.cgroup->kill_all();
    auto removed = left.cgroup->remove();
    return nobody && removed && *removed;
  };
  for (int round = 0; round < most_rounds; ++round) {
    std::erase_if(remains_, is_over);
    if (reap_orphans(known).value_or(0) == 0) break;
  }
  disposer_.proceed();
}

void instance_table::keep_words(generation_number g, std::vector<std::string> const& words) {
  append_words(last_words_[g], words);
  if (last_words_.size() > generations_quoted) last_words_.erase(last_words_.begin());
}

// Of one that ended while nobody listened.
void instance_table::keep_words(kept_instance const& of) {
  keep_words(of.id.generation, output_pipe::tail_of(of.output_kept, of.output_is_cut, verdict_lines));
}

std::uint64_t instance_table::lines_of(generation_number g) const {
  std::uint64_t lines = 0;
  for (auto const& [id, r] : running_)
    if (id.generation == g && r->output) lines += r->output->lines();
  return lines;
}

std::vector<std::string> instance_table::last_words(generation_number g) const {
  std::vector<std::string> words;
  if (auto found = last_words_.find(g); found != last_words_.end()) words = found->second;
  for (auto const& [id, r] : running_)
    if (id.generation == g && r->output) append_words(words, r->output->tail(verdict_lines));
  return words;
}

}  // namespace handoff
