#include "edge_support.hpp"

#include <os/enduring_memory.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <csignal>
#include <functional>

using namespace handoff;
using namespace handoff::test;
using Catch::Matchers::Contains;

namespace {

// While it stands, the kernel writes nothing of ours at this offset of a file or behind it.
class full_from {
 public:
  explicit full_from(rlim_t offset) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    rlimit less{offset, before_.rlim_max};
    before_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &less) == 0);
  }
  ~full_from() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, before_handler_);
  }
  full_from(full_from const&) = delete;
  full_from& operator=(full_from const&) = delete;

 private:
  rlimit before_{};
  sighandler_t before_handler_ = SIG_DFL;
};

std::string text(char of, std::size_t length) { return std::string(length, of); }

std::string read_back(enduring_memory const& m) {
  auto read = enduring_memory::read(m.fd());
  return read ? *read : "failed: " + read.error().message();
}

struct kind {
  char const* says;
  std::function<result<enduring_memory>(scratch_directory const&)> create;
};
kind const kinds[] = {
    {"in memory", [](auto const&) { return enduring_memory::create(); }},
    {"a file", [](auto const& scratch) { return enduring_memory::create(scratch / "web.memory"); }},
};

// Where the halves begin.
constexpr rlim_t halves[] = {4096, 4096 + enduring_memory::most};

}  // namespace

TEST_CASE("what was written last is read, whatever its size") {
  scratch_directory scratch;
  for (auto const& k : kinds) {
    CAPTURE(k.says);
    auto m = k.create(scratch);
    REQUIRE(m);
    CHECK_THAT(read_back(*m), Contains("cut short"));  // nothing was written yet
    char of = 'a';
    for (std::size_t length : {0, 1, 10'000, 5, 0, 300'000, 299'999, 1'000'000, 3}) {
      REQUIRE(m->write(text(of, length)));
      CHECK(read_back(*m) == text(of, length));
      ++of;
    }
    CHECK(is_close_on_exec(m->fd()));
  }
}

TEST_CASE("an enduring memory is written up to its bound, and not beyond") {
  auto m = enduring_memory::create();
  REQUIRE(m);
  for (int half = 0; half < 2; ++half) {
    REQUIRE(m->write(text('x', enduring_memory::most)));
    CHECK(read_back(*m).size() == enduring_memory::most);
  }
  auto refused = m->write(text('y', enduring_memory::most + 1));
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message(), Contains("too much"));
  CHECK(read_back(*m) == text('x', enduring_memory::most));
}

TEST_CASE("a writing that is torn at any byte leaves the one before") {
  scratch_directory scratch;
  for (auto const& k : kinds) {
    auto m = k.create(scratch);
    REQUIRE(m);
    REQUIRE(m->write("the first, which is long"));
    std::string whole = "the first, which is long";
    for (std::size_t torn = 0; torn < 40; ++torn) {
      std::size_t half = (torn + 1) % 2;  // writings alternate, and those that failed do not count
      std::string next = "number " + std::to_string(torn) + text('.', torn % 7);
      for (std::size_t at = 0; at < next.size(); ++at) {
        CAPTURE(k.says, torn, at);
        full_from here(halves[half] + at);
        REQUIRE_FALSE(m->write(next));
        REQUIRE(read_back(*m) == whole);
      }
      REQUIRE(m->write(next));
      REQUIRE(read_back(*m) == next);
      whole = next;
    }
  }
}

TEST_CASE("who is killed while it writes leaves something whole") {
  auto m = enduring_memory::create();
  REQUIRE(m);
  REQUIRE(m->write("a"));
  for (int life = 0; life < 50; ++life) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    unique_fd begun(ends[0]), begins(ends[1]);
    pid_t writer = start_child([&] {
      for (char of = 'b';; of = of == 'z' ? 'a' : static_cast<char>(of + 1)) {
        if (!m->write(text(of, 50'000 + 10'000 * static_cast<std::size_t>(of - 'a')))) return 1;
        if (of == 'c' && ::write(begins.get(), "x", 1) != 1) return 2;
      }
    });
    char byte = 0;
    REQUIRE(::read(begun.get(), &byte, 1) == 1);
    ::kill(writer, SIGKILL);
    REQUIRE(exit_code_of(writer) == 128 + SIGKILL);
    std::string left = read_back(*m);
    REQUIRE_FALSE(left.empty());
    CHECK(left == text(left[0], 50'000 + 10'000 * static_cast<std::size_t>(left[0] - 'a')));
  }
}

