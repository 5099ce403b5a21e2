// handoff-probe: asks one service one thing, so that handoffd parses no stranger's bytes.
#include <base/text.hpp>

#include <probe/http.hpp>
#include <probe/options.hpp>
#include <probe/tcp.hpp>
#include <signal.h>
#include <stdlib.h>

#include <cstdio>

int main(int count, char** arguments) {
  using namespace handoff;
  constexpr std::size_t longest_line = 400;
  // What libraries would obey (proxies, certificate stores, key logs) is not the service's business here.
  ::clearenv();
  ::signal(SIGPIPE, SIG_IGN);
  auto asked = probe::read_options(count, arguments);
  if (!asked) return asked.error();
  auto until = std::chrono::steady_clock::now() + asked->request.timeout;
  auto trouble = asked->request.kind == probe_kind::http ? probe::probe_http(*asked, until)
                                                         : probe::probe_tcp(*asked, until);
  if (!trouble) return probe::passed;
  std::puts(printable(*trouble, longest_line).c_str());
  return probe::failed;
}
