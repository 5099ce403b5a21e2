// The head of one HTTP/1.x request, as far as a service of fixed pages needs it (RFC 9112).
#pragma once

#include <cstddef>
#include <string_view>

namespace handoff {

enum class request_form {
  incomplete,   // the head has not ended yet
  complete,     // answer it
  malformed,    // 400, and the connection is of no more use
  unsupported,  // a method other than GET and HEAD, or a body: 501
};

struct request_head {
  std::size_t length = 0;  // bytes to consume, the blank line included
  std::string_view path;   // points into the bytes that were read
  bool head_only = false;  // HEAD: the reply has no body
  bool keep_alive = false;
};

// Reads the first request of `bytes`; `head` is written only when it is complete.
request_form read_request(std::string_view bytes, request_head& head);

}  // namespace handoff
