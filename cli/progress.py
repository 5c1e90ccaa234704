"""Progress of a running command: a bar on a terminal, lines elsewhere, JSON for programs.

Each class here is a `snap.repo.progress.Reporter` and a context that ends what it shows. Progress
goes to standard error, JSON to standard output. A reporter must never break the work it reports on:
a stream that has gone away is ignored here; printing the result will notice.
"""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from snap.repo.progress import Reporter

from .output import print_warning, shown, shown_duration, shown_size
from .settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress

Ticks = Callable[[], float]
"""Seconds of a clock that never goes back."""

JSON_INTERVAL_SECONDS = 1.0
LINE_INTERVAL_SECONDS = 10.0
_BAR_INTERVAL_SECONDS = 0.1
_ITEM_COLUMNS = 40


class ShownReporter(Reporter, Protocol):
    """A reporter that must be closed before a result is printed."""

    def __enter__(self) -> "ShownReporter":
        """Begin to show."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop showing."""
        ...


def open_reporter(
    settings: Settings, verb: str, expected_bytes: Mapping[str, int] | None = None
) -> ShownReporter:
    """Return the reporter that fits the settings and the terminal.

    Args:
        settings: Whether output is quiet, or for programs.
        verb: What is being done to each task, ``backing up``; empty where the task says it.
        expected_bytes: By task, what it will probably come to where its total is not known:
            what it was the last time. Only the time left is made of it.
    """
    expected = expected_bytes or {}
    if settings.json:
        return JsonReporter(expected, quiet=settings.quiet)
    if settings.quiet:
        return LineReporter(verb, expected, interval_seconds=None)
    if sys.stderr.isatty():
        return BarReporter(verb, expected)
    return LineReporter(verb, expected, interval_seconds=LINE_INTERVAL_SECONDS)


class _CountingReporter:
    """Counts, and calls `_show` now and then; what that looks like is for the subclasses."""

    def __init__(
        self,
        expected: Mapping[str, int],
        interval_seconds: float | None,
        ticks: Ticks = time.monotonic,
    ) -> None:
        self._expected = expected
        self._interval = interval_seconds
        self._ticks = ticks
        self._lock = threading.RLock()
        self._task = ""
        self._item = ""
        self._done = 0
        self._total: int | None = None
        self._begun = self._shown_at = ticks()

    def __enter__(self) -> "_CountingReporter":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, task: str, total_bytes: int | None) -> None:
        with self._lock:
            self._task, self._item, self._done = task, "", 0
            self._total = total_bytes or self._expected.get(task)
            self._begun = self._shown_at = self._ticks()
            self._guarded(self._show_start)

    def advance(self, count_bytes: int, *, item: str = "") -> None:
        with self._lock:
            self._done += count_bytes
            if item:
                self._item = item
            now = self._ticks()
            if self._interval is not None and now - self._shown_at >= self._interval:
                self._shown_at = now
                self._guarded(self._show)

    def warn(self, message: str) -> None:
        with self._lock:
            self._guarded(lambda: self._show_warning(message))

    def finish(self) -> None:
        with self._lock:
            self._guarded(self._show_end)

    @property
    def _seconds(self) -> float:
        return max(self._ticks() - self._begun, 1e-6)

    @property
    def _rate(self) -> float:
        return self._done / self._seconds

    @property
    def _seconds_left(self) -> float | None:
        if not self._total or not self._done or self._done > self._total:
            return None
        return (self._total - self._done) / self._rate

    @staticmethod
    def _guarded(show: Callable[[], None]) -> None:
        with contextlib.suppress(OSError, ValueError):
            show()

    def _show_start(self) -> None:
        return None

    def _show(self) -> None:
        return None

    def _show_end(self) -> None:
        return None

    def _show_warning(self, message: str) -> None:
        print_warning(message, as_json=False)


