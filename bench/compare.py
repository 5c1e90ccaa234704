"""Measure snap, restic and borg side by side: speed, size, memory. See bench/README.md."""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools import Borg, Measured, Restic, Snap, Tool, snap_program

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
VERSION_RUNS = 11
Row = dict[str, float | str]


def make_rows(path: Path, size_bytes: int, seed: int) -> None:
    """Write text like a table's rows: numbers, hashes, words; zstd level 3 gives about 2.4 : 1."""
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(3, 10))) for _ in range(5000)]
    number = 0
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            lines = []
            for _ in range(5000):
                number += 1
                text = " ".join(chance.choices(words, k=12))
                lines.append(f"{number},{chance.getrandbits(63):x},{text}\n")
            file.write("".join(lines).encode())


def same_tree(a: Path, b: Path) -> None:
    """Stop unless two folders hold the same files."""
    done = subprocess.run(["diff", "-r", str(a), str(b)], capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"the restore differs: {done.stdout.decode()[:500]}")


class Bench:
    """One run: tools, scratch space, rows of results."""

    def __init__(self, scratch: Path, programs: dict[str, list[str]]) -> None:
        self.scratch = scratch
        self.programs = programs
        self.rows: list[Row] = []

    def tools(self) -> list[Tool]:
        """Return the tools with fresh, empty repositories."""
        kinds: list[type[Tool]] = [Restic, Borg, Snap]
        fresh = []
        for kind in kinds:
            for path in self.scratch.glob(f"{kind.name}-*"):
                shutil.rmtree(path)
            tool = kind(self.programs[kind.name], self.scratch)
            tool.init()
            fresh.append(tool)
        return fresh

    def note(self, what: str, unit: str, values: dict[str, float]) -> None:
        """Keep and show one row: the figures and snap's ratio to the others."""
        row: Row = {"what": what, "unit": unit, **values}
        for other in ("restic", "borg"):
            if values.get(other) and values.get("snap"):
                row[f"snap : {other}"] = values["snap"] / values[other]
        self.rows.append(row)
        print(format_row(row), flush=True)

    def timed(self, what: str, action: Callable[[Tool], Measured], tools: list[Tool]) -> None:
        """Measure one verb on all tools, one after the other."""
        found = {tool.name: action(tool) for tool in tools}
        self.note(f"{what}, time", "s", {name: m.seconds for name, m in found.items()})
        self.note(f"{what}, peak memory", "MiB", {name: m.peak_mib for name, m in found.items()})

    def whole(self, label: str, data: Path) -> None:
        """First backup, re-read of unchanged data, restore, and the repository's size."""
        tools = self.tools()
        self.timed(f"{label}: first backup", lambda t: t.backup(data), tools)
        self.size(f"{label}: repository", tools)
        self.timed(f"{label}: unchanged, all read", lambda t: t.backup(data), tools)

        def restore(tool: Tool) -> Measured:
            target = self.scratch / "restored"
            measured = tool.restore(target)
            inside = target / "data" if tool.name == "snap" else target
            same_tree(data, inside)
            shutil.rmtree(target)
            return measured

        self.timed(f"{label}: restore", restore, tools)

    def size(self, what: str, tools: list[Tool]) -> None:
        """Compare the repositories' sizes."""
        self.note(what, "MiB", {t.name: t.stored_bytes() / MIB for t in tools})

    def starts(self) -> None:
        """Measure how long the programs take to say their versions, the median of many."""
        found = {}
        for tool in self.tools():
            runs = [tool.run(tool.version_argument) for _ in range(VERSION_RUNS)]
            found[tool.name] = statistics.median(measured.seconds for measured in runs)
        self.note("version, time", "s", found)

    def days(self, states: Path, names: list[str]) -> None:
        """Back up the daily states of one file after the other."""
        for name in names:
            tools = self.tools()
            current = self.scratch / "current"
            later: dict[str, list[Measured]] = {tool.name: [] for tool in tools}
            for day in sorted(states.glob("[0-9]*"), key=lambda p: int(p.name)):
                shutil.rmtree(current, ignore_errors=True)
                current.mkdir()
                shutil.copyfile(day / name, current / name)
                before = {t.name: t.stored_bytes() for t in tools}
                for tool in tools:
                    later[tool.name].append(tool.backup(current))
                added = {t.name: (t.stored_bytes() - before[t.name]) / MIB for t in tools}
                self.note(f"{name}: stored on day {day.name}", "MiB", added)
            # The first day is a first backup; what follows is what every night costs.
            seconds = {n: sum(m.seconds for m in runs[1:]) for n, runs in later.items()}
            peaks = {n: max((m.peak_mib for m in runs[1:]), default=0) for n, runs in later.items()}
            self.note(f"{name}: all later days, time", "s", seconds)
            self.note(f"{name}: all later days, peak memory", "MiB", peaks)
            self.size(f"{name}: repository after all days", tools)
            shutil.rmtree(current)


def format_row(row: Row) -> str:
    """Return a row as a line of a table."""
    ratios = [f"{row.get(f'snap : {o}', float('nan')):6.2f}" for o in ("restic", "borg")]
    values = [f"{row.get(t, float('nan')):9.2f}" for t in ("restic", "borg", "snap")]
    return f"| {row['what']:<44} | {row['unit']:<3} | {' | '.join(values)} | {' | '.join(ratios)} |"


def arguments() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restic", default="restic", help="the restic program, 0.19.1")
    parser.add_argument("--borg", default="borg", help="the borg program, 1.4.5")
    parser.add_argument("--states", type=Path, default=ROOT.parent / "shared/bench/make_states.py")
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--vectors", type=int, default=40_000)
    parser.add_argument("--megabytes", type=int, default=2400, help="of the large set")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--only", choices=["whole", "days"])
    parser.add_argument("--out", type=Path, default=ROOT / "bench/out/results.json")
    return parser.parse_args()


def main() -> None:
    """Run what the arguments ask for."""
    a = arguments()
    programs = {"restic": [a.restic], "borg": [a.borg], "snap": snap_program()}
    if a.only != "whole" and not a.states.is_file():
        raise SystemExit(f"{a.states} is not there: give --states FILE, or --only whole")
    scratch = Path(tempfile.mkdtemp(prefix="snap-bench-", dir=a.scratch))
    try:
        bench = Bench(scratch, programs)
        versions = "; ".join(tool.version() for tool in bench.tools())
        print(versions)
        print(format_head())
        bench.starts()
        if a.only != "days":
            data = scratch / "data"
            data.mkdir()
            for n in range(4):
                make_rows(data / f"rows-{n}", a.megabytes * 1_000_000 // 4, n)
            bench.whole(f"{a.megabytes} MB", data)
            shutil.rmtree(data)
        if a.only != "whole":
            states = scratch / "states"
            sizes = ["--days", a.days, "--rows", a.rows, "--vectors", a.vectors]
            command = [sys.executable, a.states, states, *sizes]
            subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
            bench.days(states, ["events.db", "vectors.bin", "export.sql"])
        a.out.parent.mkdir(parents=True, exist_ok=True)
        a.out.write_text(json.dumps(bench.rows, indent=1))
        table = "\n".join([format_head(), *map(format_row, bench.rows)])
        a.out.with_suffix(".md").write_text(f"{versions}\n\n{table}\n")
    finally:
        shutil.rmtree(scratch)


def format_head() -> str:
    """Return the head of the table."""
    head = f"| {'what':<44} |     |    restic |      borg |      snap | s:rest | s:borg |"
    return head + "\n|" + "|".join("-" * len(c) for c in head.strip("|").split("|")) + "|"


if __name__ == "__main__":
    main()
