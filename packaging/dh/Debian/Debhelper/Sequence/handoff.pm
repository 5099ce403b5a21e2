# dh --with handoff, or a build dependency on dh-sequence-handoff.
use strict;
use warnings;
use Debian::Debhelper::Dh_Lib;

# After what installs the service, before dh_installdeb finds the conffiles. dh_installsystemd's scripts come first: a
# package may ship drop-ins for its unit.
insert_after('dh_installsystemd', 'dh_handoff');

1;
