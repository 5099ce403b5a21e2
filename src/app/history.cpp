#include "history.hpp"

#include <app/records.hpp>
#include <base/text.hpp>

#include <algorithm>

namespace handoff {

namespace {

constexpr char const* died = "supervisor died";

// Output of a service may be anything: what is not UTF-8 must not stop us from telling the rest.
std::string dump(json const& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string to_line(ended_rollout const& e) { return dump(to_record(e)) + "\n"; }

void cut(ended_rollout& e) {
  if (e.verdict.reason.size() > history::reason_bytes)
    e.verdict.reason = printable(e.verdict.reason, history::reason_bytes);
  std::size_t bytes = 0;
  auto first = e.output.end();
  while (first != e.output.begin()) {
    bytes += dump(*std::prev(first)).size() + 1;  // and a comma
    if (bytes > history::output_bytes) break;
    --first;
  }
  e.output.erase(e.output.begin(), first);
}

}  // namespace

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
  for (auto const& e : under_way_) text += to_line(e);
  return text;
}

std::optional<std::string> history::begin(rollout_number number, std::string cause, std::string now) {
  if (std::ranges::find(under_way_, number, &ended_rollout::number) != under_way_.end()) return {};
  under_way_.push_back({.number = number,
                        .cause = std::move(cause),
                        .verdict = {verdict_kind::rolled_back, died},
                        .started = std::move(now)});
  return to_line(under_way_.back());
}

bool history::is_open(rollout_number number) const {
  auto is_it = [&](auto const& e) { return e.number == number && e.generation == no_generation; };
  return std::ranges::any_of(under_way_, is_it) || std::ranges::any_of(ended_, [&](auto const& e) {
           return is_it(e) && e.verdict == verdict{verdict_kind::rolled_back, died};
         });
}

void history::go_on(rollout_number number) {
  auto begun = std::ranges::find(ended_, number, &ended_rollout::number);
  if (begun == ended_.end() || !is_open(number)) return;
  under_way_.push_back(std::move(*begun));
  ended_.erase(begun);
}

std::string history::end(ended_rollout e) {
  std::erase_if(under_way_, [&](auto const& u) { return u.number == e.number; });
  cut(e);
  std::string line = to_line(e);
  add(std::move(e));
  return line;
}

rollout_number history::last_number() const {
  auto last = std::ranges::max_element(ended_, {}, &ended_rollout::number);
  return last == ended_.end() ? rollout_number{} : last->number;
}

void history::add(ended_rollout e) {
  cut(e);
  if (auto earlier = std::ranges::find(ended_, e.number, &ended_rollout::number); earlier != ended_.end()) {
    *earlier = std::move(e);
    return;
  }
  ended_.push_back(std::move(e));
  if (ended_.size() > kept) ended_.pop_front();
}

}  // namespace handoff
