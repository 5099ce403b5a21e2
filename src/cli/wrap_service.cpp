// What runs, and how it is passed its sockets.
#include "wrap_decisions.hpp"

#include <base/characters.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace handoff::cli {

namespace {

std::string upper_case(std::string name) {
  for (char& c : name) {
    c = is_lowercase(c) ? static_cast<char>(c - 'a' + 'A') : is_alphanumeric(c) ? c : '_';
  }
  return name;
}

std::string name_of(listener_settings const& l) {
  if (auto const* path = std::get_if<unix_address>(&l.address))
    return path->path.substr(path->path.find_last_of("/@") + 1);
  auto const* at = std::get_if<inet_address>(&l.address);
  if (at == nullptr) return "socket";
  bool tcp = l.type == socket_type::stream;
  if (tcp && at->port == 80) return "http";
  if (tcp && at->port == 443) return "https";
  return fmt::format("{}-{}", tcp ? "tcp" : "udp", at->port);
}

// Each its own: "http" and "http-2", with a colon nowhere.
void name_all(std::vector<listener_settings>& listeners) {
  std::set<std::string> taken;
  for (auto const& l : listeners) taken.insert(l.name);
  for (auto& l : listeners) {
    if (!l.name.empty()) continue;
    std::string base = name_of(l);
    std::ranges::replace(base, ':', '-');
    l.name = base;
    for (int n = 2; !taken.insert(l.name).second; ++n) l.name = fmt::format("{}-{}", base, n);
  }
}

bool mentions_descriptor(wish const& w) {
  auto mentions = [](std::string const& text) { return text.find("{fd:") != text.npos; };
  return std::ranges::any_of(w.arguments, mentions) ||
         std::ranges::any_of(w.environment, [&](auto const& v) { return mentions(v.second); });
}

std::string listed(std::vector<listener_settings> const& listeners) {
  std::vector<std::string> all;
  for (auto const& l : listeners) all.push_back(fmt::format("{} at {}", l.name, to_string(l)));
  return fmt::format("{}", fmt::join(all, ", "));
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  return text;
}

}  // namespace

void wrapper::refuse_what_cannot_be() {
  auto refuse = [&](std::string const& name, std::string why) {
    std::string value = written_value(name);
    if (!value.empty() && value != "no" && value != "false" && value != "0" && value != "off")
      say(fate::refused, name, value, std::move(why));
  };
  refuse("DynamicUser", "its user is made for one process: give the service a user with a name, by User=");
  refuse("PrivateUsers", "in there root may become nobody else, so handoffd could not start the service");
  refuse("RootDirectory", "handoffd would have to be in there");
  refuse("RootImage", "handoffd would have to be in there");
  if (written_value("StandardInput") == "socket")
    refuse("StandardInput", "a process for each connection has no listener to hand over");
  if (unit_.type == "oneshot") say(fate::refused, "Type", unit_.type, "it does not stay");
  if (unit_.start.size() != 1)
    return say(fate::refused, "ExecStart", std::to_string(unit_.start.size()) + " of them",
               "only one command can be the service");
  if (unit_.start[0].words[0].ends_with("/handoffd"))
    say(fate::refused, "ExecStart", written_value("ExecStart"), "it runs under handoffd already");
}

void wrapper::take_listeners() {
  auto& listeners = made_.configuration.listeners;
  if (!of_.socket_listeners.empty()) {
    listeners = of_.socket_listeners;
    say(fate::kept, "Sockets", listed(listeners),
        "systemd holds them on, and passes them through handoffd; they are shared, not steered");
    if (!wanted_.listeners.empty()) note("--listen is not heeded: the socket units say where it listens");
    return;
  }
  bool asked = !wanted_.listeners.empty();
  listeners = asked ? wanted_.listeners : of_.listeners;
  if (!asked && recipe_ != nullptr && !recipe_->unix_sockets) {
    std::erase_if(listeners, [&](listener_settings const& l) {
      bool own = std::holds_alternative<unix_address>(l.address);
      if (own) note(to_string(l) + " is for its own control: each generation opens it by itself");
      return own;
    });
  }
  if (listeners.empty())
    return say(
        fate::refused, "listeners", "",
        "none was found: start the service, so that its sockets can be seen, or name them with --listen");
  name_all(listeners);
  say(fate::carried, "listeners", listed(listeners),
      asked ? "by --listen; handoffd opens them"
            : "the service has them open; from now on handoffd opens them");
}

command_line wrapper::expanded(unit_command const& command) {
  if (!command.expands) return command.words;
  auto has = [](variables const& all, std::string const& name) {
    return std::ranges::find(all, name, &variables::value_type::first) != all.end();
  };
  variables known = directory_variables(unit_.directories);
  known.insert(known.end(), unit_.environment.begin(), unit_.environment.end());
  known.insert(known.end(), of_.from_files.begin(), of_.from_files.end());
  std::vector<std::string> used;
  auto words = expand(command.words, known, used);
  for (auto const& name : used) {
    if (!has(known, name))
      note(fmt::format("${} of a command became nothing: the unit does not say what it is", name));
    else if (has(of_.from_files, name)) {
      made_.secret = true;
      note(
          fmt::format("${} of a command stands in the configuration as it is now, which root alone may read "
                      "for that: when its EnvironmentFile= changes, change the configuration",
                      name));
    }
  }
  return words;
}

