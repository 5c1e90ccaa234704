"""``snap init``: make a repository."""

import getpass
import os
import socket
from dataclasses import replace

import click

from snap.backends.base import Backend
from snap.backends.probe import Level, probe_store
from snap.errors import UsageError
from snap.repo.clock import system_clock
from snap.repo.config import RepositoryConfig, StoreRecord
from snap.repo.copy import create_copy, refuse_taken
from snap.repo.keys import calibrate
from snap.repo.repository import create_repository, refuse_existing

from .copies import place_of
from .options import SnapCommand
from .output import print_json, print_line, print_warning
from .password import choose_password
from .session import location_of, open_session, open_store
from .settings import Settings

DEFAULT_KDF_SECONDS = 0.5
"""Long enough to make guessing dear, short enough for a nightly job."""

_LONGEST_KDF_SECONDS = 60


def _check_seconds(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    # Written so that "nan", which click takes for a number in any range, is refused as well.
    if not 0 <= value <= _LONGEST_KDF_SECONDS:
        raise UsageError(f"--kdf-seconds is from 0 to {_LONGEST_KDF_SECONDS}")
    return value


kdf_option = click.option(
    "--kdf-seconds",
    type=float,
    callback=_check_seconds,
    default=DEFAULT_KDF_SECONDS,
    show_default=True,
    help="How long unlocking should take on this machine; 0 is the minimum cost.",
)


@click.command(cls=SnapCommand)
@click.option("--label", metavar="TEXT", help="Name of the first key.  [default: user@host]")
@click.option(
    "--copy-of",
    metavar="PRIMARY",
    help="Make an empty copy of the repository that is there, with the same keys.",
)
@kdf_option
@click.pass_obj
def command(
    settings: Settings, *, label: str | None, copy_of: str | None, kdf_seconds: float
) -> int:
    """Make a repository.

    Prints its id and, once, the recovery key: it opens the repository when the password is lost.
    With --copy-of it is a copy, opened by the same passwords, that 'snap replicate' fills.
    """
    if copy_of is not None:
        if label is not None:
            raise UsageError("--label is for the key of a new repository; a copy has the same keys")
        return _make_copy(settings, copy_of)
    backend = open_store(settings, location_of(settings))
    try:
        refuse_existing(backend)
        password = choose_password(settings)
        store = _probe(backend, settings)
        config, recovery_key = create_repository(
            backend,
            password,
            label=default_label() if label is None else label,
            cost=calibrate(kdf_seconds),
            store=store,
        )
    finally:
        backend.close()
    if settings.json:
        print_json({**_record(config, backend), "recovery_key": recovery_key})
        return 0
    print_line(f"created repository {config.repository_id.hex()} at {backend.location}")
    print()
    print_recovery_key(recovery_key)
    return 0


def _make_copy(settings: Settings, primary: str) -> int:
    location = location_of(settings)
    with open_session(replace(settings, repository=place_of(settings, primary))) as repository:
        backend = open_store(settings, location)
        try:
            refuse_taken(repository, backend)
            store = _probe(backend, settings)
            config = create_copy(repository, backend, store=store)
        finally:
            backend.close()
    if settings.json:
        print_json({**_record(config, backend), "copy_of": repository.backend.location})
    elif not settings.quiet:
        print_line(f"created copy of repository {config.repository_id.hex()} at {backend.location}")
        print_line("it is empty until 'snap replicate' has run; the same passwords open it")
    return 0


def _record(config: RepositoryConfig, backend: Backend) -> dict[str, str]:
    return {
        "message_type": "initialized",
        "repository_id": config.repository_id.hex(),
        "instance_id": config.instance_id.hex(),
        "location": backend.location,
    }


def _probe(backend: Backend, settings: Settings) -> StoreRecord:
    """Refuse a store that cannot hold a repository; say, and return, what else it lacks."""
    report = probe_store(backend, clock=system_clock)
    report.require()
    for promise in report.broken(Level.WANTED):
        print_warning(
            f"this store breaks a promise: {promise.name}: {promise.words}", as_json=settings.json
        )
    return StoreRecord(system_clock(), report.lacks)


def default_label() -> str:
    """Return who makes a key, and where, as its name."""
    return f"{username()}@{socket.gethostname()}"


def username() -> str:
    """Return the user's name, or number where the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def print_recovery_key(recovery_key: str) -> None:
    """Print a recovery key with what to do with it."""
    print(f"recovery key: {recovery_key}")
    print()
    print("Write this key down or print it, and keep it away from this machine. It opens the")
    print("repository when the password is lost, for whoever has it. It is not shown again.")
    print("Without the password and without this key, nobody can restore anything.")
