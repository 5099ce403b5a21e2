"""The lines of the result, and the Markdown file they end in."""

import dataclasses
import os
import platform
import subprocess
import time


@dataclasses.dataclass
class Line:
    """One line of the table. `met` is None where there is no bar to meet."""

    what: str
    ours: str
    against: str = ""
    ratio: float | None = None
    bar: str = ""
    met: bool | None = None

    def markdown(self):
        verdict = {None: "–", True: "yes", False: "**no**"}[self.met]
        ratio = "–" if self.ratio is None else f"{self.ratio:.3g}"
        cells = [self.what, self.ours, self.against or "–", ratio, self.bar or "–", verdict]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def ms(value):
    return f"{value:.2f} ms"


def ratio(ours, theirs):
    """None where there is nothing to divide by."""
    return ours / theirs if theirs else None


def at_most(value, bound):
    return value is not None and value <= bound


def machine():
    """Cores, model, kernel, memory and system of this machine, in one line each."""
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as f:
        memory_kib = int(f.readline().split()[1])
    with open("/etc/os-release") as f:
        system = next((line.split("=", 1)[1].strip().strip('"') for line in f if line.startswith("PRETTY_NAME=")), "")
    return [
        f"Machine: {os.cpu_count()} cores ({model}), {memory_kib / 1048576:.0f} GiB of memory",
        f"System: {system}, Linux {platform.release().split('-')[0]}",
    ]


def commit():
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() or "unknown"


class Results:
    """Collects the sections of a run and writes the file."""

    def __init__(self, quick):
        self.quick = quick
        self.began = time.time()
        self.load_before = os.getloadavg()
        self.sections = []

    def add(self, name, seconds, lines):
        self.sections.append((name, seconds, lines))

    @property
    def missed(self):
        return sum(line.met is False for _, _, lines in self.sections for line in lines)

    def write(self, path):
        load = lambda values: ", ".join(f"{v:.2f}" for v in values)  # noqa: E731
        out = ["# Benchmarks", "", "Written by `scripts/bench`; every comparison is within this one run.", ""]
        if self.quick:
            out += ["**A quick run with small counts (`--quick`): it shows that the rows work, not what they measure.**",
                    ""]
        out += [f"- {line}" for line in machine()]
        out += [
            f"- Date: {time.strftime('%Y-%m-%d %H:%M', time.gmtime(self.began))} UTC, "
            f"{time.time() - self.began:.0f} s; source: {commit()}",
            f"- Load average before: {load(self.load_before)}; after: {load(os.getloadavg())}. "
            "The load generator, the services and the supervisors share these cores.",
            "",
            "| row | what | ours | compared with, same run | ratio | bar | met |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, _, lines in self.sections:
            out += [f"| {name} {line.markdown()}" for line in lines]
        with open(path, "w") as f:
            f.write("\n".join(out) + "\n")
