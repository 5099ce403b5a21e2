"""handoff wrap: real services of Debian come under handoffd with their units, are upgraded under load, and go back.

Needs root and the testbed, as the tests of systemd do. Five minutes in each release on two busy cores.
"""

import json
import os
import re

import harness
import systemd_test

UPGRADES = 3
ENOUGH = 100  # requests; fewer would say little

NGINX = """
server {{
    listen 80 default_server;
    listen [::]:80 default_server;
    location / {{ return 200 "release {release}\\n"; }}
}}
"""

HAPROXY = """
global
    log /dev/log local0
    chroot /var/lib/haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
    user haproxy
    group haproxy
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
    option idle-close-on-response
frontend web
{bind}
    http-request return status 200 content-type text/plain string "release {release}\\n"
"""
BOTH_WAYS = "    .if defined(TCP_8080_FD)\n    bind fd@${TCP_8080_FD}\n    .else\n    bind :8080\n    .endif"

# What a careful unit says. The service proves that it finds what it was promised.
APP_UNIT = """
[Unit]
Description=An application
{unit}
[Service]
Type=notify
User=www-data
Environment=GREETING=hello "NAME=a b"
EnvironmentFile=-/etc/default/app
WorkingDirectory=/srv/app
RuntimeDirectory=app
StateDirectory={state}
UMask=0027
LimitNOFILE=4096
Nice=3
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectControlGroups=yes
ProcSubset=pid
PrivateTmp=yes
CapabilityBoundingSet=
SystemCallFilter=@system-service
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
ExecStartPre=/usr/bin/test -w ${{RUNTIME_DIRECTORY}}
ExecStart=/usr/bin/gunicorn --preload $OPTIONS app:application
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
TimeoutStopSec=20
Restart=on-failure
RestartSec=250ms
"""

APP = """
import os, resource

open(os.environ["RUNTIME_DIRECTORY"] + "/written", "w").close()
for directory in os.environ["STATE_DIRECTORY"].split(":"):
    open(directory + "/written", "w").close()
told = [os.environ["GREETING"], os.environ["NAME"], os.getcwd(), os.getuid(), os.nice(0), oct(os.umask(0o27)),
        resource.getrlimit(resource.RLIMIT_NOFILE)[0], os.access("/usr", os.W_OK)]

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"release {release} {{told}}\\n".encode()]
"""

APP_SOCKET = "[Socket]\nListenStream=127.0.0.1:8000\n[Install]\nWantedBy=sockets.target\n"


def documented_policy():
    with open(os.path.join(harness.SOURCE, "docs", "wrap.md"), encoding="utf-8") as file:
        lines = re.search(r"^    #!/bin/sh\n(?:    .*\n)+", file.read(), re.M)[0]
    return re.sub("^    ", "", lines, flags=re.M)


