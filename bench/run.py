"""Runs the rows of the benchmark and writes their table. Called by scripts/bench, with HANDOFF_BUILD set."""

import argparse
import os
import sys
import time
import traceback

sys.dont_write_bytecode = True

import rows  # noqa: E402
import table  # noqa: E402
import workbench  # noqa: E402

FAILURE_MAX = 200  # characters of what went wrong that fit into a table


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench",
                                     description="Measures handoff, beside its peers, in one run.")
    parser.add_argument("--quick", action="store_true", help="small counts, under three minutes; says so in the file")
    parser.add_argument("--output", metavar="FILE", default=os.path.join(workbench.HERE, "RESULTS.md"),
                        help="where to write the table (bench/RESULTS.md)")
    parser.add_argument("rows", metavar="ROW", nargs="*", help="only these: " + ", ".join(rows.ROWS))
    chosen = parser.parse_args()
    unknown = [name for name in chosen.rows if name not in rows.ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(rows.ROWS)}")
    return chosen


def run_row(name, quick):
    """The lines of a row; one that breaks is a line too, and missed."""
    lines = []
    try:
        with workbench.Workbench(quick) as bench:
            lines += rows.ROWS[name](bench)
    except Exception as failure:  # noqa: BLE001 (the other rows must still run)
        traceback.print_exc()
        why = " ".join(str(failure).split())[:FAILURE_MAX] or repr(failure)
        lines.append(table.Line("this row did not finish", why, met=False))
    return lines


def main():
    chosen = arguments()
    results = table.Results(chosen.quick)
    for name in chosen.rows or rows.ROWS:
        print(f"== {name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        lines = run_row(name, chosen.quick)
        seconds = time.monotonic() - began
        results.add(name, seconds, lines)
        for line in lines:
            print(f"   {line.markdown()}", file=sys.stderr)
        print(f"   {seconds:.0f} s", file=sys.stderr, flush=True)
        results.write(chosen.output)  # after each row: a long run that is broken off keeps what it has
    print(f"wrote {chosen.output}; bars missed: {results.missed}", file=sys.stderr)
    return 1 if results.missed else 0


if __name__ == "__main__":
    sys.exit(main())
