#include "supervisor.hpp"

#include <os/launch.hpp>
#include <os/process_tree.hpp>
#include <os/service_manager.hpp>

#include <handoffd/supervisor_parts.hpp>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace handoff {

namespace {

constexpr duration last_sweep = std::chrono::seconds(5);

// The one alarm that the core needs: its next deadline.
class loop_clock final : public alarm_clock {
 public:
  loop_clock(loop& on, std::function<void(happening)> post) : loop_(on), post_(std::move(post)) {}
  instant now() override { return loop::now(); }
  void wake_at(std::optional<instant> when) override {
    if (when == armed_for_) return;
    armed_for_ = when;
    alarm_.reset();
    if (!when) return;
    auto armed = loop_.at(*when, [this] {
      armed_for_.reset();
      post_(time_passed{});
    });
    if (armed) alarm_ = std::move(*armed);
  }

 private:
  loop& loop_;
  std::function<void(happening)> post_;
  std::optional<instant> armed_for_;
  watch alarm_;
};

// What is read for a metric. The configuration knows how many instances there will be; of live there may be
// more.
result<> describe_metric(metric_settings const& m, command_table::description& into) {
  bool counters = m.probe && !m.probe->page.aggregated && m.kind != metric_kind::value;
  auto instances = into.of->service.instances;
  if (counters && instances > 1)
    return plain_failure("any of its " + std::to_string(instances) +
                         " instances answers, each with counters of its own");
  into.command = m.command;
  into.probe = m.probe;
  into.steering = m.steering;
  into.listener = m.listener;
  into.environment.push_back("HANDOFF_METRIC=" + m.name);
  return {};
}

}  // namespace

// ---- the parts, in the order in which they need each other

result<> supervisor::parts::open_house() {
  auto made = loop::create();
  if (!made) return std::unexpected(made.error());
  events = std::move(*made);
  auto opened = journal::open(service(), options.first.log);
  // No reason to leave alone what runs: standard error, until apply() tells why.
  if (!opened && options.left) opened = journal::open(service(), {.level = options.first.log.level});
  if (!opened) return std::unexpected(opened.error());
  log = std::move(*opened);
  auto base = runtime_directory_path();
  if (!base) return std::unexpected(base.error());
  std::optional<unique_fd> lock;
  if (options.left) lock = options.inherited.take(options.left->lock);
  auto locked = runtime_directory::open(*base, service(), std::move(lock));
  if (!locked) return std::unexpected(locked.error());
  directory = std::move(*locked);
  auto found = open_launcher(options.launcher);
  if (!found) return std::unexpected(found.error());
  launcher = std::move(*found);
  return become_child_subreaper();
}

result<> supervisor::parts::open_doors() {
  auto made = listener_table::create(
      *events, poster(), [this](std::string const& line) { write(log_level::warning, line); },
      [this](generation_number g, int fd) { return instances->is_held(g, fd); }, std::move(options.passed));
  if (!made) return std::unexpected(made.error());
  listeners = std::move(*made);
  if (options.left) return adopt_doors();
  auto opened = listeners->configure(options.first.listeners, options.first.rollout);
  if (!opened) return std::unexpected(opened.error());
  if (auto why = why_not(options.first, *listeners, *opened); !why.empty()) return plain_failure(why);
  if (listeners->left_over() > 0)
    write(log_level::warning,
          "systemd passed " + std::to_string(listeners->left_over()) + " sockets that no listener names");
  return {};
}

surroundings supervisor::parts::around() {
  return {*events,
          poster(),
          [this](log_level level, std::string const& line) { write(level, line); },
          launcher.get(),
          service(),
          directory->control_socket(),
          directory->notify_directory(),
          find_delegated_cgroup()};
}

