import io
import json
import sys
from collections.abc import Callable

import pytest

from snap.cli.progress import (
    BarReporter,
    JsonReporter,
    LineReporter,
    ShownReporter,
    open_reporter,
)
from snap.cli.settings import Settings

MIB = 1 << 20


class Ticks:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_json_says_at_most_one_line_a_second_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ticks = Ticks()
    reporter = JsonReporter({}, quiet=False, ticks=ticks)
    reporter.start("events.db", 100)
    for _ in range(20):
        ticks.now += 0.125
        reporter.advance(5, item="page")
    reporter.finish()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["bytes_done"] for line in lines] == [40, 80, 100]
    assert lines[0] == {
        "message_type": "status",
        "task": "events.db",
        "item": "page",
        "bytes_done": 40,
        "bytes_total": 100,
        "bytes_per_second": 40,
        "seconds_elapsed": 1.0,
        "seconds_left": 1.5,
    }


def test_the_size_of_the_last_time_serves_where_no_total_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ticks = Ticks()
    reporter = JsonReporter({"a": 50}, quiet=False, ticks=ticks)
    for task in ("a", "b"):
        reporter.start(task, None)
        ticks.now += 1
        reporter.advance(25)
    reporter.advance(100)
    reporter.finish()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["bytes_total"], line["seconds_left"]) for line in lines] == [
        (50, 1.0),
        (None, None),
        (None, None),
    ]


def test_nothing_is_left_when_more_comes_than_the_last_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reporter = JsonReporter({"a": 50}, quiet=False, ticks=Ticks())
    reporter.start("a", None)
    reporter.advance(51)
    reporter.finish()
    assert json.loads(capsys.readouterr().out)["seconds_left"] is None


def test_lines_come_every_ten_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    ticks = Ticks()
    reporter = LineReporter("backing up", {}, interval_seconds=10, ticks=ticks)
    reporter.start("x\x1b", 100 * MIB)
    for _ in range(12):
        ticks.now += 1
        reporter.advance(MIB)
    reporter.warn("careful")
    reporter.finish()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "backing up x\\x1b: 10.0 MiB, 1.0 MiB/s, 1:30 min left",
        "snap: warning: careful",
        "backing up x\\x1b: 12.0 MiB in 12 s",
    ]


def test_a_task_in_which_nothing_was_done_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = LineReporter("", {}, interval_seconds=10, ticks=Ticks())
    reporter.start("reading packs", 0)
    reporter.finish()
    reporter.start("reading packs", 0)
    reporter.advance(1024)
    reporter.finish()
    assert capsys.readouterr().err == "reading packs: 1.0 KiB in 0.0 s\n"


def test_quiet_reporters_show_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    ticks = Ticks()
    reporters: list[ShownReporter] = [
        LineReporter("x", {}, interval_seconds=None, ticks=ticks),
        JsonReporter({}, quiet=True, ticks=ticks),
    ]
    for reporter in reporters:
        reporter.start("a", 10)
        ticks.now += 60
        reporter.advance(10)
        reporter.warn("careful")
        reporter.finish()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "snap: warning: careful",
        '{"message_type": "warning", "message": "careful"}',
    ]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Make standard error a terminal; return what gives all that was shown there."""
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    return stream.getvalue


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _at_a_terminal(monkeypatch)
    ticks = Ticks()
    with BarReporter("backing up", {"events.db": 10 * MIB}, ticks=ticks) as reporter:
        reporter.start("events.db", None)
        ticks.now += 2
        reporter.advance(4 * MIB, item="some/\x1bfile")
        ticks.now += 1
        reporter.advance(0)
        reporter.warn("[red]careful[/red]\x1b")
        reporter.finish()
    text = terminal()
    assert "2.0 MiB/s" in text
    assert "3.0 s left" in text
    assert "some/\\x1bfile" in text
    assert "snap: warning: [red]careful[/red]\\x1b" in text
    assert "backing up events.db: 4.0 MiB in 3.0 s" in text


def test_the_bar_goes_on_when_more_comes_than_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _at_a_terminal(monkeypatch)
    ticks = Ticks()
    with BarReporter("backing up", {"a": MIB}, ticks=ticks) as reporter:
        reporter.start("a", None)
        ticks.now += 1
        reporter.advance(5 * MIB, item="x" * 200)
        reporter.finish()
    assert "backing up a: 5.0 MiB in 1.0 s" in terminal()
    assert "x" * 41 not in terminal()


def test_the_reporter_fits_settings_and_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(open_reporter(Settings(json=True), "x"), JsonReporter)
    assert isinstance(open_reporter(Settings(), "x"), LineReporter)
    monkeypatch.setattr(sys, "stderr", _Terminal())
    assert isinstance(open_reporter(Settings(), "x"), BarReporter)
    assert isinstance(open_reporter(Settings(quiet=True), "x"), LineReporter)
    assert isinstance(open_reporter(Settings(json=True), "x"), JsonReporter)


def test_a_stream_that_has_gone_does_not_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    monkeypatch.setattr(sys, "stdout", closed)
    reporters: list[ShownReporter] = [
        LineReporter("x", {}, interval_seconds=0),
        JsonReporter({}, quiet=False),
    ]
    for reporter in reporters:
        reporter.start("a", 1)
        reporter.advance(1)
        reporter.warn("careful")
        reporter.finish()
