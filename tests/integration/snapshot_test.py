"""A handoffd is asked whether it could go on from a snapshot, as a running one asks before it becomes another."""

import os
import subprocess
import tempfile

import harness

RECORDED = os.path.join(harness.SOURCE, "tests", "snapshots", "format-1")
KEY = b"handoff-snapshot"  # in CBOR, with its value in the next byte


class TrySnapshot(harness.TestCase):
    def recorded(self, name="canary-holds"):
        with open(os.path.join(RECORDED, name + ".cbor"), "rb") as f:
            return f.read()

    def answer(self, content):
        """The exit code, and what it says."""
        with tempfile.TemporaryFile() as f:
            f.write(content)
            f.flush()
            number = f.fileno()
            told = subprocess.run([harness.HANDOFFD, "--try-snapshot", str(number)], pass_fds=[number], text=True,
                                  capture_output=True, timeout=harness.PATIENCE, stdin=subprocess.DEVNULL)
        return told.returncode, told.stdout + told.stderr

    def test_recorded_ones_are_read(self):
        for name in os.listdir(RECORDED):
            with self.subTest(name):
                self.assertEqual(self.answer(self.recorded(name.removesuffix(".cbor"))), (0, ""))

    def test_one_of_the_future_is_refused_by_its_number_and_its_writer(self):
        content = self.recorded()
        at = content.index(KEY) + len(KEY)
        code, said = self.answer(content[:at] + b"\x02" + content[at + 1:])
        self.assertEqual(code, 1)
        self.assertRegex(said, r"^handoffd: the snapshot of handoffd \S+ has format 2, this handoffd reads 1 to 1\n$")

    def test_damaged_ones_are_refused(self):
        content = self.recorded()
        damaged = {
            "cut short": (content[:-1], "no snapshot of handoffd"),
            "empty": (b"", "no snapshot of handoffd"),
            "something else": (b"\x7fELF", "no snapshot of handoffd"),
            "endless lists": (b"\x9f" * 5_000_000, "no snapshot of handoffd"),
            "an unknown word": (content.replace(b"executing", b"examining"),
                                "rollout: phase: unknown word 'examining'"),
            "too long": (b"\0" * (8 * 1024 * 1024 + 1), "more than 8388608 bytes"),
        }
        for what, (bytes_, says) in damaged.items():
            with self.subTest(what):
                code, said = self.answer(bytes_)
                self.assertEqual(code, 1)
                self.assertIn(says, said)

    def test_no_descriptor_at_all_is_refused(self):
        told = subprocess.run([harness.HANDOFFD, "--try-snapshot", "77"], capture_output=True, text=True)
        self.assertEqual(told.returncode, 1)
        self.assertIn("Bad file descriptor", told.stderr)


if __name__ == "__main__":
    harness.main()
