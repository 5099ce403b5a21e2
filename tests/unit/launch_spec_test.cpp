#include <wire/launch_spec.hpp>

#include <catch2/catch.hpp>

#include <cerrno>
#include <cstring>

using namespace handoff;

namespace {

launch_spec small_spec() {
  launch_spec spec;
  spec.arguments = {"/bin/true"};
  spec.executable_path = "/bin/true";
  return spec;
}

launch_spec full_spec() {
  launch_spec spec = small_spec();
  spec.arguments = {"web", "", "--port", "{fd}"};
  spec.environment = {"HANDOFF_SERVICE=web", "EMPTY=", "TEXT=\xC3\xBC\nsecond line"};
  spec.working_directory = "/srv/app/41";
  spec.by_descriptor = spec.has_executable = spec.has_output = spec.has_cgroup = true;
  spec.null_input = false;
  spec.listeners = launch_bound::listeners;
  spec.user = 33;
  spec.group = 0;
  spec.umask = 0777;
  spec.groups = {4, 33, 4294967294U};
  spec.limits = {{7, 1024, UINT64_MAX}, {4, 0, 0}};
  spec.nice = -20;
  spec.oom_score_adjust = -1000;
  spec.ambient_capabilities = 1ULL << 40 | 1ULL << 10;
  spec.no_new_privileges = true;
  return spec;
}

std::vector<std::byte> changed(launch_spec const& spec, std::size_t offset, std::uint32_t value) {
  auto bytes = encode_launch(spec).value();
  std::memcpy(bytes.data() + offset, &value, sizeof value);
  return bytes;
}

}  // namespace

TEST_CASE("a launch spec arrives as it was sent") {
  for (launch_spec const& spec : {small_spec(), full_spec()}) {
    auto bytes = encode_launch(spec).value();
    auto view = decode_launch(bytes);
    REQUIRE(view);
    CHECK(to_spec(*view) == spec);
  }
}

TEST_CASE("a launch spec can be read at any address") {
  auto bytes = encode_launch(full_spec()).value();
  bytes.insert(bytes.begin(), std::byte{0});
  auto view = decode_launch(std::span(bytes).subspan(1));
  REQUIRE(view);
  CHECK(to_spec(*view) == full_spec());
}

TEST_CASE("a spec that cannot be launched is refused in words") {
  using change = void (*)(launch_spec&);
  auto [words, make] = GENERATE(table<char const*, change>({
      {"there is no command", [](launch_spec& s) { s.arguments.clear(); }},
      {"an argument holds a NUL", [](launch_spec& s) { s.arguments.emplace_back("a\0b", 3); }},
      {"an environment variable holds a NUL", [](launch_spec& s) { s.environment.emplace_back("A=\0", 3); }},
      {"a path holds a NUL", [](launch_spec& s) { s.working_directory = std::string("/\0", 2); }},
      {"no executable to run", [](launch_spec& s) { s.executable_path.clear(); }},
      {"no descriptor to run", [](launch_spec& s) { s.by_descriptor = true; }},
      {"too many listeners", [](launch_spec& s) { s.listeners = launch_bound::listeners + 1; }},
      {"too many groups", [](launch_spec& s) { s.user = 1, s.groups.resize(launch_bound::groups + 1); }},
      {"too many limits", [](launch_spec& s) { s.limits.resize(launch_bound::limits + 1); }},
      {"supplementary groups without a user", [](launch_spec& s) { s.groups = {1}; }},
      {"the umask is not between 0 and 0777", [](launch_spec& s) { s.umask = 01000; }},
      {"a user or group number is out of range", [](launch_spec& s) { s.user = UINT32_MAX; }},
      {"too long", [](launch_spec& s) { s.arguments.emplace_back(launch_bound::bytes, 'a'); }},
  }));
  launch_spec spec = small_spec();
  make(spec);
  auto refused = encode_launch(spec);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message(), Catch::Contains(words));
}

TEST_CASE("the largest launch spec fits, and not one byte more") {
  launch_spec spec = small_spec();
  std::size_t used = encode_launch(spec).value().size() + 1;  // and a NUL
  spec.arguments.emplace_back(launch_bound::bytes - used, 'a');
  CHECK(encode_launch(spec));
  spec.arguments.back() += 'a';
  CHECK_FALSE(encode_launch(spec));
}

TEST_CASE("a launch spec that was cut or grew is refused") {
  auto bytes = encode_launch(full_spec()).value();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    auto cut = std::span(bytes).first(size);
    CHECK_FALSE(decode_launch(cut));
    // Also when its own length agrees with the cut.
    std::vector<std::byte> lying(cut.begin(), cut.end());
    std::uint64_t claimed = size;
    if (size >= sizeof(launch_header)) std::memcpy(lying.data() + 8, &claimed, sizeof claimed);
    CHECK_FALSE(decode_launch(lying));
  }
  bytes.push_back(std::byte{0});
  CHECK_FALSE(decode_launch(bytes));
}

TEST_CASE("a launch spec that we would not write is refused") {
  auto [says, offset, value, error_number] = GENERATE(table<char const*, std::size_t, std::uint32_t, int>({
      {"another kind of bytes", offsetof(launch_header, magic), 0, EBADMSG},
      {"another version", offsetof(launch_header, version), 2, EPROTONOSUPPORT},
      {"an unknown flag", offsetof(launch_header, flags), launch_flag::all + 1, EBADMSG},
      {"to run a descriptor that is not there", offsetof(launch_header, flags), launch_flag::by_descriptor,
       EBADMSG},
      {"a user that was not announced", offsetof(launch_header, user), 7, EBADMSG},
      {"more arguments than there are", offsetof(launch_header, arguments), UINT32_MAX, EBADMSG},
      {"no arguments", offsetof(launch_header, arguments), 0, EBADMSG},
      {"more variables than there are", offsetof(launch_header, environment), 1, EBADMSG},
      {"more limits than there are", offsetof(launch_header, limits), launch_bound::limits, EBADMSG},
      {"a reserved field in use", offsetof(launch_header, reserved), 1, EBADMSG},
  }));
  CAPTURE(says);
  auto view = decode_launch(changed(small_spec(), offset, value));
  REQUIRE_FALSE(view);
  CHECK(view.error() == error_number);
}

TEST_CASE("a failed launch is told with its stage and its errno") {
  CHECK(describe_launch_failure(static_cast<std::uint8_t>(launch_stage::exec), ENOENT) ==
        "exec: ENOENT (No such file or directory)");
  CHECK(describe_launch_failure(static_cast<std::uint8_t>(launch_stage::directory), EACCES) ==
        "working directory: EACCES (Permission denied)");
  CHECK(describe_launch_failure(200, 100000) == "unknown stage: errno 100000");
}
