// How the control socket and its clients go over to a successor.
#include <os/account.hpp>
#include <os/inheritance.hpp>
#include <wire/snapshot.hpp>

#include <handoffd/control_service.hpp>
#include <handoffd/manifest.hpp>

namespace handoff {

void control_service::keep(snapshot& to, manifest& with) const {
  to.control = with.add("control", socket_->listening_fd());
  for (auto const& c : socket_->clients_now()) {
    kept_client kept{.unread = c.is.input, .unsent = c.is.output};
    kept.connection = with.add("control." + std::to_string(to.clients.size()), c.fd);
    kept.ended = c.is.ended;
    kept.closing = c.is.closing;
    if (watchers_.contains(c.id)) kept.waiting = "Watch";
    if (want_reexec_.contains(c.id)) kept.waiting = "Reexec";
    to.clients.push_back(std::move(kept));
  }
}

result<std::unique_ptr<control_service>> control_service::adopt(loop& on, std::string const& path,
                                                                control_settings const& settings, backend b,
                                                                snapshot const& left,
                                                                inherited_descriptors& from) {
  auto group = group_of(settings);
  if (!group) b.warn(group.error().message() + ": nobody is of it");
  auto passed = from.take(left.control);
  auto file = look_at_socket_file(path);
  auto listening = passed && file ? result<control_listener>(control_listener{
                                        std::move(passed), owned_socket_file(path, file->identity)})
                                  : listen_for_control(path, group.value_or(std::nullopt));
  if (!listening) return std::unexpected(std::move(listening.error()));
  auto made = serve(on, std::move(*listening), settings, std::move(b), group.value_or(std::nullopt));
  if (!made) return made;
  for (auto const& kept : left.clients) {
    auto connection = from.take(kept.connection);
    if (!connection) continue;
    bool waits = !kept.waiting.empty();
    auto id = (*made)->socket_->take_over(std::move(connection),
                                          {kept.unread, kept.unsent, waits, kept.ended, kept.closing});
    if (!id || !waits) continue;
    varlink::call asked{.method = kept.waiting, .more = kept.waiting == "Watch"};
    auto& those = kept.waiting == "Watch" ? (*made)->watchers_ : (*made)->want_reexec_;
    those.emplace(*id, std::move(asked));
  }
  return made;
}

}  // namespace handoff
