"""Stores that break one promise each."""

from typing import Unpack

from snap.backends.base import Buffer, PutOptions
from snap.backends.wrapper import Wrapper


class LetsBothWin(Wrapper):
    """Of several exclusive puts of one name all succeed."""

    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        super().put(name, data, retain_until_ns=options.get("retain_until_ns"))


class ReadsElsewhere(Wrapper):
    """A range that does not begin at 0 begins a byte too early."""

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return super().get(name, max(0, offset - 1), length)
