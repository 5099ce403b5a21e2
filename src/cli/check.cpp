// handoff check: the reader that handoffd has, without a handoffd.
#include <app/forecast.hpp>
#include <base/text.hpp>
#include <base/unique_fd.hpp>
#include <os/sharing.hpp>
#include <wire/config_toml.hpp>

#include <CLI/CLI.hpp>
#include <cli/command.hpp>
#include <cli/durations.hpp>
#include <cli/terminal.hpp>
#include <cli/told.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace handoff::cli {

namespace {

struct check_request {
  std::vector<std::string> files;
  bool json = false;
};

result<std::string> read_file(std::string const& path) {
  unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return os_failure("reading it");
  std::string bytes(limit::configuration_bytes + 1, '\0');
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    ssize_t n = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_failure("reading it");
    if (n == 0) break;
    filled += static_cast<std::size_t>(n);
  }
  if (filled > limit::configuration_bytes) {
    return plain_failure(fmt::format("it is longer than {} bytes", limit::configuration_bytes));
  }
  bytes.resize(filled);
  return bytes;
}

std::string_view to_string(readiness when) {
  switch (when) {
    case readiness::notify:
      return "it says so (READY=1)";
    case readiness::exec:
      return "a command says so";
    case readiness::http:
      return "it answers a request";
    case readiness::tcp:
      return "it accepts a connection";
    case readiness::alive:
      return "it has lived for a while";
  }
  return "";
}

// How generations would share a listener. What the kernel allows is asked as who runs this.
std::string sharing_of(settings const& s, listener_settings const& l) {
  if (auto why = why_always_shared(l, s.rollout.sharing); !why.empty()) return "shared: " + why;
  bool must = s.rollout.sharing == sharing::steered || needs_steering(s.rollout);
  if (!must && s.listeners.size() > limit::steered_unasked)
    return fmt::format("shared: more than {} listeners, and sharing = \"steered\" does not ask for it",
                       limit::steered_unasked);
  auto choice = choose_sharing(l, s.rollout);
  if (choice.steered == steering_method::ebpf) return "steered by eBPF, as this user";
  if (choice.steered) return "steered by classic BPF, as this user: " + choice.why;
  return fmt::format("{}, as this user: {}", must ? "cannot be steered" : "shared", choice.why);
}

// Where the numbers of a metric come from: "the page /metrics at 'http': errors_total of requests_total".
std::string numbers_of(metric_settings const& m) {
  if (m.steering) {
    std::string where = m.listener.empty() ? "all steered listeners" : "'" + m.listener + "'";
    return fmt::format("steering: {} at {}", handoff::to_string(*m.steering), where);
  }
  if (!m.probe) return fmt::format("{}", fmt::join(m.command, " "));
  page_settings const& page = m.probe->page;
  std::string what = page.failures + " of " + page.all;
  if (!page.value.empty()) what = page.value;
  if (!page.mean.empty()) what = "the mean of " + page.mean;
  return fmt::format("the page {} at '{}': {}", m.probe->path, m.probe->listener, what);
}

std::vector<std::string> summary(std::string const& file, settings const& s) {
  std::vector<std::string> said;
  said.push_back(fmt::format("{}: service '{}': {} x {}", file, s.service.name, s.service.instances,
                             fmt::join(s.service.command, " ")));
  for (auto const& l : s.listeners)
    said.push_back(fmt::format("  listener '{}' at {}, {}", l.name, handoff::to_string(l), sharing_of(s, l)));
  said.push_back(fmt::format("  ready when {}, within {}", to_string(s.service.ready.when),
                             humane(s.service.ready.timeout)));
  for (auto const& m : s.metrics) said.push_back(fmt::format("  metric '{}' from {}", m.name, numbers_of(m)));
  said.push_back(fmt::format("  an upgrade, by strategy '{}':", handoff::to_string(s.rollout.strategy)));
  for (auto const& step : forecast(s)) said.push_back("    " + step);
  for (auto& line : said) line = printable(line, 400);
  return said;
}

ending check_one(std::string const& path, bool as_json) {
  std::string shown = printable(path, 400);
  std::vector<std::string> problems;
  config_reading reading;
  if (auto bytes = read_file(path); !bytes) {
    problems.push_back(shown + ": " + bytes.error().message());
  } else {
    reading = read_config(*bytes);
    for (auto const& p : reading.problems) problems.push_back(printable(handoff::to_string(p, path), 1000));
  }
  if (as_json) {
    json told{{"file", path}, {"valid", problems.empty()}, {"problems", problems}};
    if (problems.empty()) told["service"] = reading.value.service.name;
    out().line(one_line(told));
  } else if (problems.empty()) {
    for (auto const& line : summary(shown, reading.value)) out().line(line);
  } else {
    for (auto const& line : problems) err().line(line);
  }
  return problems.empty() ? ending::done : ending::usage;
}

}  // namespace

void add_check(CLI::App& app, ending& outcome) {
  auto asked = std::make_shared<check_request>();
  auto* command =
      app.add_subcommand("check", "Read a configuration and tell everything that is wrong with it");
  command->add_option("CONFIG", asked->files, "the file, or several")->required()->type_name("");
  add_json(*command, asked->json);
  command->callback([asked, &outcome] {
    for (auto const& file : asked->files) {
      if (check_one(file, asked->json) != ending::done) outcome = ending::usage;
    }
  });
}

}  // namespace handoff::cli
