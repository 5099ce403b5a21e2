#include "series_selector.hpp"

#include <base/characters.hpp>
#include <wire/config_problem.hpp>

#include <algorithm>

namespace handoff {

namespace {

bool is_name(std::string_view text, bool colon) {
  auto fits = [&](char c) { return is_in_name(c) || (colon && c == ':'); };
  return !text.empty() && !is_digit(text[0]) && std::ranges::all_of(text, fits);
}

class selector_parser {
 public:
  explicit selector_parser(std::string_view text) : text_(text) {}

  result<series_selector> parse() {
    if (text_.size() > limit::selector)
      return plain_failure("must not have more than " + std::to_string(limit::selector) + " bytes");
    series_selector read;
    skip_blanks();
    read.name = take_word();
    if (!is_metric_name(read.name)) return expected("the name of a metric", at_ - read.name.size());
    if (take('{')) {
      if (auto done = parse_matchers(read.matchers); !done) return std::unexpected(done.error());
    }
    skip_blanks();
    if (at_ < text_.size())
      return expected(read.matchers.empty() ? "'{', or nothing more," : "nothing more", at_);
    return read;
  }

 private:
  result<> parse_matchers(std::vector<label_matcher>& into) {
    while (!take('}')) {
      if (into.size() == limit::matchers)
        return plain_failure("must not have more than " + std::to_string(limit::matchers) + " matchers");
      auto read = parse_matcher();
      if (!read) return std::unexpected(read.error());
      into.push_back(std::move(*read));
      if (take(',')) continue;
      if (!take('}')) return expected("',' or '}'", at_);
      break;
    }
    return {};
  }

  result<label_matcher> parse_matcher() {
    label_matcher read;
    skip_blanks();
    read.label = take_word();
    if (!is_label_name(read.label)) return expected("the name of a label", at_ - read.label.size());
    auto how = take_operator();
    if (!how) return expected("=, !=, =~ or !~", at_);
    read.how = *how;
    skip_blanks();
    std::size_t began = at_;
    auto value = parse_text();
    if (!value) return std::unexpected(value.error());
    read.value = std::move(*value);
    if (read.how == label_matcher::kind::equal || read.how == label_matcher::kind::unequal) return read;
    auto pattern = text_pattern::compile(read.value);
    if (!pattern) {
      auto found = text_.substr(began, at_ - began);
      return plain_failure("expected a regular expression, found " + in_quotes(found) + ": " +
                           pattern.error().message());
    }
    read.pattern = std::move(*pattern);
    return read;
  }

  std::optional<label_matcher::kind> take_operator() {
    using kind = label_matcher::kind;
    skip_blanks();
    std::string_view rest = text_.substr(at_);
    bool equal = rest.starts_with('=');
    if (!equal && !rest.starts_with('!')) return {};
    bool tilde = rest.substr(1).starts_with('~');
    if (!equal && !tilde && !rest.substr(1).starts_with('=')) return {};
    at_ += equal && !tilde ? 1 : 2;
    if (equal) return tilde ? kind::like : kind::equal;
    return tilde ? kind::unlike : kind::unequal;
  }

  // "…" and '…' know escapes, `…` is taken as it is.
  result<std::string> parse_text() {
    char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '"' && quote != '\'' && quote != '`') return expected("a text in quotes", at_);
    std::string read;
    for (++at_; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == quote) {
        ++at_;
        return read;
      }
      if (c != '\\' || quote == '`') {
        read += c;
        continue;
      }
      ++at_;
      auto meant = at_ < text_.size() ? escaped(text_[at_]) : std::nullopt;
      if (!meant) return expected("one of \\ \" ' n r t", at_);
      read += *meant;
    }
    return expected(std::string("the end of the text, ") + quote + ",", at_);
  }

  static std::optional<char> escaped(char c) {
    constexpr std::string_view names = "\\\"'nrt", meanings = "\\\"'\n\r\t";
    auto which = names.find(c);
    return which == std::string_view::npos ? std::nullopt : std::optional(meanings[which]);
  }

  std::string take_word() {
    std::size_t began = at_;
    while (at_ < text_.size() && (is_in_name(text_[at_]) || text_[at_] == ':')) ++at_;
    return std::string(text_.substr(began, at_ - began));
  }
  bool take(char wanted) {
    skip_blanks();
    bool there = at_ < text_.size() && text_[at_] == wanted;
    at_ += there;
    return there;
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }

  // "expected '}' behind 'up{a="b"', found '…'".
  failure expected(std::string const& what, std::size_t where) const {
    std::string_view before = text_.substr(0, where), rest = text_.substr(where);
    return plain_failure("expected " + what + (before.empty() ? "" : " behind " + in_quotes(before)) +
                         (rest.empty() ? ", and there it ends" : ", found " + in_quotes(rest)));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

bool is_label_name(std::string_view text) { return is_name(text, false); }
bool is_metric_name(std::string_view text) { return is_name(text, true); }

bool label_matcher::accepts(std::string_view found) const {
  switch (how) {
    case kind::equal:
      return found == value;
    case kind::unequal:
      return found != value;
    case kind::like:
      return pattern->matches(found);
    case kind::unlike:
      return !pattern->matches(found);
  }
  return false;
}

result<series_selector> series_selector::parse(std::string_view text) {
  return selector_parser(text).parse();
}

bool series_selector::matches(std::string_view series, std::span<series_label const> labels) const {
  if (series != name) return false;
  return std::ranges::all_of(matchers, [&](label_matcher const& m) {
    auto found = std::ranges::find(labels, m.label, &series_label::name);
    return m.accepts(found == labels.end() ? std::string_view{} : std::string_view(found->value));
  });
}

}  // namespace handoff
