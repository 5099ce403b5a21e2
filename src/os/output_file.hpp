// The file to which a service's output goes, opened by us for somebody who may not be trusted with it.
#pragma once

#include <base/error.hpp>
#include <base/unique_fd.hpp>
#include <os/account.hpp>

#include <string>

namespace handoff {

// For appending; created with mode 0640 where there is none. It is opened with the rights of `owner`, who may
// have put a symbolic link in its place. Where those do not suffice it is opened with ours, and then no link
// on the way is followed (openat2(2), RESOLVE_NO_SYMLINKS, Linux 5.6). A FIFO that nobody reads fails.
result<unique_fd> open_output_file(std::string const& path, account const& owner);

}  // namespace handoff
