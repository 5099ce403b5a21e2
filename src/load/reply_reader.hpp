// One HTTP/1.x reply, read as it comes in, and whether all of it came.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace handoff::load {

class reply_reader {
 public:
  static constexpr std::size_t head_max = 16384;
  static constexpr std::size_t body_kept_max = 65536;  // longer bodies are counted, but not kept

  enum class progress { more, complete, malformed };

  // Forgets the reply before. `keep_body`: body() will be asked for.
  void start(bool keep_body);

  // Takes what was received. Bytes after the end of the reply make it malformed.
  progress take(std::string_view bytes);

  // The connection ended: whether that completes the reply.
  bool complete_at_end() const { return stage_ == stage::body && framing_ == framing::until_close; }

  bool untouched() const { return stage_ == stage::head && head_.empty(); }
  int status() const { return status_; }
  // The value of a header, "" when it is absent.
  std::string_view header(std::string_view name) const;
  std::string_view body() const { return body_; }
  bool server_closes() const { return server_closes_; }

 private:
  enum class stage { head, body, done, broken };
  enum class framing { length, chunked, until_close };
  enum class chunk_part { size, data, data_end, trailer };

  bool read_head();
  bool read_framing();
  void take_body(std::string_view& bytes, std::uint64_t most);
  progress take_chunks(std::string_view bytes);
  bool chunk_line_done();
  progress broken();

  stage stage_ = stage::head;
  framing framing_ = framing::length;
  chunk_part chunk_ = chunk_part::size;
  std::string head_, body_, chunk_line_;
  std::uint64_t left_ = 0;  // bytes of the body, or of the chunk, that are still to come
  int status_ = 0;
  bool keep_body_ = false;
  bool server_closes_ = false;
};

}  // namespace handoff::load
