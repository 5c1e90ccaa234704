"""The data that is backed up: made anew for each run, the same for the same seed."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

_PAGE_BYTES = 4096
_INDEX_SHARE = 0.07
"""Of a database of `make_database`: what its index takes."""
_ROWS_AT_ONCE = 5000
_FOLDERS = 20
"""Of small files: so many, and in each of them so many again."""
KIB = 1024


def row_texts(seed: int) -> Iterator[bytes]:
    """Yield text like a table's rows without end, about 0.5 MB at a time.

    Numbers, hashes, words; zstd level 3 gives about 2.4 : 1.
    """
    chance = random.Random(seed)
    words = random_words(chance)
    number = 0
    while True:
        lines = []
        for _ in range(_ROWS_AT_ONCE):
            number += 1
            text = " ".join(chance.choices(words, k=12))
            lines.append(f"{number},{chance.getrandbits(63):x},{text}\n")
        yield "".join(lines).encode()


def random_words(chance: random.Random) -> list[str]:
    """Return the 5,000 words that texts are made of."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(chance.choices(letters, k=chance.randint(3, 10))) for _ in range(5000)]


def make_rows(path: Path, size_bytes: int, seed: int) -> None:
    """Write rows as text."""
    with path.open("wb") as file:
        for text in row_texts(seed):
            file.write(text)
            if file.tell() >= size_bytes:
                return


def make_database(path: Path, size_bytes: int, seed: int) -> None:
    """Make a SQLite database of about a size: an eighth of the rows is made, the rest copied.

    Copies have ids and times of their own, so no two pages are equal.
    """
    chance = random.Random(seed)
    words = random_words(chance)
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(
        f"pragma page_size={_PAGE_BYTES}; pragma journal_mode=off; pragma synchronous=off;"
        "create table events(id integer primary key, stream text, ts integer, payload text);"
    )

    def rows() -> Iterator[tuple[str, int, str]]:
        for n in range(_ROWS_AT_ONCE):
            text = f"{chance.getrandbits(128):032x} {' '.join(chance.choices(words, k=45))}"
            yield f"s{chance.randrange(20_000)}", 1_700_000_000 + n, text

    insert = "insert into events(stream, ts, payload)"
    goal_pages = int(size_bytes * (1 - _INDEX_SHARE)) // _PAGE_BYTES
    while (pages := int(_pragma(db, "page_count"))) < goal_pages:
        count = db.execute("select count(*) from events").fetchone()[0]
        db.execute("begin")
        if pages < goal_pages // 8:
            db.executemany(f"{insert} values(?, ?, ?)", rows())
        else:
            limit = min(count, 1 + count * (goal_pages - pages) // pages)
            copy = f"{insert} select stream, ts + id, payload from events where id <= ?"
            db.execute(copy, (limit,))
        db.execute("commit")
    db.execute("create index events_stream on events(stream, ts)")
    verdict = _pragma(db, "quick_check(1)")
    db.close()
    if verdict != "ok":
        raise SystemExit(f"the database that was made is damaged: {verdict}")


def _pragma(db: sqlite3.Connection, name: str) -> str:
    return str(db.execute(f"pragma {name}").fetchone()[0])


def make_small_files(folder: Path, count: int, seed: int) -> None:
    """Write files of 1 to 20 KiB into 400 folders, half of them text, half of them noise."""
    chance = random.Random(seed)
    texts = row_texts(seed)
    text, at = b"", 0
    for number in range(count):
        place = folder / f"{number % _FOLDERS:02}" / f"{number // _FOLDERS % _FOLDERS:02}"
        place.mkdir(parents=True, exist_ok=True)
        size = chance.randint(1 * KIB, 20 * KIB)
        if number // _FOLDERS**2 % 2:
            (place / f"{number}.bin").write_bytes(chance.randbytes(size))
            continue
        if at + size > len(text):
            text, at = next(texts), 0
        (place / f"{number}.txt").write_bytes(text[at : at + size])
        at += size


def make_states(program: Path, folder: Path, sizes: dict[str, int]) -> None:
    """Make all daily states at once, ``folder/0`` and so on."""
    command = _states_command(program, folder, sizes)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def daily_states(
    program: Path, folder: Path, sizes: dict[str, int], *, kept_days: int
) -> Generator[Path, None, None]:
    """Yield the folder of each daily state once it is made; the last ``kept_days`` stay on disk.

    The program that makes them rests while the caller works, so that it neither fills the disk nor
    takes time from what is measured. Close the generator: that ends the program.
    """
    command = _states_command(program, folder, sizes)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as maker:
        try:
            for line in maker.stdout or ():
                day = int(line.split()[0])
                maker.send_signal(signal.SIGSTOP)
                yield folder / str(day)
                if day >= kept_days:
                    shutil.rmtree(folder / str(day - kept_days))
                maker.send_signal(signal.SIGCONT)
            if maker.wait():
                raise SystemExit(f"{program} failed")
        finally:
            maker.kill()


def _states_command(program: Path, folder: Path, sizes: dict[str, int]) -> list[str]:
    options = [str(part) for name, size in sizes.items() for part in (f"--{name}", size)]
    return [sys.executable, "-u", str(program), str(folder), *options]
