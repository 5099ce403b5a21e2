// Finding supervisors by the name of their service, and asking them.
#pragma once

#include <cli/command.hpp>
#include <cli/connection.hpp>
#include <cli/told.hpp>

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace handoff::cli {

// Why a command could not do what it was asked to: lines for people, and how to end.
struct trouble {
  ending how = ending::absent;
  std::string what;
};
template <class T>
using outcome = std::expected<T, trouble>;

// Says `t` on standard error.
ending tell(trouble const& t);

// For CLI11: what is wrong with `name` as the name of a service; empty when nothing is.
std::string check_name(std::string const& name);

struct supervisor {
  std::string name;  // of the service
  std::string path;  // of its control socket, whether or not it exists
};
supervisor find_supervisor(std::string const& name);

// Every supervisor that has a control socket, by name; it may be stale.
std::vector<supervisor> all_supervisors();
// Those that are named; all when none is.
std::vector<supervisor> chosen_supervisors(std::vector<std::string> const& names);
// What to say when there is none at all.
trouble no_supervisors();

// Does `act` for one name after the other until one does not end well, says which were left alone, and ends
// as it.
ending one_by_one(std::vector<std::string> const& names, std::function<ending(supervisor const&)> const& act);

// What a command runs that was asked, by its options, to do `act` for some names.
template <class Request>
std::function<void()> for_each_name(std::shared_ptr<Request> asked,
                                    ending (*act)(Request const&, supervisor const&), ending& outcome) {
  return [=, &outcome] {
    outcome = one_by_one(asked->names, [&](supervisor const& of) { return act(*asked, of); });
  };
}

// How long a supervisor may take to answer, which it does at once when it is well.
constexpr duration answer_patience = std::chrono::seconds(10);

// How long we look for a supervisor that went away: it may be upgrading itself, or be restarted.
constexpr duration return_patience = std::chrono::seconds(5);

// Makes one call on a connection of its own and gives the parameters of its reply.
outcome<json> ask(supervisor const&, std::string_view method, json parameters = json::object(),
                  duration patience = answer_patience);

// A connection on which Watch has begun: every event from now on will be told there.
outcome<connection> begin_watch(supervisor const&, instant deadline);

// What a failed exchange, or a reply that is an error, means for the operator.
trouble trouble_with(supervisor const&, error const&);
trouble trouble_with(supervisor const&, varlink::reply const&);

}  // namespace handoff::cli
