#include "journal.hpp"

#include <poll.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <utility>

namespace handoff {

struct journal::state {
  std::string service;
  std::string file;
  std::shared_ptr<spdlog::logger> logger;
};

namespace {

constexpr char const* with_time = "%Y-%m-%dT%H:%M:%S.%e%z %n[%P] %l: %v";
constexpr char const* for_systemd = "%v";  // journald knows the time and the name

// Standard error, for as long as somebody reads it: a line that would have to wait is dropped, and how many
// were is told when there is room again. A pipe that is writable takes PIPE_BUF bytes at once (pipe(7)).
class stderr_sink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
  void sink_it_(spdlog::details::log_msg const& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    pollfd room{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&room, 1, 0) <= 0 || (room.revents & POLLOUT) == 0) {
      ++dropped_;
      return;
    }
    std::string text(line.data(), std::min<std::size_t>(line.size(), PIPE_BUF - 64));
    if (dropped_ > 0) text.insert(0, "(" + std::to_string(std::exchange(dropped_, 0)) + " lines were lost) ");
    ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
    (void)ignored;
  }
  void flush_() override {}

  std::uint64_t dropped_ = 0;
};

bool stderr_is_journal() { return std::getenv("JOURNAL_STREAM") != nullptr; }

// "<6>": what sd-daemon(3) calls a kernel-style log level.
std::string_view priority(log_level level) {
  constexpr std::string_view prefixes[] = {"<7>", "<6>", "<4>", "<3>"};
  return prefixes[static_cast<std::size_t>(level)];
}

spdlog::level::level_enum to_spdlog(log_level level) {
  constexpr spdlog::level::level_enum levels[] = {spdlog::level::debug, spdlog::level::info,
                                                  spdlog::level::warn, spdlog::level::err};
  return levels[static_cast<std::size_t>(level)];
}

result<std::shared_ptr<spdlog::logger>> make_logger(std::string const& service, std::string const& file) {
  // spdlog throws when a file cannot be opened; this is where that ends.
  try {
    spdlog::sink_ptr sink;
    if (file.empty())
      sink = std::make_shared<stderr_sink>();
    else
      sink = std::make_shared<spdlog::sinks::basic_file_sink_st>(file);
    auto logger = std::make_shared<spdlog::logger>(service, std::move(sink));
    logger->set_pattern(file.empty() && stderr_is_journal() ? for_systemd : with_time);
    logger->set_error_handler([](std::string const&) {});  // a full disk must not become a flood elsewhere
    logger->flush_on(spdlog::level::debug);
    return logger;
  } catch (spdlog::spdlog_ex const& e) {
    return plain_failure("opening the log: " + std::string(e.what()));
  }
}

}  // namespace

journal::journal(std::unique_ptr<state> s) : state_(std::move(s)) {}
journal::~journal() = default;

result<std::unique_ptr<journal>> journal::open(std::string const& service, log_settings const& where) {
  auto logger = make_logger(service, where.file);
  if (!logger) return std::unexpected(logger.error());
  auto s = std::make_unique<state>(state{service, where.file, *logger});
  std::unique_ptr<journal> opened(new journal(std::move(s)));
  (*logger)->set_level(to_spdlog(where.level));
  return opened;
}

result<> journal::follow(log_settings const& where) {
  state_->logger->set_level(to_spdlog(where.level));
  if (where.file == state_->file) return {};
  std::string before = std::exchange(state_->file, where.file);
  auto moved = open_again();
  if (!moved) state_->file = before;
  return moved;
}

void journal::write(log_level level, std::string_view line) {
  bool prefixed = state_->file.empty() && stderr_is_journal();
  state_->logger->log(to_spdlog(level), "{}{}", prefixed ? priority(level) : "", line);
}

result<> journal::reopen() { return state_->file.empty() ? result<>{} : open_again(); }

result<> journal::open_again() {
  auto fresh = make_logger(state_->service, state_->file);
  if (!fresh) return std::unexpected(fresh.error());
  (*fresh)->set_level(state_->logger->level());
  state_->logger = *fresh;
  return {};
}

}  // namespace handoff
