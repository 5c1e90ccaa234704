import random

from snap.repo.repository import Repository
from snap.repo.stats import repository_statistics

from .conftest import back_up
from .dictsource import DictSource


def test_an_empty_repository_has_ratios_of_one(repository: Repository) -> None:
    empty = repository_statistics(repository)
    assert (empty.snapshots, empty.packs, empty.bytes_stored) == (0, 0, 0)
    assert (empty.compression_ratio, empty.deduplication_ratio) == (1.0, 1.0)


def test_what_deduplication_and_compression_gave_is_counted(repository: Repository) -> None:
    noise = random.Random(12).randbytes(100_000)
    text = b" ".join(b"line %d" % n for n in range(15_000))
    for _ in range(4):
        back_up(repository, DictSource({b"noise": noise, b"text": text}))
    found = repository_statistics(repository)
    assert found.snapshots == 4
    assert found.bytes_processed == 4 * (len(noise) + len(text))
    assert found.deduplication_ratio >= 4
    assert found.compression_ratio > 1.2
    assert found.bytes_stored == found.bytes_data_stored + found.bytes_metadata_stored
    stored = sum(stat.size_bytes for p in ("data/", "meta/") for stat in repository.backend.list(p))
    assert found.bytes_stored == stored
