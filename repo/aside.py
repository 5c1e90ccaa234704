"""Setting damaged objects aside: out of the format's names, and not lost (spec/FORMAT.md §2.1)."""

import contextlib

from snap.backends.base import Backend, ObjectNotFound, PermissionDenied

from .ids import id_of_name, object_id

ASIDE_PREFIX = "aside/"
_DIGITS = 16


def aside_name(name: str, stored: bytes) -> str:
    """Return where an object is kept: its name behind ``aside/``, and what tells its bytes."""
    return f"{ASIDE_PREFIX}{name}-{object_id(stored).hex()[:_DIGITS]}"


def keep_aside(backend: Backend, name: str) -> None:
    """Keep a copy of an object's bytes, if there is one.

    A copy made earlier, of other bytes under this name, stays.
    """
    with contextlib.suppress(ObjectNotFound):
        stored = backend.get(name)
        backend.put(aside_name(name, stored), stored)


def set_aside(backend: Backend, name: str, *, even_whole: bool = False) -> str:
    """Move an object aside: it is put there before it is deleted, so dying leaves one or both.

    Return why it stays nevertheless, or nothing. One that proves to be what its name says stays,
    unless ``even_whole``: what was seen was then damaged on its way.

    Raises:
        BackendError: the store failed; the object is as before.
    """
    try:
        before = backend.stat(name)
        stored = backend.get(name)
        if object_id(stored) == id_of_name(name) and not even_whole:
            return "it was whole when it was read again: check memory, network and disk"
        backend.put(aside_name(name, stored), stored)
        if backend.stat(name) != before:
            return "it was put anew meanwhile"
        backend.delete(name)
    except ObjectNotFound:
        # Somebody else was faster.
        return ""
    except PermissionDenied as error:
        return f"the store does not let it go: {error}"
    return ""
