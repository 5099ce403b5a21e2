// handoff-probe: asks one service one thing, so that handoffd parses no stranger's bytes.
#include <base/text.hpp>

#include <probe/http.hpp>
#include <probe/options.hpp>
#include <probe/page.hpp>
#include <probe/tcp.hpp>
#include <signal.h>
#include <stdlib.h>

#include <cstdio>

namespace {

using namespace handoff;

constexpr std::size_t longest_line = 400;

int tell(std::string const& line, int outcome) {
  std::puts(printable(line, longest_line).c_str());
  return outcome;
}

int carry_out(probe::options const& asked) {
  auto until = std::chrono::steady_clock::now() + asked.request.timeout;
  if (asked.request.kind == probe_kind::page) {
    auto numbers = probe::probe_page(asked, until);
    return numbers ? tell(*numbers, probe::passed) : tell(numbers.error(), probe::failed);
  }
  auto trouble = asked.request.kind == probe_kind::http ? probe::probe_http(asked, until)
                                                        : probe::probe_tcp(asked, until);
  return trouble ? tell(*trouble, probe::failed) : probe::passed;
}

}  // namespace

int main(int count, char** arguments) {
  // What libraries would obey (proxies, certificate stores, key logs) is not the service's business here.
  ::clearenv();
  ::signal(SIGPIPE, SIG_IGN);
  auto asked = probe::read_options(count, arguments);
  return asked ? carry_out(*asked) : asked.error();
}
