"""Cut streams into blobs at content-defined points (spec/FORMAT.md §9.6).

FastCDC (Xia et al., 2020) with a keyed gear table; what that hides and what not is in
spec/DESIGN.md.
"""

from collections.abc import Iterator

from pyfastcdc import FastCDC

from .config import Parameters

READ_BYTES = 8 << 20
"""One read: twice the largest blob, so that each read completes at least one."""


class Chunker:
    """Cuts one file at a time; one instance serves many files, one thread."""

    def __init__(self, parameters: Parameters, seed: int) -> None:
        self._cdc = FastCDC(
            parameters.blob_avg_bytes,
            min_size=parameters.blob_min_bytes,
            max_size=parameters.blob_max_bytes,
            normalized_chunking=2,
            seed=seed,
        )
        self._min_bytes = parameters.blob_min_bytes
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes | memoryview]:
        """Yield the blobs that are complete with ``data``.

        They are views of ``data``; a cut that only the end of ``data`` caused is kept for later.
        """
        buffer = self._rest + data if self._rest else data
        view = memoryview(buffer)
        end = 0
        for chunk in self._cdc.cut_buf(buffer):
            stop = chunk.offset + chunk.length
            if stop == len(buffer):
                break
            yield view[end:stop]
            end = stop
        self._rest = bytes(view[end:])

    def finish(self) -> Iterator[bytes | memoryview]:
        """Yield the last blob, if any bytes are left, and be ready for the next file."""
        rest, self._rest = self._rest, b""
        view = memoryview(rest)
        end = 0
        for chunk in self._cdc.cut_buf(rest) if len(rest) > self._min_bytes else ():
            yield view[end : chunk.offset + chunk.length]
            end = chunk.offset + chunk.length
        if end < len(rest):
            yield view[end:]
