"""Measure what a large index costs: time, memory and the cache's size. See bench/README.md.

Makes a repository of N invented blobs in a memory file system: index objects through the product's
own functions, packs as sparse files of the right size, and a few real small snapshots.
"""

import argparse
import os
import random
import shutil
import struct
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from tools import PASSWORD, Measured, Snap, measure, size_of, snap_program

from snap.backends.local import LocalBackend
from snap.repo.catalog import list_snapshots
from snap.repo.clock import MINUTE_NS
from snap.repo.envelope import seal_object
from snap.repo.ids import ID_BYTES, Kind, ObjectId, object_id, pack_name
from snap.repo.index import PackColumns, join_columns
from snap.repo.pack import DATA_PACK
from snap.repo.repository import INDEX_PREFIX, SNAPSHOT_PREFIX, Repository, open_repository
from snap.repo.snapshot import encode_snapshot

BLOBS_A_PACK = 32
BLOBS_AN_INDEX = 100_000
RAW_BYTES = 1_200_000
STORED_BYTES = 900_000
SNAPSHOTS = 1000


def invented_pack(chance: random.Random) -> PackColumns:
    """Return a pack of full size with random ids."""
    n = BLOBS_A_PACK
    stored = [STORED_BYTES + chance.randrange(100_000) for _ in range(n)]
    offsets = [2000 + sum(stored[:i]) for i in range(n)]
    columns = (
        chance.randbytes(ID_BYTES * n),
        bytes([Kind.DATA]) * n,
        b"\1" * n,
        bytes(2 * n),
        struct.pack(f"<{n}I", *range(n)),
        struct.pack(f"<{n}I", *offsets),
        struct.pack(f"<{n}I", *stored),
        struct.pack(f"<{n}I", *[RAW_BYTES] * n),
    )
    id_ = ObjectId(chance.randbytes(ID_BYTES))
    size_bytes = offsets[-1] + stored[-1] + 52 * n + 60
    return PackColumns(id_, DATA_PACK, size_bytes, 1, n, b"".join(columns))


def put_sparse(path: Path, size_bytes: int) -> None:
    """Make a file of a size that takes no space."""
    with path.open("wb") as file:
        file.truncate(size_bytes)


def invent(repository: Repository, root: Path, blobs: int) -> None:
    """Put index objects that name ``blobs`` invented blobs, and the packs that they name."""
    chance = random.Random(blobs)
    for number in range(256):
        (root / "data" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    left = blobs
    while left > 0:
        count = min(left, BLOBS_AN_INDEX)
        packs = [invented_pack(chance) for _ in range(max(1, count // BLOBS_A_PACK))]
        for pack in packs:
            put_sparse(root / pack_name(pack.kind, pack.id), pack.size_bytes)
        stored = seal_object(repository.keys, Kind.INDEX, join_columns(packs))
        repository.backend.put(INDEX_PREFIX + object_id(stored).hex(), stored)
        left -= BLOBS_AN_INDEX


def repeat_snapshots(repository: Repository, count: int) -> None:
    """Put so many snapshots more, like the last one."""
    last = list_snapshots(repository)[-1]
    for number in range(count):
        body = encode_snapshot(replace(last, time_ns=last.time_ns + number * MINUTE_NS))
        stored = seal_object(repository.keys, Kind.SNAPSHOT, body)
        repository.backend.put(SNAPSHOT_PREFIX + object_id(stored).hex(), stored)


def show(what: str, measured: Measured, cache: Path) -> None:
    """Print one row."""
    mib = size_of(cache) / (1 << 20)
    print(
        f"| {what:<42} | {measured.seconds:8.2f} | {measured.peak_mib:8.0f} | {mib:8.0f} |",
        flush=True,
    )


def run(scratch: Path, blobs: int) -> None:
    """Make the repository and measure the commands."""
    snap = Snap(snap_program(), scratch)
    snap.environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
    snap.init()
    data = scratch / "data"
    data.mkdir()
    for day in range(3):
        for number in range(20):
            (data / f"file-{number}").write_bytes(os.urandom(1000 + day))
        snap.backup(data)
    with open_repository(LocalBackend(snap.repository), PASSWORD, cache_dir=None) as repository:
        invent(repository, snap.repository, blobs)
    print(f"{blobs:,} blobs, {blobs // BLOBS_A_PACK:,} packs, index objects of {BLOBS_AN_INDEX:,}")
    print(f"| {'command':<42} | {'seconds':>8} | {'peak MiB':>8} | {'cache MiB':>8} |")

    def timed(what: str, *arguments: str) -> None:
        show(what, measure([*snap.program, *arguments], snap.environment), snap.cache)

    small = data / "file-0"
    shutil.rmtree(snap.cache)
    timed("snapshots, empty cache", "snapshots")
    timed("stats, empty cache: it is made", "stats")
    timed("snapshots", "snapshots")
    timed("ls of a snapshot", "ls", "latest")
    small.write_bytes(os.urandom(2000))
    timed("backup of one small file, new", "backup", "-q", "--name", "small", str(small))
    timed("backup of one small file, unchanged", "backup", "-q", "--name", "small", str(small))
    timed("stats", "stats")
    timed("check", "check", "-q")
    timed("check, again", "check", "-q")
    with open_repository(LocalBackend(snap.repository), PASSWORD, cache_dir=None) as repository:
        repeat_snapshots(repository, SNAPSHOTS)
    timed(f"snapshots, {SNAPSHOTS:,} more of them", "snapshots")
    timed("check, with them", "check", "-q")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blobs", type=int, default=10_000_000)
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    a = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="snap-scale-", dir=a.scratch))
    try:
        run(scratch, a.blobs)
    finally:
        # Hundreds of thousands of files: faster than shutil.
        subprocess.run(["rm", "-rf", str(scratch)], check=True)


if __name__ == "__main__":
    main()
