"""What no backup program on this machine can go below: the same work with nothing around it.

On all cores, in threads that share nothing: compress, decompress and write, read and hash, each
for the bytes of `--megabytes`. Beside it stands what snap took for the whole (bench/compare.py).
"""

import argparse
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import zstandard
from blake3 import blake3
from datasets import make_rows
from scratch import require_space, scratch_folder

from snap.repo.compression import Compression, compressor

MIB = 1 << 20
_BLOB_BYTES = 1_200_000
_SAMPLE_BYTES = 150_000_000


def on_all_cores(work: Callable[[int], None], threads: int) -> float:
    """Return the seconds that it takes until every thread has done its part."""
    started = time.perf_counter()
    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return time.perf_counter() - started


class Bounds:
    """One sample of data, cut into blobs."""

    def __init__(self, path: Path, threads: int) -> None:
        data = path.read_bytes()
        self._path = path
        self._size = len(data)
        self._threads = threads
        self._blobs = [data[at : at + _BLOB_BYTES] for at in range(0, len(data), _BLOB_BYTES)]
        self._frames: list[bytes] = []

    def compress(self, make: Callable[[], zstandard.ZstdCompressor]) -> tuple[float, float]:
        """Return seconds and ratio."""
        frames: list[list[bytes]] = [[] for _ in range(self._threads)]

        def work(number: int) -> None:
            engine = make()
            for blob in self._blobs[number :: self._threads]:
                frames[number].append(engine.compress(blob))

        seconds = on_all_cores(work, self._threads)
        self._frames = [frame for part in frames for frame in part]
        return seconds, self._size / sum(len(frame) for frame in self._frames)

    def decompress(self, folder: Path | None) -> float:
        """Return the seconds for opening all frames, and writing them where a folder is given."""

        def work(number: int) -> None:
            engine = zstandard.ZstdDecompressor()
            file = (folder / f"out-{number}").open("wb") if folder is not None else None
            for frame in self._frames[number :: self._threads]:
                plain = engine.decompress(frame)
                if file is not None:
                    file.write(plain)
            if file is not None:
                file.close()

        return on_all_cores(work, self._threads)

    def read_and_hash(self) -> float:
        """Return the seconds for reading the file in pieces of 1 MiB and hashing each."""
        key = bytes(32)

        def work(number: int) -> None:
            buffer = memoryview(bytearray(MIB))
            with self._path.open("rb", buffering=0) as file:
                for at in range(number * MIB, self._size, self._threads * MIB):
                    count = os.preadv(file.fileno(), [buffer], at)
                    blake3(buffer[:count], key=key).digest()

        return on_all_cores(work, self._threads)


def report(bounds: Bounds, folder: Path, scale: float) -> Sequence[str]:
    """Return the lines; seconds are scaled up to the size that is asked for."""
    lines = []
    levels: dict[str, Callable[[], zstandard.ZstdCompressor]] = {
        "zstd level 1": lambda: zstandard.ZstdCompressor(level=1),
        "zstd level 3": lambda: zstandard.ZstdCompressor(level=3),
        "snap's default": lambda: _required(Compression.DEFAULT),
    }
    for name, make in levels.items():
        seconds, ratio = bounds.compress(make)
        lines.append(f"compress, {name}: {seconds * scale:6.2f} s at {ratio:.2f} : 1")
    lines.append(f"decompress: {bounds.decompress(None) * scale:6.2f} s")
    lines.append(f"decompress and write: {bounds.decompress(folder) * scale:6.2f} s")
    lines.append(f"read and hash: {bounds.read_and_hash() * scale:6.2f} s")
    return lines


def _required(choice: Compression) -> zstandard.ZstdCompressor:
    engine = compressor(choice)
    if engine is None:
        raise ValueError("that compresses nothing")
    return engine


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2400)
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    a = parser.parse_args()
    require_space(a.scratch, 4 * _SAMPLE_BYTES, "the sample")
    threads = os.cpu_count() or 2
    with scratch_folder(a.scratch) as folder:
        path = folder / "rows"
        make_rows(path, _SAMPLE_BYTES, 0)
        scale = a.megabytes * 1_000_000 / path.stat().st_size
        print(f"{threads} threads, {a.megabytes} MB of text (a sample of 150 MB, scaled)")
        for line in report(Bounds(path, threads), folder, scale):
            print(line, flush=True)


if __name__ == "__main__":
    main()
