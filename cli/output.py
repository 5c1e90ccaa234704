"""What is printed: safe text, sizes, tables, JSON.

Nothing that comes from a source or a repository reaches a terminal unescaped.
"""

import base64
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_GAP = 2
"""Spaces between two columns of a table."""
_FOLDED = 12
"""Characters below which a folded column is no longer readable."""


def shown(text: str | bytes) -> str:
    """Return text for people: what a terminal could take for a command is escaped.

    Control characters, changes of writing direction and bytes that are not UTF-8 become escapes
    as in Python's literals.
    """
    decoded = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    if decoded.isprintable():
        return decoded
    return "".join(c if c.isprintable() else _escaped(c) for c in decoded)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape keeps it
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def shown_path(component: str, path: Sequence[bytes]) -> str:
    """Return ``component/a/b`` for people."""
    return shown("/".join((component, *(p.decode("utf-8", "surrogateescape") for p in path))))


def shown_size(count_bytes: int) -> str:
    """Return a size for people: ``17 B``, ``1.5 MiB``."""
    if count_bytes < 1024:
        return f"{count_bytes} B"
    value, units = count_bytes / 1024, list(_UNITS)
    while value >= 1023.95 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}"


def shown_duration(seconds: float) -> str:
    """Return a duration for people: ``0.4 s``, ``17 s``, ``3:05 min``, ``2:03:05 h``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h"


def counted(count: int, singular: str, plural: str = "") -> str:
    """Return a count with its noun: ``1 file``, ``3 files``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def raw_name_fields(name: str, raw: bytes) -> dict[str, str]:
    """Return JSON fields for a name or path: ``name``, and ``name_b64`` where it is not UTF-8."""
    try:
        return {name: raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {
            name: raw.decode("utf-8", "backslashreplace"),
            f"{name}_b64": base64.b64encode(raw).decode("ascii"),
        }


def storable(text: str) -> str:
    """Return text that is valid Unicode: bytes of a name that are not UTF-8 become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def print_line(text: str) -> None:
    """Print a line of a result for people."""
    print(shown(text))


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON value on one line, in ASCII; readers of a pipe see it at once."""
    print(json.dumps(value), flush=True)


def print_warning(message: str, *, as_json: bool) -> None:
    """Print, on standard error, what the user should know."""
    if as_json:
        line = json.dumps({"message_type": "warning", "message": storable(message)})
    else:
        line = f"snap: warning: {shown(message)}"
    print(line, file=sys.stderr)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table.

    A column whose title begins with ``>`` is aligned to the right; one whose title begins with
    ``~`` is folded where the table is wider than the terminal. Elsewhere, and where folding does
    not help, no cell is cut or folded.
    """
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [
        max(_cell_width(text) for text in (title.lstrip(">~"), *(row[number] for row in cells)))
        for number, title in enumerate(columns)
    ]
    width = shutil.get_terminal_size().columns
    natural = sum(widths) + _GAP * (len(columns) - 1)
    if sys.stdout.isatty() and natural > width >= _least_width(columns, widths):
        _print_folded(columns, cells)
        return
    click.secho(_aligned([title.lstrip(">~") for title in columns], columns, widths), bold=True)
    # Not by rich: laying out a thousand rows takes it a second.
    for row in cells:
        print(_aligned(row, columns, widths))


def _aligned(row: Sequence[str], columns: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for text, title, width in zip(row, columns, widths, strict=True):
        space = " " * (width - _cell_width(text))
        padded.append(space + text if title.startswith(">") else text + space)
    return (" " * _GAP).join(padded).rstrip()


def _cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - rich costs 60 ms that most calls need not pay

    return cell_len(text)


def _print_folded(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in columns:
        table.add_column(
            Text(title.lstrip(">~")),
            justify="right" if title.startswith(">") else "left",
            overflow="fold",
            no_wrap=not title.startswith("~"),
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False, markup=False, emoji=False).print(table)


def _least_width(columns: Sequence[str], widths: Sequence[int]) -> int:
    """Return how many columns of a terminal a table needs with all folding that is sensible."""
    needed = (
        min(width, _FOLDED) if title.startswith("~") else width
        for title, width in zip(columns, widths, strict=True)
    )
    return sum(needed) + _GAP * (len(columns) - 1)
