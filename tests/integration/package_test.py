"""The Debian packages: installed, upgraded under load, removed and purged by the real dpkg, in two Debian releases.

They are built by scripts/package into the build directory, unless HANDOFF_PACKAGES names a directory that has them.
Needs root and the testbed, as systemd_test.py does.
"""

import functools
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness
import packages_test
import systemd_test
import units_test

NEWER = "99.0"
CONFFILES = ("/etc/default/handoff", "/etc/needrestart/conf.d/handoff.conf")  # which dpkg keeps until purge
OUR_DIRECTORIES = ("/run/handoff", "/var/lib/handoff", "/var/log/handoff")

C_SERVICE = """
#include <handoff/handoff.h>
int main(void) { return handoff_draining(); }
"""


@functools.cache
def packages():
    """The .deb files by the names of their packages, built once for all tests."""
    directory = os.environ.get("HANDOFF_PACKAGES")
    if not directory:
        if not shutil.which("dpkg-buildpackage"):
            raise unittest.SkipTest("dpkg-buildpackage is missing: scripts/dependencies package")
        directory = os.path.join(harness.BUILD, "package")
        run(os.path.join(harness.SOURCE, "scripts", "package"), directory)
    return {os.path.basename(path).split("_")[0]: path for path in glob.glob(os.path.join(directory, "*.deb"))}


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def repack(package, directory, version):
    """The same package under a later version: the files are the same, but dpkg puts new ones in their places."""
    tree = os.path.join(directory, "tree")
    run("dpkg-deb", "-R", package, tree)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = re.sub(r"^Version: .*$", f"Version: {version}", file.read(), flags=re.M)
    with open(control, "w", encoding="utf-8") as file:
        file.write(text)
    made = os.path.join(directory, f"handoff_{version}.deb")
    run("dpkg-deb", "--root-owner-group", "-b", tree, made)
    return made


@functools.cache
def archive():
    """Packages of a service and its library, made with the dh_handoff of ours."""
    directory = tempfile.mkdtemp(prefix="handoff-archive-")
    unittest.addModuleCleanup(shutil.rmtree, directory)
    return packages_test.Archive(directory, packages()["handoff"])


class Library(harness.TestCase):
    def test_a_service_in_c_is_built_with_what_the_packages_have(self):
        with tempfile.TemporaryDirectory(prefix="handoff-library-") as root:
            for name in ("libhandoff0", "libhandoff-dev"):
                run("dpkg-deb", "-x", packages()[name], root)
            [folder] = glob.glob(root + "/usr/lib/*/pkgconfig")
            flags = run("pkg-config", "--cflags", "--libs", "libhandoff", env={
                **os.environ, "PKG_CONFIG_LIBDIR": folder, "PKG_CONFIG_SYSROOT_DIR": root}).split()
            run("cc", "-x", "c", "-", "-o", root + "/service", "-x", "none", *flags, input=C_SERVICE)
            run(root + "/service", env={"LD_LIBRARY_PATH": os.path.dirname(folder)})


@unittest.skipUnless(shutil.which("rpmspec") and shutil.which("rpmlint"), "rpm's tools are missing: scripts/dependencies package")
class Spec(harness.TestCase):
    """The spec file for RPM, as far as it can be told without a distribution that has RPM."""

    packaging = os.path.join(harness.SOURCE, "packaging")
    path = os.path.join(packaging, "handoff.spec")

    def test_its_scriptlets_are_shell(self):
        # Each section with what follows its head; macros that Debian lacks stay as they are, in %build.
        sections = re.split(r"^%(?=[a-z])", run("rpmspec", "--parse", self.path), flags=re.M)
        scripts = dict(re.match(r"(\w+)[^\n]*\n(.*)", section, re.S).groups() for section in sections[1:])
        for name in ("posttrans", "transfiletriggerin", "preun", "postun"):
            self.assertIn("handoff", scripts[name])
            run("sh", "-n", input=scripts[name])

    def test_rpmlint_finds_no_error(self):
        run("rpmlint", "--config", os.path.join(self.packaging, "rpmlint.toml"), self.path)

    def test_it_watches_what_the_trigger_of_dpkg_does(self):
        with open(os.path.join(self.packaging, "hooks", "handoff.triggers"), encoding="utf-8") as file:
            dpkgs = set(re.findall(r"^interest-noawait (/usr/\S+|/opt|/srv)$", file.read(), re.M))
        with open(self.path, encoding="utf-8") as file:
            rpms = set(re.search(r"^%transfiletriggerin -- (.*)$", file.read(), re.M)[1].split())
        self.assertEqual(dpkgs - {"/usr/lib32"}, rpms)


