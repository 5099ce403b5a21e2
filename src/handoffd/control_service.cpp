#include "control_service.hpp"

#include <os/account.hpp>

#include <unistd.h>

#include <cmath>

namespace handoff {

namespace {

varlink::service_info const& about() {
  static varlink::service_info const info{"handoff", "handoffd", HANDOFF_VERSION, "https://handoff.example/"};
  return info;
}

weight weight_of(double percentage) {
  return weight{static_cast<std::uint32_t>(std::lround(percentage * 100))};
}

std::optional<experiment_wish> wish_of(json const& upgrade) {
  auto part = upgrade.find("weight");
  if (part != upgrade.end()) return experiment_wish{weight_of(part->get<double>())};
  return upgrade.value("experiment", false) ? std::optional<experiment_wish>(experiment_wish{})
                                            : std::nullopt;
}

}  // namespace

result<std::optional<gid_t>> control_service::group_of(control_settings const& s) {
  if (s.group.empty()) return std::optional<gid_t>();
  auto found = resolve_account({}, s.group, {});
  if (!found) return failure(std::move(found.error()).during("[control] group"));
  return found->group ? std::optional<gid_t>(*found->group) : std::optional<gid_t>(::getgid());
}

control_service::control_service(backend b, control_settings const& settings, std::optional<gid_t> group)
    : backend_(std::move(b)), group_(group) {
  set_allowed(settings);
}

result<std::unique_ptr<control_service>> control_service::open(loop& on, std::string const& path,
                                                               control_settings const& settings, backend b) {
  auto group = group_of(settings);
  if (!group) return std::unexpected(group.error());
  auto listening = listen_for_control(path, *group);
  if (!listening) return std::unexpected(listening.error());
  return serve(on, std::move(*listening), settings, std::move(b), *group);
}

result<std::unique_ptr<control_service>> control_service::serve(loop& on, control_listener listening,
                                                                control_settings const& settings, backend b,
                                                                std::optional<gid_t> group) {
  std::unique_ptr<control_service> made(new control_service(std::move(b), settings, group));
  made->file_ = std::move(listening.file);
  control_handlers handlers{[s = made.get()](client_id from, control_peer const& peer,
                                             std::string_view bytes) { s->handle(from, peer, bytes); },
                            [s = made.get()](client_id gone) {
                              s->watchers_.erase(gone);
                              s->want_reexec_.erase(gone);
                            }};
  std::string refusal = varlink::to_bytes(
      varlink::reply{"io.handoff.Supervisor.Busy", {{"reason", "too many clients of this user"}}, false});
  auto socket = control_socket::serve(on, std::move(listening.fd), std::move(handlers), std::move(refusal));
  if (!socket) return std::unexpected(socket.error());
  made->socket_ = std::move(*socket);
  return made;
}

bool control_service::may(control_peer const& peer, std::string const& method) const {
  if (peer.uid == 0 || peer.uid == ::geteuid()) return true;
  return group_ && is_member(peer, *group_) && allowed_.contains(method);
}

void control_service::handle(client_id from, control_peer const& peer, std::string_view message) {
  auto received = varlink::receive(message, about(), varlink::supervisor_interface());
  if (auto const* done = std::get_if<varlink::answered>(&received)) {
    socket_->send(from, done->bytes);
    if (done->hang_up) socket_->close_after_send(from);
    return;
  }
  auto const& asked = std::get<varlink::call>(received);
  if (may(peer, asked.method)) return dispatch(from, asked);
  std::string reason = "uid " + std::to_string(peer.uid) + " may not call " + asked.method;
  socket_->send(from, varlink::error_to(asked, "NotAllowed", {{"reason", reason}}));
}

void control_service::dispatch(client_id from, varlink::call const& asked) {
  auto const& m = asked.method;
  if (m == "Status") return reply(from, asked, backend_.status());
  if (m == "Watch") return begin_watching(from, asked);
  if (m == "Plan") return plan(from, asked);
  if (m == "Reexec") return begin_reexec(from, asked);
  if (m == "Reload") return reload(from, asked);
  if (m == "History") {
    auto most = asked.parameters.value("limit", history::kept);
    return reply(from, asked, {{"rollouts", backend_.history(most)}});
  }
  if (m == "Upgrade")
    return ask(from, asked,
               [&](auto n) { return upgrade_requested{cause::request, n, wish_of(asked.parameters)}; });
  if (m == "Abort") return ask(from, asked, [](auto n) { return abort_requested{n}; });
  if (m == "Promote")
    return ask(from, asked,
               [&](auto n) { return promote_requested{asked.parameters.value("full", false), n}; });
  if (m == "Pause") return ask(from, asked, [](auto n) { return pause_requested{n}; });
  if (m == "Resume") return ask(from, asked, [](auto n) { return resume_requested{n}; });
  if (m == "SetWeight")
    return ask(from, asked,
               [&](auto n) { return weight_requested{weight_of(asked.parameters.value("weight", 0.0)), n}; });
  if (m == "Rollback") return ask(from, asked, [](auto n) { return rollback_requested{n}; });
  ask(from, asked, [](auto n) { return stop_requested{n}; });
}

void control_service::ask(client_id from, varlink::call const& asked,
                          std::function<happening(request_number)> make) {
  request_number n{++last_request_};
  waiting_.emplace(n, waiting_call{from, asked});
  backend_.post(make(n));
}

void control_service::hear(answer const& a) {
  auto found = waiting_.find(a.request);
  if (found == waiting_.end()) return;
  waiting_call call = std::move(found->second);
  waiting_.erase(found);
  if (!a.outcome)
    return socket_->send(call.from,
                         varlink::error_to(call.asked, "Refused", {{"reason", a.outcome.error()}}));
  if (!call.reply.is_null()) return reply(call.from, call.asked, std::move(call.reply));
  json parameters = json::object();
  if (call.asked.method != "Stop") parameters["rollout"] = number(*a.outcome);
  reply(call.from, call.asked, std::move(parameters));
}

void control_service::reply(client_id to, varlink::call const& asked, json parameters) {
  socket_->send(to, varlink::reply_to(asked, std::move(parameters)));
}

void control_service::reload(client_id from, varlink::call const& asked) {
  request_number n{++last_request_};
  auto done = backend_.reload(n);
  if (done) {
    waiting_.emplace(n, waiting_call{from, asked, {{"applied", *done}}});
    return;
  }
  auto const& no = done.error();
  if (no.invalid.empty())
    return socket_->send(from, varlink::error_to(asked, "Refused", {{"reason", no.reason}}));
  socket_->send(from, varlink::error_to(asked, "InvalidConfiguration", {{"problems", no.invalid}}));
}

void control_service::plan(client_id from, varlink::call const& asked) {
  auto told = backend_.plan();
  if (told) return reply(from, asked, *told);
  socket_->send(from, varlink::error_to(asked, "InvalidConfiguration", {{"problems", told.error()}}));
}

void control_service::begin_watching(client_id from, varlink::call const& asked) {
  watchers_.emplace(from, asked);
  json hello{{"sequence", 0}, {"time", ""}, {"kind", "watching"}, {"text", "watching"}};
  socket_->send(from, varlink::reply_to(asked, {{"event", std::move(hello)}}, true), reply_part::more_follow);
}

// The reply is the successor's to give, or ours when there is none.
void control_service::begin_reexec(client_id from, varlink::call const& asked) {
  if (auto why_not = backend_.reexec())
    return socket_->send(from, varlink::error_to(asked, "Refused", {{"reason", *why_not}}));
  want_reexec_.emplace(from, asked);
}

void control_service::end_reexec(std::optional<std::string> const& why_not) {
  for (auto const& [to, asked] : std::exchange(want_reexec_, {})) {
    if (why_not)
      socket_->send(to, varlink::error_to(asked, "Refused", {{"reason", *why_not}}));
    else
      reply(to, asked, {{"version", HANDOFF_VERSION}});
  }
}

void control_service::publish(json const& event) {
  auto watchers = watchers_;  // a slow one is cut off while we send
  for (auto const& [to, asked] : watchers)
    socket_->send(to, varlink::reply_to(asked, {{"event", event}}, true), reply_part::more_follow);
}

}  // namespace handoff
