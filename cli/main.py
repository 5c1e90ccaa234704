"""Dispatch: one word, one module, loaded when it is called.

``snap --version`` and the reading of the arguments load neither rich nor the repository's code.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn, TextIO

import click

from snap import __version__
from snap.backends.pause import PROCESS_PAUSES

from .errors import report_failure
from .memory import collect_later, end_at_once
from .options import SnapGroup
from .settings import settings_from_environment

COMMANDS = {
    "init": "Make a repository.",
    "backup": "Store a snapshot of databases and files.",
    "snapshots": "List the snapshots.",
    "ls": "List what is in a snapshot.",
    "restore": "Put a snapshot, or a part of it, back and prove that it is whole.",
    "dump": "Print one file of a snapshot.",
    "diff": "Show what changed between two snapshots.",
    "find": "Find files by name in the snapshots.",
    "check": "Check that all that is stored is whole.",
    "replicate": "Bring the copies of the repository up to date.",
    "repair": "Repair a repository, from a copy or from what it has itself.",
    "status": "Say what was backed up when, where its copies are, and what needs a hand.",
    "run": "Do the night's work: backup, sample check, forget, prune, replicate, status.",
    "forget": "Drop snapshots from the list: those named, or those that a policy lets go.",
    "prune": "Give the space back of what no snapshot needs.",
    "hold": "Keep snapshots whatever retention says.",
    "stats": "Show how large the repository is.",
    "config": "Show an example of a configuration, check one, show what is in effect.",
    "key": "Add, list, change and remove keys.",
    "tag": "Change the tags of a snapshot.",
}
"""Each command with its line of help: the module of this name has it as ``command``."""


class _LazyGroup(SnapGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"snap.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    name="snap",
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The contract, with exit codes and JSON, is in spec/CLI.md.",
)
@click.version_option(__version__, prog_name="snap", message="%(prog)s %(version)s")
def root() -> None:
    """Keep databases safe: consistent, encrypted, deduplicated snapshots."""


def run(arguments: Sequence[str]) -> int:
    """Carry out one call and return its exit code; whatever fails is said on standard error."""
    as_json = _wants_json(arguments)
    try:
        settings = settings_from_environment(os.environ)
        with root.make_context("snap", list(arguments), obj=settings) as ctx:
            code = root.invoke(ctx)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        return report_failure(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def _wants_json(arguments: Sequence[str]) -> bool:
    """Return whether errors are for programs, also where the arguments cannot be parsed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the process: carry out one call and exit."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Not where the caller has it ignored, as a shell does for what runs in the background.
        signal.signal(signal.SIGINT, _interrupt)
    collect_later()
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets an escape, not an error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # real streams
    code = run(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        _flush_or_drop(stream)
    end_at_once()
    sys.exit(code)


def _replace_closed_streams() -> None:
    """Put an empty stream where the caller closed one, which Python shows as None."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - as long as the process
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as above
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as above


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End: what is done so far is kept, temporary things are removed, nothing is waited for."""
    PROCESS_PAUSES.end()
    raise KeyboardInterrupt


def _flush_or_drop(stream: TextIO) -> None:
    """Flush; where that fails, keep the interpreter from trying again at its end."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