class Package(units_test.UserManager):
    name = "package"
    demo = "/usr/libexec/handoff/handoff-demo-service"

    @classmethod
    def setUpClass(cls):
        packages()  # takes minutes, or cannot be
        super().setUpClass()

    @classmethod
    def install(cls):
        wanted = [packages()[name] for name in ("handoff", "libhandoff0")]
        for path in wanted:
            cls.machine.testbed("copy", path, "/root/packages/")
        directory = tempfile.TemporaryDirectory(prefix="handoff-repack-")
        cls.addClassCleanup(directory.cleanup)
        cls.machine.testbed("copy", repack(wanted[0], directory.name, NEWER), "/root/newer.deb")
        for path in glob.glob(os.path.join(archive().directory, "*.deb")):
            cls.machine.testbed("copy", path, "/root/")

    def setUp(self):
        self.machine.run("sh", "-c", "dpkg -i /root/packages/*.deb")
        self.addCleanup(self.machine.run, "dpkg", "--purge", "handoff", "libhandoff0")

    def enable(self):
        self.start()
        self.machine.run("systemctl", "enable", systemd_test.UNIT)

    def stop(self):
        self.machine.run("systemctl", "stop", systemd_test.UNIT, check=False)  # a test may have removed it

    def exists(self, path):
        return os.path.lexists(self.machine.path(path))

    def is_left(self, path):
        """Whether it is there and no directory that other packages share."""
        return self.exists(path) and (path.endswith("/handoff") or not os.path.isdir(self.machine.path(path)))

    def test_it_runs_nothing_by_itself(self):
        self.assertEqual(self.machine.run("systemctl", "list-units", "--no-legend", "handoff*").stdout, "")
        for command in ("systemd-analyze verify --man=no handoff@web.service",
                        "env XDG_RUNTIME_DIR=/run systemd-analyze verify --user --man=no handoff@web.service"):
            told = self.machine.run(*command.split())
            self.assertEqual(told.stdout + told.stderr, "")

    def test_its_own_upgrade_loses_nothing(self):
        self.enable()
        with self.load() as load:
            told = self.machine.run("dpkg", "-i", "/root/newer.deb")
            self.assertEqual(self.reload(), 0, self.journal())
        self.assert_nothing_failed(load, at_least=100)
        self.assertIn(NEWER, self.machine.run("dpkg-query", "-W", "handoff").stdout)
        self.assertEqual((self.show("MainPID"), self.show("NRestarts")), (self.main_pid, "0"))
        self.assertEqual(self.served_by(), 2)
        self.assert_supervisor_is_new(told.stdout + told.stderr)

    def assert_supervisor_is_new(self, told):
        self.assertEqual(os.readlink(self.machine.path(f"/proc/{self.main_pid}/exe")), "/usr/sbin/handoffd", told)
        self.assertNotIn("go on with", told)

    def test_its_upgrade_reaches_the_supervisors_of_users(self):
        self.start_user()
        self.as_user("systemctl", "--user", "start", systemd_test.UNIT)
        self.main_pid = self.as_user(
            "systemctl", "--user", "show", "--value", "-p", "MainPID", systemd_test.UNIT).stdout.strip()
        with self.load() as load:
            told = self.machine.run("dpkg", "-i", "/root/newer.deb")
        self.assert_nothing_failed(load)
        self.assert_supervisor_is_new(told.stdout + told.stderr)
        self.machine.run("dpkg", "--remove", "handoff")
        self.assertEqual(self.machine.run("pgrep", "-x", "handoffd", check=False).stdout, "")

    def test_an_upgrade_without_supervisors_is_silent(self):
        told = self.machine.run("dpkg", "-i", "/root/newer.deb")
        self.assertNotIn("handoff: ", told.stdout + told.stderr)

    def test_removal_stops_it_and_purge_leaves_nothing(self):
        self.enable()
        installed = self.machine.run("dpkg", "-L", "handoff").stdout.split()
        told = self.machine.run("dpkg", "--remove", "handoff").stderr
        self.assertIn(f"stopping {systemd_test.UNIT}", told)
        self.assertEqual(self.show("ActiveState"), "inactive")
        self.assertEqual(self.machine.run("pgrep", "-x", "handoffd", check=False).stdout, "")
        self.assertEqual({path for path in installed if self.is_left(path)}, {"/etc/handoff", *CONFFILES})
        self.assertFalse(self.exists("/run/handoff"))
        self.assertTrue(self.exists("/var/lib/handoff/web.history"))
        self.machine.run("dpkg", "--purge", "handoff")
        for path in (*OUR_DIRECTORIES, *CONFFILES):
            self.assertFalse(self.exists(path), path)
        found = self.machine.run("find", "/etc/systemd", "-name", "handoff@*.service").stdout
        self.assertEqual(found, "", "links of systemctl enable")
        self.assertTrue(self.exists("/etc/handoff/web.toml"), "what the administrator wrote stays")

    def test_its_scripts_and_its_trigger_upgrade_a_service_under_load(self):
        self.addCleanup(self.machine.run, "dpkg", "--purge", "toy", "libtoy")
        self.machine.run("rm", "-f", "/etc/handoff/web.toml")  # of other tests; the package brings its own
        self.machine.run("dpkg", "-i", "/root/libtoy_1.deb", "/root/toy_1.deb")
        self.assertEqual(self.show("ActiveState"), "active", self.journal())
        first = self.status()["live"]
        for name, said in (("toy_2", "Setting up toy"), ("libtoy_2", f"{packages_test.LIBRARY} replaced")):
            with self.load() as load:
                told = self.machine.run("dpkg", "-i", f"/root/{name}.deb")
            self.assertIn(said, told.stdout + told.stderr)
            self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(self.status()["live"], first + 2, "one upgrade for each")

    def test_removal_gives_back_what_was_wrapped(self):
        self.machine.write("/etc/systemd/system/app.service", "[Service]\nExecStart=/bin/sleep infinity\n")
        self.addCleanup(self.machine.run, "systemctl", "stop", "app.service")
        before = self.machine.run("sh", "-c", "systemctl daemon-reload; systemctl cat app.service").stdout
        self.machine.run("handoff", "wrap", "--write", "--listen-fds", "--listen", "127.0.0.1:8099", "app")
        self.machine.run("systemctl", "start", "app.service")
        told = self.machine.run("dpkg", "--remove", "handoff").stderr
        self.assertIn("app.service: as it was before", told)
        self.assertEqual(self.machine.run("systemctl", "cat", "app.service").stdout, before)
        main = self.machine.run("systemctl", "show", "--value", "-p", "MainPID", "app.service").stdout.strip()
        self.assertEqual(self.machine.run("cat", f"/proc/{main}/comm").stdout, "sleep\n")
        self.assertFalse(self.exists("/etc/handoff/app.toml"))

    def test_installed_again_after_removal_it_serves_as_before(self):
        self.enable()
        self.machine.run("dpkg", "--remove", "handoff")
        self.machine.run("dpkg", "-i", "/root/newer.deb")
        self.assertEqual(self.machine.run("systemctl", "is-enabled", systemd_test.UNIT).stdout.strip(), "enabled")
        self.machine.run("systemctl", "start", systemd_test.UNIT)
        self.assertEqual(self.served_by(), 1)


Trixie, Bookworm = systemd_test.in_each_release(Package)


if __name__ == "__main__":
    harness.main()
