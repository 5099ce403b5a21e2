// The few replies of the demonstration service, written once at start so that a request costs no formatting.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace handoff {

// One page in its two forms: with the connection kept, and with it closed after.
class fixed_reply {
 public:
  // `extra_header` is a whole line without its end, such as "X-Handoff-Generation: 3".
  fixed_reply(std::string_view status, std::string_view extra_header, std::string_view body);

  // The bytes to send; they live as long as this object.
  std::string_view bytes(bool keep_alive, bool head_only) const;

 private:
  struct form {
    std::string text;
    std::size_t head_length = 0;
  };
  form kept_, closed_;
};

}  // namespace handoff
