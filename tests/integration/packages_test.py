"""Packages under the real dpkg and apt: a service whose package, or whose library's package, is upgraded under load.

Needs what systemd_test needs, and debhelper to build a package with dh_handoff.
"""

import functools
import glob
import os
import shutil
import subprocess
import tempfile
import unittest

import harness
import outdated_test
import systemd_test

UNIT = systemd_test.UNIT
PROGRAM = "/usr/bin/toy"
LIBRARY = "/usr/lib/toy/" + outdated_test.LIBRARY
OTHER_LIBRARY = "/usr/lib/toy/libextra.so"
REPOSITORY = "/srv/repository"
BAD_LIBRARIES = (5, 6)

CONFIGURATION = f"""[service]
name = "web"
command = ["{PROGRAM}"]
environment = {{ LD_LIBRARY_PATH = "/usr/lib/toy", LD_PRELOAD = "{OTHER_LIBRARY}" }}
[[listener]]
name = "http"
address = "{systemd_test.TARGET}"
[ready]
timeout = "20s"
[drain]
timeout = "5s"
"""


def command(*words, **options):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{words}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, mode)


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def release(source, target, number):
    """A build of its own for each version of a package."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(source, "rb") as file:
        content = bytearray(file.read())
    content[outdated_test.build_id_note(content)] ^= number
    with open(target, "wb") as file:
        file.write(content)
    os.chmod(target, 0o755)


class Archive:
    """The packages, built once; `shipped` is the package of handoff, in place of one that is made of the build."""

    def __init__(self, directory, shipped=None):
        self.directory = directory
        self.installed = os.path.join(directory, "installed")
        if shipped:
            command("dpkg-deb", "-x", shipped, self.installed)
            self.prefix = "/usr"
        else:
            self.programs = systemd_test.install(self.installed)
            self.prefix = os.path.dirname(os.path.dirname(self.programs["handoff"]))
            self.build_handoff()
        empty = self.compile_empty_library()
        for version in range(1, 5):
            self.build_library("libtoy", version, os.path.join(harness.BUILD, "src", outdated_test.LIBRARY), LIBRARY)
        for version in BAD_LIBRARIES:
            self.build_library("libtoy", version, empty, LIBRARY)
        for version in (1, 2):
            self.build_library("libextra", version, empty, OTHER_LIBRARY)
        self.build_script()
        self.build_toy()
        for version in range(2, 7):
            self.repack_toy(version)

    def path(self, name):
        return os.path.join(self.directory, name + ".deb")

    def pack(self, tree, name, version, **fields):
        lines = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "Nobody <nobody@example.org>",
                 "Description": "a test", **fields}
        write(os.path.join(tree, "DEBIAN", "control"), "".join(f"{key}: {value}\n" for key, value in lines.items()))
        command("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, self.path(f"{name}_{version}"))

    def build_handoff(self):
        """What a package of handoff itself does, without one: its files, its trigger, its postinst, for the build's prefix."""
        tree = os.path.join(self.directory, "handoff")
        shutil.copytree(self.installed, tree, symlinks=True)
        if self.prefix != "/usr":
            shutil.move(tree + self.prefix + "/etc", tree + "/etc")
        packaging = os.path.join(harness.SOURCE, "packaging")
        write(os.path.join(tree, "DEBIAN", "triggers"), read(os.path.join(packaging, "hooks", "handoff.triggers")))
        postinst = read(os.path.join(packaging, "debian", "handoff.postinst"))
        write(os.path.join(tree, "DEBIAN", "postinst"), postinst.replace("/usr/libexec", self.prefix + "/libexec"), 0o755)
        self.pack(tree, "handoff", "1")

    def build_library(self, name, version, source, target):
        tree = os.path.join(self.directory, f"{name}{version}")
        release(source, tree + target, version)
        self.pack(tree, name, version)

    def build_script(self):
        tree = os.path.join(self.directory, "script")
        write(tree + "/usr/share/toy/script", "#!/bin/sh\n", 0o755)
        self.pack(tree, "toy-script", 1)

    def compile_empty_library(self):
        """In place of the one that a program needs, the program ends before it begins."""
        made = os.path.join(self.directory, "empty-library")
        command("cc", "-shared", "-nostdlib", "-x", "c", "-", "-o", made, "-Wl,--build-id=sha1", input="void empty(void) {}")
        return made

    def build_toy(self):
        """By debhelper, from a source package as others write it."""
        source = os.path.join(self.directory, "source", "toy")
        debian = os.path.join(source, "debian")
        write(debian + "/control", "Source: toy\nSection: misc\nPriority: optional\nMaintainer: Nobody <nobody@example.org>\n"
              "Build-Depends: debhelper-compat (= 13)\n\n"
              "Package: toy\nArchitecture: all\nDepends: libtoy, ${misc:Depends}\nDescription: a test\n")
        write(debian + "/changelog", "toy (1) unstable; urgency=low\n\n  * Test.\n\n"
              " -- Nobody <nobody@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n")
        write(debian + "/rules", "#!/usr/bin/make -f\n%:\n\tdh $@ --with handoff\n"
              "override_dh_handoff:\n\tdh_handoff --name=web\n", 0o755)
        write(debian + "/toy.web.handoff", CONFIGURATION)
        write(debian + "/toy.install", "toy usr/bin\n")
        release(harness.DEMO_SERVICE, source + "/toy", 1)
        ours = self.installed + self.prefix
        environment = {**os.environ, "PERL5LIB": ours + "/share/perl5", "PATH": ours + "/bin:" + os.environ["PATH"],
                       "DH_AUTOSCRIPTDIR": ours + "/share/debhelper/autoscripts"}
        command("dpkg-buildpackage", "-b", "-us", "-uc", "-d", cwd=source, env=environment)
        shutil.copy(os.path.join(self.directory, "source", "toy_1_all.deb"), self.path("toy_1"))

    def repack_toy(self, version):
        """Version 3 is a bad one, and in 5 the packager has it fail."""
        tree = os.path.join(self.directory, f"toy{version}")
        command("dpkg-deb", "-R", self.path("toy_1"), tree)
        release(harness.DEMO_SERVICE, tree + PROGRAM, version)
        control = read(tree + "/DEBIAN/control").replace("Version: 1\n", f"Version: {version}\n")
        write(tree + "/DEBIAN/control", control)
        if version in (3, 5):
            write(tree + PROGRAM, "#!/bin/sh\necho the database is of another version\nexit 3\n", 0o755)
        if version == 5:
            postinst = read(tree + "/DEBIAN/postinst")
            write(tree + "/DEBIAN/postinst", postinst.replace("'warn'", "'fail'"), 0o755)
        command("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, self.path(f"toy_{version}"))


@functools.cache
def archive():
    directory = tempfile.mkdtemp(prefix="handoff-packages-")
    unittest.addModuleCleanup(shutil.rmtree, directory)
    return Archive(directory)


@unittest.skipUnless(shutil.which("dh"), "there is no debhelper here")
class Packages(systemd_test.OnMachine):
    name = "packages"
    packages = "needrestart"

    @classmethod
    def setUpClass(cls):
        cls.archive = archive()
        super().setUpClass()
        for path in glob.glob(os.path.join(cls.archive.directory, "*.deb")):
            shutil.copy(path, cls.machine.path("/root/"))
        cls.machine.run("dpkg", "-i", "/root/handoff_1.deb")
        cls.machine.provide_libraries(cls.archive.programs)

    def setUp(self):
        self.addCleanup(self.machine.run, "dpkg", "--purge", "toy", "libtoy", "libextra", check=False)
        self.addCleanup(self.machine.run, "rm", "-f", "/usr/sbin/policy-rc.d")
        self.install("libtoy_1", "libextra_1", "toy_1")
        self.assertEqual(self.show("ActiveState"), "active", self.journal())
        self.main_pid = self.show("MainPID")
        self.first = self.rollout()

    def dpkg(self, *names, code=0, policy=None):
        """Installs packages; returns what was said."""
        environment = ["env"] + ([f"HANDOFF_PACKAGE_POLICY={policy}"] if policy else [])
        done = self.machine.run(*environment, "dpkg", "-i", *(f"/root/{name}.deb" for name in names), check=False)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, said + self.journal())
        return said

    install = dpkg

    def rollout(self):
        """The number of the last one; the history outlives packages."""
        return self.status()["last"]["rollout"]

    def assert_serves(self, generation):
        """That one serves, it is the last that was tried or what the last one fell back to, by the same handoffd."""
        self.assertEqual(self.status()["live"], generation, self.journal())
        self.assertEqual(self.show("MainPID"), self.main_pid)

    def assert_runs_what_is_on_disk(self):
        told = self.machine.run("handoff", "upgrade", "--outdated", "--dry-run").stdout
        self.assertIn("1 service: 1 up to date", told)
        live = next(g for g in self.status()["generations"] if g["role"] == "live")
        inode = self.machine.run("stat", "--format=%i", LIBRARY).stdout.strip()
        maps = self.machine.run("cat", f"/proc/{live['instances'][0]['pid']}/maps").stdout
        mapped = {line.split()[4] for line in maps.splitlines() if LIBRARY in line}
        self.assertEqual(mapped, {inode})

    # ---- the package of a service

    def test_a_new_package_is_enabled_and_serves(self):
        self.assertEqual(self.show("UnitFileState"), "enabled")
        self.assert_serves(1)
        self.assert_runs_what_is_on_disk()

    def test_a_new_version_is_upgraded_to_once_under_load(self):
        with self.load() as load:
            self.dpkg("toy_2")
        self.assert_nothing_failed(load, at_least=100)
        self.assert_serves(2)
        self.assertEqual(self.rollout(), self.first + 1, "the trigger found nothing to do")
        self.assert_runs_what_is_on_disk()

    def test_a_bad_version_leaves_the_old_one_serving_and_warns(self):
        with self.load() as load:
            said = self.dpkg("toy_3")
        self.assert_nothing_failed(load, at_least=100)
        self.assert_serves(1)
        self.assertIn("web: the new release does not serve", said)
        self.assertIn("exited 3 before ready", said)
        self.assertEqual(self.rollout(), self.first + 1, "the trigger did not try it again")
        self.assertEqual(self.package("toy"), "installed")
        self.dpkg("toy_4")
        self.assert_serves(self.status()["last"]["generation"])
        self.assert_runs_what_is_on_disk()

    def test_a_bad_version_fails_where_its_packager_wants_that(self):
        with self.load() as load:
            said = self.dpkg("toy_5", code=1)
        self.assert_nothing_failed(load, at_least=100)
        self.assert_serves(1)
        self.assertIn("the package fails for that", said)
        self.assertEqual(self.package("toy"), "half-configured")
        self.dpkg("toy_6")
        self.assertEqual(self.package("toy"), "installed")
        self.assert_runs_what_is_on_disk()

    def package(self, name):
        return self.machine.run("dpkg-query", "-Wf", "${db:Status-Status}", name).stdout

    def test_the_administrator_has_the_last_word(self):
        self.dpkg("toy_3", code=1, policy="fail")
        self.machine.write("/etc/default/handoff", "HANDOFF_PACKAGE_POLICY=warn\n")
        self.addCleanup(self.machine.write, "/etc/default/handoff", "")
        self.dpkg("toy_5")
        self.assert_serves(1)
        rollouts = self.rollout()
        self.machine.write("/etc/default/handoff", "HANDOFF_PACKAGE_POLICY=off\n")
        self.assertIn("left as it is", self.dpkg("toy_6", "libtoy_2"))
        self.assertEqual(self.rollout(), rollouts)
        self.assert_serves(1)

    def test_policy_rc_d_is_asked(self):
        self.machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
        self.machine.run("chmod", "+x", "/usr/sbin/policy-rc.d")
        self.dpkg("toy_1")
        self.assertEqual(self.rollout(), self.first)

    def test_a_removed_package_stops_and_comes_back_as_it_was(self):
        self.machine.run("dpkg", "-r", "toy")
        self.assertEqual((self.show("ActiveState"), self.show("UnitFileState")), ("inactive", "disabled"))
        self.dpkg("toy_2")
        self.assertEqual((self.show("ActiveState"), self.show("UnitFileState")), ("active", "enabled"))
        self.machine.run("systemctl", "disable", UNIT)
        self.machine.run("dpkg", "-r", "toy")
        self.dpkg("toy_1")
        self.assertEqual(self.show("UnitFileState"), "disabled")

    def test_a_purged_package_leaves_nothing(self):
        self.machine.run("dpkg", "--purge", "toy")
        self.machine.run("mkdir", "-p", "/etc/handoff")
        self.assertEqual(self.machine.run("find", "/var/lib/handoff/packages", "/etc/handoff", "-type", "f").stdout, "")

    def test_a_first_release_that_does_not_serve_is_replaced(self):
        self.machine.run("dpkg", "--purge", "toy")
        self.machine.write("/etc/default/handoff", "HANDOFF_START_PATIENCE=3\n")
        self.addCleanup(self.machine.write, "/etc/default/handoff", "")
        self.assertIn("does not serve", self.dpkg("toy_3"))
        self.dpkg("toy_4")
        self.assertEqual(self.show("ActiveState"), "active")

    # ---- the package of a library

    def test_a_new_library_is_taken_under_load(self):
        with self.load() as load:
            said = self.dpkg("libtoy_2")
        self.assert_nothing_failed(load, at_least=100)
        self.assertIn(LIBRARY + " replaced", said)
        self.assert_serves(2)
        self.assert_runs_what_is_on_disk()

    def publish(self, *names):
        """Puts them into a repository, which apt is told of."""
        with tempfile.TemporaryDirectory(prefix="handoff-repository-") as directory:
            for name in names:
                shutil.copy(self.archive.path(name), directory)
            write(os.path.join(directory, "Packages"), subprocess.run(
                ["dpkg-scanpackages", "."], cwd=directory, check=True, capture_output=True, text=True).stdout)
            self.machine.testbed("copy", directory, REPOSITORY)
        sources = "/etc/apt/sources.list.d/repository.list"
        self.machine.write(sources, f"deb [trusted=yes] file:{REPOSITORY} ./\n")
        self.addCleanup(self.machine.run, "rm", "-r", sources, REPOSITORY)
        self.machine.run("apt-get", "update")

    def test_an_upgrade_by_apt_of_two_libraries_is_one_of_the_service(self):
        self.publish("libtoy_3", "libextra_2")
        with self.load() as load:
            done = self.machine.run("apt-get", "upgrade", "-y")
        self.assert_nothing_failed(load, at_least=100)
        said = done.stdout + done.stderr
        for library in (LIBRARY, OTHER_LIBRARY):
            self.assertIn(library + " replaced", said)
        self.assert_serves(2)
        self.assertEqual(self.rollout(), self.first + 1)
        self.assert_runs_what_is_on_disk()

    def test_programs_for_all_machines_wake_the_trigger(self):
        self.addCleanup(self.machine.run, "dpkg", "--purge", "toy-script")
        self.assertIn("Processing triggers for handoff", self.dpkg("toy-script_1"))
        self.assertEqual(self.rollout(), self.first)

    def test_the_same_library_again_changes_nothing(self):
        self.dpkg("libtoy_1")
        self.assertEqual(self.rollout(), self.first)

    def test_a_library_that_breaks_the_service_is_said_and_the_old_one_serves(self):
        with self.load() as load:
            said = self.dpkg("libtoy_5")
            outdated_test.await_another_second()
            said += self.dpkg("libtoy_6", policy="fail")
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(said.count("not every service runs what is on disk"), 2, said)
        self.assertIn("exited 127 before ready", said)
        self.assert_serves(1)
        self.assertEqual(self.rollout(), self.first + 2)
        self.assertEqual((self.package("handoff"), self.package("libtoy")), ("installed", "installed"))
        outdated_test.await_another_second()
        self.dpkg("libtoy_2")
        self.assertEqual(self.rollout(), self.first + 3)
        self.assert_runs_what_is_on_disk()

    # ---- apt without our package, and needrestart

    def without_trigger(self):
        """As if handoff had been installed from its source."""
        triggers = self.machine.path("/var/lib/dpkg/triggers/File")
        before = read(triggers)
        write(triggers, "".join(line for line in before.splitlines(True) if not line.startswith("/") or
                                " handoff" not in line))
        self.addCleanup(write, triggers, before)

    def with_hook_of_apt(self):
        self.without_trigger()
        hook = "/etc/apt/apt.conf.d/80handoff"
        self.machine.run("cp", self.archive.prefix + "/share/doc/handoff/examples/apt.conf", hook)
        self.addCleanup(self.machine.run, "rm", hook)

    def test_the_hook_of_apt_obeys_the_policy(self):
        self.with_hook_of_apt()
        with self.load() as load:
            for name, policy, code in (("libtoy_5", "warn", 0), ("libtoy_6", "fail", 100)):
                done = self.machine.run("env", "HANDOFF_PACKAGE_POLICY=" + policy, "apt-get", "install", "-y",
                                        f"/root/{name}.deb", check=False)
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                self.assertIn("not every service runs what is on disk", done.stdout + done.stderr)
                outdated_test.await_another_second()
        self.assert_nothing_failed(load, at_least=100)
        self.assertEqual(self.package("libtoy"), "installed")
        self.assert_serves(1)
        self.assertEqual(self.rollout(), self.first + 2)

    def test_the_hook_of_apt_stands_in_for_the_trigger(self):
        self.with_hook_of_apt()
        with self.load() as load:
            self.machine.run("apt-get", "install", "-y", "/root/libtoy_4.deb")
        self.assert_nothing_failed(load, at_least=100)
        self.assert_serves(2)
        self.assert_runs_what_is_on_disk()

    def needrestart(self):
        return self.machine.run("needrestart", "-r", "a", "-v").stdout

    def test_needrestart_upgrades_and_never_restarts(self):
        self.without_trigger()
        self.dpkg("libtoy_2")
        with self.load() as load:
            self.needrestart()
        self.assert_nothing_failed(load, at_least=100)
        self.assert_serves(2)
        self.assert_runs_what_is_on_disk()
        self.machine.run("rm", f"/etc/needrestart/restart.d/{UNIT}")
        self.dpkg("libtoy_3")
        with self.load() as load:
            said = self.needrestart()
        self.assertIn("deferred", said)
        self.assert_nothing_failed(load)
        self.assert_serves(2)


Trixie, Bookworm = systemd_test.in_each_release(Packages)


if __name__ == "__main__":
    harness.main()
