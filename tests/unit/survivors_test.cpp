#include "launching.hpp"
#include "listeners.hpp"

#include <os/process_tree.hpp>
#include <os/survivors.hpp>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cstddef>

using namespace handoff;
using handoff::testing::make_pipe;
using handoff::testing::pipe_pair;

namespace {

// A process with copies of all that we hold now. Ends with the test.
class survivor {
 public:
  survivor() : end_(make_pipe()) {
    pid_ = test::start_child([this] {
      end_.write_end.reset();
      char byte;
      return static_cast<int>(::read(end_.read_end.get(), &byte, 1));
    });
    began_ = start_time(pid_);
  }
  ~survivor() { end(); }
  survivor(survivor const&) = delete;
  survivor& operator=(survivor const&) = delete;

  void end() {
    end_.write_end.reset();
    if (pid_ > 0) CHECK(test::exit_code_of(std::exchange(pid_, -1)) == 0);
  }
  pid_t pid() const { return pid_; }
  std::uint64_t began() const { return began_; }

 private:
  pipe_pair end_;
  pid_t pid_ = -1;
  std::uint64_t began_ = 0;
};

}  // namespace

TEST_CASE("a listener comes back from a process that holds a copy of it") {
  auto settings = test::tcp();
  std::optional<listener> ours = test::open_one(settings);
  auto address = *bound_address(ours->fd());
  std::map<std::uint64_t, std::string> const wanted{{cookie_of(ours->fd()), "listener.1"}};
  survivor service;
  ours.reset();
  auto client = test::connect_to(address);  // it waits in the queue of the one that is left
  REQUIRE(client);

  inherited_descriptors back;
  take_back_sockets(service.pid(), service.began(), wanted, back);
  REQUIRE(back.names() == std::vector<std::string>{"listener.1"});
  auto socket = back.take("listener.1");
  CHECK(test::is_close_on_exec(socket.get()));
  service.end();
  unique_fd accepted(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
  CHECK(accepted);
  CHECK(test::connect_to(address));
}

TEST_CASE("only wanted sockets come, each once, and none that is there already") {
  auto one = test::open_one(test::tcp()), two = test::open_one(test::udp()),
       other = test::open_one(test::tcp());
  unique_fd copy(::dup(one.fd()));
  auto pipe = make_pipe();
  survivor first, second;
  std::map<std::uint64_t, std::string> const wanted{
      {cookie_of(one.fd()), "one"}, {cookie_of(two.fd()), "two"}, {1ULL << 60, "lost"}};
  inherited_descriptors back;
  unique_fd known(::dup(two.fd()));
  int const number = known.get();
  back.add("two", std::move(known));
  auto before = test::open_descriptors();
  take_back_sockets(first.pid(), first.began(), wanted, back);
  take_back_sockets(second.pid(), second.began(), wanted, back);
  CHECK(back.names() == std::vector<std::string>{"one", "two"});
  CHECK(back.take("two").get() == number);
  CHECK(cookie_of(back.take("one").get()) == cookie_of(one.fd()));
  CHECK(test::open_descriptors() == before - 1);  // without `known`, and nothing was left open
}

TEST_CASE("another process of the same number has nothing of ours") {
  auto ours = test::open_one(test::tcp());
  std::map<std::uint64_t, std::string> const wanted{{cookie_of(ours.fd()), "listener"}};
  survivor service;
  inherited_descriptors back;
  auto before = test::open_descriptors();
  take_back_sockets(service.pid(), service.began() + 1, wanted, back);
  take_back_sockets(service.pid(), 0, wanted, back);
  pid_t const pid = service.pid();
  auto const began = service.began();
  service.end();
  take_back_sockets(pid, began, wanted, back);  // gone
  take_back_sockets(pid, 0, wanted, back);      // when nobody begins at 0
  CHECK(back.names().empty());
  CHECK(test::open_descriptors() + 1 == before);  // the pipe of the service
}

namespace {

// From now on this process cannot follow a path to ask a file what it is.
bool forbid_asking_files() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[3])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, AT_EMPTY_PATH, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog const program{std::size(rules), rules};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("of a process's files none is asked what it is, since its server may be hung") {
  std::optional<listener> ours = test::open_one(test::tcp());
  std::map<std::uint64_t, std::string> const wanted{{cookie_of(ours->fd()), "listener"}};
  survivor service;
  pid_t const asks = test::start_child([&] {
    inherited_descriptors back;
    if (!forbid_asking_files()) return 2;
    return take_back_sockets(service.pid(), service.began(), wanted, back) && back.has("listener") ? 0 : 1;
  });
  CHECK(test::exit_code_of(asks) == 0);
}

TEST_CASE("a pipe is opened again where a process has it as output, and nothing else is") {
  auto pipe = make_pipe(), other = make_pipe();
  auto const number = number_of_pipe(pipe.read_end.get());
  REQUIRE(number);
  CHECK(number_of_pipe(pipe.write_end.get()) == *number);
  CHECK(number_of_pipe(other.read_end.get()) != *number);
  auto no_pipe = test::open_one(test::tcp());
  CHECK(number_of_pipe(no_pipe.fd()) == pipe_number{});

  struct row {
    std::string says;
    int output, errors;
    bool found;
  };
  auto [says, output, errors, found] =
      GENERATE_REF(row{"both are the pipe", pipe.write_end.get(), pipe.write_end.get(), true},
                   row{"errors alone are", no_pipe.fd(), pipe.write_end.get(), true},
                   row{"another pipe", other.write_end.get(), other.write_end.get(), false},
                   row{"a socket", no_pipe.fd(), no_pipe.fd(), false}, row{"closed", -1, -1, false});
  CAPTURE(says);
  auto ready = make_pipe(), end = make_pipe();
  pid_t const service = test::start_child([&, output = output, errors = errors] {
    if (output >= 0 ? ::dup2(output, 1) != 1 || ::dup2(errors, 2) != 2 : ::close(1) != 0 || ::close(2) != 0)
      return 2;
    char byte = 0;
    end.write_end.reset();
    return ::write(ready.write_end.get(), &byte, 1) == 1
               ? static_cast<int>(::read(end.read_end.get(), &byte, 1))
               : 3;
  });
  char byte = 0;
  REQUIRE(::read(ready.read_end.get(), &byte, 1) == 1);
  auto before = test::open_descriptors();
  std::array const writers{pid_t{-1}, service};
  auto back = take_back_output(writers, *number);
  REQUIRE(back);
  CHECK(static_cast<bool>(*back) == found);
  CHECK(test::open_descriptors() == before + found);
  if (found) {
    REQUIRE(::write(pipe.write_end.get(), "x", 1) == 1);
    CHECK(test::is_close_on_exec(back->get()));
    CHECK(::read(back->get(), &byte, 1) == 1);
  }
  CHECK_FALSE(*take_back_output(writers, {}));
  end.write_end.reset();
  CHECK(test::exit_code_of(service) == 0);
}
