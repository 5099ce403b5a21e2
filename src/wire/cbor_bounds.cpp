#include "cbor_bounds.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <vector>

namespace handoff {

namespace {

using json = nlohmann::json;

class bounds final : public json::json_sax_t {
 public:
  bool null() override { return another(); }
  bool boolean(bool) override { return another(); }
  bool number_integer(std::int64_t) override { return another(); }
  bool number_unsigned(std::uint64_t) override { return another(); }
  bool number_float(double, std::string const&) override { return another(); }
  bool string(std::string&) override { return another(); }
  bool binary(json::binary_t&) override { return another(); }
  bool key(std::string&) override { return true; }
  bool start_object(std::size_t claimed) override { return deeper(claimed); }
  bool end_object() override { return shallower(); }
  bool start_array(std::size_t claimed) override { return deeper(claimed); }
  bool end_array() override { return shallower(); }
  bool parse_error(std::size_t, std::string const&, json::exception const&) override { return false; }

 private:
  bool another() {
    bool in_bounds = ++values_ <= cbor_bound::values;
    return in_bounds && (open_.empty() || ++open_.back() <= cbor_bound::entries);
  }

  // What claims nothing is as long as it turns out to be.
  bool deeper(std::size_t claimed) {
    bool claims_too_much = claimed != static_cast<std::size_t>(-1) && claimed > cbor_bound::entries;
    if (claims_too_much || open_.size() == cbor_bound::depth || !another()) return false;
    open_.push_back(0);
    return true;
  }

  bool shallower() {
    open_.pop_back();
    return true;
  }

  std::size_t values_ = 0;
  std::vector<std::size_t> open_;  // how many entries each has until now
};

}  // namespace

bool is_bounded_cbor(std::string_view bytes) {
  bounds seen;
  return json::sax_parse(bytes, &seen, json::input_format_t::cbor);
}

}  // namespace handoff
