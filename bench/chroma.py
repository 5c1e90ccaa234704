"""The part that follows a ChromaDB persist directory from day to day: chroma."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from benchmark import MIB, Bench
from daily import Course, note_later
from record import times_restic
from scratch import require_space
from tools import ROOT, Borg, ChromaSnap, Restic, Tool

DIMENSIONS = (128, 384)
_LATER_DAY = 1 / 4
"""Most that a later day may store of what restic does for a copy of the directory."""
_RECORD_BYTES = 3000
"""Of a record in the directory, beside its vector."""


def measure_chroma(bench: Bench, sizes: dict[str, int]) -> None:
    """Measure daily states of one directory; snap takes it as a source, the others as files."""
    bench.record.begin("chroma", sizes)
    for dimensions in DIMENSIONS:
        state_bytes = sizes["vectors"] * (_RECORD_BYTES + 4 * dimensions)
        require_space(bench.scratch, (sizes["days"] + 4) * state_bytes, "chroma")
        states = bench.scratch / "states"
        try:
            _make(states, {**sizes, "dimensions": dimensions})
            course = Course()
            for kind in (Restic, Borg, ChromaSnap):
                course |= _follow(bench, kind, states)
        finally:
            shutil.rmtree(states, ignore_errors=True)
        _note(bench, f"{sizes['vectors']} x {dimensions}", course)


def _make(states: Path, sizes: dict[str, int]) -> None:
    program = [_python(), str(ROOT / "bench/chroma_states.py"), str(states)]
    options = [str(part) for name, size in sizes.items() for part in (f"--{name}", size)]
    subprocess.run([*program, *options], check=True, stdout=subprocess.DEVNULL)


def _python() -> str:
    """Return a Python that has Chroma: this one, or that of the tests."""
    if importlib.util.find_spec("chromadb") is not None:
        return sys.executable
    found = sorted(Path.home().glob(".cache/snap-tests/chroma-*/venv/bin/python"))
    if not found:
        raise SystemExit("there is no chromadb: run scripts/test tests/acceptance -k chroma first")
    return str(found[-1])


def _follow(bench: Bench, kind: type[Tool], states: Path) -> Course:
    tool, current, course = bench.tool(kind), bench.scratch / "current", Course()
    runs, added = course.runs.setdefault(tool.name, []), course.added_mib.setdefault(tool.name, [])
    for day in sorted(states.glob("[0-9]*"), key=lambda path: int(path.name)):
        shutil.rmtree(current, ignore_errors=True)
        shutil.copytree(day, current)
        before = tool.stored_bytes()
        runs.append(tool.backup(current))
        added.append((tool.stored_bytes() - before) / MIB)
    course.size_mib[tool.name] = tool.stored_bytes() / MIB
    # What a source restores is the same store, not the same bytes: the tests compare it.
    target = bench.scratch / "restored"
    course.restores[tool.name] = tool.restore(target)
    for folder in (current, target, tool.repository):
        shutil.rmtree(folder)
    return course


def _note(bench: Bench, label: str, course: Course) -> None:
    for day in range(len(course.added_mib["snap"])):
        added = {tool: found[day] for tool, found in course.added_mib.items()}
        budget = times_restic(_LATER_DAY) if day else None
        bench.note(f"{label}: stored on day {day}", "MiB", added, budget)
    bench.note(f"{label}: repository after all days", "MiB", course.size_mib)
    note_later(bench, label, {tool: runs[1:] for tool, runs in course.runs.items()})
    seconds = {tool: measured.seconds for tool, measured in course.restores.items()}
    bench.note(f"{label}: restore of the last day, time", "s", seconds)
