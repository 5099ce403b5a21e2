"""A configuration that is wrong changes nothing and says where it is wrong; one that is right is applied as asked."""

import os
import signal

import harness
import puppet


class AtStart(puppet.TestCase):
    def ends(self, configuration):
        s = harness.Supervisor(self, configuration, start=False)
        s.launch()
        return s.process.wait(harness.PATIENCE), s.log_text(), s.configuration

    def test_an_invalid_file_ends_with_2_and_the_place(self):
        for what, configuration, place, word in (
            ("no TOML", 'command = ["/bin/true"\n', ":3:", "not TOML"),
            ("an unknown key", 'command = ["/bin/true"]\ninstanzes = 2\n', ":4:1: ", "instances"),
            ("a wrong type", 'command = ["/bin/true"]\ninstances = "many"\n', ":4:13: ", "instances"),
            ("a relative program", 'command = ["true"]\n', ":3:", "absolute"),
            ("an unknown section", self.demos() + "[restarts]\n", ":", "restart"),
        ):
            with self.subTest(what):
                code, said, path = self.ends(configuration)
                self.assertEqual(code, 2, said)
                self.assertIn(path + place, said)
                self.assertIn(word, said)
                self.assertNotIn("terminate called", said)

    def test_all_problems_are_told_at_once(self):
        code, said, _ = self.ends(self.demos(rest="[drain]\ntimeout = 5\n[restart]\nburst = 0\n"))
        self.assertEqual(code, 2)
        self.assertIn("timeout", said)
        self.assertIn("burst", said)

    def test_a_missing_file_ends_with_2(self):
        s = harness.Supervisor(self, self.demos(), start=False)
        os.unlink(s.configuration)
        s.launch()
        self.assertEqual(s.process.wait(harness.PATIENCE), 2)
        self.assertIn(s.configuration, s.log_text())

    def test_a_user_that_does_not_exist_is_told_and_tried_again(self):
        s = harness.Supervisor(self, self.demos(service='user = "no-such-user"'), start=False)
        s.start(until="refused")
        self.assertIn("no-such-user", s.status()["last"]["reason"])
        s.write(self.demos())
        s.events.wait("verdict", verdict="promoted")  # by itself
        self.assertEqual(s.status()["state"], "serving")


class OnHup(puppet.TestCase):
    def test_a_broken_file_is_refused_with_its_line_and_the_old_one_serves(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.demos() + "\n[restart\n")
        with open(s.configuration) as f:
            lines = f.read().splitlines()
        rollout = s.hup()
        event = s.events.wait("verdict", rollout=rollout)
        self.assertEqual(event["verdict"], "refused")
        self.assertIn(f"{s.configuration}:{lines.index('[restart') + 1}:", event["reason"])
        self.assert_live_untouched(s, pids)
        self.assertEqual(s.events.count("instance_started", generation=2), 0)

    def test_a_file_that_is_gone_is_refused(self):
        s = harness.Supervisor(self, self.demos())
        os.unlink(s.configuration)
        self.assertIn(s.configuration, s.upgrade("refused")["reason"])
        s.write(self.demos())
        s.upgrade()

    def test_another_name_is_refused(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        name, s.name = s.name, "other"
        s.write(self.demos())
        s.name = name
        self.assertIn("name", s.upgrade("refused")["reason"])
        self.assert_live_untouched(s, pids)

    def test_another_group_of_the_control_socket_is_refused(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest='[control]\ngroup = "daemon"\nallow = ["Stop"]\n'))
        self.assertIn("[control] group cannot change", s.upgrade("refused")["reason"])

    def test_who_is_refused_leaves_no_listener_behind(self):
        s = harness.Supervisor(self, self.demos())
        added = harness.free_port()
        s.write(puppet.configuration(puppet.demo(), self.address, f"127.0.0.1:{added}", service='user = "nobody-here"'))
        self.assertIn("nobody-here", s.upgrade("refused")["reason"])
        with self.assertRaises(ConnectionRefusedError):
            puppet.ask(added)
        self.assertEqual([one["name"] for one in s.status()["listeners"]], ["l0"])

    def test_a_link_to_the_configuration_is_followed_at_each_upgrade(self):
        s = harness.Supervisor(self, self.demos(), start=False)
        first, second = s.configuration + ".1", s.configuration + ".2"
        os.rename(s.configuration, first)
        os.symlink(first, s.configuration)
        s.start()
        os.unlink(s.configuration)
        s.write(self.demos(service="instances = 2"))
        os.rename(s.configuration, second)
        os.symlink(second, s.configuration)
        s.upgrade()
        self.assertEqual(len(s.pids()), 2)

    def test_an_environment_file_is_read_anew_by_an_upgrade_and_frozen_for_restarts(self):
        with open(self.path("environment"), "w") as f:
            f.write("COLOUR=red\n")
        files = f'environment-file = "{self.path("environment")}"'
        s = harness.Supervisor(self, self.puppets(service=files))
        with open(self.path("environment"), "w") as f:
            f.write("COLOUR=blue\n")
        mark = s.events.mark()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_ready", since=mark)
        self.assertEqual(self.tell("answer = os.environ['COLOUR']"), "'red'")
        s.upgrade()
        self.assertEqual(self.tell("answer = os.environ['COLOUR']", generation=2), "'blue'")
        os.unlink(self.path("environment"))
        self.assertIn("environment-file", s.upgrade("refused")["reason"])

    def test_the_link_to_a_release_is_resolved_once(self):
        for release in ("41", "42"):
            os.mkdir(self.path(release))
        self.install("program")
        os.link(self.path("program"), self.path("41/web"))
        os.symlink(os.path.join(harness.BUILD, "src", "libhandoff.so.0"), self.path("41/libhandoff.so.0"))
        os.symlink("41", self.path("current"))
        s = harness.Supervisor(self, puppet.configuration([self.path("current/web")], self.address))
        self.assertEqual(s.generation()["executable"], self.path("41/web"))
        os.unlink(self.path("current"))
        os.symlink("42", self.path("current"))  # without a program
        mark = s.events.mark()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_ready", since=mark)
        self.assertEqual(puppet.ask(self.port), 1)


