"""Other ways to upgrade, in the same run under the same load."""

import contestants
import trial
from table import Line, ratio
from workbench import median

PEERS = (contestants.Nginx, contestants.Haproxy, contestants.StartServer, contestants.Restart)


def measure(bench, kind):
    one = kind(bench)
    one.start()
    bench.say(one.name)
    seen = trial.run(one, bench.pick(20, 5), trial.ORDINARY)
    one.stop()
    return seen


def story(seen):
    return f"{seen.lost()}; {seen.switching()}; p99 {seen.tail()}"


def peers(bench):
    ours = measure(bench, contestants.Ours)
    for kind in PEERS:
        theirs = measure(bench, kind)
        yield Line(f"{theirs.upgrades} upgrades, {trial.RATE} requests/s: failed; first new, last old; p99 in upgrades / "
                   "between (ratio: of first new)", story(ours), f"{kind.name}: {story(theirs)}",
                   ratio(median(ours.first_new), median(theirs.first_new)))
