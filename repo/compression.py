"""How hard zstd tries. Whatever is chosen, every reader reads it."""

from enum import StrEnum

import zstandard


class Compression(StrEnum):
    """From nothing to much; what a word stands for may change from version to version."""

    OFF = "off"
    FAST = "fast"
    DEFAULT = "default"
    MAX = "max"


_MAX_LEVEL = 17
_FAST = {"hash_log": 14, "min_match": 6}
_DEFAULT = {"hash_log": 17, "min_match": 5}
"""Against zstd's level 3 on blobs of 1.2 MB (2026-11-23, one core): rows as text 174 instead of
127 MB/s at a ratio of 2.42 instead of 2.41, a SQLite event store 219 instead of 194 at 2.48
instead of 2.47, machine code 385 instead of 253 at 2.34 instead of 2.36, Python source 231 instead
of 274 at 4.07 instead of 4.36. The table of 512 KiB stays in a core's own cache."""


def compressor(choice: Compression) -> zstandard.ZstdCompressor | None:
    """Return a compressor for one thread, None where nothing is to be compressed."""
    if choice is Compression.OFF:
        return None
    if choice is Compression.MAX:
        return zstandard.ZstdCompressor(level=_MAX_LEVEL)
    chosen = _FAST if choice is Compression.FAST else _DEFAULT
    parameters = zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_FAST,
        window_log=21,
        chain_log=chosen["hash_log"],
        search_log=1,
        # Anything else would turn the coding of literals off.
        target_length=0,
        **chosen,
    )
    return zstandard.ZstdCompressor(compression_params=parameters)
