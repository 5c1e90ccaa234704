"""The parts that measure one data set: starts, whole, unchanged, small."""

import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark import Bench
from datasets import KIB, make_database, make_rows, make_small_files
from record import Budget, at_most, times_as_fast, times_restic
from scratch import require_space

_VERSION_RUNS = 11
_FILES = 4
_ROOM = 4.5
"""Data, three repositories of half its size each, one restore, and half as much to spare."""
_SMALL_ROOM = 6.0
"""The same for data of which half does not compress, each file filling whole pages."""
_SMALL_BYTES = 12.5 * KIB
"""What a small file takes on average: 10.5 KiB, and half a page that is lost."""
_STREAM_TIMES, _PAGED_TIMES = 3, 5


def measure_starts(bench: Bench) -> None:
    """Measure how long the programs take to say their versions, the median of many."""
    bench.record.begin("starts", {"runs": _VERSION_RUNS})
    found = {}
    for tool in bench.tools():
        runs = [tool.run(tool.version_argument) for _ in range(_VERSION_RUNS)]
        found[tool.name] = statistics.median(measured.seconds for measured in runs)
    bench.note("version, time", "s", found, at_most(0.15))


def measure_whole(bench: Bench, megabytes: int) -> None:
    """Measure files of rows as text, which are cut by content."""
    bench.record.begin("whole", {"megabytes": megabytes, "repeat": bench.repeat})
    require_space(bench.scratch, megabytes * 1e6 * _ROOM, "whole")
    with data_folder(bench) as data:
        for number in range(_FILES):
            make_rows(data / f"rows-{number}", megabytes * 1_000_000 // _FILES, number)
        _measure_large(bench, f"{megabytes} MB of text", data, times_as_fast(_STREAM_TIMES))


def measure_unchanged(bench: Bench, megabytes: int) -> None:
    """Measure one SQLite database as a file in a folder, which is compared page by page."""
    bench.record.begin("unchanged", {"megabytes": megabytes, "repeat": bench.repeat})
    require_space(bench.scratch, megabytes * 1e6 * _ROOM, "unchanged")
    with data_folder(bench) as data:
        make_database(data / "events.db", megabytes * 1_000_000, seed=1)
        _measure_large(bench, f"{megabytes} MB SQLite file", data, times_as_fast(_PAGED_TIMES))


def measure_small(bench: Bench, count: int) -> None:
    """Measure many small files; the second backup is what each tool does by default."""
    bench.record.begin("small", {"files": count, "repeat": bench.repeat})
    require_space(bench.scratch, count * _SMALL_BYTES * _SMALL_ROOM, "small")
    twice = times_restic(2)
    with data_folder(bench) as data:
        make_small_files(data, count, seed=2)
        label, tools = f"{count} small files", bench.tools()
        bench.note_runs(f"{label}: first backup", bench.first_backup(tools, data), twice)
        bench.note_sizes(f"{label}: repository", tools)
        again = bench.measure(tools, lambda tool: tool.backup(data, full=False))
        bench.note_runs(f"{label}: unchanged, by default", again, twice)
        bench.note_runs(f"{label}: restore", bench.restore(tools, data), twice)


def _measure_large(bench: Bench, label: str, data: Path, unchanged: Budget) -> None:
    """Measure first backup, repository, re-read of unchanged data, restore."""
    tools = bench.tools()
    first = bench.first_backup(tools, data)
    bench.note_runs(f"{label}: first backup", first, times_as_fast(3))
    bench.note_sizes(f"{label}: repository", tools, times_restic(1))
    again = bench.measure(tools, lambda tool: tool.backup(data))
    bench.note_runs(f"{label}: unchanged, all read", again, unchanged)
    bench.note_runs(f"{label}: restore", bench.restore(tools, data), times_as_fast(2.5))


@contextmanager
def data_folder(bench: Bench) -> Iterator[Path]:
    """Yield an empty folder; it and the repositories are removed at the end, for the next part."""
    data = bench.scratch / "data"
    data.mkdir()
    try:
        yield data
    finally:
        for place in bench.scratch.iterdir():
            shutil.rmtree(place)
