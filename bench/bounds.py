"""What no backup program on this machine can go below: the same work with nothing around it.

On all cores, in threads that share nothing and wait for nobody, scaled to the bytes of
`--megabytes`: what a first backup (read, hash, compress, encrypt, write), a second look (read,
hash) and a restore (read, decrypt, decompress, hash, write) cannot leave out. Beside it stands
what snap took for the whole (bench/compare.py).
"""

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from datasets import make_database, make_rows
from scratch import require_space, scratch_folder

from snap.repo.compression import Compression, compressor

MIB = 1 << 20
_BLOB_BYTES = 1_200_000
_SAMPLE_BYTES = 300_000_000
_KEY = bytes(32)
_NONCE = bytes(12)
_KINDS: dict[str, Callable[[Path, int, int], None]] = {
    "text": make_rows,
    "SQLite file": make_database,
}


class Took(NamedTuple):
    """Seconds on the clock, and of all processors: these mean something beside other work too."""

    seconds: float
    processor: float

    def told(self, scale: float) -> str:
        return f"{self.seconds * scale:.2f} s, {self.processor * scale:.2f} s of processors"


def on_all_cores(work: Callable[[int], None], threads: int) -> Took:
    """Return how long it takes until every thread has done its part."""
    started, begun = time.perf_counter(), time.process_time()
    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return Took(time.perf_counter() - started, time.process_time() - begun)


@dataclass(frozen=True)
class Stored:
    """Where a thread's encrypted frames lie: offset and length of each in its own file."""

    path: Path
    places: list[tuple[int, int]]


class Bounds:
    """One sample of data in a memory file system, worked on in blobs."""

    def __init__(self, sample: Path, folder: Path, threads: int) -> None:
        self._sample = sample
        self._folder = folder
        self._size = sample.stat().st_size
        self._threads = threads
        self._stored = [Stored(folder / f"frames-{n}", []) for n in range(threads)]

    def _blobs(self, number: int) -> Iterator[memoryview]:
        """Read every blob that is ``number``'s part; the buffer is the same each time."""
        buffer = memoryview(bytearray(_BLOB_BYTES))
        with self._sample.open("rb", buffering=0) as file:
            step = self._threads * _BLOB_BYTES
            for at in range(number * _BLOB_BYTES, self._size, step):
                yield buffer[: os.preadv(file.fileno(), [buffer], at)]

    def first_backup(self, make: Callable[[], zstandard.ZstdCompressor]) -> tuple[Took, float]:
        """Read, hash, compress, encrypt, write; return the time and the ratio."""

        def work(number: int) -> None:
            engine, cipher = make(), AESGCM(_KEY)
            mine = self._stored[number]
            mine.places.clear()
            at = 0
            with mine.path.open("wb", buffering=0) as file:
                for blob in self._blobs(number):
                    blake3(blob, key=_KEY).digest()
                    sealed = cipher.encrypt(_NONCE, engine.compress(blob), None)
                    file.write(sealed)
                    mine.places.append((at, len(sealed)))
                    at += len(sealed)

        took = on_all_cores(work, self._threads)
        return took, self._size / sum(n for s in self._stored for _, n in s.places)

    def second_look(self) -> Took:
        """Read and hash."""

        def work(number: int) -> None:
            for blob in self._blobs(number):
                blake3(blob, key=_KEY).digest()

        return on_all_cores(work, self._threads)

    def restore(self) -> Took:
        """Read, decrypt, decompress, hash, write to one file a thread."""

        def work(number: int) -> None:
            engine, cipher = zstandard.ZstdDecompressor(), AESGCM(_KEY)
            mine, out = self._stored[number], self._folder / f"out-{number}"
            with mine.path.open("rb", buffering=0) as frames, out.open("wb", buffering=0) as file:
                for at, length in mine.places:
                    sealed = os.pread(frames.fileno(), length, at)
                    plain = engine.decompress(cipher.decrypt(_NONCE, sealed, None))
                    blake3(plain, key=_KEY).digest()
                    file.write(plain)
            out.unlink()

        return on_all_cores(work, self._threads)


def report(kind: str, bounds: Bounds, scale: float, repeat: int) -> Iterator[str]:
    """Yield the lines, the best of ``repeat`` each, scaled up to the size that is asked for."""
    levels: dict[str, Callable[[], zstandard.ZstdCompressor]] = {
        "zstd level 1": lambda: zstandard.ZstdCompressor(level=1),
        "zstd level 3": lambda: zstandard.ZstdCompressor(level=3),
        "snap's default": _default,
    }
    for name, make in levels.items():
        runs = [bounds.first_backup(make) for _ in range(repeat)]
        yield f"{kind}: first backup, {name}: {min(runs)[0].told(scale)} at {runs[0][1]:.2f} : 1"
    looks = min(bounds.second_look() for _ in range(repeat))
    yield f"{kind}: second look: {looks.told(scale)}"
    restores = min(bounds.restore() for _ in range(repeat))
    yield f"{kind}: restore of what snap's default made: {restores.told(scale)}"


def _default() -> zstandard.ZstdCompressor:
    engine = compressor(Compression.DEFAULT)
    if engine is None:
        raise ValueError("that compresses nothing")
    return engine


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2400)
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs is told")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    a = parser.parse_args()
    require_space(a.scratch, 4 * _SAMPLE_BYTES, "the sample")
    threads = os.cpu_count() or 2
    print(f"{threads} threads, {a.megabytes} MB, scaled up from a sample of 300 MB")
    for kind, make in _KINDS.items():
        with scratch_folder(a.scratch) as folder:
            sample = folder / "sample"
            make(sample, _SAMPLE_BYTES, 0)
            scale = a.megabytes * 1_000_000 / sample.stat().st_size
            for line in report(kind, Bounds(sample, folder, threads), scale, a.repeat):
                print(line, flush=True)


if __name__ == "__main__":
    main()
