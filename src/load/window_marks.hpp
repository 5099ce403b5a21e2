// Named spans of time, such as "steady" and "upgrade", that latency is told apart by.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace handoff::load {

class window_marks {
 public:
  static constexpr std::size_t names_max = 64;
  static constexpr std::size_t marks_max = 65536;

  struct mark {
    std::int64_t from_ns = 0;
    std::size_t window = 0;
  };

  explicit window_marks(std::string first) : names_{std::move(first)} {}

  // From `at_ns` on, requests belong to the window of that name, new or known; false when there are too many.
  bool set(std::string_view name, std::int64_t at_ns) {
    std::lock_guard lock(mutex_);
    std::size_t index = 0;
    while (index < names_.size() && names_[index] != name) ++index;
    if (index == names_max || marks_.size() == marks_max) return false;
    if (index == names_.size()) names_.emplace_back(name);
    marks_.push_back({at_ns, index});
    changes_.store(marks_.size(), std::memory_order_release);
    return true;
  }

  std::vector<std::string> names() const {
    std::lock_guard lock(mutex_);
    return names_;
  }

  // Brings a thread's own copy up to date; costs one load when nothing changed.
  void refresh(std::vector<mark>& copy) const {
    if (changes_.load(std::memory_order_acquire) == copy.size()) return;
    std::lock_guard lock(mutex_);
    copy.insert(copy.end(), marks_.begin() + static_cast<std::ptrdiff_t>(copy.size()), marks_.end());
  }

  // The window of a request that was planned for `at_ns`.
  static std::size_t window_at(std::vector<mark> const& marks, std::int64_t at_ns) {
    for (auto one = marks.rbegin(); one != marks.rend(); ++one) {
      if (one->from_ns <= at_ns) return one->window;
    }
    return 0;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> names_;
  std::vector<mark> marks_;
  std::atomic<std::size_t> changes_ = 0;
};

}  // namespace handoff::load
