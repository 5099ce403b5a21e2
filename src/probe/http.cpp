#include "http.hpp"

#include <wire/config_values.hpp>

#include <curl/curl.h>

#include <array>
#include <cstring>
#include <memory>

namespace handoff::probe {

namespace {

using easy_handle = std::unique_ptr<CURL, decltype(&::curl_easy_cleanup)>;
using string_list = std::unique_ptr<curl_slist, decltype(&::curl_slist_free_all)>;

struct exchange {
  options const& asked;
  std::size_t most;        // bytes of the body that are kept
  bool wants_all = false;  // of the body; else only what is looked for
  unique_fd socket{};      // until curl takes it
  CURL* curl = nullptr;
  std::size_t header_bytes = 0;
  std::string body{};
  bool knows_enough = false;  // what is still to come changes nothing
  bool headers_too_long = false;
  bool body_too_long = false;

  bool has_status() const {
    long code = 0;
    ::curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    return code >= asked.request.status.first && code <= asked.request.status.last;
  }
  bool has_body() const { return body.find(asked.request.body) != std::string::npos; }
};

// ---- curl's callbacks; fewer bytes taken than given end the transfer

std::size_t take_header(char*, std::size_t, std::size_t size, void* with) {
  auto& e = *static_cast<exchange*>(with);
  e.header_bytes += size;
  e.headers_too_long = e.header_bytes > most_header_bytes;
  return e.headers_too_long ? 0 : size;
}

std::size_t take_body(char* bytes, std::size_t, std::size_t size, void* with) {
  auto& e = *static_cast<exchange*>(with);
  if ((e.asked.request.body.empty() && !e.wants_all) || !e.has_status()) {
    e.knows_enough = true;
    return 0;
  }
  e.body_too_long = e.wants_all && size > e.most - e.body.size();
  e.body.append(bytes, std::min(size, e.most - e.body.size()));
  e.knows_enough = !e.wants_all && (e.body.size() == e.most || e.has_body());
  return e.knows_enough || e.body_too_long ? 0 : size;
}

// Sends curl to our target, with our socket. What it was going to connect to is no address of anybody.
curl_socket_t give_socket(void* with, curlsocktype, curl_sockaddr* to) {
  auto& e = *static_cast<exchange*>(with);
  if (!e.socket) return CURL_SOCKET_BAD;
  to->family = e.asked.address.family();
  to->addrlen = e.asked.address.length;
  std::memcpy(&to->addr, e.asked.address.get(), e.asked.address.length);  // curl has room for any
  return e.socket.release();
}

// ---- the request

// What stands in the URL, and so in the header Host, when no host was asked for.
std::string host_of(options const& o) {
  auto const* inet = std::get_if<inet_address>(&o.target.address);
  if (inet == nullptr) return "localhost";
  std::string host = inet->host.substr(0, inet->host.find('%'));  // without the zone
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return host + ":" + std::to_string(inet->port);
}

string_list list_of(std::vector<std::string> const& texts) {
  string_list list(nullptr, &::curl_slist_free_all);
  for (auto const& text : texts) {
    curl_slist* longer = ::curl_slist_append(list.get(), text.c_str());
    if (longer == nullptr) break;
    (void)list.release();
    list.reset(longer);
  }
  return list;
}

void ask_for_nothing_else(CURL* curl) {
  ::curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  ::curl_easy_setopt(curl, CURLOPT_PROXY, "");
  ::curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  ::curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  ::curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  ::curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
}

// The host of the URL is for the request and the certificate alone: nothing is looked up.
void go_to_target(CURL* curl, exchange& e, curl_slist* nowhere) {
  auto const* local = std::get_if<unix_address>(&e.asked.target.address);
  if (local != nullptr) {
    bool abstract = local->path.starts_with('@');
    ::curl_easy_setopt(curl, abstract ? CURLOPT_ABSTRACT_UNIX_SOCKET : CURLOPT_UNIX_SOCKET_PATH,
                       local->path.c_str() + abstract);
    return;
  }
  ::curl_easy_setopt(curl, CURLOPT_CONNECT_TO, nowhere);
  ::curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, &give_socket);
  ::curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &e);
}

