"""The part that measures giving space back: a million blobs of which half are needed."""

import random
from pathlib import Path

from benchmark import Bench
from parts import data_folder
from record import times_restic
from scratch import require_space
from tools import Measured, Restic, Tool

_FOLDERS = 1000
_FILE_BYTES = 400
_ROOM_BYTES = 9_000
"""For each file: its page and inode, and what three repositories take of it."""
_MAX_UNUSED = "10%"


def measure_prune(bench: Bench, count: int) -> None:
    """Measure the prune of a repository of ``count`` files, each a blob, of which half are gone.

    Every other file is deleted, so that every pack is half used: the hardest case.
    """
    bench.record.begin("prune", {"files": count})
    require_space(bench.scratch, count * _ROOM_BYTES, "prune")
    with data_folder(bench) as data:
        make_tiny_files(data, count)
        tools = [tool for tool in bench.tools() if tool.name != "borg"]
        for tool in tools:
            tool.begin_anew()
            tool.backup(data)
        for number in range(0, count, 2):
            path_of(data, number).unlink()
        found: dict[str, list[Measured]] = {}
        moved: dict[str, float] = {}
        left: dict[str, float] = {}
        for tool in tools:
            tool.backup(data, full=False)
            forget_first(tool)
            before = packs(tool)
            found[tool.name] = [prune(tool)]
            after = packs(tool)
            moved[tool.name] = sum(n for p, n in after.items() if p not in before) / 2**20
            left[tool.name] = sum(after.values()) / 2**20
        label = f"{count} blobs, half of each pack unused"
        bench.note_runs(f"{label}: prune", found, times_restic(1))
        bench.note(f"{label}: written anew", "MiB", moved)
        bench.note(f"{label}: packs after it", "MiB", left, times_restic(1))
        bench.note_runs(f"{label}: restore after it", bench.restore(tools, data))


def make_tiny_files(data: Path, count: int) -> None:
    """Make files of noise, each one blob for every tool."""
    chance = random.Random(3)
    for folder in range(_FOLDERS):
        (data / f"{folder:03}").mkdir()
    for number in range(count):
        path_of(data, number).write_bytes(chance.randbytes(_FILE_BYTES))


def path_of(data: Path, number: int) -> Path:
    """Return where a file is."""
    return data / f"{number % _FOLDERS:03}" / f"{number:07}"


def packs(tool: Tool) -> dict[str, int]:
    """Return the packs of a repository with their sizes in bytes."""
    found = {}
    for kind in ("data", "meta"):
        for path in (tool.repository / kind).rglob("*"):
            if path.is_file():
                found[path.name] = path.stat().st_size
    return found


def forget_first(tool: Tool) -> None:
    """Drop the first of the two snapshots."""
    tool.run("forget", "--keep-last", "1", "-q")


def prune(tool: Tool) -> Measured:
    """Give the space back in one go."""
    if isinstance(tool, Restic):
        return tool.run("prune", "-q", "--max-unused", _MAX_UNUSED)
    return tool.run("prune", "-q", "--now", "--max-unused", _MAX_UNUSED)
