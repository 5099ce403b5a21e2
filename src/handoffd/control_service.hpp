// The control interface: who may call what, calls to events and answers to replies, and the watchers.
#pragma once

#include <app/records.hpp>
#include <core/action.hpp>
#include <core/event.hpp>
#include <os/control_socket.hpp>
#include <wire/varlink.hpp>

#include <handoffd/release_book.hpp>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace handoff {

class control_service {
 public:
  // What calls are answered from.
  struct backend {
    std::function<void(happening)> post;
    std::function<json()> status;
    std::function<json(std::size_t most)> history;
    std::function<std::expected<std::vector<std::string>, release_book::refusal>()> reload;
    std::function<std::expected<json, problems>()> plan;
  };

  static result<std::unique_ptr<control_service>> open(loop&, std::string const& path,
                                                       control_settings const&, backend);

  void hear(answer const&);
  void publish(json const& event);  // to everybody who watches
  bool is_watched() const { return !watchers_.empty(); }

  // Whom the configuration lets call what from now on. The socket's group stays as it was opened.
  void set_allowed(control_settings const& s) { allowed_ = {s.allow.begin(), s.allow.end()}; }

 private:
  control_service(backend, control_settings const&, std::optional<gid_t> group);
  void handle(client_id, control_peer const&, std::string_view message);
  void dispatch(client_id, varlink::call const&);
  void ask(client_id, varlink::call const&, std::function<happening(request_number)>);
  void begin_watching(client_id, varlink::call const&);
  void reload(client_id, varlink::call const&);
  void plan(client_id, varlink::call const&);
  void reply(client_id, varlink::call const&, json parameters);
  bool may(control_peer const&, std::string const& method) const;

  struct waiting_call {
    client_id from;
    varlink::call asked;
  };

  backend backend_;
  std::set<std::string> allowed_;
  std::optional<gid_t> group_;
  owned_socket_file file_;
  std::unique_ptr<control_socket> socket_;
  std::map<request_number, waiting_call> waiting_;
  std::map<client_id, varlink::call> watchers_;
  std::uint64_t last_request_ = 0;
};

}  // namespace handoff