class LineReporter(_CountingReporter):
    """Plain lines: one now and then, one at the end of a task; only warnings when quiet."""

    def __init__(
        self,
        verb: str,
        expected: Mapping[str, int],
        interval_seconds: float | None,
        ticks: Ticks = time.monotonic,
    ) -> None:
        super().__init__(expected, interval_seconds, ticks)
        self._verb = verb

    def _show(self) -> None:
        left = self._seconds_left
        tail = "" if left is None else f", {shown_duration(left)} left"
        self._print(f"{shown_size(self._done)}, {shown_size(int(self._rate))}/s{tail}")

    def _show_end(self) -> None:
        if self._interval is not None and self._done:
            self._print(f"{shown_size(self._done)} in {shown_duration(self._seconds)}")

    def _print(self, text: str) -> None:
        print(f"{_title(self._verb, self._task)}: {text}", file=sys.stderr)


class JsonReporter(_CountingReporter):
    """One JSON line a second at most, and one at the end of each task; none when quiet."""

    def __init__(
        self, expected: Mapping[str, int], *, quiet: bool, ticks: Ticks = time.monotonic
    ) -> None:
        super().__init__(expected, None if quiet else JSON_INTERVAL_SECONDS, ticks)

    def _show(self) -> None:
        left = self._seconds_left
        fields = {
            "message_type": "status",
            "task": self._task,
            "item": self._item,
            "bytes_done": self._done,
            # More than was thought: how much it will be is not known.
            "bytes_total": None if self._total and self._done > self._total else self._total,
            "bytes_per_second": round(self._rate),
            "seconds_elapsed": round(self._seconds, 3),
            "seconds_left": None if left is None else round(left, 3),
        }
        print(json.dumps(fields), flush=True)

    def _show_end(self) -> None:
        if self._interval is not None:
            self._show()

    def _show_warning(self, message: str) -> None:
        print_warning(message, as_json=True)


class BarReporter(_CountingReporter):
    """A live bar with rate and time left."""

    def __init__(
        self, verb: str, expected: Mapping[str, int], ticks: Ticks = time.monotonic
    ) -> None:
        super().__init__(expected, _BAR_INTERVAL_SECONDS, ticks)
        self._verb = verb
        self._progress = _bar()
        self._bar = self._progress.add_task(
            "", total=None, visible=False, task="", amount="", left="", item=""
        )

    def __enter__(self) -> "BarReporter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._guarded(self._progress.stop)

    def _show_start(self) -> None:
        self._progress.reset(self._bar, total=self._total, visible=True)
        self._show()

    def _show(self) -> None:
        item = shown(self._item)
        if len(item) > _ITEM_COLUMNS:
            item = "…" + item[1 - _ITEM_COLUMNS :]
        if self._total is not None and self._done > self._total:
            self._total = None  # more than the last time: how much is left is not known
            self._progress.update(self._bar, total=None)
        left = self._seconds_left
        self._progress.update(
            self._bar,
            completed=self._done,
            task=_title(self._verb, self._task),
            amount=f"{shown_size(self._done)}  {shown_size(int(self._rate))}/s",
            left="" if left is None else f"{shown_duration(left)} left",
            item="" if item == self._task else item,
            refresh=True,
        )

    def _show_end(self) -> None:
        self._progress.update(self._bar, visible=False, refresh=True)
        if self._done:
            amount = f"{shown_size(self._done)} in {shown_duration(self._seconds)}"
            self._print(f"{_title(self._verb, self._task)}: {amount}")

    def _show_warning(self, message: str) -> None:
        self._print(f"snap: warning: {shown(message)}")

    def _print(self, line: str) -> None:
        """Print above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _title(verb: str, task: str) -> str:
    return f"{verb} {shown(task)}" if verb else shown(task)


def _bar() -> "Progress":
    from rich.console import Console  # noqa: PLC0415 - rich costs 60 ms that most calls need not pay
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415 - as above

    fields = ("task", "amount", "left", "item")
    task, *rest = (TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in fields)
    columns = (SpinnerColumn(), task, BarColumn(bar_width=20), *rest)
    return Progress(*columns, console=Console(stderr=True), transient=True)
