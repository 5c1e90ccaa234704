"""How much the long tests do: what CI has time for, or with ``scripts/test --full`` all of it."""

import os

_FULL = bool(os.environ.get("TEST_FULL"))


def rounds(full: int, *, otherwise: int) -> int:
    """Return how often to do what only differs by chance."""
    return full if _FULL else otherwise
