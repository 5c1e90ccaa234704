"""The parts that follow a small service's data from day to day: days, cold, sixty."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark import MIB, Bench, Runs, same_tree
from datasets import daily_states, make_states
from record import MEMORY, Budget, at_most, times_restic
from scratch import require_space
from tools import PASSWORD, ROOT, Borg, ColdSnap, Measured, Restic, Snap, SqliteSnap, Tool

NAMES = ("events.db", "vectors.bin", "export.sql")
_REPOSITORY = {"events.db": 1 / 4, "vectors.bin": 1 / 6, "export.sql": 2 / 3}
"""Most that the repository may be of restic's after all days."""
_LATER_DAY = {"events.db": 1 / 5}
"""Most that a later day may store of what restic does."""
_SIXTY_TIMES = 2.2
KEPT_DAYS = 7
SIXTY_SEED = 5
_ROW_BYTES, _VECTOR_BYTES = 430, 1536
"""On disk in a state of `make_states.py`, with the text dump."""
_KEPT_AT_ONCE = KEPT_DAYS + 3
"""States on disk at once: those kept, the next, the one being made, its live database."""


@dataclass(slots=True)
class Course:
    """What happened to one file over all days, by tool."""

    runs: Runs = field(default_factory=dict)
    added_mib: dict[str, list[float]] = field(default_factory=dict)
    size_mib: dict[str, float] = field(default_factory=dict)
    restores: dict[str, Measured] = field(default_factory=dict)

    def __or__(self, other: "Course") -> "Course":
        """Return both courses, of different tools, as one."""
        return Course(
            self.runs | other.runs,
            self.added_mib | other.added_mib,
            self.size_mib | other.size_mib,
            self.restores | other.restores,
        )


@dataclass(slots=True)
class Daily:
    """Measures daily states; the other tools' courses are measured once for all parts."""

    bench: Bench
    states: Path
    sizes: dict[str, int]
    others: dict[str, Course] = field(default_factory=dict)

    def measure_days(self) -> None:
        """Measure each file in repositories of its own, and the database as a source."""
        self.bench.record.begin("days", self.sizes)
        for name in NAMES:
            self._note(name, name, self._others(name) | self._follow([Snap], name))
        sqlite = self._others("events.db") | self._follow([SqliteSnap], "events.db")
        self._note("sqlite:events.db", "events.db", sqlite)

    def measure_cold(self) -> None:
        """Measure the same where snap has no cache on any day; restic and borg keep theirs."""
        self.bench.record.begin("cold", self.sizes)
        for name in NAMES:
            course = self._others(name) | self._follow([ColdSnap], name)
            self._note(f"{name}, no cache", name, course)

    def _others(self, name: str) -> Course:
        if name not in self.others:
            self.others[name] = self._follow([Restic, Borg], name)
        return self.others[name]

    def _follow(self, kinds: list[type[Tool]], name: str) -> Course:
        """Back up one file day by day, each tool's repository alone in scratch."""
        course = Course()
        for kind in kinds:
            tool, current = self.bench.tool(kind), self.bench.scratch / "current"
            runs, added = [], []
            for day in sorted(self.states.glob("[0-9]*"), key=lambda path: int(path.name)):
                shutil.rmtree(current, ignore_errors=True)
                current.mkdir()
                shutil.copyfile(day / name, current / name)
                before = tool.stored_bytes()
                runs.append(tool.backup(current))
                added.append((tool.stored_bytes() - before) / MIB)
            course.runs[tool.name] = runs
            course.added_mib[tool.name] = added
            course.size_mib[tool.name] = tool.stored_bytes() / MIB
            # The online backup that the source takes need not be the file byte by byte.
            if kind is not SqliteSnap:
                course.restores |= {n: m[0] for n, m in self.bench.restore([tool], current).items()}
            shutil.rmtree(current)
            shutil.rmtree(tool.repository)
        return course

    def _note(self, label: str, name: str, course: Course) -> None:
        days = range(len(course.added_mib["snap"]))
        limit = _LATER_DAY.get(name)
        for day in days:
            budget = times_restic(limit) if day and limit else None
            added = {tool: found[day] for tool, found in course.added_mib.items()}
            self.bench.note(f"{label}: stored on day {day}", "MiB", added, budget)
        budget = times_restic(_REPOSITORY[name])
        self.bench.note(f"{label}: repository after all days", "MiB", course.size_mib, budget)
        # The first day is a first backup; what follows is what every night costs.
        later = {tool: runs[1:] for tool, runs in course.runs.items()}
        if len(days) > 1:
            note_later(self.bench, label, later)
        seconds = {tool: measured.seconds for tool, measured in course.restores.items()}
        if "snap" in seconds:
            self.bench.note(f"{label}: restore of the last day, time", "s", seconds)


