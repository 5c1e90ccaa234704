"""Where passwords come from: a file, a program, the environment, or a person at a terminal."""

import getpass
import shlex
import subprocess
import sys
from pathlib import Path

from snap.errors import SnapError, UsageError

from .errors import words_of_os_error
from .settings import PasswordKind, PasswordSource, Settings

_SOURCES_HINT = (
    "give it with --password-file, --password-command, SNAP_PASSWORD, SNAP_PASSWORD_FILE "
    "or SNAP_PASSWORD_COMMAND"
)


def read_password(settings: Settings) -> str:
    """Return the password, or recovery key, that opens the repository.

    Raises:
        UsageError: none given and no terminal to ask at, more than one given, or empty.
        SnapError: the file or the program does not give one.
    """
    source = _only_source(settings)
    return _ask("password for the repository: ") if source is None else read_secret(source)


def choose_password(settings: Settings) -> str:
    """Return the password for a new repository; a person is asked twice.

    Raises:
        UsageError, SnapError: as `read_password`; or the two differ.
    """
    source = _only_source(settings)
    return (
        _ask_twice("password for the new repository: ") if source is None else read_secret(source)
    )


def choose_new_password(file: str | None) -> str:
    """Return the password for a new key slot, from a file or a person, who is asked twice.

    Raises:
        UsageError, SnapError: as `choose_password`.
    """
    if file is not None:
        return read_secret(PasswordSource(PasswordKind.FILE, file, "--new-password-file"))
    return _ask_twice("new password: ", hint="give it with --new-password-file")


def _only_source(settings: Settings) -> PasswordSource | None:
    sources = settings.passwords
    if len(sources) > 1:
        raise UsageError(
            f"{' and '.join(s.origin for s in sources)} are both set", "set only one of them"
        )
    return sources[0] if sources else None


def read_secret(source: PasswordSource) -> str:
    """Return the password that one place gives.

    Raises:
        UsageError, SnapError: it gives none.
    """
    if source.kind is PasswordKind.FILE:
        password = _read_file(source)
    elif source.kind is PasswordKind.COMMAND:
        password = _read_command(source)
    else:
        password = source.text
    return _not_empty(password, f"the password from {source.origin} is empty")


def _read_file(source: PasswordSource) -> str:
    try:
        stored = Path(source.text).expanduser().read_bytes()
    except OSError as error:
        raise SnapError(
            f"cannot read the password file: {words_of_os_error(error)}",
            f"check {source.origin}",
        ) from error
    return _line(stored)


def _read_command(source: PasswordSource) -> str:
    try:
        words = shlex.split(source.text)
    except ValueError as error:
        raise UsageError(f"{source.origin}: {str(error).lower()}: {source.text}") from error
    if not words:
        raise UsageError(f"{source.origin} is empty")
    try:
        # Not our standard input: that may be what is being backed up.
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise SnapError(
            f"cannot run the password command: {words_of_os_error(error)}",
            f"check {source.origin}",
        ) from error
    if done.returncode != 0:
        raise SnapError(
            f"the password command failed with exit code {done.returncode}: {words[0]}",
            f"check {source.origin}",
        )
    return _line(done.stdout)


def _line(stored: bytes) -> str:
    """Return what an editor or a program means: without the line end it puts behind it."""
    return stored.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _ask(prompt: str, hint: str = _SOURCES_HINT) -> str:
    if not sys.stderr.isatty():
        raise UsageError("no password given, and there is no terminal to ask at", hint)
    try:
        password = getpass.getpass(prompt, stream=sys.stderr)
    except EOFError as error:
        raise UsageError("no password given", hint) from error
    return _not_empty(password, "the password is empty")


def _ask_twice(prompt: str, hint: str = _SOURCES_HINT) -> str:
    first = _ask(prompt, hint)
    if _ask("the same again: ", hint) != first:
        raise UsageError("the two passwords differ", "try again")
    return first


def _not_empty(password: str, problem: str) -> str:
    if not password:
        raise UsageError(problem, "an empty password protects nothing")
    return password
