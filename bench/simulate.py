"""A year of one database: what snap stores each day, and of how many blobs a snapshot is made.

Every day 0.5 % of the rows are updated at random, 1 % are appended, as many of the oldest deleted,
so that the file keeps its size; then it is backed up into one repository. See bench/README.md.
"""

import argparse
import csv
import random
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from datasets import random_words
from needed import needed_blobs, raw_bytes, stored_bytes
from plot import Panel, svg_plot
from scratch import require_space, scratch_folder
from tools import PASSWORD, ROOT, size_of

from snap.backends.location import open_backend
from snap.repo.backup import BackupOptions, run_backup
from snap.repo.browse import find_node
from snap.repo.clock import SECOND_NS
from snap.repo.content import extents_of
from snap.repo.dump import dump_file
from snap.repo.keys import MINIMUM_COST
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.snapshot import Snapshot
from snap.sources.files import FilesSource

MIB = 1 << 20
_ROW_BYTES = 400
"""What a row of `Life` takes in the file, with its part of the index."""
_APPENDED, _UPDATED = 0.01, 0.005
"""Shares of the rows, each day; as in make_states.py."""
_FIRST_DAY_NS = 1_700_000_000 * SECOND_NS
_DAY_NS = 86_400 * SECOND_NS
_COMPARED_EVERY = 30
"""Days between two comparisons of what is stored with the file."""
_COMPONENT, _NAME = "data", "events.db"
_ROOM = 150
"""Times the file's size: what the repository may take where a version stores much each day."""


@dataclass(frozen=True, slots=True)
class Day:
    """What one day's backup did. Sizes in bytes.

    Attributes:
        stored_bytes: What the repository grew by.
        blobs: Distinct data blobs that the day's snapshot needs.
        blobs_raw_bytes: What these hold before compression; the rest over `file_bytes` is no
            longer in the file.
        blobs_stored_bytes: What a restore of this day reads.
    """

    day: int
    file_bytes: int
    stored_bytes: int
    repository_bytes: int
    blobs: int
    extents: int
    blobs_raw_bytes: int
    blobs_stored_bytes: int
    seconds: float


