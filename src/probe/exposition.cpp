#include "exposition.hpp"

#include <base/characters.hpp>

#include <array>
#include <charconv>

namespace handoff::probe {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t'; }
bool is_of_name(char c) { return is_in_name(c) || c == ':'; }

// One line of a page that is a sample.
class line_parser {
 public:
  explicit line_parser(std::string_view text) : rest_(text) {}

  result<> parse(sample& into) {
    into.name = take_word();
    if (!is_metric_name(into.name)) return expected("the name of a metric");
    into.labels.clear();
    skip_blanks();
    if (take('{')) {
      if (auto read = parse_labels(into.labels); !read) return read;
    }
    skip_blanks();
    if (!take_number(into.value)) return expected("a value");
    skip_blanks();
    double time = 0;
    bool exemplar = rest_.starts_with("# {");
    if (!rest_.empty() && !exemplar && !take_number(time)) return expected("a time, or the end of the line");
    skip_blanks();
    return rest_.empty() || rest_.starts_with("# {") ? result<>() : expected("the end of the line");
  }

 private:
  result<> parse_labels(std::vector<series_label>& into) {
    for (;;) {
      skip_blanks();
      if (take('}')) return {};
      if (into.size() == most_labels)
        return plain_failure("a series has more than " + std::to_string(most_labels) + " labels");
      series_label& label = into.emplace_back();
      if (auto read = parse_label(label); !read) return read;
      skip_blanks();
      if (take(',')) continue;
      return take('}') ? result<>() : expected("',' or '}'");
    }
  }

  result<> parse_label(series_label& into) {
    into.name = take_word();
    if (!is_label_name(into.name)) return expected("the name of a label");
    skip_blanks();
    if (!take('=')) return expected("'='");
    skip_blanks();
    if (!take('"')) return expected("'\"'");
    while (!take('"')) {
      if (rest_.empty()) return expected("'\"'");
      if (into.value.size() == most_value_bytes)
        return plain_failure("a label has more than " + std::to_string(most_value_bytes) + " bytes");
      into.value += take_character();
    }
    return {};
  }

  // \\, \" and \n are escapes; a backslash before anything else is itself.
  char take_character() {
    bool escape = rest_.size() > 1 && rest_[0] == '\\' && std::string_view("\\\"n").contains(rest_[1]);
    char c = escape ? (rest_[1] == 'n' ? '\n' : rest_[1]) : rest_[0];
    rest_.remove_prefix(escape ? 2 : 1);
    return c;
  }

  std::string take_word() {
    std::size_t length = 0;
    while (length < rest_.size() && is_of_name(rest_[length])) ++length;
    std::string word(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return word;
  }

  bool take_number(double& into) {
    std::string_view text = rest_.substr(0, rest_.find_first_of(" \t"));
    bool plus = text.starts_with('+') && !text.substr(1).starts_with('-');
    char const* end = text.data() + text.size();
    auto read = std::from_chars(text.data() + plus, end, into);
    // What is too large or too small for a double is that, or 0.
    bool whole = (read.ec == std::errc{} || read.ec == std::errc::result_out_of_range) && read.ptr == end;
    if (whole) rest_.remove_prefix(text.size());
    return whole;
  }

  bool take(char wanted) {
    bool there = rest_.starts_with(wanted);
    rest_.remove_prefix(there);
    return there;
  }
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_[0])) rest_.remove_prefix(1);
  }

  failure expected(std::string const& what) const {
    constexpr std::size_t most_shown = 40;
    std::string found =
        rest_.empty() ? "the end of the line" : "'" + std::string(rest_.substr(0, most_shown)) + "'";
    return plain_failure("expected " + what + ", found " + found);
  }

  std::string_view rest_;
};

result<> in_line(std::size_t number, error e) {
  return std::unexpected(std::move(e).during("line " + std::to_string(number)));
}

}  // namespace

result<> read_exposition(std::string_view page, std::function<void(sample const&)> const& take) {
  if (page.size() > most_page_bytes)
    return plain_failure("the page is larger than " + std::to_string(most_page_bytes >> 20) + " MiB");
  sample one;
  for (std::size_t number = 1; !page.empty(); ++number) {
    std::size_t length = page.find('\n');
    // What was cut off in the middle of a number would be another number.
    if (length == std::string_view::npos) return in_line(number, {{}, "it has no end: the page was cut off"});
    if (length > most_line_bytes) return in_line(number, {{}, "it is too long"});
    std::string_view line = page.substr(0, length);
    page.remove_prefix(length + 1);
    while (!line.empty() && is_blank(line[0])) line.remove_prefix(1);
    if (line.empty() || line[0] == '#') continue;
    if (auto read = line_parser(line).parse(one); !read) return in_line(number, std::move(read.error()));
    take(one);
  }
  return {};
}

std::string to_line(sample const& s) {
  std::string line = s.name;
  for (std::size_t n = 0; n < s.labels.size(); ++n) {
    line += (n == 0 ? "{" : ",") + s.labels[n].name + "=\"";
    for (char c : s.labels[n].value) {
      if (c == '\\' || c == '"') line += '\\';
      if (c == '\n') line += "\\n";
      if (c != '\n') line += c;
    }
    line += '"';
  }
  std::array<char, 32> number{};  // the longest has 24 characters: a sign, 17 digits, a point, an exponent
  auto end = std::to_chars(number.data(), number.data() + number.size(), s.value).ptr;
  return line + (s.labels.empty() ? " " : "} ") + std::string(number.data(), end);
}

result<sums> add_up(std::string_view page, std::span<series_selector const> selectors) {
  sums all(selectors.size());
  auto read = read_exposition(page, [&](sample const& s) {
    for (std::size_t n = 0; n < selectors.size(); ++n)
      if (selectors[n].matches(s.name, s.labels)) all[n] = all[n].value_or(0) + s.value;
  });
  if (!read) return std::unexpected(std::move(read.error()));
  return all;
}

}  // namespace handoff::probe