def note_later(bench: Bench, label: str, later: Runs) -> None:
    """Note time and memory of all days but the first."""
    seconds = {tool: sum(m.seconds for m in runs) for tool, runs in later.items()}
    peaks = {tool: max(m.peak_mib for m in runs) for tool, runs in later.items()}
    bench.note(f"{label}: all later days, time", "s", seconds)
    bench.note(f"{label}: all later days, peak memory", "MiB", peaks, MEMORY)


def measure_daily(bench: Bench, program: Path, sizes: dict[str, int], parts: Sequence[str]) -> None:
    """Measure `days` and `cold`, whichever is asked for, on states that are made once."""
    require_space(bench.scratch, 2 * sizes["days"] * _state_bytes(sizes), " and ".join(parts))
    states = bench.scratch / "states"
    try:
        make_states(program, states, sizes)
        daily = Daily(bench, states, sizes)
        if "days" in parts:
            daily.measure_days()
            bench.record.save()
        if "cold" in parts:
            daily.measure_cold()
    finally:
        shutil.rmtree(states, ignore_errors=True)


def measure_sixty(bench: Bench, program: Path, sizes: dict[str, int]) -> None:
    """Measure what 60 days leave behind when all snapshots but the last 7 are deleted."""
    bench.record.begin("sixty", {**sizes, "kept": KEPT_DAYS})
    growth = 1 + sizes["days"] / 100
    need = _KEPT_AT_ONCE * _state_bytes(sizes) * growth + 6 * _state_bytes(sizes)
    require_space(bench.scratch, need, "sixty")
    states, snap = bench.scratch / "states", bench.tool(Snap)
    runs: list[Measured] = []
    with closing(daily_states(program, states, sizes, kept_days=KEPT_DAYS)) as days:
        for day, folder in enumerate(days):
            before = snap.stored_bytes()
            runs.append(snap.backup(folder))
            added = {"snap": (snap.stored_bytes() - before) / MIB}
            bench.note(f"all files: stored on day {day}", "MiB", added)
    note_later(bench, "all files", {"snap": runs[1:]})
    bench.note_sizes("all files: repository after all days", [snap])
    kept = needed(snap, keep_last=KEPT_DAYS)
    fresh = bench.tool(Snap, "fresh")
    folders = sorted(states.glob("[0-9]*"), key=lambda path: int(path.name))
    for folder in folders:
        fresh.backup(folder)
    alone = needed(fresh)
    bench.note_sizes(f"fresh repository of the last {KEPT_DAYS} days", [fresh])
    last = at_most(_SIXTY_TIMES)
    _note_times(bench, "all files", kept["total_bytes"], alone["total_bytes"], last)
    for path, size in kept["paths"].items():
        _note_times(bench, path, size, alone["paths"][path], None)
    target = bench.scratch / "restored"
    snap.restore(target)
    same_tree(folders[-1], snap.restored(target))
    for place in bench.scratch.iterdir():
        shutil.rmtree(place)


def _note_times(
    bench: Bench, label: str, kept_bytes: int, fresh_bytes: int, budget: Budget | None
) -> None:
    bench.note(f"{label}: last {KEPT_DAYS} days need", "MiB", {"snap": kept_bytes / MIB})
    bench.note(f"{label}: the same, fresh", "MiB", {"snap": fresh_bytes / MIB})
    times = {"snap": kept_bytes / fresh_bytes}
    bench.note(f"{label}: needed, kept : fresh", "x", times, budget)


def needed(snap: Tool, *, keep_last: int = 0) -> dict[str, Any]:
    """Return what the snapshots of a snap repository need, see `needed.py`."""
    flags = ["--keep-last", str(keep_last)] if keep_last else []
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/needed.py"), str(snap.repository), PASSWORD, *flags],
        env=snap.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"needed.py failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _state_bytes(sizes: dict[str, int]) -> int:
    return sizes["rows"] * _ROW_BYTES + sizes["vectors"] * _VECTOR_BYTES