TEST_CASE("a file of a predecessor stays until its successor has written") {
  scratch_directory scratch;
  std::string const path = scratch / "web.memory";
  auto in_file = [&] {
    unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return enduring_memory::read(fd.get()).value();
  };
  REQUIRE(enduring_memory::create(path)->write("of a predecessor"));
  auto successor = enduring_memory::create(path);
  REQUIRE(successor);
  CHECK(in_file() == "of a predecessor");
  {
    full_from here(halves[0] + 3);
    CHECK_FALSE(successor->write("torn"));
    CHECK(in_file() == "of a predecessor");
  }
  for (char const* own : {"its own", "and more"}) {
    REQUIRE(successor->write(own));
    CHECK(in_file() == own);
  }
  CHECK_FALSE(std::filesystem::exists(path + ".new"));
}

TEST_CASE("a memory that is gone on with keeps the last writing until the next") {
  for (int writings : {1, 2, 3}) {
    CAPTURE(writings);
    auto predecessor = enduring_memory::create();
    for (int n = 1; n < writings; ++n) REQUIRE(predecessor->write("before"));
    REQUIRE(predecessor->write("of a predecessor"));
    auto successor = enduring_memory::adopt(unique_fd(::dup(predecessor->fd())));
    {
      full_from here(halves[static_cast<std::size_t>(writings) % 2] + 3);
      CHECK_FALSE(successor.write("torn"));
      CHECK(read_back(successor) == "of a predecessor");
    }
    REQUIRE(successor.write("its own"));
    CHECK(read_back(successor) == "its own");
  }
}

TEST_CASE("a memory is adopted by its descriptor, also one that is empty or none of ours") {
  auto first = enduring_memory::create();
  REQUIRE(first->write("first"));
  auto second = enduring_memory::adopt(unique_fd(::dup(first->fd())));
  REQUIRE(second.write("second"));
  CHECK(read_back(*first) == "second");
  auto empty = enduring_memory::adopt(unique_fd(::memfd_create("empty", MFD_CLOEXEC)));
  REQUIRE(empty.write("x"));
  CHECK(read_back(empty) == "x");
  unique_fd strange(::memfd_create("strange", MFD_CLOEXEC));
  REQUIRE(::pwrite(strange.get(), text('x', 100).data(), 100, 0) == 100);
  auto ours = enduring_memory::adopt(std::move(strange));
  REQUIRE(ours.write("y"));
  CHECK(read_back(ours) == "y");
}

TEST_CASE("a file that is remembered in is its owner's alone") {
  scratch_directory scratch;
  REQUIRE(enduring_memory::create(scratch / "web.memory")->write("x"));
  struct stat file{};
  REQUIRE(::stat((scratch / "web.memory").c_str(), &file) == 0);
  CHECK((file.st_mode & 0777) == 0600);
}

TEST_CASE("a link is not followed, and what is none of ours is not read") {
  scratch_directory scratch;
  REQUIRE(::symlink((scratch / "somewhere").c_str(), (scratch / "web.memory").c_str()) == 0);
  REQUIRE(enduring_memory::create(scratch / "web.memory")->write("x"));
  CHECK_FALSE(std::filesystem::is_symlink(scratch / "web.memory"));
  CHECK_FALSE(std::filesystem::exists(scratch / "somewhere"));
  REQUIRE(::symlink((scratch / "somewhere").c_str(), (scratch / "web.memory.new").c_str()) == 0);
  CHECK_FALSE(enduring_memory::create(scratch / "web.memory"));
  CHECK_FALSE(enduring_memory::create(scratch / "no such directory/web.memory"));

  unique_fd other(::open((scratch / "other").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::write(other.get(), text('x', 5000).data(), 5000) == 5000);
  auto read = enduring_memory::read(other.get());
  REQUIRE_FALSE(read);
  CHECK_THAT(read.error().message(), Contains("it is something else"));
  REQUIRE(::ftruncate(other.get(), 10) == 0);
  CHECK_THAT(enduring_memory::read(other.get()).error().message(), Contains("cut short"));
  CHECK_FALSE(enduring_memory::read(-1));
}

TEST_CASE("a heading that points nowhere is refused") {
  auto m = enduring_memory::create();
  REQUIRE(m);
  REQUIRE(m->write("content"));
  struct {
    char const* says;
    off_t at;
    std::uint64_t value;
    char const* because;
  } const cases[] = {
      {"another offset", 8, 4097, "it is something else"},
      {"longer than can be", 16, enduring_memory::most + 1, "it is something else"},
      {"longer than it is", 16, 8, "cut short"},
  };
  for (auto const& c : cases) {
    CAPTURE(c.says);
    std::uint64_t before = 0;
    REQUIRE(::pread(m->fd(), &before, sizeof before, c.at) == sizeof before);
    REQUIRE(::pwrite(m->fd(), &c.value, sizeof c.value, c.at) == sizeof c.value);
    CHECK_THAT(read_back(*m), Contains(c.because));
    REQUIRE(::pwrite(m->fd(), &before, sizeof before, c.at) == sizeof before);
  }
  CHECK(read_back(*m) == "content");
}
