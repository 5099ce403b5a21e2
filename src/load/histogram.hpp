// Latencies in fixed memory: buckets that grow with the value, so that any quantile is right to within 1 %.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace handoff::load {

class histogram {
 public:
  static constexpr std::int64_t value_max =
      (std::int64_t{1} << 40) - 1;  // nanoseconds, 18 minutes; larger ones count as this

  void record(std::int64_t nanoseconds) {
    auto value = static_cast<std::uint64_t>(std::clamp<std::int64_t>(nanoseconds, 0, value_max));
    ++buckets_[index_of(value)];
    ++count_;
    max_ = std::max(max_, static_cast<std::int64_t>(value));
  }

  void merge(histogram const& other) {
    for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
  }

  std::uint64_t count() const { return count_; }
  std::int64_t max() const { return max_; }

  // The least value that at least `fraction` (0 to 1) of all values do not exceed, rounded up by at most 1 %;
  // 0 when nothing was recorded.
  std::int64_t quantile(double fraction) const {
    auto wanted = static_cast<std::uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
    wanted = std::max<std::uint64_t>(wanted, 1);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen >= wanted) return std::min(last_value_of(i), max_);
    }
    return max_;
  }

 private:
  // Values below 256 have a bucket each; above, every doubling is divided into 128.
  static constexpr unsigned precision_bits = 7;
  static constexpr std::size_t per_doubling = std::size_t{1} << precision_bits;
  static constexpr std::size_t bucket_count = (40 - precision_bits) * per_doubling + per_doubling;

  static unsigned shift_of(std::uint64_t value) {
    auto width = static_cast<unsigned>(std::bit_width(value));
    return width > precision_bits + 1 ? width - precision_bits - 1 : 0;
  }
  static std::size_t index_of(std::uint64_t value) {
    unsigned shift = shift_of(value);
    return shift * per_doubling + (value >> shift);
  }
  static std::int64_t last_value_of(std::size_t index) {
    std::size_t shift = index < 2 * per_doubling ? 0 : index / per_doubling - 1;
    std::size_t rest = index - shift * per_doubling;
    return static_cast<std::int64_t>(((rest + 1) << shift) - 1);
  }

  std::array<std::uint64_t, bucket_count> buckets_{};
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace handoff::load
