#include "loop.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <utility>

namespace handoff {

// One libuv handle and its callback. libuv frees a handle only after a later turn of the loop, and a callback
// may destroy its own watch, so the block is released in the close callback.
struct watch::handle {
  union {
    uv_handle_t any;
    uv_poll_t poll;
    uv_signal_t signal;
    uv_timer_t timer;
    uv_prepare_t prepare;
  };
  std::function<void()> call;
};

namespace {

void call(void* data) { static_cast<watch::handle*>(data)->call(); }

void release(uv_handle_t* any) { delete static_cast<watch::handle*>(any->data); }

failure uv_failure(char const* doing, int status) { return os_failure(doing, -status); }

// libuv adds what is watched when it sleeps next, and ends the program when the kernel has no room for it.
// What it finds added it only changes, which takes no room.
result<> make_room_for(uv_loop_t const& on, int fd) {
  epoll_event nothing{.events = 0, .data = {.fd = fd}};
  if (::epoll_ctl(uv_backend_fd(&on), EPOLL_CTL_ADD, fd, &nothing) < 0 && errno != EEXIST)
    return os_failure("watching a descriptor");
  return {};
}

}  // namespace

watch::~watch() {
  if (raw_ == nullptr) return;
  raw_->any.data = raw_;
  uv_close(&raw_->any, release);
}

struct loop::state {
  uv_loop_t uv{};
};

loop::loop(std::unique_ptr<state> s) : state_(std::move(s)) {}

result<std::unique_ptr<loop>> loop::create() {
  // libuv ends the program where there is none for its signals.
  if (int ends[2]; ::pipe2(ends, O_CLOEXEC) == 0)
    for (int end : ends) ::close(end);
  else
    return os_failure("creating the event loop");
  auto s = std::make_unique<state>();
  if (int status = uv_loop_init(&s->uv); status < 0) return uv_failure("creating the event loop", status);
  std::unique_ptr<loop> made(new loop(std::move(s)));
  for (int own : {made->state_->uv.async_io_watcher.fd, made->state_->uv.signal_io_watcher.fd})
    if (auto room = make_room_for(made->state_->uv, own); !room) return std::unexpected(room.error());
  return made;
}

loop::~loop() {
  // Handles that were closed are released in a turn of the loop; one that was told to stop wastes its first.
  constexpr int turns = 4;
  for (int n = 0; n < turns && uv_loop_close(&state_->uv) == UV_EBUSY; ++n)
    uv_run(&state_->uv, UV_RUN_NOWAIT);
}

result<watch> loop::on_fd(int fd, readiness_of_fd what, std::function<void()> ready) {
  auto* h = new watch::handle;
  h->call = std::move(ready);
  if (int status = uv_poll_init(&state_->uv, &h->poll, fd); status < 0) {
    delete h;
    return uv_failure("watching a descriptor", status);
  }
  h->any.data = h;
  watch made(h);
  int status = uv_poll_start(&h->poll, static_cast<int>(what) | UV_DISCONNECT,
                             [](uv_poll_t* p, int, int) { call(p->data); });
  if (status < 0) return uv_failure("watching a descriptor", status);
  if (auto room = make_room_for(state_->uv, fd); !room) return std::unexpected(room.error());
  return made;
}

result<watch> loop::on_signal(int signal_number, std::function<void()> arrived) {
  auto* h = new watch::handle;
  h->call = std::move(arrived);
  uv_signal_init(&state_->uv, &h->signal);
  h->any.data = h;
  watch made(h);
  int status = uv_signal_start(&h->signal, [](uv_signal_t* s, int) { call(s->data); }, signal_number);
  if (status < 0) return uv_failure("catching a signal", status);
  return made;
}

result<watch> loop::at(instant when, std::function<void()> due) {
  auto* h = new watch::handle;
  h->call = std::move(due);
  uv_timer_init(&state_->uv, &h->timer);
  h->any.data = h;
  watch made(h);
  uv_update_time(&state_->uv);
  auto wait = when - now();
  auto ms = wait.count() > 0 ? static_cast<std::uint64_t>(wait.count()) : 0;
  int status = uv_timer_start(&h->timer, [](uv_timer_t* t) { call(t->data); }, ms, 0);
  if (status < 0) return uv_failure("arming a timer", status);
  return made;
}

result<watch> loop::before_sleep(std::function<void()> idle) {
  auto* h = new watch::handle;
  h->call = std::move(idle);
  uv_prepare_init(&state_->uv, &h->prepare);
  h->any.data = h;
  watch made(h);
  int status = uv_prepare_start(&h->prepare, [](uv_prepare_t* p) { call(p->data); });
  if (status < 0) return uv_failure("watching the loop", status);
  return made;
}

void loop::run() { uv_run(&state_->uv, UV_RUN_DEFAULT); }
void loop::turn() { uv_run(&state_->uv, UV_RUN_NOWAIT); }
void loop::stop() { uv_stop(&state_->uv); }

instant loop::now() { return std::chrono::time_point_cast<duration>(std::chrono::steady_clock::now()); }

}  // namespace handoff
