"""A store in which something else happens in the middle of an operation."""

from collections.abc import Callable

from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend


class Beside(FaultyBackend):
    """Does something else once, just before the first call of this kind under a prefix."""

    def __init__(
        self, inner: MemoryBackend, operation: str, prefix: str, act: Callable[[], None]
    ) -> None:
        super().__init__(inner)
        self._when = operation, prefix
        self._act: Callable[[], None] | None = act

    def _struck(self, operation: str, name: str) -> list[Fault]:
        act = self._act
        if act is not None and operation == self._when[0] and name.startswith(self._when[1]):
            self._act = None
            act()
        return super()._struck(operation, name)

    @property
    def has_acted(self) -> bool:
        return self._act is None
