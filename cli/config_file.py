"""``snap.toml``: what it may say, where it is found, and what is wrong with it, by line.

A table of keys and types is all that a new setting needs. Paths in the file are relative to it.
"""

import difflib
import os
import re
import stat as stat_module
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snap.errors import UsageError
from snap.repo.retention import RULES, Span, parse_span

from .errors import words_of_os_error
from .verification import parse_age

_LIMIT_BYTES = 1 << 20

Lines = Mapping[tuple[str, ...], int]
"""The line of each key and table, by its path."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its type, and whether it is there always."""

    kind: type
    required: bool = False
    items: type | None = None


_TEXTS = Key(list, items=str)
_TOP = {
    "repository": Key(str),
    "password_file": Key(str),
    "password_command": Key(str),
    "cache_dir": Key(str),
    "service": Key(str),
    "host": Key(str),
    "compression": Key(str),
    "tags": _TEXTS,
    "media": Key(str),
    "offsite": Key(bool),
    "sources": Key(dict),
    "copies": Key(dict),
    "rule": Key(dict),
    "retention": Key(dict),
}
_COPY = {
    "location": Key(str, required=True),
    "media": Key(str, required=True),
    "offsite": Key(bool),
    "retention": Key(dict),
}
_CALENDAR = {"daily": Key(int), "weekly": Key(int), "monthly": Key(int)}
_KEEP = {
    **{f"keep_{period}": Key(int) for period in RULES},
    "keep_within": Key(str),
    **{f"keep_within_{period}": Key(str) for period in RULES if period != "last"},
    "keep_tags": _TEXTS,
}
_RULE = {"copies": Key(int), "media": Key(int), "offsite": Key(int), "verified_within": Key(str)}
_SERVER = {
    "database": Key(str),
    "username": Key(str),
    "password_file": Key(str),
    "password_command": Key(str),
    "url": Key(str),
    "skip_unchanged": Key(bool),
    "offline": Key(bool),
}
_KINDS = {
    "sqlite": {"path": Key(str, required=True)},
    "files": {"path": Key(str, required=True), "exclude": _TEXTS},
    "chroma": {"path": Key(str), "url": Key(str), "lock_seconds": Key(float)},
    "neo4j": {"home": Key(str)} | _SERVER,
    "neo4j-docker": {"container": Key(str, required=True), "docker_url": Key(str)} | _SERVER,
    "command": {"command": Key(str, required=True)},
}
_CHOICES = {"compression": ("off", "fast", "default", "max")}
_SECRETS = ("password", "secret", "token", "passphrase")
_NAMES = {
    str: "text",
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    list: "a list of texts",
    dict: "a table",
}
_COPY_NAME = re.compile(r"\w[\w.-]*")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]+:")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a line; 0 where it is about the whole file."""

    line: int
    message: str
    hint: str = ""


class ConfigurationError(UsageError):
    """A configuration that cannot be used; ``problems`` in the order of their lines."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = sorted(problems, key=lambda p: p.line)
        first = self.problems[0]
        more = len(self.problems) - 1
        text = f"{where(path, first.line)}: {first.message}"
        if more:
            text += f" (and {more} more: snap config check)"
        super().__init__(text, first.hint)


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A source as it is configured: a component's name, and its keys."""

    name: str
    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CopyTable:
    """A copy as it is configured; ``location`` as `open_backend` takes it."""

    name: str
    location: str
    media: str
    offsite: bool = False
    retention: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file that was read and found right."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[SourceTable, ...] = ()
    copies: tuple[CopyTable, ...] = ()
    rule: Mapping[str, Any] = field(default_factory=dict)
    lines: Lines = field(default_factory=dict)

    def origin(self, *key: str) -> str:
        """Return where a key is, for people."""
        return where(self.path, self.lines.get(key, 0))

    def path_of(self, text: str) -> str:
        """Return a path in the file as one from everywhere."""
        return str(self.path.parent / Path(text).expanduser())

    def location_of(self, text: str) -> str:
        """Return a repository's location: a path, or something with a scheme as it is."""
        return _location(self.path, text)


def _location(path: Path, text: str) -> str:
    return text if _REMOTE.match(text) else str(path.parent / Path(text).expanduser())


def where(path: Path, line: int) -> str:
    """Return a place in a file, for people."""
    return f"{path}:{line}" if line else str(path)


