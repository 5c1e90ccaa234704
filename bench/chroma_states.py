"""Make daily states of a ChromaDB persist directory: `chroma_states.py FOLDER [options]`.

A real chromadb writes them: documents of some 290 characters, four metadata keys, cosine space.
Each day 1 % of the records are added, 1 % get a new vector and document, 0.2 % are deleted. A state
is a copy of the directory, taken while nobody has it open. Prints a line for each day it made.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from datasets import random_words

_AT_ONCE = 2000
_GROUPS = 200
"""Vectors lie around so many centres, as texts of some topics do."""
_WORDS = 45
_DAILY = "--of-day"


class _Records:
    """What is in the collection, and what a day does to it."""

    def __init__(self, day: int, dimensions: int) -> None:
        self.chance = random.Random(1000 + day)
        self.words = random_words(random.Random(7))
        centres = random.Random(8)
        self.dimensions = dimensions
        self.centres = [[centres.gauss(0, 1) for _ in range(dimensions)] for _ in range(_GROUPS)]

    def of(self, numbers: list[int]) -> dict[str, Any]:
        """Return the arguments of ``add`` or ``update`` for these records."""
        return {
            "ids": [f"id-{number:08d}" for number in numbers],
            "embeddings": [self._vector() for _ in numbers],
            "documents": [" ".join(self.chance.choices(self.words, k=_WORDS)) for _ in numbers],
            "metadatas": [
                {
                    "number": number,
                    "topic": self.chance.choice(self.words),
                    "score": self.chance.random(),
                    "read": self.chance.random() < 0.5,
                }
                for number in numbers
            ],
        }

    def _vector(self) -> list[float]:
        centre = self.chance.choice(self.centres)
        return [x + self.chance.gauss(0, 0.5) for x in centre]


def work(folder: Path, day: int, vectors: int, dimensions: int) -> None:
    """Make the first state, or do what a day does, in a process of its own."""
    import chromadb  # noqa: PLC0415 - not needed by the process that starts the others
    from chromadb.config import Settings  # noqa: PLC0415 - as above

    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection(
        "texts", metadata={"hnsw:space": "cosine"}, embedding_function=None
    )
    records = _Records(day, dimensions)
    if day == 0:
        for first in range(0, vectors, _AT_ONCE):
            collection.add(**records.of(list(range(first, min(vectors, first + _AT_ONCE)))))
        return
    present = sorted(int(id_.removeprefix("id-")) for id_ in collection.get(include=[])["ids"])
    percent = vectors // 100
    next_number = present[-1] + 1
    collection.add(**records.of(list(range(next_number, next_number + percent))))
    collection.update(**records.of(sorted(records.chance.sample(present, percent))))
    gone = records.chance.sample(present, vectors // 500)
    collection.delete(ids=[f"id-{number:08d}" for number in gone])


def main() -> None:
    """Make all days, each in a process that ends: nothing of it is left in memory or open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--vectors", type=int, default=40_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument(_DAILY, type=int, help=argparse.SUPPRESS)
    a = parser.parse_args()
    live = a.folder / "live"
    if a.of_day is not None:
        work(live, a.of_day, a.vectors, a.dimensions)
        return
    live.mkdir(parents=True)
    for day in range(a.days):
        command = [sys.executable, *sys.argv, _DAILY, str(day)]
        subprocess.run(command, check=True, env={**os.environ, "TOKENIZERS_PARALLELISM": "0"})
        shutil.copytree(live, a.folder / str(day))
        print(day, flush=True)
    shutil.rmtree(live)


if __name__ == "__main__":
    main()
