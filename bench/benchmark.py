"""What every part of a run has: the tools, scratch space, the record."""

import shutil
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from record import MEMORY, Budget, Record, Row
from tools import Borg, Measured, Restic, Snap, Tool

MIB = 1 << 20
Runs = dict[str, list[Measured]]
"""By tool, one after the other."""


def same_tree(a: Path, b: Path) -> None:
    """Stop unless two folders hold the same files."""
    done = subprocess.run(["diff", "-r", str(a), str(b)], capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"the restore differs: {done.stdout.decode()[:500]}")


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark.

    Attributes:
        repeat: How often each timed row is measured; the median counts.
    """

    scratch: Path
    programs: dict[str, list[str]]
    record: Record
    repeat: int = 1

    def tool(self, kind: type[Tool], place: str = "") -> Tool:
        """Return a tool with an empty repository below scratch, in a folder of its own."""
        folder = self.scratch / place
        folder.mkdir(exist_ok=True)
        tool = kind(self.programs[kind.name], folder)
        tool.begin_anew()
        return tool

    def tools(self) -> list[Tool]:
        """Return the three tools with empty repositories."""
        kinds: list[type[Tool]] = [Restic, Borg, Snap]
        return [self.tool(kind) for kind in kinds]

    def measure(self, tools: list[Tool], action: Callable[[Tool], Measured]) -> Runs:
        """Run an action on the tools in turn, as often as asked for."""
        runs: Runs = {tool.name: [] for tool in tools}
        for _ in range(self.repeat):
            for tool in tools:
                runs[tool.name].append(action(tool))
        return runs

    def first_backup(self, tools: list[Tool], data: Path) -> Runs:
        """Measure a first backup, each time into an empty repository."""

        def action(tool: Tool) -> Measured:
            tool.begin_anew()
            return tool.backup(data)

        return self.measure(tools, action)

    def restore(self, tools: list[Tool], data: Path) -> Runs:
        """Measure a restore that is compared with what was backed up."""

        return self.measure(tools, lambda tool: self.restore_once(tool, data))

    def restore_once(self, tool: Tool, data: Path) -> Measured:
        """Restore, compare with what was backed up, and remove it."""
        target = self.scratch / "restored"
        try:
            measured = tool.restore(target)
            same_tree(data, tool.restored(target))
        finally:
            shutil.rmtree(target, ignore_errors=True)
        return measured

    def note(
        self, what: str, unit: str, values: dict[str, float], budget: Budget | None = None
    ) -> None:
        """Record one row of figures."""
        self.record.note(Row(what, unit, values, budget))

    def note_runs(self, what: str, runs: Runs, budget: Budget | None = None) -> None:
        """Record the median time of runs, and the largest memory."""
        seconds = {name: [m.seconds for m in found] for name, found in runs.items()}
        medians = {name: statistics.median(found) for name, found in seconds.items()}
        several = seconds if self.repeat > 1 else {}
        self.record.note(Row(f"{what}, time", "s", medians, budget, several))
        peaks = {name: max(m.peak_mib for m in found) for name, found in runs.items()}
        self.note(f"{what}, peak memory", "MiB", peaks, MEMORY)

    def note_sizes(self, what: str, tools: list[Tool], budget: Budget | None = None) -> None:
        """Record the sizes of the repositories."""
        self.note(what, "MiB", {t.name: t.stored_bytes() / MIB for t in tools}, budget)
