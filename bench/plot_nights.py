"""The two years of nights as a table and plots: medians of ten nights each.

Takes the two_years.csv that tests/acceptance/test_two_years.py leaves in its folder. See README.md.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from statistics import median

from plot import Panel, svg_plot
from tools import ROOT

MIB = 1 << 20
TOGETHER = 10
"""Nights of one row."""

Row = dict[str, float]


def read_rows(path: Path) -> dict[str, list[Row]]:
    """Return for each place the medians of each ten nights, but for seconds what was least."""
    found: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    with path.open() as file:
        for text in csv.DictReader(file):
            place = text.pop("place")
            row = {name: float(value) for name, value in text.items()}
            row["most_bytes"] = row["total_bytes"]
            found[place][int(row["night"]) // TOGETHER].append(row)
    return {
        place: [_together(TOGETHER * n, rows) for n, rows in sorted(parts.items())]
        for place, parts in found.items()
    }


def _together(night: int, rows: list[Row]) -> Row:
    one = {name: median(row[name] for row in rows) for name in rows[0]}
    one["night"] = night
    one["most_bytes"] = max(row["total_bytes"] for row in rows)
    # Of a loaded machine only the least time says something.
    one["seconds"] = min(row["seconds"] for row in rows)
    return one


def write_csv(path: Path, places: dict[str, list[Row]]) -> None:
    """Write a line for each place and ten nights."""
    names = list(next(iter(places.values()))[0])
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["place", *names])
        for place, found in places.items():
            rows.writerows([place, *(f"{row[name]:.6g}" for name in names)] for row in found)


def write_plot(path: Path, places: dict[str, list[Row]]) -> None:
    """Write the curves, a line for each place over all nights."""

    def lines(name: str, unit: float = 1) -> dict[str, list[float | None]]:
        return {
            place: [row[name] / unit for row in rows for _ in range(TOGETHER)]
            for place, rows in places.items()
        }

    panels = [
        Panel("size after a prune, the most of ten nights, MiB", lines("most_bytes", MIB)),
        Panel("requests of a prune, median of ten nights", lines("operations")),
        Panel("bytes that a prune read, median of ten nights, MiB", lines("read_bytes", MIB)),
        Panel("seconds of a prune, the least of ten nights", lines("seconds")),
    ]
    path.write_text(svg_plot("two years of nights, with a crash every week", panels))


def main() -> None:
    """Read the arguments and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "spec/plots")
    a = parser.parse_args()
    places = read_rows(a.table)
    write_csv(a.out / "two_years.csv", places)
    write_plot(a.out / "two_years.svg", places)


if __name__ == "__main__":
    main()
