"""Setting damaged objects aside: out of the format's names, and not lost (spec/FORMAT.md §2.1)."""

from snap.backends.base import Backend, ObjectNotFound, PermissionDenied

from .ids import object_id

ASIDE_PREFIX = "aside/"
_DIGITS = 16


def aside_name(name: str, stored: bytes) -> str:
    """Return where an object is kept: its name behind ``aside/``, and what tells its bytes."""
    return f"{ASIDE_PREFIX}{name}-{object_id(stored).hex()[:_DIGITS]}"


def keep_aside(backend: Backend, name: str) -> bool:
    """Keep a copy of an object's bytes; return whether there was one.

    A copy made earlier, of other bytes under this name, stays.
    """
    try:
        stored = backend.get(name)
    except ObjectNotFound:
        return False
    backend.put(aside_name(name, stored), stored)
    return True


def set_aside(backend: Backend, name: str) -> str:
    """Move an object aside: it is put there before it is deleted, so dying leaves one or both.

    Return why it stays nevertheless, or nothing.

    Raises:
        BackendError: the store failed; the object is as before.
    """
    try:
        before = backend.stat(name)
        if not keep_aside(backend, name):
            return ""
        if backend.stat(name) != before:
            return "it was put anew meanwhile"
        backend.delete(name)
    except ObjectNotFound:
        # Somebody else was faster.
        return ""
    except PermissionDenied as error:
        return f"the store does not let it go: {error}"
    return ""
