"""``snap key``: the keys of a repository."""

from typing import Any

import click

from snap.errors import UsageError
from snap.repo.keys import Capability, KeySlot, calibrate

from .errors import INCOMPLETE, OK
from .init import default_label, kdf_option, print_recovery_key
from .options import SnapCommand, SnapGroup
from .output import print_json, print_line, print_table
from .password import choose_new_password
from .session import open_session
from .settings import Settings
from .times import iso_time, local_time

_SHORT_ID = 8

_new_password_option = click.option(
    "--new-password-file", metavar="FILE", help="Read the new password from a file."
)


@click.group(cls=SnapGroup)
def command() -> None:
    """Add, list, change and remove keys.

    A full key restores; a writer key backs up, lists and compares, and reads no file content.
    """


@command.command("list", cls=SnapCommand)
@click.pass_obj
def list_keys(settings: Settings) -> int:
    """List the keys; the one in use is marked."""
    with open_session(settings) as repository:
        slots = repository.key_slots()
        current = repository.slot.id
    if settings.json:
        print_json([{**_record(slot), "current": slot.id == current} for slot in slots])
        return 0
    print_table(
        ("", "id", "kind", "capability", "~label", "created"),
        [
            (
                "*" if slot.id == current else "",
                slot.id.hex()[:_SHORT_ID],
                slot.kind,
                str(slot.capability),
                slot.label,
                local_time(slot.created_ns),
            )
            for slot in slots
        ],
    )
    return 0


@command.command("add", cls=SnapCommand)
@click.option(
    "--capability",
    type=click.Choice([str(c) for c in Capability]),
    help="What the new key can do.  [default: full]",
)
@click.option("--label", metavar="TEXT", help="Name of the new key.  [default: user@host]")
@click.option("--recovery", is_flag=True, help="Make another recovery key and print it.")
@_new_password_option
@kdf_option
@click.pass_obj
def add_key(settings: Settings, /, *, recovery: bool, **arguments: Any) -> int:
    """Add a key: another password, or another recovery key."""
    if recovery:
        return _add_recovery_key(settings, **arguments)
    return _add_password(settings, **arguments)


def _add_recovery_key(
    settings: Settings,
    *,
    capability: str | None,
    label: str | None,
    new_password_file: str | None,
    kdf_seconds: float,
) -> int:
    if capability == Capability.WRITER or new_password_file is not None:
        raise UsageError(
            "a recovery key is always a full key and has no password",
            "leave out --capability writer and --new-password-file",
        )
    with open_session(settings) as repository:
        slot, text = repository.add_recovery_slot(label=label or "recovery key")
    if settings.json:
        print_json({**_record(slot), "recovery_key": text})
    else:
        print_line(f"added {_words(slot)}")
        print()
        print_recovery_key(text)
    return 0


def _add_password(
    settings: Settings,
    *,
    capability: str | None,
    label: str | None,
    new_password_file: str | None,
    kdf_seconds: float,
) -> int:
    with open_session(settings) as repository:
        slot = repository.add_passphrase_slot(
            choose_new_password(new_password_file),
            capability=Capability(capability or Capability.FULL),
            label=label or default_label(),
            cost=calibrate(kdf_seconds),
        )
    _print_slot("added", slot, settings)
    return 0


@command.command("remove", cls=SnapCommand)
@click.argument("id_", metavar="ID")
@click.pass_obj
def remove_key(settings: Settings, *, id_: str) -> int:
    """Remove a key; ID is its id or the beginning of it.

    Whoever has had the key may have kept what it opens: this keeps it from opening anew.
    """
    with open_session(settings) as repository:
        slot = repository.remove_slot(id_)
        kept = bool(repository.kept)
    _print_slot("could not yet remove" if kept else "removed", slot, settings)
    return INCOMPLETE if kept else OK


@command.command("passwd", cls=SnapCommand)
@_new_password_option
@kdf_option
@click.pass_obj
def change_password(
    settings: Settings, *, new_password_file: str | None, kdf_seconds: float
) -> int:
    """Change the password of the key in use."""
    with open_session(settings) as repository:
        slot = repository.change_passphrase(
            choose_new_password(new_password_file), cost=calibrate(kdf_seconds)
        )
        kept = bool(repository.kept)
    _print_slot("changed the password of", slot, settings)
    return INCOMPLETE if kept else OK


def _print_slot(verb: str, slot: KeySlot, settings: Settings) -> None:
    if settings.json:
        print_json(_record(slot))
    elif not settings.quiet:
        print_line(f"{verb} {_words(slot)}")


def _words(slot: KeySlot) -> str:
    return f"{slot.capability} key {slot.id.hex()[:_SHORT_ID]} ({slot.label})"


def _record(slot: KeySlot) -> dict[str, Any]:
    return {
        "id": slot.id.hex(),
        "kind": slot.kind,
        "capability": str(slot.capability),
        "label": slot.label,
        "created": iso_time(slot.created_ns),
    }
