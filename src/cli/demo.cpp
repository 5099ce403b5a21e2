// handoff demo: the main job in front of a newcomer's eyes. The same load over plain restarts and over
// handoffd.
#include <load/generator.hpp>

#include <CLI/CLI.hpp>
#include <cli/command.hpp>
#include <cli/connection.hpp>
#include <cli/demo_canary.hpp>
#include <cli/demo_host.hpp>
#include <cli/durations.hpp>
#include <cli/supervisors.hpp>
#include <cli/terminal.hpp>
#include <cli/told.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

namespace handoff::cli {

namespace {

struct demo_request {
  unsigned upgrades = 20;
  unsigned clients = 16;
  duration pace{400};  // between two upgrades
  bool json = false;
};

struct act_result {
  std::string name;
  load::report report;
  std::vector<double> first_new, last_old;  // milliseconds from each trigger; below 0 counts as 0
};

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Runs one act: load all the time, an upgrade at each beat, a live line of progress.
class stage {
 public:
  stage(demo_request const& how, interruptions const& stop, std::string name)
      : how_(how), stop_(stop), result_{.name = std::move(name)} {}

  result<act_result> perform(demo_host& host, std::string const& address) {
    if (auto started = host.start(); !started) return std::unexpected(started.error());
    auto where = load::parse_target(address);
    if (!where) return std::unexpected(where.error());
    load::plan plan{.where = *where, .clients = how_.clients, .version_pattern = "version ([0-9]+)"};
    auto run = load::generator::start(plan);
    if (!run) return std::unexpected(run.error());
    auto done = upgrade_all(host, **run);
    (*run)->stop();
    result_.report = (*run)->wait();
    if (err().terminal) err().write("\r\x1B[K");
    if (!done) return std::unexpected(done.error());
    measure();
    return std::move(result_);
  }

 private:
  result<> upgrade_all(demo_host& host, load::generator& run) {
    for (unsigned version = 2; version <= how_.upgrades + 1; ++version) {
      if (auto waited = watch_for(run, version - 2); !waited) return waited;
      triggers_[version] = load::monotonic_ns();
      if (auto upgraded = host.upgrade(version); !upgraded) return upgraded;
    }
    return watch_for(run, how_.upgrades);
  }

  result<> watch_for(load::generator& run, unsigned upgrades) {
    constexpr duration frame{100};
    for (duration left = how_.pace; left > duration::zero(); left -= frame) {
      if (stop_.come_within(std::min(frame, left))) return plain_failure("interrupted");
      show(run.look(), upgrades);
    }
    return {};
  }

  void show(load::counters const& now, unsigned upgrades) const {
    if (!err().terminal || how_.json) return;
    std::string bar(how_.upgrades, '.');
    std::fill_n(bar.begin(), std::min(upgrades, how_.upgrades), '#');
    auto failed = fmt::format("{} failed", now.failed);
    err().write(fmt::format("\r\x1B[K{:<16} [{}] {:>8} requests, {}", result_.name, bar, now.total,
                            err().paint(now.failed == 0 ? colour::green : colour::red, failed)));
  }

  void measure() {
    for (auto const& [version, triggered] : triggers_) {
      auto fresh = result_.report.versions.find(std::to_string(version));
      auto old = result_.report.versions.find(std::to_string(version - 1));
      if (fresh == result_.report.versions.end() || old == result_.report.versions.end()) continue;
      auto since = [&, from = triggered](std::int64_t at) {
        return std::max(0.0, static_cast<double>(at - from) / 1e6);
      };
      result_.first_new.push_back(since(fresh->second.first_ns));
      result_.last_old.push_back(since(old->second.last_ns));
    }
  }