result<> supervisor::parts::hire() {
  releases = std::make_unique<release_book>(options.configuration, options.first, *listeners, poster(),
                                            [this](settings const& s) { apply(s); });
  auto made =
      instance_table::create(around(), *listeners, [this](generation_number g) { return releases->find(g); });
  if (!made) return std::unexpected(made.error());
  instances = std::move(*made);
  commands = std::make_unique<command_table>(around(), *listeners, options.probe,
                                             [this](command const& c) { return describe(c); });
  clock = std::make_unique<loop_clock>(*events, poster());

  auto state_directory = state_directory_path();
  auto ours = state_directory ? make_state_directory(*state_directory)
                              : result<>(std::unexpected(state_directory.error()));
  if (!ours) write(log_level::warning, ours.error().message() + ": the history ends with us");
  std::string history_file = ours ? *state_directory + "/" + service() + ".history" : "";
  tells = std::make_unique<narrator>(
      *events, *log, [this](std::size_t l) { return listeners->name(l); },
      [this](generation_number g) { return instances->last_words(g); }, history_file);
  memory = std::make_unique<keeper>([this](state const& s, std::vector<fact> const& untold,
                                           manifest& with) { return describe_now(s, untold, with); },
                                    [this](std::string const& line) { write(log_level::warning, line); },
                                    directory->memory_file(), options.inherited.take(memory_key));
  if (options.left) memory->know(options.left->in_store);
  state initial{.policy = operator_policy_of(options.first), .last_rollout = tells->past().last_number()};
  if (options.left) initial = options.left->state;
  mind = std::make_unique<engine>(
      ports{*instances, *releases, *commands, *listeners, *clock, *tells, memory.get()}, std::move(initial));
  return options.left ? adopt_staff() : result<>();
}

result<> supervisor::parts::listen_to_operators() {
  control_service::backend answers{
      .post = poster(),
      .status = [this] { return status(); },
      .history = [this](std::size_t most) { return past(most); },
      .reload = [this](request_number n) { return reload(n); },
      .plan = [this] { return plan(); },
      .reexec = [this] { return begin_reexec(); },
      .warn = [this](std::string const& line) { write(log_level::warning, line); }};
  auto path = directory->control_socket();
  auto opened = options.left
                    ? control_service::adopt(*events, path, options.first.control, std::move(answers),
                                             *options.left, options.inherited)
                    : control_service::open(*events, path, options.first.control, std::move(answers));
  if (!opened) return std::unexpected(opened.error());
  control = std::move(*opened);
  tells->set_control(control.get());
  return {};
}

result<> supervisor::parts::on_signal(int number, std::function<void()> act) {
  auto watched = events->on_signal(number, std::move(act));
  if (!watched) return std::unexpected(watched.error());
  watches.push_back(std::move(*watched));
  return {};
}

result<> supervisor::parts::listen_to_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  struct reaction {
    int number;
    std::function<void()> act;
  };
  auto stop = [this] { post(stop_requested{}); };
  auto ignore = [this](char const* name) {
    return [this, name] { write(log_level::info, std::string("ignored SIG") + name); };
  };
  reaction const reactions[] = {
      {SIGHUP, [this] { post(upgrade_requested{cause::signal, {}, {}}); }},
      {SIGTERM, stop},
      {SIGINT, stop},
      {SIGUSR1,
       [this] {
         auto reopened = log->follow(releases->current().log);
         if (reopened) reopened = log->reopen();
         write(log_level::info, reopened ? "log reopened" : reopened.error().message());
       }},
      {SIGCHLD, [this] { child_ended(); }},
      {SIGUSR2, [this] { (void)begin_reexec(); }},
  };
  for (auto const& r : reactions)
    if (auto done = on_signal(r.number, r.act); !done) return done;
  constexpr int harmless[] = {SIGWINCH, SIGALRM, SIGVTALRM, SIGPROF, SIGQUIT, SIGTSTP,
                              SIGTTIN,  SIGTTOU, SIGIO,     SIGPWR,  SIGURG};
  for (int number : harmless)
    if (auto done = on_signal(number, ignore(::sigabbrev_np(number))); !done) return done;
  return {};
}

// ---- what the parts ask of each other