class Wrap(systemd_test.OnMachine):
    name = "wrap"
    packages = "nginx gunicorn haproxy needrestart"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.programs = cls.machine.install()
        cls.handoff = cls.programs["handoff"]

    def systemctl(self, *words):
        done = self.machine.run("systemctl", *words, check=False)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}{done.stderr}\n{self.journal()}")
        return done.stdout

    def wrap(self, *words, code=0):
        done = self.machine.run(self.handoff, "wrap", *words, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr + self.journal())
        return done.stdout + done.stderr

    def journal(self):
        return self.machine.run("journalctl", "--no-pager", "--output=cat", "--lines=30").stdout

    def show(self, unit, name):
        return self.systemctl("show", "--value", "-p", name, unit).strip()

    def main_program(self, unit):
        return self.machine.run("cat", f"/proc/{self.show(unit, 'MainPID')}/comm").stdout.strip()

    def load(self, target, *options):
        return self.machine.load(target, "--version-pattern", "release ([0-9]+)", *options)

    def ask(self, target):
        """What one request is answered with."""
        return self.machine.run("python3", "-c", "import urllib.request, sys; "
                                "print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())",
                                f"http://{target}/").stdout.strip()

    def configuration_of(self, unit):
        """All that undoing has to bring back: the files, with modes and contents, and what systemd makes of them."""
        files = self.machine.run("sh", "-c", "find /etc/systemd /etc/handoff /etc/needrestart /srv -printf '%p %m %u %g %y\\n' "
                                 "-type f -exec cksum {} + 2>/dev/null | sort", check=False).stdout
        names = "ExecStart,ExecStartPre,ExecReload,ExecStop,Type,User,Environment,KillMode,KillSignal,Restart," \
                "RestartUSec,PIDFile,RuntimeDirectory,StateDirectory,DropInPaths,Delegate,WorkingDirectory,WatchdogUSec," \
                "CapabilityBoundingSet,SystemCallFilter,StartLimitIntervalUSec"
        # With each command stands when it ran last.
        lines = self.systemctl("show", "-p", names, unit).splitlines()
        return files, [line.split(" ; ignore_errors")[0] for line in lines], self.systemctl("cat", unit)

    def move_there_and_back(self, unit, target, release, original):
        """The whole way, with upgrades under load; `release` writes the release with a number."""
        release(1)
        self.systemctl("daemon-reload")
        self.systemctl("restart", unit)
        self.addCleanup(self.machine.run, "systemctl", "stop", unit, check=False)
        self.assertIn("release 1", self.ask(target))
        before, answer = self.configuration_of(unit), self.ask(target)
        self.assertIn("Nothing was written", self.wrap(unit))
        self.assertIn("Nothing was written", self.wrap("--dry-run", unit))
        self.assertEqual(self.configuration_of(unit), before)

        told = self.wrap("--write", unit)
        self.assertIn("It runs under handoffd", told)
        self.assertEqual(self.main_program(unit), "handoffd")
        self.assertEqual(self.ask(target), answer)
        with self.load(target, "--clients", "8") as load:
            for number in range(2, UPGRADES + 2):
                release(number)
                self.systemctl("reload", unit)
                self.assertIn(f"release {number}", self.ask(target))
        self.assert_nothing_failed(load, ENOUGH)
        self.assertEqual(load.result["versions"][-1]["version"], str(UPGRADES + 1))
        self.assertIn(f"generation {UPGRADES + 1}", self.show(unit, "StatusText"))

        self.wrap("--undo", unit)
        release(1)
        self.assertEqual(self.configuration_of(unit), before)
        self.systemctl("restart", unit)
        self.assertEqual(self.main_program(unit), original)
        self.assertEqual(self.ask(target), answer)
        self.wrap("--undo", unit, code=5)

    def test_a_dry_run_is_nothing_else_besides(self):
        for other in ("--write", "--undo"):
            self.assertIn("excludes", self.wrap("--dry-run", other, "nginx", code=2))

    def write_app(self, unit="", options="--bind 127.0.0.1:8000", state="app"):
        self.machine.write("/etc/systemd/system/app.service", APP_UNIT.format(unit=unit, state=state))
        self.machine.write("/etc/default/app", f'OPTIONS="{options}"\n')
        self.write_release(1)

    def write_release(self, number):
        self.machine.write("/srv/app/app.py", APP.format(release=number))

    def test_nginx(self):
        self.move_there_and_back(
            "nginx.service", "127.0.0.1:80",
            lambda number: self.machine.write("/etc/nginx/sites-available/default", NGINX.format(release=number)), "nginx")

    def test_haproxy(self):
        self.move_there_and_back(
            "haproxy.service", "127.0.0.1:8080", lambda number: self.machine.write(
                "/etc/haproxy/haproxy.cfg", HAPROXY.format(release=number, bind=BOTH_WAYS)), "haproxy")

    def test_haproxy_that_is_not_told_is_refused(self):
        self.machine.write("/etc/haproxy/haproxy.cfg", HAPROXY.format(release=1, bind="    bind :8080"))
        self.systemctl("restart", "haproxy")
        self.assertIn("bind fd@${TCP_8080_FD}", self.wrap("--write", "haproxy", code=5))

    def test_gunicorn_in_a_sandbox(self):
        self.write_app()
        self.move_there_and_back("app.service", "127.0.0.1:8000", self.write_release, "gunicorn")

    def test_gunicorn_behind_a_socket_unit_refuses_nobody_on_the_way(self):
        self.machine.write("/etc/systemd/system/app.socket", APP_SOCKET)
        self.addCleanup(os.unlink, self.machine.path("/etc/systemd/system/app.socket"))
        self.write_app("Requires=app.socket", options="")
        self.systemctl("daemon-reload")
        self.systemctl("start", "app.socket")
        self.addCleanup(self.machine.run, "systemctl", "stop", "app.socket")
        self.move_there_and_back("app.service", "127.0.0.1:8000", self.write_release, "gunicorn")
        with self.load("127.0.0.1:8000", "--clients", "4") as load:
            self.wrap("--write", "app")
            self.wrap("--undo", "app")
        self.assertEqual(load.result["failures"]["refused"], 0, load.result)
        self.assertGreaterEqual(load.result["total"], ENOUGH)

    def start_wrapped(self, **app):
        """The application under handoffd; undone when the test ends."""
        self.write_app(**app)
        self.systemctl("daemon-reload")
        self.wrap("--write", "--listen", "127.0.0.1:8000", "app")
        self.addCleanup(self.wrap, "--undo", "app")
        self.systemctl("start", "app")
        self.addCleanup(self.systemctl, "stop", "app")

    def crash(self):
        """Kills handoffd, and waits until its successor serves."""
        before = self.show("app", "NRestarts")
        self.systemctl("kill", "--signal=KILL", "--kill-whom=main", "app")
        harness.poll_until(lambda: (self.show("app", "NRestarts") != before
                                    and self.show("app", "ActiveState") == "active"), "a successor")

    def instances(self):
        return self.machine.run("pgrep", "--oldest", "--full", "gunicorn.*app:application").stdout

    def owner_of(self, path):
        return self.machine.run("stat", "--format=%U:%G:%a", path).stdout.strip()

    def test_its_directories_are_made_as_systemd_makes_them(self):
        self.start_wrapped(state='app app/cache "app with 100%% blanks"')
        for path in ("/run/app", "/var/lib/app", "/var/lib/app/cache", "/var/lib/app with 100% blanks"):
            self.assertEqual(self.owner_of(path), "www-data:www-data:755", path)
        # $OPTIONS of /etc/default/app, which may be a secret, stands in it.
        self.assertEqual(self.owner_of("/etc/handoff/app.toml"), "root:root:600")
        self.assertIn("release 1", self.ask("127.0.0.1:8000"))

    def test_a_crash_is_survived_in_a_sandbox(self):
        self.start_wrapped()
        before = self.instances()
        self.crash()
        self.assertIn("release 1", self.ask("127.0.0.1:8000"))
        self.assertEqual((self.instances(), self.show("app", "NRestarts")), (before, "1"))

    def test_a_link_in_place_of_a_directory_gives_its_user_nothing(self):
        self.start_wrapped(state="app app/cache")
        self.machine.run("mkdir", "/etc/precious")
        self.addCleanup(self.machine.run, "rm", "-r", "/etc/precious", "/var/lib/app")
        self.machine.run("setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "sh", "-c",
                         "mv /var/lib/app/cache /var/lib/app/moved && ln -s /etc/precious /var/lib/app/cache")
        self.crash()
        self.assertEqual(self.owner_of("/etc/precious"), "root:root:755")

    def test_a_service_behind_a_socket_unit_that_was_restarted_before(self):
        self.machine.write("/etc/systemd/system/app.socket", APP_SOCKET)
        self.addCleanup(os.unlink, self.machine.path("/etc/systemd/system/app.socket"))
        self.write_app("Requires=app.socket", options="")
        self.systemctl("daemon-reload")
        self.systemctl("start", "app.socket", "app.service")
        self.addCleanup(self.machine.run, "systemctl", "stop", "app.socket", "app.service")
        self.crash()
        self.wrap("--write", "app")
        self.addCleanup(self.wrap, "--undo", "app")
        self.assertEqual(self.main_program("app"), "handoffd")

    def test_a_service_that_does_not_start_there_goes_back(self):
        self.write_app()
        self.systemctl("daemon-reload")
        self.systemctl("restart", "app")
        self.addCleanup(self.machine.run, "systemctl", "stop", "app")
        before = self.configuration_of("app")
        told = self.wrap("--write", "--argument", "--nonsense", "app", code=1)
        self.assertIn("as it was before", told)
        self.assertEqual(self.configuration_of("app"), before)
        self.assertEqual(self.main_program("app"), "gunicorn")
        self.assertIn("release 1", self.ask("127.0.0.1:8000"))

    # ---- what would restart it

    def replace_supervisor(self):
        """As a package does: another file in its place."""
        handoffd = self.programs["handoffd"]
        self.machine.run("sh", "-c", f"cp -p {handoffd} {handoffd}.new && mv {handoffd}.new {handoffd}")

    def supervisor_file(self):
        return os.readlink(self.machine.path(f"/proc/{self.show('app', 'MainPID')}/exe"))

    def needrestart(self):
        return self.machine.run("needrestart", "-r", "a", "-v").stdout

    def test_needrestart_upgrades_it_and_never_restarts_it(self):
        handoffd = self.programs["handoffd"]
        prefix = os.path.dirname(os.path.dirname(handoffd))
        if prefix != "/usr":  # where the build put it, and where needrestart looks
            self.machine.run("cp", prefix + "/etc/needrestart/conf.d/handoff.conf", "/etc/needrestart/conf.d/")
        self.start_wrapped()
        main_pid = self.show("app", "MainPID")
        self.replace_supervisor()
        with self.load("127.0.0.1:8000", "--clients", "4") as load:
            self.needrestart()
        self.assert_nothing_failed(load)
        self.assertEqual((self.show("app", "MainPID"), self.supervisor_file()), (main_pid, handoffd), self.journal())
        self.machine.run("rm", "/etc/needrestart/restart.d/app.service")
        self.replace_supervisor()
        self.assertIn("deferred", self.needrestart())
        self.assertEqual((self.show("app", "MainPID"), self.supervisor_file()), (main_pid, handoffd + " (deleted)"))

    def configure_its_package(self):
        """What dpkg runs of nginx's packages after an upgrade."""
        self.machine.run("dpkg-reconfigure", "--frontend=noninteractive", "nginx-common", "nginx")

    def test_scripts_of_its_package_are_kept_from_restarting_it_as_documented(self):
        self.machine.write("/etc/nginx/sites-available/default", NGINX.format(release=1))
        self.systemctl("restart", "nginx")
        self.addCleanup(self.systemctl, "stop", "nginx")
        self.assertIn("policy-rc.d", self.wrap("--write", "nginx"))
        self.addCleanup(self.wrap, "--undo", "nginx")
        main_pid = self.show("nginx", "MainPID")
        self.addCleanup(self.machine.run, "rm", "-f", "/usr/sbin/policy-rc.d")
        self.machine.write("/usr/sbin/policy-rc.d", documented_policy())
        self.machine.run("chmod", "+x", "/usr/sbin/policy-rc.d")
        with self.load("127.0.0.1:80", "--clients", "4") as load:
            self.configure_its_package()
        self.assert_nothing_failed(load, ENOUGH)
        self.assertEqual(self.show("nginx", "MainPID"), main_pid)
        self.machine.run("rm", "/usr/sbin/policy-rc.d")
        self.configure_its_package()
        self.assertNotEqual(self.show("nginx", "MainPID"), main_pid)
        self.assertEqual(self.main_program("nginx"), "handoffd")

    def test_json_tells_each_decision(self):
        self.write_app()
        self.systemctl("daemon-reload")
        told = json.loads(self.wrap("--json", "--listen", "http=127.0.0.1:8000", "app"))
        self.assertEqual((told["service"], told["possible"], told["written"]), ("app", True, False))
        fates = {d["directive"]: d["decision"] for d in told["decisions"]}
        self.assertEqual((fates["User"], fates["Nice"], fates["ExecReload"]), ("carried", "kept", "changed"))
        self.assertEqual(set(told["files"]), {"/etc/handoff/app.toml", "/etc/systemd/system/app.service.d/50-handoff.conf"})
        toml = told["files"]["/etc/handoff/app.toml"]
        self.machine.write("/root/app.toml", toml)
        self.machine.run(self.handoff, "check", "/root/app.toml")

    def test_what_is_unknown_is_refused(self):
        self.assertIn("no such unit", self.wrap("nowhere", code=5))
        self.machine.write("/etc/systemd/system/odd.service", "[Service]\nExecStart=/bin/sleep 1000\n")
        self.systemctl("daemon-reload")
        told = self.wrap("--listen", "127.0.0.1:99", "odd", code=5)
        self.assertIn("--listen-fds", told)
        self.assertIn("expected", self.wrap("--listen", "nonsense", "odd", code=2))

    def test_a_changed_configuration_is_kept(self):
        self.write_app()
        self.systemctl("daemon-reload")
        self.wrap("--write", "--listen", "127.0.0.1:8000", "app")
        self.machine.run("sh", "-c", "echo '# mine' >>/etc/handoff/app.toml")
        self.assertIn("/etc/handoff/app.toml.old", self.wrap("--undo", "app"))
        self.assertIn("# mine", self.machine.run("cat", "/etc/handoff/app.toml.old").stdout)
        self.machine.run("rm", "-r", "/etc/handoff")


Trixie, Bookworm = systemd_test.in_each_release(Wrap)


if __name__ == "__main__":
    harness.main()
