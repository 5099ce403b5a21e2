// The grammar of probes: what one request to the generation under test is and what shall come of it.
#pragma once

#include <wire/config_reader.hpp>

namespace handoff::config {

grammar<probe_settings> const& http_probe_keys();
grammar<probe_settings> const& tcp_probe_keys();
grammar<probe_settings> const& page_keys();  // of metrics

// The keys of [ready], with those of an HTTP probe among them.
grammar<ready_settings> with_probe_keys(grammar<ready_settings>);

}  // namespace handoff::config