def read_configuration(path: Path) -> Configuration:
    """Read and check a file.

    Raises:
        ConfigurationError: it cannot be read, or something in it is wrong; all of it is told.
    """
    path = path.absolute()
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        problem = Problem(0, f"cannot be read: {words_of_os_error(error)}", "check --config")
        raise ConfigurationError(path, [problem]) from error
    if len(raw) > _LIMIT_BYTES:
        raise ConfigurationError(path, [Problem(0, "is larger than any configuration")])
    text, values = _parse(path, raw)
    lines = _lines_of(text)
    problems = [*_check(values, lines), *_check_owner(values, found)]
    if problems:
        raise ConfigurationError(path, problems)
    sources = tuple(
        SourceTable(name, table["kind"], {k: v for k, v in table.items() if k != "kind"})
        for name, table in values.pop("sources", {}).items()
    )
    copies = tuple(
        CopyTable(name, **(table | {"location": _location(path, table["location"])}))
        for name, table in values.pop("copies", {}).items()
    )
    return Configuration(path, values, sources, copies, values.pop("rule", {}), lines)


def _parse(path: Path, raw: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(path, [Problem(line, "is not UTF-8")]) from error
    try:
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        message = str(error) or "nested too deep"
        found = re.search(r" \(at line (\d+), column \d+\)| \(at end of document\)", message)
        line = text.count("\n") + 1
        if found is not None and found[1] is not None:
            line = int(found[1])
        words = message.replace(found[0], "") if found is not None else message
        hint = 'texts stand in quotes: repository = "/mnt/backup"'
        raise ConfigurationError(path, [Problem(line, f"not TOML: {words}", hint)]) from error


def _lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Find the line of every key and table of a text that is TOML."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        begin, statement = number, lines[number]
        number += 1
        if not statement.strip() or statement.lstrip().startswith("#"):
            continue
        parsed = _try(statement)
        # A list or a text may go on for lines.
        while parsed is None and number < len(lines):
            statement += "\n" + lines[number]
            number += 1
            parsed = _try(statement)
        if statement.lstrip().startswith("["):
            table = _deepest(parsed or {})
            found.setdefault(table, begin + 1)
            continue
        for key in _paths(parsed or {}):
            found.setdefault(table + key, begin + 1)
    return found


def _try(statement: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(statement)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _deepest(parsed: Mapping[str, Any]) -> tuple[str, ...]:
    path: tuple[str, ...] = ()
    while parsed:
        [(key, inner)] = parsed.items()
        path += (key,)
        parsed = inner[0] if isinstance(inner, list) else inner
    return path


def _paths(parsed: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in parsed.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))


def _check(values: Mapping[str, Any], lines: Lines) -> Iterator[Problem]:
    yield from _check_table(values, _TOP, (), lines)
    yield from _check_one_of(values, ("password_file", "password_command"), (), lines)
    yield from _check_copies(values, lines)
    yield from _check_retention(values, (), lines)
    rule = values.get("rule", {})
    if isinstance(rule, dict):
        yield from _check_table(rule, _RULE, ("rule",), lines)
        within = ("rule", "verified_within")
        yield from _check_span(rule.get(within[-1]), within, lines.get(within, 0), parse_age)
    sources = values.get("sources", {})
    for name, table in sources.items() if isinstance(sources, dict) else ():
        path = ("sources", name)
        if not isinstance(table, dict):
            yield Problem(lines.get(path, 0), f"{name!r} is no table", f"write [sources.{name}]")
            continue
        if not name or "/" in name or name in {".", ".."}:
            yield Problem(lines.get(path, 0), f"not a name for a source: {name!r}")
        kind = table.get("kind")
        if kind not in _KINDS:
            line = lines.get((*path, "kind"), lines.get(path, 0))
            if kind is None:
                hint = f"one of {', '.join(_KINDS)}"
                yield Problem(line, f"[sources.{name}] has no 'kind'", hint)
            else:
                hint = _nearest(str(kind), _KINDS)
                yield Problem(line, f"unknown kind of source: {kind!r}", hint)
            continue
        keys = {"kind": Key(str, required=True), "retention": Key(dict)} | _KINDS[kind]
        yield from _check_retention(table, path, lines)
        yield from _check_table(table, keys, path, lines)
        yield from _check_one_of(table, ("password_file", "password_command"), path, lines)
        if kind == "chroma":
            yield from _check_one_of(table, ("path", "url"), path, lines, required=True)


def _check_copies(values: Mapping[str, Any], lines: Lines) -> Iterator[Problem]:
    """Check the tables of copies, and that no two of them are one place."""
    copies = values.get("copies", {})
    places = {values.get("repository"): "the repository"}
    for name, table in copies.items() if isinstance(copies, dict) else ():
        path = ("copies", name)
        if not isinstance(table, dict):
            yield Problem(lines.get(path, 0), f"{name!r} is no table", f"write [copies.{name}]")
            continue
        if not _COPY_NAME.fullmatch(name):
            hint = "letters, digits, '-', '_' and '.', so that it cannot be taken for a place"
            yield Problem(lines.get(path, 0), f"not a name for a copy: {name!r}", hint)
        if name == "repository":
            hint = "that is what the repository itself is called"
            yield Problem(lines.get(path, 0), "a copy cannot be named 'repository'", hint)
        yield from _check_table(table, _COPY, path, lines)
        yield from _check_retention(table, path, lines)
        location = table.get("location")
        if isinstance(location, str) and location in places:
            line = lines.get((*path, "location"), lines.get(path, 0))
            yield Problem(line, f"[copies.{name}] is the same place as {places[location]}")
        elif isinstance(location, str):
            places[location] = f"[copies.{name}]"


def _check_retention(
    above: Mapping[str, Any], path: tuple[str, ...], lines: Lines
) -> Iterator[Problem]:
    """Check a policy: a calendar, or rules to keep by, and something that it keeps."""
    table = above.get("retention")
    if not isinstance(table, dict):
        return
    path = (*path, "retention")
    yield from _check_table(table, _CALENDAR | _KEEP, path, lines)
    line = lines.get(path, 0)
    if _CALENDAR.keys() & table.keys() and _KEEP.keys() & table.keys():
        hint = "write daily, weekly, monthly, or keep_..."
        yield Problem(line, f"[{'.'.join(path)}] mixes a calendar with keep rules", hint)
    for name, value in table.items():
        if name.startswith("keep_within"):
            key = (*path, name)
            yield from _check_span(value, key, lines.get(key, line), parse_span)
    if not any(table.values()) and (_KEEP.keys() & table.keys() or len(table) == len(_CALENDAR)):
        yield Problem(line, f"[{'.'.join(path)}] keeps nothing", "name what is to stay")


def _check_span(
    value: Any, key: tuple[str, ...], line: int, parse: Callable[[str], Span]
) -> Iterator[Problem]:
    if isinstance(value, str):
        try:
            parse(value)
        except UsageError as error:
            yield Problem(line, f"{key[-1]!r}: {error}", error.hint)


def _check_table(
    table: Mapping[str, Any], keys: Mapping[str, Key], path: tuple[str, ...], lines: Lines
) -> Iterator[Problem]:
    shown = f" in [{'.'.join(path)}]" if path else ""
    for name, value in table.items():
        line = lines.get((*path, name), lines.get(path, 0))
        key = keys.get(name)
        if key is None:
            hint = _nearest(name, keys)
            if name in _SECRETS:
                hint = "secrets are not kept here: name a password_file or password_command"
            yield Problem(line, f"unknown key {name!r}{shown}", hint)
        elif not _fits(value, key):
            yield Problem(line, f"{name!r}{shown} is not {_NAMES[key.kind]}: {value!r}")
        elif name in _CHOICES and value not in _CHOICES[name]:
            hint = _nearest(value, _CHOICES[name])
            yield Problem(line, f"{name!r} cannot be {value!r}", hint)
        elif value == "" and key.kind is str:
            yield Problem(line, f"{name!r}{shown} is empty")
    for name, key in keys.items():
        if key.required and name not in table:
            yield Problem(lines.get(path, 0), f"{shown.removeprefix(' in ')} has no {name!r}")


def _check_one_of(
    table: Mapping[str, Any],
    names: tuple[str, str],
    path: tuple[str, ...],
    lines: Lines,
    *,
    required: bool = False,
) -> Iterator[Problem]:
    there = [name for name in names if name in table]
    line = lines.get((*path, there[-1]), 0) if there else lines.get(path, 0)
    if len(there) > 1:
        yield Problem(line, f"{names[0]!r} and {names[1]!r} exclude each other")
    elif required and not there:
        yield Problem(line, f"[{'.'.join(path)}] has neither {names[0]!r} nor {names[1]!r}")


def _fits(value: Any, key: Key) -> bool:
    if key.kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if key.kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if isinstance(value, list) and key.items is not None:
        return key.kind is list and all(isinstance(item, key.items) for item in value)
    return isinstance(value, key.kind)


def _nearest(name: str, names: Mapping[str, Any] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"


def _check_owner(values: Mapping[str, Any], found: os.stat_result) -> Iterator[Problem]:
    """Refuse a file by which somebody else could have us run a program."""
    sources = values.get("sources", {})
    tables = [values, *(sources.values() if isinstance(sources, dict) else ())]
    runs = any(
        isinstance(table, dict) and {"password_command", "command"} & table.keys()
        for table in tables
    )
    if not runs:
        return
    if found.st_mode & stat_module.S_IWOTH:
        yield Problem(0, "names programs to run, and everybody may write to it", "chmod o-w it")
    if found.st_uid not in {0, os.geteuid()}:
        yield Problem(0, "names programs to run, and belongs to somebody else", "chown it")