class Reload(puppet.TestCase):
    def reload(self, s):
        return s.call("Reload")["applied"]

    def test_what_is_the_operators_applies_without_a_rollout(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        s.write(self.demos(rest=puppet.BRISK + '[rollout]\nbake = "1h"\n[log]\nlevel = "debug"\n'))
        self.assertEqual(sorted(self.reload(s)), ["log", "rollout"])
        self.assert_live_untouched(s, pids)
        self.assertEqual(s.events.count("started"), 0)
        self.assertEqual(self.reload(s), [])

    def test_another_log_file_is_written_from_then_on(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest=puppet.BRISK + f'[log]\nfile = "{self.path("other.log")}"\n'))
        self.assertEqual(self.reload(s), ["log"])
        s.upgrade()
        self.assertIn("rollout 2: promoted", self.read("other.log"))

    def test_new_restart_settings_apply_to_the_live_generation(self):
        s = harness.Supervisor(self, self.demos(rest='[restart]\nbackoff = "1h..1h"\n'))
        s.write(self.demos(rest='[restart]\nbackoff = "20ms..20ms"\n'))
        self.assertEqual(self.reload(s), ["restart"])
        mark = s.events.mark()
        os.kill(s.pids()[0], signal.SIGKILL)
        s.events.wait("instance_ready", since=mark)

    def test_what_shapes_a_launch_is_refused(self):
        s = harness.Supervisor(self, self.demos())
        pids = s.pids()
        for what, configuration in (
            ("the command", self.demos("--version", "2")),
            ("the drain", self.demos(rest='[drain]\ntimeout = "7s"\n')),
            ("a listener", puppet.configuration(puppet.demo(), self.address, f"127.0.0.1:{harness.free_port()}")),
        ):
            with self.subTest(what):
                s.write(configuration)
                with self.assertRaises(harness.Refused) as refused:
                    self.reload(s)
                self.assertEqual(refused.exception.error, "Refused")
                self.assertIn("use upgrade", refused.exception.parameters["reason"])
        self.assert_live_untouched(s, pids)

    def test_how_an_open_listener_is_shared_cannot_change(self):
        s = harness.Supervisor(self, self.demos())
        if s.status()["listeners"][0]["sharing"] != "steered":
            self.skipTest("a listener of this machine cannot be steered")
        s.write(self.demos(rest=puppet.BRISK + '[rollout]\nsharing = "shared"\n'))
        with self.assertRaises(harness.Refused) as refused:
            self.reload(s)
        self.assertIn("how its generations share it cannot change", refused.exception.parameters["reason"])
        s.write(self.demos(rest=puppet.BRISK + '[rollout]\nsharing = "steered"\n'))
        self.assertEqual(self.reload(s), ["rollout"])

    def test_an_invalid_file_is_told_with_its_problems(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest="[rollout]\nbacke = 1\n"))
        with self.assertRaises(harness.Refused) as refused:
            self.reload(s)
        self.assertEqual(refused.exception.error, "InvalidConfiguration")
        self.assertIn("bake", refused.exception.parameters["problems"][0])

    def test_during_a_rollout_it_is_refused(self):
        s = harness.Supervisor(self, self.demos())
        s.write(self.demos(rest='[rollout]\nbake = "1h"\n'))
        s.events.wait("serving", rollout=s.call("Upgrade")["rollout"])
        with self.assertRaises(harness.Refused) as refused:
            self.reload(s)
        self.assertIn("rollout", refused.exception.parameters["reason"])


if __name__ == "__main__":
    harness.main()
