"""How well and how fast screening is: `just screen-report` prints it, and exits 1 where an unambiguous case fails.

    python tests/bench/screen_report.py [--format text|json|markdown] [--no-times] [--write]

`--write` puts the tables into docs/reference/screening.md, between their markers.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.screen_scores import Accuracy, accuracies
from support.screen_times import Timing, timings
from support.screening_page import PAGE, TABLES, accuracy_table, with_table


def main() -> int:
    """Print the report; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=["text", "json", "markdown"], default="text")
    parser.add_argument("--no-times", action="store_true", help="accuracy alone, which takes seconds")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    options = parser.parse_args()
    found = accuracies()
    times = [] if options.no_times else list(timings())
    if options.write:
        write(times)
    print({"text": as_text, "json": as_json, "markdown": _tables}[options.format](found, times), end="")
    return int(any(each.missed for each in found))


def as_text(found: Sequence[Accuracy], times: Sequence[Timing]) -> str:
    """For people."""
    lines = []
    for each in found:
        lines.append(f"{each.detector}: {each.cases} cases, {each.ambiguous} of them ambiguous and left out")
        lines += [
            f"  {name:<18}{score.found:>5} of {score.expected:<5} wrong {score.wrong:<4}"
            f" precision {score.precision:.3f}  recall {score.recall:.3f}"
            for name, score in each.scores.items()
        ]
        lines += [f"  failed: {', '.join(each.missed)}"] if each.missed else []
    lines += ["", "CPU time, the least of several rounds"] if times else []
    lines += [f"  {each.detector:<28}{each.what:<46}{each.micros:>12,.1f} µs" for each in times]
    return "\n".join(lines) + "\n"


def as_json(found: Sequence[Accuracy], times: Sequence[Timing]) -> str:
    """For programs."""
    report = {
        "detectors": [
            {
                "detector": each.detector,
                "cases": each.cases,
                "ambiguous": each.ambiguous,
                "scores": {
                    name: asdict(score) | {"precision": score.precision, "recall": score.recall}
                    for name, score in each.scores.items()
                },
            }
            for each in found
        ],
        "times": [asdict(each) for each in times],
    }
    return json.dumps(report, indent=2) + "\n"


def times_as_markdown(times: Sequence[Timing]) -> str:
    """One table."""
    rows = [f"| {each.detector} | {each.what.replace('|', 'pipe')} | {_figure(each.micros)} |" for each in times]
    return "\n".join(["| Detector | Of what | CPU time |", "|---|---|---|", *rows]) + "\n"


def write(times: Sequence[Timing]) -> None:
    """Put the tables where the page has their markers; of times only where some were taken."""
    tables = {name: made() for name, made in TABLES.items()} | ({"times": times_as_markdown(times)} if times else {})
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        page = with_table(page, name, table)
    PAGE.write_text(page, encoding="utf-8")


def _tables(_: Sequence[Accuracy], times: Sequence[Timing]) -> str:
    return accuracy_table() + (f"\n{times_as_markdown(times)}" if times else "")


def _figure(micros: float) -> str:
    return f"{micros:.1f} µs" if micros < 1_000 else f"{micros / 1_000:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
