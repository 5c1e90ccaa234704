"""What the stores have in common that keep each object as a file of its name."""

from snap.errors import UsageError

from .base import check_name

TEMPORARY = "tmp"
"""The folder in which a put writes before it renames; no object's name begins with it."""

STALE_SECONDS = 24 * 3600
"""A temporary file older than a day belongs to a put that died: none takes so long."""


def check_file_name(name: str) -> str:
    """Return ``name`` if an object can have it, else raise UsageError."""
    if check_name(name).partition("/")[0] == TEMPORARY:
        raise UsageError(f"not a valid object name: {name!r} is for temporary files")
    return name
