"""A store that nothing can be written to."""

from typing import Unpack

from .base import Buffer, PermissionDenied, PutOptions
from .wrapper import Wrapper


class ReadOnlyBackend(Wrapper):
    """Passes reads on to another store and refuses everything else."""

    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        """Refuse."""
        raise PermissionDenied(f"{name}: {self.location} was opened for reading only")

    def delete(self, name: str) -> None:
        """Refuse."""
        raise PermissionDenied(f"{name}: {self.location} was opened for reading only")