class Life:
    """A database file that changes from day to day and keeps its size."""

    def __init__(self, path: Path, size_bytes: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = random_words(self._chance)
        self._rows = max(200, size_bytes // _ROW_BYTES)
        self._db = sqlite3.connect(path)
        self._db.execute("pragma synchronous=off")
        self._db.executescript(
            "create table events(id integer primary key, stream text, ts integer, payload text);"
            "create index events_stream on events(stream, ts);"
        )
        self._append(self._rows, 0)
        self._db.commit()

    def live(self, day: int) -> None:
        """Update, append and delete rows; the file is at rest when this returns."""
        first, last = self._db.execute("select min(id), max(id) from events").fetchone()
        updates = [
            (self._payload(), self._chance.randint(first, last))
            for _ in range(int(self._rows * _UPDATED))
        ]
        self._db.executemany("update events set payload=? where id=?", updates)
        count = int(self._rows * _APPENDED)
        self._append(count, day)
        self._db.execute("delete from events where id < ?", (first + count,))
        self._db.commit()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _append(self, count: int, day: int) -> None:
        start = _FIRST_DAY_NS // SECOND_NS + day * 86_400
        rows = (
            (f"s{self._chance.randrange(20_000)}", start + number, self._payload())
            for number in range(count)
        )
        self._db.executemany("insert into events(stream, ts, payload) values(?, ?, ?)", rows)

    def _payload(self) -> str:
        count = self._chance.randint(10, 60)
        text = " ".join(self._chance.choices(self._words, k=count))
        return f"{self._chance.getrandbits(128):032x} {text}"


def options_of(day: int, threshold: float) -> BackupOptions:
    """Return how a day is backed up: blobs used less than ``threshold`` are given up."""
    return BackupOptions(
        service="simulation",
        hostname="simulation",
        username="",
        time_ns=_FIRST_DAY_NS + day * _DAY_NS,
        full=True,
        clean_below=threshold,
    )


def simulate(
    scratch: Path, *, days: int, size_bytes: int, seed: int, threshold: float
) -> Iterator[Day]:
    """Live and back up day after day; every 30th and the last day are read back and compared."""
    store, folder = scratch / "repository", scratch / "files"
    folder.mkdir()
    backend = open_backend(str(store))
    create_repository(backend, PASSWORD, label="simulation", cost=MINIMUM_COST)
    backend.close()
    path = folder / _NAME
    with closing(Life(path, size_bytes, seed)) as life:
        for day in range(days):
            if day:
                life.live(day)
            before = size_of(store)
            started = time.monotonic()
            # Opened anew each day, as a nightly run does: nothing is remembered but the cache.
            backend = open_backend(str(store))
            with open_repository(backend, PASSWORD, cache_dir=scratch / "cache") as repository:
                source = FilesSource(folder, name=_COMPONENT)
                snapshot = run_backup(
                    repository, [source], options_of(day, threshold), SilentReporter()
                )
                seconds = time.monotonic() - started
                sizes = (size_of(store) - before, size_of(store))
                yield _day(repository, snapshot, day, path, sizes, seconds)
                if day % _COMPARED_EVERY == 0 or day == days - 1:
                    _compare(repository, snapshot, path)


def _day(  # noqa: PLR0917 - what was measured around the backup, in the order of a Day
    repository: Repository,
    snapshot: Snapshot,
    day: int,
    path: Path,
    sizes: tuple[int, int],
    seconds: float,
) -> Day:
    data = needed_blobs(repository, [snapshot]).data
    node = find_node(repository, snapshot, _COMPONENT, (_NAME.encode(),))
    content = node.content
    return Day(
        day=day,
        file_bytes=path.stat().st_size,
        stored_bytes=sizes[0],
        repository_bytes=sizes[1],
        blobs=len(data),
        extents=0 if content is None else sum(1 for _ in extents_of(repository, content, _NAME)),
        blobs_raw_bytes=raw_bytes(repository, data),
        blobs_stored_bytes=stored_bytes(repository, data),
        seconds=round(seconds, 3),
    )


def _compare(repository: Repository, snapshot: Snapshot, path: Path) -> None:
    with path.open("rb") as file:
        for piece in dump_file(repository, snapshot, _COMPONENT, (_NAME.encode(),)):
            if file.read(len(piece)) != bytes(piece):
                raise SystemExit("what was stored is not what the file holds")
        if file.read(1):
            raise SystemExit("what was stored is shorter than the file")


def write_csv(path: Path, series: Mapping[str, Sequence[Day]]) -> None:
    """Write all days of all series."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["series", *(field.name for field in fields(Day))])
        writer.writeheader()
        for name, days in series.items():
            writer.writerows({"series": name, **asdict(day)} for day in days)


def write_plot(path: Path, series: Mapping[str, Sequence[Day]]) -> None:
    """Write the plots of repository size, stored per day and blobs per snapshot."""
    days = next(iter(series.values()))
    # The first day stores everything; on its scale the others would not be seen.
    later = {n: [None, *(d.stored_bytes / MIB for d in s[1:])] for n, s in series.items()}
    panels = [
        Panel(
            "repository size, MiB",
            {n: [d.repository_bytes / MIB for d in s] for n, s in series.items()},
        ),
        Panel("stored on each day but the first, MiB", later),
        Panel(
            "data blobs that the day's snapshot needs",
            {n: [d.blobs for d in s] for n, s in series.items()},
        ),
        Panel(
            "what these blobs hold, in file sizes",
            {n: [d.blobs_raw_bytes / d.file_bytes for d in s] for n, s in series.items()},
        ),
    ]
    size = days[-1].file_bytes / MIB
    path.write_text(svg_plot(f"{len(days)} days of one SQLite file of {size:.0f} MiB", panels))


def summary(name: str, days: Sequence[Day]) -> str:
    """Return what a series comes to, in one line."""
    later = sorted(day.stored_bytes / MIB for day in days[1:]) or [0.0]
    return (
        f"{name}: repository {days[-1].repository_bytes / MIB:.1f} MiB after {len(days)} days; "
        f"stored a day: median {later[len(later) // 2]:.2f} MiB, "
        f"mean {sum(later) / len(later):.2f}, most {later[-1]:.2f}; "
        f"at most {max(day.blobs for day in days)} blobs and {max(day.extents for day in days)} "
        f"extents a snapshot; its blobs hold at most "
        f"{max(day.blobs_raw_bytes / day.file_bytes for day in days):.2f} times the file"
    )


def main() -> None:
    """Simulate, and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "spec/plots")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--megabytes", type=int, default=30, help="of the database")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--thresholds", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75], metavar="SHARE"
    )
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    a = parser.parse_args()
    size_bytes = a.megabytes * 1_000_000
    require_space(a.scratch, size_bytes * _ROOM * max(0.1, a.days / 365), "the simulation")
    series: dict[str, list[Day]] = {}
    for threshold in a.thresholds:
        name = f"{threshold:.2f}"
        with scratch_folder(a.scratch) as scratch:
            series[name] = list(
                simulate(
                    scratch,
                    days=a.days,
                    size_bytes=size_bytes,
                    seed=a.seed,
                    threshold=threshold,
                )
            )
        print(summary(name, series[name]), flush=True)
    a.out.mkdir(parents=True, exist_ok=True)
    write_csv(a.out / "year.csv", series)
    write_plot(a.out / "year.svg", series)
    print(f"{a.out / 'year.csv'} {a.out / 'year.svg'}")


if __name__ == "__main__":
    main()
