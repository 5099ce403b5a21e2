// What a predecessor left, if there was one: passed on through exec, kept by systemd, or on file.
#pragma once

#include <base/error.hpp>
#include <os/inheritance.hpp>
#include <wire/snapshot.hpp>

#include <handoffd/second_try.hpp>

#include <optional>
#include <string>
#include <vector>

namespace handoff {

struct legacy {
  std::optional<snapshot> left;
  inherited_descriptors inherited;       // its memory among them
  std::vector<named_descriptor> passed;  // all else that systemd passed
  bool predecessor_died = false;
  std::string trouble;  // there was one, but it cannot be used
  std::string missing;  // a listener, and why
  second_try again;     // by exec
};

// By exec, or from systemd's store. Takes what says so out of the environment. Fails when we were to go on by
// exec and cannot.
result<legacy> receive_legacy();

// From the file that a predecessor without systemd kept, with the listeners that what it started holds, be it
// a worker alone. Nothing when there is none, or one of an earlier boot, or that others may have written, or
// of one that stopped until nobody was left. Fails when that cannot be told now.
result<> find_legacy(legacy&, std::string const& runtime_directory, std::string const& service);

// What a store that is too small did not take of a predecessor's listeners, from the processes that hold
// them.
result<> take_back_missing(legacy&, std::string const& runtime_directory);

// Which service has a memory there of being run with this configuration, which cannot be read now; empty:
// none.
std::string remembered_service(std::string const& runtime_directory, std::string const& configuration);

// For a trial run: whether we could go on from the snapshot in `fd`.
result<> try_snapshot(int fd);

}  // namespace handoff
