// A control socket with a program behind it that promotes every upgrade at once: for testing what is on both
// sides of the socket without a supervisor. Ends at Stop.
#include <base/text.hpp>
#include <os/control_socket.hpp>
#include <wire/varlink.hpp>

#include <cstdio>
#include <set>

using namespace handoff;
using varlink::json;

namespace {

class program {
 public:
  program(loop& events, unique_fd listening) : events_(events) {
    control_handlers handlers{
        .on_message = [this](client_id id, control_peer const&, std::string_view bytes) { take(id, bytes); },
        .on_gone = [this](client_id id) { watchers_.erase(id); }};
    auto busy = varlink::error_to({}, "Busy", {{"reason", "too many clients"}});
    socket_ = std::move(*control_socket::serve(events, std::move(listening), std::move(handlers), busy));
  }

 private:
  void take(client_id id, std::string_view bytes) {
    auto read = varlink::receive(bytes, {.vendor = "handoff", .product = "test", .version = "1", .url = ""},
                                 varlink::supervisor_interface());
    if (auto const* done = std::get_if<varlink::answered>(&read)) {
      socket_->send(id, done->bytes);
      if (done->hang_up) socket_->close_after_send(id);
      return;
    }
    answer(id, std::get<varlink::call>(read));
  }

  void answer(client_id id, varlink::call const& asked) {
    if (asked.method == "Watch") {
      watchers_.insert(id);
      return send_event(id, {{"kind", "watching"}, {"text", "watching"}});
    }
    if (asked.method == "Status") return reply(id, asked, {{"service", "web"}, {"state", "serving"}});
    if (asked.method == "History") return reply(id, asked, history());
    if (asked.method == "Upgrade") {
      promote(++rollouts_);
      return reply(id, asked, {{"rollout", rollouts_}});
    }
    if (asked.method == "Stop") {
      events_.stop();
      return reply(id, asked, json::object());
    }
    socket_->send(id, varlink::error_to(asked, "Refused", {{"reason", "nothing to act on"}}));
  }

  void reply(client_id id, varlink::call const& asked, json parameters) {
    socket_->send(id, varlink::reply_to(asked, std::move(parameters)));
  }

  void send_event(client_id id, json event) {
    socket_->send(
        id, varlink::to_bytes(varlink::reply{.parameters = {{"event", std::move(event)}}, .continues = true}),
        reply_part::more_follow);
  }

  void promote(int rollout) {
    for (client_id id : watchers_) {
      send_event(id, {{"kind", "serving"}, {"text", "serving"}, {"rollout", rollout}});
      send_event(id, {{"kind", "verdict"}, {"text", "done"}, {"rollout", rollout}, {"verdict", "promoted"}});
      send_event(id, {{"kind", "settled"}, {"text", "settled"}, {"rollout", rollout}});
    }
  }

  json history() const {
    json entries = json::array();
    for (int n = rollouts_; n > 0 && n > rollouts_ - 100; --n) {
      entries.push_back({{"rollout", n}, {"verdict", "promoted"}, {"seconds", 0.1}});
    }
    return {{"rollouts", entries}};
  }

  loop& events_;
  std::unique_ptr<control_socket> socket_;
  std::set<client_id> watchers_;
  int rollouts_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto events = loop::create();
  auto listening = listen_for_control(argv[1], std::nullopt);
  if (!events || !listening) {
    std::fprintf(stderr, "%s\n", (events ? listening.error() : events.error()).message().c_str());
    return 1;
  }
  program served(**events, std::move(listening->fd));
  std::puts("listening");
  std::fflush(stdout);
  (*events)->run();
  return 0;
}
