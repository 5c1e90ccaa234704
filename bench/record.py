"""What was measured: rows with ratios and budgets, printed, kept as JSON and as a table."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOOLS = ("restic", "borg", "snap")
OTHERS = ("restic", "borg")
_WIDTHS = (58, 3, 9, 9, 9, 8, 8, 16, 3)
_HEAD = ("what", "", *TOOLS, "s:restic", "s:borg", "budget", "met")


@dataclass(frozen=True, slots=True)
class Budget:
    """A promise of issue 3: the most that snap's figure, or its ratio to restic's, may be."""

    most: float
    of_restic: bool

    def __str__(self) -> str:
        return f"s:restic <= {self.most:.2f}" if self.of_restic else f"snap <= {self.most:g}"


def times_restic(most: float) -> Budget:
    """Return the budget: at most so many times restic's figure."""
    return Budget(most, of_restic=True)


def times_as_fast(times: float) -> Budget:
    """Return the budget: at least so many times as fast as restic."""
    return Budget(1 / times, of_restic=True)


def at_most(figure: float) -> Budget:
    """Return the budget: at most this figure, in the row's unit."""
    return Budget(figure, of_restic=False)


MEMORY = at_most(250)
"""MiB, in every backup and restore."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: figures by tool, in ``unit``; ``runs`` has those that a median was taken of."""

    what: str
    unit: str
    values: dict[str, float]
    budget: Budget | None = None
    runs: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, other: str) -> float | None:
        """Return snap's figure divided by another tool's, None where one of them is missing."""
        mine, theirs = self.values.get("snap"), self.values.get(other)
        return None if mine is None or not theirs else mine / theirs

    @property
    def met(self) -> bool | None:
        """Return whether the budget is met; None where there is none, or nothing to compare."""
        if self.budget is None:
            return None
        figure = self.ratio("restic") if self.budget.of_restic else self.values.get("snap")
        return None if figure is None else figure <= self.budget.most

    def as_json(self) -> dict[str, Any]:
        """Return the row for the results file."""
        ratios = {f"snap : {o}": r for o in OTHERS if (r := self.ratio(o)) is not None}
        row: dict[str, Any] = {"what": self.what, "unit": self.unit, **self.values, **ratios}
        if self.budget is not None:
            row |= {"budget": str(self.budget), "met": self.met}
        return row | ({"runs": self.runs} if self.runs else {})


def table_line(row: dict[str, Any]) -> str:
    """Return a row of the results file as a line of a Markdown table."""
    figures = [f"{row[t]:.2f}" if t in row else "" for t in TOOLS]
    ratios = [f"{row[k]:.2f}" if (k := f"snap : {o}") in row else "" for o in OTHERS]
    met = {True: "yes", False: "NO", None: ""}[row.get("met")]
    return _line((row["what"], row["unit"], *figures, *ratios, row.get("budget", ""), met))


def table_head() -> str:
    """Return the head of the table."""
    return _line(_HEAD) + "\n|" + "|".join("-" * (width + 2) for width in _WIDTHS) + "|"


def _line(cells: tuple[str, ...]) -> str:
    padded = [
        cell.ljust(width) if number in (0, 1, 7, 8) else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


class Record:
    """The results of one run, part by part; saved whenever a part ends.

    With ``merge``, parts that ``path`` has from an earlier run stay until they are run again.
    """

    def __init__(self, path: Path, versions: dict[str, str], *, merge: bool) -> None:
        self._path = path
        self._versions = versions
        self._parts: dict[str, dict[str, Any]] = {}
        if merge and path.is_file():
            self._parts = json.loads(path.read_text())
        self._rows: list[dict[str, Any]] = []

    def begin(self, part: str, settings: dict[str, Any]) -> None:
        """Begin a part; settings are what tells this run of it from another."""
        self._rows = []
        self._parts[part] = {"versions": self._versions, "settings": settings, "rows": self._rows}
        print(f"\n{part}: {_settings(settings)}\n\n{table_head()}", flush=True)

    def note(self, row: Row) -> None:
        """Keep and show one row."""
        self._rows.append(row.as_json())
        print(table_line(self._rows[-1]), flush=True)

    def save(self) -> None:
        """Write all parts, as JSON and as tables."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._parts, indent=1))
        texts = []
        for name, part in self._parts.items():
            versions = ", ".join(f"{tool} {version}" for tool, version in part["versions"].items())
            lines = "\n".join(table_line(row) for row in part["rows"])
            about = f"{versions}; {_settings(part['settings'])}"
            texts.append(f"## {name}\n\n{about}\n\n{table_head()}\n{lines}\n")
        self._path.with_suffix(".md").write_text("\n".join(texts))

    def verdict(self) -> str:
        """Return how many budgets are met."""
        judged = [row for part in self._parts.values() for row in part["rows"] if "budget" in row]
        missed = [row["what"] for row in judged if row["met"] is False]
        unknown = sum(row["met"] is None for row in judged)
        return (
            f"{len(judged)} budgets: {len(judged) - len(missed) - unknown} met, "
            f"{len(missed)} missed, {unknown} without a figure to compare"
            + "".join(f"\n  missed: {what}" for what in missed)
        )


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
