"""``snap config``: an example, a check, and what is in effect."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import NamedTuple

import click

from snap.errors import UsageError

from .config_file import Configuration, ConfigurationError, SourceTable, read_configuration, where
from .configuration import configuration_path, with_configuration
from .errors import OK, print_error
from .options import SnapCommand, SnapGroup
from .output import counted, print_json, print_line, print_table
from .settings import Settings

EXAMPLE = """\
# Where snapshots go. A path that does not begin with / is meant from this file's folder.
repository = "/mnt/backup/knowledge"
# The repository's password: a file that only you can read, or a program that prints it.
password_file = "/etc/snap/password"
# password_command = "pass show backup"

# What these databases are together: snapshots of one service are compared with each other.
service = "knowledge"
# tags = ["nightly"]
# compression = "default"                  # off, fast, default, max
# cache_dir = "/var/cache/snap"

# What the repository lies on, and whether that is in another building than the databases.
# media = "disk"
# offsite = false

# Copies of the repository: `snap replicate` brings them up to date, made first by
# `snap init --copy-of /mnt/backup/knowledge -r usb`.

# [copies.usb]
# location = "/media/usb/knowledge"
# media = "usb disk"

# [copies.office]
# location = "sftp://backup@office.example/knowledge"
# media = "office server"
# offsite = true

# What `snap status` asks of every snapshot: so many copies, the repository being one of them,
# on so many media, so many of them off-site.
# [rule]
# copies = 3
# media = 2
# offsite = 1
# And, if you like, that all data was read and found whole within this time:
# verified_within = "30d"

# Which snapshots `snap forget` lets stay: all of the last days, Sundays of weeks, 1sts of months.
# A source or a copy may have a table of its own: [sources.graph.retention], [copies.usb.retention].
# [retention]
# daily = 7
# weekly = 4
# monthly = 3
# Or restic's rules: keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly,
# keep_within (as "1y5m7d2h"), keep_within_hourly ... keep_within_yearly, keep_tags (as ["kept"]).

# Each source is a component of the snapshot, under the name behind the dot.
# `snap backup` takes all of them into one snapshot, `snap backup graph` one of them.

[sources.graph]
kind = "neo4j"                             # or "neo4j-docker", with: container = "neo4j"
home = "/opt/neo4j"
username = "neo4j"
password_file = "/etc/snap/neo4j-password"
# database = "neo4j"
# url = "bolt://localhost:7687"
# skip_unchanged = true                    # do not stop it when nothing was written
# offline = true                           # stop an Enterprise server, too

[sources.events]
kind = "sqlite"
path = "/srv/knowledge/events.db"

[sources.vectors]
kind = "chroma"
path = "/srv/knowledge/chroma"             # or, where only the server can be reached:
# url = "http://localhost:8000"
# lock_seconds = 5                         # so long may who writes be held up

[sources.uploads]
kind = "files"
path = "/srv/knowledge/uploads"
exclude = ["*.tmp"]

# [sources.accounts]
# kind = "command"
# command = "pg_dump accounts"
"""


class _Row(NamedTuple):
    key: str
    value: str
    origin: str


class _Command(SnapCommand):
    """Works where the configuration is missing or wrong."""

    reads_configuration = False


@click.group(cls=SnapGroup)
def command() -> None:
    """Show an example of a configuration, check one, show what is in effect.

    It is read from --config or SNAP_CONFIG, else ~/.config/snap/snap.toml, else
    /etc/snap/snap.toml.
    """


@command.command("example", cls=_Command)
def example() -> int:
    """Print a configuration to begin with."""
    click.echo(EXAMPLE, nl=False)
    return OK


@command.command("check", cls=_Command)
@click.pass_obj
def check(settings: Settings) -> int:
    """Say what the configuration names, or all that is wrong with it."""
    path = configuration_path(settings)
    if path is None:
        looked = ", ".join(map(str, settings.configuration_places))
        raise UsageError(f"no configuration: looked for {looked}", "write one: snap config example")
    try:
        found = read_configuration(path)
    except ConfigurationError as error:
        _print_problems(error, settings)
        return error.exit_code
    if settings.json:
        sources = [{"name": s.name, "kind": s.kind, "place": _place(s)} for s in found.sources]
        copies = [asdict(copy) for copy in found.copies]
        fields = {"problems": [], "sources": sources, "copies": copies}
        print_json({"ok": True, "path": str(found.path), **fields})
    else:
        print_table(
            ("~source", "kind", "~place"), [(s.name, s.kind, _place(s)) for s in found.sources]
        )
        if found.copies:
            rows = [(c.name, c.media, _text(c.offsite), c.location) for c in found.copies]
            print_table(("~copy", "~media", "offsite", "~location"), rows)
        amounts = [counted(len(found.sources), "source")]
        if found.copies:
            amounts.append(counted(len(found.copies), "copy", "copies"))
        print_line(f"{found.path}: ok, {', '.join(amounts)}")
    return OK


def _print_problems(error: ConfigurationError, settings: Settings) -> None:
    if settings.json:
        problems = [{"line": p.line, "message": p.message, "hint": p.hint} for p in error.problems]
        print_json({"ok": False, "path": str(error.path), "problems": problems, "sources": []})
        return
    for problem in error.problems:
        message = f"{where(error.path, problem.line)}: {problem.message}"
        print_error(message, problem.hint, code=error.exit_code, as_json=False)


@command.command("show", cls=_Command)
@click.pass_obj
def show(settings: Settings) -> int:
    """Show what is in effect, and what said so."""
    path = configuration_path(settings)
    effective = with_configuration(settings)
    rows = [
        _Row("configuration", str(path or ""), settings.origin("configuration_file")),
        _Row("repository", effective.repository or "", effective.origin("repository")),
        _Row("cache_dir", str(effective.cache_dir or ""), effective.origin("cache_folder")),
        *(_Row("password", f"from {p.kind}", p.origin) for p in effective.passwords),
    ]
    if effective.configuration is not None:
        rows += _configured(effective.configuration)
    if settings.json:
        print_json([row._asdict() for row in rows])
    else:
        print_table(("~setting", "~value", "~from"), [_for_people(row) for row in rows])
    return OK


def _for_people(row: _Row) -> tuple[str, str, str]:
    """Return a row for people: what nothing said is a default, or missing."""
    return row.key, row.value or "-", row.origin or ("default" if row.value else "-")


def _configured(found: Configuration) -> Iterator[_Row]:
    shown_above = ("repository", "cache_dir", "password_file", "password_command")
    for key, value in found.values.items():
        if key not in shown_above:
            yield _Row(key, _text(value), found.origin(key))
    for source in found.sources:
        path = ("sources", source.name)
        yield _Row(f"{source.name}.kind", source.kind, found.origin(*path, "kind"))
        for key, value in source.values.items():
            yield _Row(f"{source.name}.{key}", _text(value), found.origin(*path, key))
    for copy in found.copies:
        path = ("copies", copy.name)
        for key, value in asdict(copy).items():
            if (*path, key) in found.lines:
                yield _Row(f"copies.{copy.name}.{key}", _text(value), found.origin(*path, key))
    for key, value in found.rule.items():
        yield _Row(f"rule.{key}", _text(value), found.origin("rule", key))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _place(source: SourceTable) -> str:
    keys = ("path", "url", "home", "container", "command")
    return next((str(source.values[key]) for key in keys if key in source.values), "")
