#include "history.hpp"

#include <app/records.hpp>

namespace handoff {

history history::read(std::string_view text) {
  history h;
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    json line = json::parse(text.substr(0, end), nullptr, false);
    if (auto ended = to_ended_rollout(line)) h.add(std::move(*ended));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return h;
}

std::string history::to_text() const {
  std::string text;
  for (auto const& e : ended_) text += to_line(e);
  return text;
}

void history::add(ended_rollout e) {
  ended_.push_back(std::move(e));
  if (ended_.size() > kept) ended_.pop_front();
}

std::string to_line(ended_rollout const& e) {
  return to_record(e).dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace handoff
