"""The key slots of a repository, as objects in its store."""

from collections.abc import Iterator

from snap.backends.base import Backend
from snap.errors import IntegrityError

from .codec import DecodeError
from .crypto import Keys
from .ids import id_of_name
from .keys import KeySlot, SealedSlot, WrongPassword, open_slot, parse_slot
from .objects import get_verified

KEY_PREFIX = "keys/"


def sealed_slots(backend: Backend) -> Iterator[SealedSlot]:
    """Yield all key slots, not opened; raises as `read_slot`."""
    for stat in backend.list(KEY_PREFIX):
        if id_of_name(stat.name) is None:
            continue
        yield read_slot(backend, stat.name)


def read_slot(backend: Backend, name: str) -> SealedSlot:
    """Return one key slot, not opened.

    Raises:
        IntegrityError: it is damaged.
    """
    stored = get_verified(backend, name)
    try:
        return parse_slot(stored)
    except DecodeError as error:
        raise IntegrityError(f"{name}: damaged: {error}") from error


def open_any_slot(
    backend: Backend, credential: str, repository_id: bytes, warnings: list[str]
) -> tuple[Keys, KeySlot]:
    """Try the credential on every slot; a damaged slot must not keep the others from opening.

    What is wrong with a slot goes to ``warnings``.

    Raises:
        IntegrityError: there is no slot at all.
        WrongPassword: none opens.
    """
    names = [s.name for s in backend.list(KEY_PREFIX) if id_of_name(s.name) is not None]
    if not names:
        raise IntegrityError(
            f"the repository at {backend.location} has no key slot",
            "restore the objects under 'keys/' from a copy: without one, nothing can be read",
        )
    for name in names:
        try:
            sealed = read_slot(backend, name)
            keys = open_slot(sealed, credential, repository_id)
        except (IntegrityError, DecodeError) as error:
            problem = str(error) if isinstance(error, IntegrityError) else f"{name}: {error}"
            warnings.append(problem)
            continue
        if keys is not None:
            return keys, sealed.slot
    hint = "check the passphrase; the recovery key that 'snap init' printed works as well"
    if warnings:
        hint += f"; a key slot is damaged and was left out ({warnings[0]})"
    raise WrongPassword("wrong passphrase: no key slot opens with it", hint)


def store_slot(backend: Backend, stored: bytes) -> KeySlot:
    """Store a key slot; durable on return."""
    slot = parse_slot(stored).slot
    backend.put(KEY_PREFIX + slot.id.hex(), stored)
    return slot