void supervisor::parts::child_ended() {
  auto known = instances->pids();
  auto others = commands->pids();
  known.insert(known.end(), others.begin(), others.end());
  if (becoming && becoming->trial) known.push_back(becoming->trial->pid());
  instances->sweep(known);
  if (leaving && !instances->has_remains()) events->stop();
}

// Killing an orphan makes orphans of its children: stays until nobody is left to be killed. Of those who are
// somebody else's children no signal tells when they end.
void supervisor::parts::see_everybody_out() {
  constexpr duration often{20};
  leaving = true;
  child_ended();
  instant const deadline = loop::now() + last_sweep;
  while (instances->has_remains() && loop::now() < deadline) {
    auto look = events->at(loop::now() + often, [this] {
      child_ended();
      events->stop();
    });
    if (!look) return;
    events->run();
  }
}

void supervisor::parts::apply(settings const& s) {
  if (auto followed = log->follow(s.log); !followed) write(log_level::warning, followed.error().message());
  if (control) control->set_allowed(s.control);
  listeners->set_retire_after(s.rollout.retire_after);
}

std::expected<std::vector<std::string>, release_book::refusal> supervisor::parts::reload(
    request_number whose) {
  if (mind->current().rollout)
    return std::unexpected(release_book::refusal{"a rollout is under way: reload when it has ended", {}});
  return releases->reload(whose);
}

result<command_table::description> supervisor::parts::describe(command const& c) {
  release const* of = releases->find(c.generation);
  // Of an executable that cannot be used there is no release; the hook "failed" then runs as live's would.
  if (generation const* live = mind->current().with_role(role::live); of == nullptr && live != nullptr)
    of = releases->find(live->number);
  if (of == nullptr) return plain_failure("there is no release to run it for");
  command_table::description d{.of = of};
  d.environment = {"HANDOFF_SERVICE=" + service(),
                   "HANDOFF_GENERATION=" + std::to_string(number(c.generation)),
                   "HANDOFF_ROLLOUT=" + std::to_string(number(c.rollout))};
  auto const& now = releases->current();
  switch (c.what) {
    case command::purpose::hook: {
      auto found = std::ranges::find(now.hooks, c.at, &hook_settings::at);
      if (found == now.hooks.end()) return plain_failure("the hook is no longer configured");
      d.command = found->command;
      d.user = found->user;
      d.environment.push_back("HANDOFF_HOOK=" + std::string(to_string(c.at)));
      break;
    }
    case command::purpose::check:
      if (c.check >= now.checks.size()) return plain_failure("the check is no longer configured");
      d.command = now.checks[c.check].command;
      d.probe = now.checks[c.check].probe;
      d.environment.push_back("HANDOFF_CHECK=" + now.checks[c.check].name);
      break;
    case command::purpose::metric:
      if (c.metric >= now.metrics.size()) return plain_failure("the metric is no longer configured");
      if (auto usable = describe_metric(now.metrics[c.metric], d); !usable)
        return std::unexpected(usable.error());
      break;
    case command::purpose::probe:
      d.command = of->service.ready.command;
      d.probe = of->service.ready.probe;
      d.environment.push_back("HANDOFF_INSTANCE=" + std::to_string(c.instance.index));
      if (auto pid = instances->main_pid(c.instance))
        d.environment.push_back("MAINPID=" + std::to_string(*pid));
      break;
  }
  return d;
}

std::expected<json, problems> supervisor::parts::plan() {
  auto read = releases->read();
  if (!read) return std::unexpected(read.error());
  auto refused = releases->objection_to(*read);
  if (mind->current().lifecycle != lifecycle::running) refused = "the supervisor is stopping";
  json record = plan_record(mind->current(), *read, std::move(refused));
  record["configuration"] = options.configuration;
  return record;
}

// Only what came since an experiment holds its weight belongs to it.
void supervisor::parts::note_experiment() {
  auto const& r = mind->current().rollout;
  bool begins = r && r->is_experiment && r->number != experiment && is_holding(*r);
  if (!begins) return;
  experiment = r->number;
  before_experiment = count_traffic(listeners->observe());
}