void set_request(CURL* curl, options const& o, curl_slist* headers) {
  probe_settings const& r = o.request;
  std::string url = (r.tls ? "https://" : "http://") + (r.host.empty() ? host_of(o) : r.host) + r.path;
  ::curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  ::curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  ::curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  ::curl_easy_setopt(curl, CURLOPT_USERAGENT, "handoff-probe/" HANDOFF_VERSION);
  ::curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, r.verify ? 1L : 0L);
  ::curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, r.verify ? 2L : 0L);
}

// ---- the verdict

std::string describe(CURLcode code, exchange const& e, char const* details) {
  if (e.headers_too_long)
    return "the headers are longer than " + std::to_string(most_header_bytes / 1024) + " KiB";
  if (e.body_too_long) return "the body is longer than " + std::to_string(e.most >> 20) + " MiB";
  if (code == CURLE_OPERATION_TIMEDOUT) return timed_out(e.asked);
  long number = 0;
  ::curl_easy_getinfo(e.curl, CURLINFO_OS_ERRNO, &number);
  if (code == CURLE_COULDNT_CONNECT && number != 0)
    return os_trouble("connecting",
                      static_cast<int>(number));  // curl would name the address that it thinks of
  return *details == '\0' ? ::curl_easy_strerror(code) : details;
}

trouble judge(exchange const& e) {
  auto const& wanted = e.asked.request;
  long code = 0;
  ::curl_easy_getinfo(e.curl, CURLINFO_RESPONSE_CODE, &code);
  if (!e.has_status()) return "status " + std::to_string(code) + ", expected " + status_text(wanted.status);
  if (wanted.body.empty() || e.has_body()) return std::nullopt;
  std::string where =
      e.body.size() < e.most ? "body does not contain '" : "the first MiB of the body does not contain '";
  return where + wanted.body + "'";
}

trouble carry_out(exchange& e, deadline until) {
  options const& o = e.asked;
  if (o.address.family() != AF_UNIX) {
    auto socket = open_socket(o);
    if (!socket) return socket.error();
    e.socket = std::move(*socket);
  }
  easy_handle curl(::curl_easy_init(), &::curl_easy_cleanup);
  if (!curl) return "curl cannot be used";
  e.curl = curl.get();
  std::array<char, CURL_ERROR_SIZE> details{};
  auto headers = list_of(o.request.headers);
  auto nowhere = list_of({"::127.0.0.1:"});
  ask_for_nothing_else(e.curl);
  go_to_target(e.curl, e, nowhere.get());
  set_request(e.curl, o, headers.get());
  ::curl_easy_setopt(e.curl, CURLOPT_ERRORBUFFER, details.data());
  ::curl_easy_setopt(e.curl, CURLOPT_HEADERFUNCTION, &take_header);
  ::curl_easy_setopt(e.curl, CURLOPT_HEADERDATA, &e);
  ::curl_easy_setopt(e.curl, CURLOPT_WRITEFUNCTION, &take_body);
  ::curl_easy_setopt(e.curl, CURLOPT_WRITEDATA, &e);
  int left = remaining(until);
  if (left == 0) return timed_out(o);  // 0 would be no timeout at all
  ::curl_easy_setopt(e.curl, CURLOPT_TIMEOUT_MS, static_cast<long>(left));
  CURLcode code = ::curl_easy_perform(e.curl);
  if (code != CURLE_OK && !e.knows_enough) return describe(code, e, details.data());
  return judge(e);
}

}  // namespace

trouble probe_http(options const& o, deadline until) {
  exchange e{.asked = o, .most = most_body_bytes};
  return carry_out(e, until);
}

std::expected<std::string, std::string> fetch_page(options const& o, deadline until, std::size_t most) {
  exchange e{.asked = o, .most = most, .wants_all = true};
  if (auto why = carry_out(e, until)) return std::unexpected(std::move(*why));
  return std::move(e.body);
}

}  // namespace handoff::probe