  demo_request const& how_;
  interruptions const& stop_;
  act_result result_;
  std::map<unsigned, std::int64_t> triggers_;
};

double milliseconds(std::int64_t ns) { return static_cast<double>(ns) / 1e6; }

void print_table(std::vector<act_result> const& acts) {
  table t({"", "requests", "failed", "p50 ms", "p99 ms", "max ms", "first new ms", "last old ms"});
  for (auto const& a : acts) {
    auto all = a.report.latency();
    auto in_ms = [](double value) { return cell{fmt::format("{:.2f}", value)}; };
    t.add(
        {{a.name, colour::bold},
         {std::to_string(a.report.counts.total)},
         {std::to_string(a.report.counts.failed), a.report.counts.failed == 0 ? colour::green : colour::red},
         in_ms(milliseconds(all.quantile(0.5))),
         in_ms(milliseconds(all.quantile(0.99))),
         in_ms(milliseconds(all.max())),
         in_ms(median(a.first_new)),
         in_ms(median(a.last_old))});
  }
  for (auto const& line : t.lines(out())) out().line(line);
}

void print_json(std::vector<act_result> const& acts) {
  for (auto const& a : acts) {
    auto all = a.report.latency();
    json record{{"name", a.name},
                {"requests", a.report.counts.total},
                {"failed", a.report.counts.failed},
                {"p50_ms", milliseconds(all.quantile(0.5))},
                {"p99_ms", milliseconds(all.quantile(0.99))},
                {"max_ms", milliseconds(all.max())},
                {"first_new_ms", median(a.first_new)},
                {"last_old_ms", median(a.last_old)}};
    out().line(one_line(record));
  }
}

void conclude(demo_request const& how, std::vector<act_result> const& acts) {
  if (how.json) return print_json(acts);
  out().line("");
  print_table(acts);
  out().line("");
  out().line(
      "first new, last old: from the trigger to the first reply of the new version and the last of the old, "
      "medians");
  auto const& ours = acts.back();
  if (ours.report.counts.failed == 0)
    out().line(fmt::format("{} upgrades under load, {} requests, none failed.", how.upgrades,
                           ours.report.counts.total));
  for (auto const& note : ours.report.notes) err().line("handoff: " + note.what);
}

result<std::vector<act_result>> perform(demo_request const& how) {
  auto programs = demo_programs::find();
  if (!programs) return std::unexpected(programs.error());
  auto stop = interruptions::catch_them();
  if (!stop) return std::unexpected(stop.error());
  scratch place;
  if (place.path().empty()) return os_failure("making a directory for the demonstration");
  if (!how.json)
    out().line(fmt::format(
        "{} clients, a new connection for each request; {} upgrades: by restart, then by handoff.",
        how.clients, how.upgrades));
  struct act {
    char const* name;
    std::unique_ptr<demo_host> (*make)(demo_programs const&, std::string, std::string);
  };
  std::vector<act_result> results;
  for (act const& a : {act{"plain restart", naive_restarts}, act{"handoff", under_handoffd}}) {
    auto address = free_address();
    if (!address) return std::unexpected(address.error());
    auto host = a.make(*programs, place.path(), *address);
    auto performed = stage(how, *stop, a.name).perform(*host, *address);
    if (!performed) return failure(std::move(performed.error()).during(a.name));
    results.push_back(std::move(*performed));
  }
  return results;
}

}  // namespace

namespace {

ending demonstrate_upgrades(demo_request const& how) {
  auto acts = perform(how);
  if (!acts) return tell({ending::failed, acts.error().message()});
  conclude(how, *acts);
  return acts->back().report.counts.failed == 0 ? ending::done : ending::failed;
}

void add_hold(CLI::App& command, CLI::Option* canary, duration& hold) {
  command.add_option("--hold", "of a canary: how long each step holds (default 6s)")
      ->type_name("TIME")
      ->needs(canary)
      ->check([](std::string const& text) {
        return read_duration(text) ? std::string() : "expected a time such as 2s, not '" + text + "'";
      })
      ->each([&hold](std::string const& text) { hold = *read_duration(text); });
}

}  // namespace

void add_demo(CLI::App& app, ending& outcome) {
  auto how = std::make_shared<demo_request>();
  auto canary = std::make_shared<canary_request>();
  auto wants_canary = std::make_shared<bool>(false);
  auto* command =
      app.add_subcommand("demo", "Show an upgrade under full load beside plain restarts, in 20 seconds");
  auto* upgrades = command->add_option("--upgrades", how->upgrades, "how many")
                       ->check(CLI::Range(1, 1000))
                       ->capture_default_str();
  command->add_option("--clients", how->clients, "requests in flight")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  auto* flag = command->add_flag("--canary", *wants_canary,
                                 "show instead how a bad release is caught and a good one promoted");
  flag->excludes(upgrades);
  add_hold(*command, flag, canary->hold);
  add_json(*command, how->json);
  command->callback([how, canary, wants_canary, &outcome] {
    canary->clients = how->clients;
    canary->json = how->json;
    outcome = *wants_canary ? demonstrate_canary(*canary) : demonstrate_upgrades(*how);
  });
}

}  // namespace handoff::cli