json supervisor::parts::status() {
  observations seen{.service = service(), .pid = ::getpid(), .version = HANDOFF_VERSION};
  seen.instances = instances->observe();
  seen.generations = releases->observe();
  seen.listeners = listeners->observe();
  seen.stray_notifications = instances->stray_notifications();
  auto const& r = mind->current().rollout;
  bool begins_what_the_file_says = r && r->source == no_generation;
  generation const* live = mind->current().with_role(role::live);
  bool may_diverge = live != nullptr && !begins_what_the_file_says;
  seen.notes = releases->notes(may_diverge ? std::optional(live->number) : std::nullopt);
  if (becoming && !becoming->waits_for.empty())
    seen.notes.push_back("to become the handoffd that is installed waits for a moment without " +
                         becoming->waits_for);
  for (auto const& trouble : {memory->shortage(), memory->failure()})
    if (!trouble.empty()) seen.notes.push_back(trouble);
  if (r && r->number == experiment) seen.before_experiment = before_experiment;
  return status_record(mind->current(), seen, tells->past().last(), loop::now());
}

json supervisor::parts::past(std::size_t most) const {
  json records = json::array();
  auto const& all = tells->past().all();
  for (auto ended = all.rbegin(); ended != all.rend() && records.size() < most; ++ended)
    records.push_back(to_record(*ended));
  return records;
}

// ---- life

supervisor::supervisor(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
supervisor::~supervisor() = default;

result<std::unique_ptr<supervisor>> supervisor::create(supervisor_options options) {
  auto p = std::make_unique<parts>(std::move(options));
  for (auto step : {&parts::open_house, &parts::part_with_leftovers, &parts::open_doors, &parts::hire,
                    &parts::listen_to_operators, &parts::listen_to_signals})
    if (auto done = (p.get()->*step)(); !done) {
      p->options.stumbled(done.error());
      return std::unexpected(done.error());
    }
  return std::unique_ptr<supervisor>(new supervisor(std::move(p)));
}

// Soon, since our death would leave the store without it.
void supervisor::parts::send_what_waits() {
  constexpr duration soon{2}, latest{1'000};
  if (service_manager::has_sent_all()) {
    sending.reset();
    send_after = {};
  }
  if (service_manager::has_sent_all() || sending) return;
  std::size_t const sent = service_manager::sent();
  send_after = sent != sent_before ? soon : std::clamp(2 * send_after, soon, latest);
  sent_before = sent;
  auto armed = events->at(loop::now() + send_after, [this] {
    sending.reset();
    (void)service_manager::send_what_waits();
  });
  if (armed) sending = std::move(*armed);
}

// What a candidate wrote belongs to its verdict, which a successor may have to tell.
void supervisor::parts::remember_words() {
  constexpr duration pause{100};
  constexpr int share = 20;  // with thousands of listeners it takes its time
  auto const& r = mind->current().rollout;
  auto const lines = r ? instances->lines_of(r->candidate) : 0;
  if (lines == lines_remembered || remembering) return;
  lines_remembered = lines;
  if (lines == 0) return;
  instant const began = loop::now();
  memory->keep(mind->current(), {}, {});
  instant const done = loop::now();
  auto armed = events->at(done + std::max(pause, share * (done - began)), [this] { remembering.reset(); });
  if (armed) remembering = std::move(*armed);
}

void supervisor::run() {
  parts& p = *parts_;
  p.apply(p.options.first);
  p.tells->begin_heartbeat([&p] {
    state const& s = p.mind->current();
    return s.rollout || s.with_role(role::live) == nullptr || s.lifecycle != lifecycle::running;
  });
  auto turn = p.events->before_sleep([&p] {
    p.mind->run();
    p.note_experiment();
    p.remember_words();
    p.watch_for_calm();
    p.send_what_waits();
  });
  if (p.options.left)
    p.go_on();
  else
    p.begin_anew();
  p.events->run();
  while (p.becoming && p.becoming->now) {
    p.become_successor();
    p.events->run();
  }
  if (turn) turn->reset();
  p.see_everybody_out();
  p.memory->forget();
}

}  // namespace handoff
