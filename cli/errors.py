"""The one place that turns what went wrong into words and an exit code (spec/CLI.md)."""

import json
import sys
import traceback

import click

from snap.errors import SnapError, UsageError

from .output import shown, storable

OK = 0
FAILED = 1
INCOMPLETE = 3
DAMAGED = 4
INTERRUPTED = 130
BUG = 70

_SEVERITY = (OK, INCOMPLETE, FAILED, DAMAGED)


def worst(codes: list[int]) -> int:
    """Return the exit code of a run whose parts ended with ``codes``."""
    return max(codes, key=lambda c: _SEVERITY.index(c) if c in _SEVERITY else 1, default=OK)


def report_failure(error: BaseException, *, as_json: bool) -> int:
    """Say on standard error what happened; return the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone: it knows, and nobody else is there to be told.
        return FAILED
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and as_json:
        path = error.ctx.command_path if error.ctx is not None else "snap"
        print_error("missing command", f"see '{path} --help'", code=error.exit_code, as_json=True)
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    message, hint, code = _words_of(error)
    if code == BUG:
        traceback.print_exception(error)
    print_error(message, hint, code=code, as_json=as_json)
    return code


def _words_of(error: BaseException) -> tuple[str, str, int]:
    """Return message, hint and exit code."""
    match error:
        case SnapError():
            return str(error), error.hint, error.exit_code
        case click.ClickException():
            return *_words_of_click(error), UsageError.exit_code
        case OSError():
            return words_of_os_error(error), "", FAILED
        case KeyboardInterrupt():
            return "interrupted", "", INTERRUPTED
        case _:
            message = f"this is a bug in snap: {type(error).__name__}: {error}"
            return message, "please report it with the lines above and what you called", BUG


def print_error(message: str, hint: str = "", *, code: int, as_json: bool) -> None:
    """Print an error on standard error: two lines for people, or one JSON object."""
    if as_json:
        fields = {
            "message_type": "error",
            "code": code,
            "message": storable(message),
            "hint": storable(hint),
        }
        print(json.dumps(fields), file=sys.stderr)
        return
    print(f"snap: error: {shown(message)}", file=sys.stderr)
    if hint:
        print(f"snap: hint: {shown(hint)}", file=sys.stderr)


def words_of_os_error(error: OSError) -> str:
    """Return what the system says, naming the file."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    if error.filename is None:
        return reason
    return f"{error.filename}: {reason}"


def _words_of_click(error: click.ClickException) -> tuple[str, str]:
    """Return click's message in our style, and a hint."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"see '{context.command_path} --help'" if context is not None else ""
    if isinstance(error, click.NoSuchOption):
        if error.possibilities:
            hint = f"did you mean {' or '.join(error.possibilities)}?"
        return f"no such option: {error.option_name}", hint
    message = " ".join(error.format_message().split()).removesuffix(".")
    return message[:1].lower() + message[1:], hint