void wrapper::take_command() {
  if (unit_.start.empty()) return;
  if (is_on("NonBlocking") || (recipe_ != nullptr && recipe_->non_blocking))
    for (auto& l : made_.configuration.listeners) l.options.non_blocking = true;
  tell(fate::carried, "NonBlocking", "of each listener");
  auto words = expanded(unit_.start[0]);
  auto before = words;
  if (recipe_ != nullptr) words = in_foreground(*recipe_, words);
  words.insert(words.end(), wanted_.arguments.begin(), wanted_.arguments.end());
  bool forks = unit_.type == "forking";
  if (forks && recipe_ == nullptr && wanted_.arguments.empty())
    say(fate::refused, "Type", unit_.type,
        "it goes into the background: say with --argument what keeps it in the foreground");
  pass_sockets(words);
  service_.command = words;
  std::string why = "what handoffd runs";
  if (words != before)
    why += recipe_ != nullptr ? ", changed for " + std::string(recipe_->program) : ", changed";
  if (!is_told("ExecStart")) say(fate::carried, "ExecStart", fmt::format("{}", fmt::join(words, " ")), why);
  take_readiness();
  tell(fate::dropped, "PIDFile", "handoffd knows whom it started");
  if (unit_.writes("PIDFile")) made_.lines.emplace_back("PIDFile=");
  if (recipe_ != nullptr) {
    check_file_of_recipe(words);
    if (!recipe_->note.empty()) note(fmt::format("{}: {}", recipe_->program, recipe_->note));
  }
}

void wrapper::pass_sockets(command_line& words) {
  auto const& listeners = made_.configuration.listeners;
  bool adopted = !of_.socket_listeners.empty();
  auto tell_how = [&](std::string how) {
    say(fate::carried, "sockets", std::move(how), "how it is passed them");
  };
  for (auto const& variable : wanted_.environment) service_.environment.push_back(variable);
  if (mentions_descriptor(wanted_)) return tell_how("{fd:NAME}, by --argument or --environment");
  if (adopted || wanted_.listen_fds || (recipe_ != nullptr && recipe_->how == passing::listen_fds))
    return tell_how("LISTEN_FDS, as from systemd");
  if (listeners.empty()) return;  // which is refused already
  if (recipe_ == nullptr)
    return say(fate::refused, "sockets", "",
               "nobody knows how it takes sockets from somebody else: if as from systemd, say --listen-fds; "
               "if by number, say how with --argument or --environment, with {fd:NAME} for the number");
  switch (recipe_->how) {
    case passing::listen_fds:
      return;
    case passing::one_variable: {
      std::string all;
      for (auto const& l : listeners) all += fmt::format("{{fd:{}}};", l.name);
      service_.environment.emplace_back(recipe_->key, all);
      return tell_how(fmt::format("{}={}", recipe_->key, all));
    }
    case passing::variable_each: {
      for (auto const& l : listeners)
        service_.environment.emplace_back(upper_case(l.name) + std::string(recipe_->key),
                                          fmt::format("{{fd:{}}}", l.name));
      return tell_how(fmt::format("a variable each, such as {}", service_.environment.back().first));
    }
    case passing::option:
      if (listeners.size() != 1)
        return say(fate::refused, "sockets", fmt::format("{} of them", listeners.size()),
                   fmt::format("{} takes only one: choose it with --listen", recipe_->program));
      words.emplace_back(recipe_->key);
      words.push_back(fmt::format("{{fd:{}}}", listeners[0].name));
      return tell_how(fmt::format("{} {}", words[words.size() - 2], words.back()));
  }
}

// A service that is told its sockets by its own configuration has to be told first.
void wrapper::check_file_of_recipe(command_line const& words) {
  if (recipe_->file_option.empty() || !of_.file) return;
  auto option = std::ranges::find(words, recipe_->file_option);
  if (option == words.end() || option + 1 == words.end()) return;
  auto text = of_.file(*(option + 1));
  if (text && text->find(recipe_->file_word) != text->npos) return;
  std::vector<std::string> names;
  for (auto const& l : made_.configuration.listeners)
    names.push_back(upper_case(l.name) + std::string(recipe_->key) + " for " + to_string(l));
  if (names.empty()) return;
  std::string first = names[0].substr(0, names[0].find(' '));
  say(text ? fate::refused : fate::kept, *(option + 1), "",
      fmt::format("{} (here {})", replaced(std::string(recipe_->file_advice), "NAME_FD", first),
                  fmt::join(names, ", ")));
}

void wrapper::take_readiness() {
  auto& ready = service_.ready;
  bool notifies = unit_.type.starts_with("notify");
  auto told = [&](fate what, std::string why) {
    if (!is_told("Type")) say(what, "Type", unit_.type, std::move(why));
  };
  made_.lines.emplace_back("Type=notify");
  ready.when = recipe_ != nullptr && recipe_->ready ? *recipe_->ready
                                                    : (notifies ? readiness::notify : readiness::alive);
  if (ready.when == readiness::notify)
    return told(fate::carried, "a generation is ready when it says READY=1");
  if (ready.when == readiness::exec) {
    ready.command = recipe_->ready_command;
    ready.interval = std::chrono::milliseconds(100);
    return told(fate::changed, "it says nothing: ready when its processes show it");
  }
  ready.alive_for = std::chrono::seconds(3);
  told(fate::changed,
       "it says nothing: ready when it lived for 3s, which proves little; [ready] when = \"http\" proves "
       "more");
}

}  // namespace handoff::cli
