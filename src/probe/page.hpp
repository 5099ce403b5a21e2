// The probe that reads a page of metrics and prints the numbers that handoffd wants of it.
#pragma once

#include <probe/tcp.hpp>

#include <expected>
#include <string>
#include <string_view>

namespace handoff::probe {

// One line of numbers, as a command of [[metric]] prints it; else why there is none, in one line.
std::expected<std::string, std::string> probe_page(options const&, deadline);

// The same for a page that is there.
std::expected<std::string, std::string> read_page(page_settings const&, std::string_view page);

}  // namespace handoff::probe
