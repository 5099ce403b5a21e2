// Fails the n-th system call of a program, for tests.
//
//   handoff-faults run PATH PROGRAM ARGUMENT…   runs it; the one that listens at PATH decides about its calls
//   handoff-faults decide PATH                  is that one; takes orders from its input, one a line:
//     count [WHOSE]                             counts the calls from now on
//     fail N CHOICE once|lasting [WHOSE]        and fails the N-th
//     end                                       tells what happened since, as JSON
#include "injector.hpp"

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <sstream>
#include <string_view>

using namespace faults;

namespace {

constexpr int failed = 125;  // none that a program under test ends with

int complain(handoff::error const& why) {
  std::fprintf(stderr, "handoff-faults: %s\n", why.message().c_str());
  return failed;
}

void obey(injector& to, std::string const& line) {
  std::istringstream words(line);
  std::string what, how;
  words >> what;
  order wanted;
  if (what == "end") {
    std::cout << to.end() << std::endl;
    return;
  }
  if (what == "fail") words >> wanted.failing >> wanted.choice >> how;
  words >> wanted.whose;
  wanted.lasting = how == "lasting";
  to.begin(wanted);
  std::cout << "{}" << std::endl;
}

// False at the end of the orders.
bool read_orders(injector& to, std::string& rest) {
  char bytes[512];
  ssize_t length = ::read(STDIN_FILENO, bytes, sizeof bytes);
  if (length <= 0) return false;
  rest.append(bytes, static_cast<std::size_t>(length));
  for (std::size_t end; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1))
    obey(to, rest.substr(0, end));
  return true;
}

int decide(std::string const& path) {
  auto listening = listen_at(path);
  if (!listening) return complain(listening.error());
  std::cout << "{}" << std::endl;
  injector all;
  std::string rest;
  for (;;) {
    std::vector<pollfd> watched{{STDIN_FILENO, POLLIN, 0}, {listening->get(), POLLIN, 0}};
    for (int fd : all.descriptors()) watched.push_back({fd, POLLIN, 0});
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return failed;
    for (std::size_t n = 2; n < watched.size(); ++n)
      if ((watched[n].revents & POLLIN) != 0)
        all.answer(watched[n].fd);
      else if ((watched[n].revents & POLLHUP) != 0)
        all.forget(watched[n].fd);
    if (watched[1].revents != 0)
      if (auto one = receive(listening->get())) all.add(std::move(*one));
    if (watched[0].revents != 0 && !read_orders(all, rest)) return 0;
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::string_view role = count > 2 ? arguments[1] : "";
  if (role == "run" && count > 3) return complain(join_and_become(arguments[2], arguments + 3));
  if (role == "decide") return decide(arguments[2]);
  std::fprintf(stderr, "usage: handoff-faults run PATH PROGRAM ARGUMENT… | decide PATH\n");
  return failed;
}
