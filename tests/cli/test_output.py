import json
import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest

from snap.cli.output import (
    counted,
    print_json,
    print_table,
    print_warning,
    raw_name_fields,
    shown,
    shown_duration,
    shown_path,
    shown_size,
)


def test_plain_text_is_shown_as_it_is() -> None:
    assert shown("Größe 数据 a\\b") == "Größe 数据 a\\b"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\x1b[2J", "\\x1b[2J"),
        (b"a\nb\tc\r", "a\\x0ab\\x09c\\x0d"),
        (b"caf\xe9", "caf\\xe9"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        ("\x9b31m".encode(), "\\x9b31m"),
        ("\U000e0001".encode(), "\\U000e0001"),
    ],
)
def test_what_a_terminal_could_obey_is_escaped(raw: bytes, expected: str) -> None:
    assert shown(raw) == expected
    assert shown(raw.decode("utf-8", "surrogateescape")) == expected


def test_a_path_is_shown_with_its_component() -> None:
    assert shown_path("files", (b"a", b"\xff")) == "files/a/\\xff"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (600 * 1000**2, "572.2 MiB"),
        (1024**6 * 5000, "5000.0 EiB"),
    ],
)
def test_sizes_are_shown_in_binary_units(count: int, expected: str) -> None:
    assert shown_size(count) == expected


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (17.4, "17 s"),
        (59.6, "1:00 min"),
        (185, "3:05 min"),
        (7385, "2:03:05 h"),
    ],
)
def test_durations_are_shown_in_units_that_fit(duration: float, expected: str) -> None:
    assert shown_duration(duration) == expected


def test_counts_go_with_their_nouns() -> None:
    assert [counted(n, "file") for n in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]
    assert counted(2, "entry", "entries") == "2 entries"


def test_names_that_are_not_utf8_lose_nothing_in_json() -> None:
    assert raw_name_fields("name", "ä".encode()) == {"name": "ä"}
    assert raw_name_fields("name", b"\xff\xfe") == {"name": "\\xff\\xfe", "name_b64": "//4="}


def test_json_is_ascii_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "ä\n\u202e"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"name": "ä\n\u202e"}


def test_warnings_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_warning("odd \x1b", as_json=False)
    print_warning("odd \x1b", as_json=True)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "snap: warning: odd \\x1b"
    assert json.loads(lines[1]) == {"message_type": "warning", "message": "odd \x1b"}


def test_a_table_is_never_cut_or_folded_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = "x" * 300
    print_table(("name", ">size"), [(long, "1 B"), ("[bold]b[/bold]\x1b", "20 B")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["name", "size"]
    assert lines[1] == f"{long}   1 B"
    assert lines[2].startswith("[bold]b[/bold]\\x1b ")
    assert not any(line.endswith(" ") for line in lines)


def _at_a_terminal(columns: tuple[str, ...], *row: str) -> list[str]:
    """Return the lines that a terminal of 60 columns gets, without colours."""
    terminal, process_end = os.openpty()
    program = f"from snap.cli.output import print_table; print_table({columns!r}, [{row!r}])"
    subprocess.run(
        [sys.executable, "-c", program],
        stdout=process_end,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm"},
        check=True,
    )
    os.close(process_end)
    text = b""
    # One call may give a part; at the end, where nobody holds the other side, comes an error.
    with suppress(OSError):
        while piece := os.read(terminal, 10_000):
            text += piece
    os.close(terminal)
    return [re.sub(r"\x1b\[\d*m", "", line).rstrip() for line in text.decode().splitlines()]


def test_a_table_fits_a_terminal_by_folding_what_may_be_folded() -> None:
    lines = _at_a_terminal(("id", "~components", ">size"), "12345678", "x" * 100, "572.2 MiB")
    assert max(len(line) for line in lines) <= 60
    assert lines[1].startswith("12345678  xxx")
    assert lines[1].endswith("xx  572.2 MiB")
    assert sum(line.count("x") for line in lines) == 100


def test_a_table_that_cannot_fit_is_not_cut() -> None:
    lines = _at_a_terminal(("object", "~problem"), "y" * 64, "damaged beyond all recognition")
    assert lines[1] == "y" * 64 + "  damaged beyond all recognition"
