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

class inherited_descriptors;
class manifest;
struct snapshot;

class control_service {
 public:
  // What calls are answered from.
  struct backend {
    std::function<void(happening)> post;
    std::function<json()> status;
    std::function<json(std::size_t most)> history;
    std::function<std::expected<std::vector<std::string>, release_book::refusal>(request_number)> reload;
    std::function<std::expected<json, problems>()> plan;
    std::function<std::optional<std::string>()> reexec;  // begins it, or says why not
    std::function<void(std::string const&)> warn;
  };

  // Goes on with the socket and the clients of a predecessor.
  static result<std::unique_ptr<control_service>> adopt(loop&, std::string const& path,
                                                        control_settings const&, backend, snapshot const&,
                                                        inherited_descriptors&);
  void keep(snapshot&, manifest&) const;

  // To those who asked for it: nothing when it is done, else why it did not happen.
  void end_reexec(std::optional<std::string> const& why_not);

  static result<std::unique_ptr<control_service>> open(loop&, std::string const& path,
                                                       control_settings const&, backend);

  void hear(answer const&);
  void publish(json const& event);  // to everybody who watches
  bool is_watched() const { return !watchers_.empty(); }

  // Whom the configuration lets call what from now on. The socket's group stays as it was opened.
  void set_allowed(control_settings const& s) { allowed_ = {s.allow.begin(), s.allow.end()}; }

 private:
  control_service(backend, control_settings const&, std::optional<gid_t> group);
  static result<std::unique_ptr<control_service>> serve(loop&, control_listener, control_settings const&,
                                                        backend, std::optional<gid_t> group);
  static result<std::optional<gid_t>> group_of(control_settings const&);
  void begin_reexec(client_id, varlink::call const&);
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
    json reply = nullptr;  // null: the number of the rollout
  };

  backend backend_;
  std::set<std::string> allowed_;
  std::optional<gid_t> group_;
  owned_socket_file file_;
  std::unique_ptr<control_socket> socket_;
  std::map<request_number, waiting_call> waiting_;
  std::map<client_id, varlink::call> watchers_;
  std::map<client_id, varlink::call> want_reexec_;
  std::uint64_t last_request_ = 0;
};

}  // namespace handoff
