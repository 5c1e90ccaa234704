"""The global options, accepted before and after the command, and what commands share.

A command or group of these classes has all global options. What was given is put over the
settings in ``ctx.obj``, which a subcommand takes over from its group: so the later one wins.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

import click

from snap.errors import UsageError

from .configuration import with_configuration
from .settings import Settings, apply_options


class GlobalOption(click.Option):
    """An option of every command; help lists it apart."""


_RATE = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>[KMG]?)", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _rate_of_option(
    ctx: click.Context, parameter: click.Parameter, text: str | None
) -> float | None:
    """Return bytes a second."""
    if text is None:
        return None
    match = _RATE.fullmatch(text)
    rate = float(match["number"]) * _UNITS[match["unit"].upper()] if match else 0.0
    if not 1 <= rate < float("inf"):
        raise UsageError(
            f"{parameter.opts[0]}: not a rate: {text!r}",
            "write KiB a second as a number, or with a unit: 500K, 20M, 1G",
        )
    return rate


def _global_options() -> list[click.Parameter]:
    return [
        GlobalOption(["-r", "--repo"], metavar="LOCATION", help="The repository."),
        GlobalOption(["--password-file"], metavar="FILE", help="Read the password from a file."),
        GlobalOption(
            ["--password-command"], metavar="CMD", help="Run a program that prints the password."
        ),
        GlobalOption(["--config"], metavar="FILE", help="The configuration, snap.toml."),
        GlobalOption(["--json"], is_flag=True, help="Print JSON, for programs."),
        GlobalOption(["-q", "--quiet"], is_flag=True, help="No progress and no summary."),
        GlobalOption(["-v", "--verbose"], count=True, help="More detail."),
        GlobalOption(["--no-cache"], is_flag=True, help="Keep no local cache."),
        GlobalOption(["--cache-dir"], metavar="DIR", help="Where the local cache is."),
        GlobalOption(
            ["--limit-upload"],
            metavar="RATE",
            callback=_rate_of_option,
            help="Write at most so many KiB a second, or 20M.",
        ),
        GlobalOption(
            ["--limit-download"],
            metavar="RATE",
            callback=_rate_of_option,
            help="Read at most so much.",
        ),
    ]


def _take_global_options(ctx: click.Context) -> None:
    """Move the values of the global options from the parameters into the settings."""
    given = {p.name: ctx.params.pop(p.name, None) for p in _declared(ctx.command) if p.name}
    settings = ctx.obj if isinstance(ctx.obj, Settings) else Settings()
    ctx.obj = apply_options(settings, given)


def _declared(command: click.Command) -> Iterable[GlobalOption]:
    return (p for p in command.params if isinstance(p, GlobalOption))


class _GlobalOptions(click.Command):
    """What a command and a group alike do with the global options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _global_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and take the global options into the settings."""
        rest = super().parse_args(ctx, args)
        _take_global_options(ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options, then the global ones."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (shared if isinstance(parameter, GlobalOption) else own).append(record)
        for title, records in (("Options", own), ("Global options", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class SnapCommand(_GlobalOptions):
    """A command with the global options."""

    reads_configuration = True

    def invoke(self, ctx: click.Context) -> Any:
        """Put the settings over what the configuration says, and carry the command out."""
        if self.reads_configuration and isinstance(ctx.obj, Settings):
            ctx.obj = with_configuration(ctx.obj)
        return super().invoke(ctx)


class SnapGroup(_GlobalOptions, click.Group):
    """A group with the global options that suggests what a mistyped command may have meant."""

    command_class = SnapCommand

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant.

        Raises:
            UsageError: there is no such command.
        """
        command = self.get_command(ctx, args[0])
        if command is None:
            names = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0], names, n=1)
            hint = f"did you mean '{ctx.command_path} {near[0]}'?" if near else ""
            raise UsageError(
                f"no such command: {args[0]!r}", hint or f"see '{ctx.command_path} --help'"
            )
        return args[0], command, args[1:]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the group's own options, the global ones, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def tags_of_option(
    ctx: click.Context, parameter: click.Parameter, tags: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the tags of an option, checked."""
    check_tags(tags)
    return tags


def check_tags(tags: Iterable[str]) -> None:
    """Refuse, before any work is done, a tag that a snapshot cannot have.

    Raises:
        UsageError: one is none.
    """
    from snap.repo.catalog import HELD_TAG  # noqa: PLC0415 - most calls have no tags

    for tag in tags:
        if tag == HELD_TAG:
            raise UsageError(f"{tag!r} is not a tag to give", "use 'snap hold add|remove SNAP'")
        if not tag or tag != tag.strip() or "," in tag:
            raise UsageError(
                f"not a tag: {tag!r}",
                "a tag is not empty, has no comma, and neither begins nor ends with a space",
            )


_Decorated = Callable[..., Any]


def filter_options(function: _Decorated) -> _Decorated:
    """Add the options that choose among snapshots: --service, --host, --tag."""
    options = [
        click.option("--service", metavar="S", help="Only of this service."),
        click.option("--host", metavar="H", help="Only made on this host."),
        click.option(
            "--tag",
            "tags",
            metavar="T",
            multiple=True,
            callback=tags_of_option,
            help="Only with this tag; several: with all of them.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
