"""What is found to be needed is what `LiveBlobs` finds, which checks all that it reads."""

import random

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.ids import BlobId, Kind
from snap.repo.live import LiveBlobs, LiveSet
from snap.repo.needs import Following, Numbers
from snap.repo.repository import Repository
from snap.repo.snapshot import Snapshot

from .conftest import Opener, back_up
from .dictsource import DictSource, Item, records
from .pruning import noise


def numbers(live: LiveSet, repository: Repository) -> set[int]:
    return {n for n in range(repository.cache.number_limit()) if live.has(n)}


def followed(
    repository: Repository, snapshot: Snapshot, report: list[str]
) -> tuple[set[int], set[int]]:
    repository.load_index()
    quick = Following(repository, lambda where, error: report.append(f"{where}: {error}"))
    careful = LiveBlobs(repository, lambda *_: None)
    for component in snapshot.components:
        quick.follow(component.name, component.subtree or ())
        careful.follow(component.name, component.subtree or ())
    return numbers(quick.live, repository), numbers(careful.live, repository)


def test_files_of_all_layouts_folders_and_companions_are_found(repository: Repository) -> None:
    chance = random.Random(4)
    back_up(repository, DictSource({b"other": noise(1)}))
    files: dict[bytes, Item] = {
        b"empty": b"",
        b"small": b"x",
        b"deep/er/and/deeper": noise(2),
        b"large": noise(3, 900_000),
        b"text": b" ".join(b"%d" % chance.randrange(10_000) for _ in range(100_000)),
        b"columns": records(b"columns", noise(5, 90_000), (4, 8, 18)),
        b"database.db": b"SQLite format 3\0" + noise(6, 4096 * 300 - 16),
    }
    snapshot = back_up(repository, DictSource(files))
    problems: list[str] = []
    quick, careful = followed(repository, snapshot, problems)
    assert quick == careful
    assert len(quick) > 20
    assert problems == []


def test_what_is_damaged_or_missing_is_reported(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    snapshot = back_up(repository, DictSource({b"f": noise(1)}))
    for stat in list(backend.list("meta/")):
        backend.delete(stat.name)
    problems: list[str] = []
    followed(open_again(), snapshot, problems)
    assert any("missing" in problem for problem in problems)


@pytest.mark.parametrize(
    "node",
    [
        {"content": {"layout": "of the future", "size": 1}},
        {"content": {"layout": "stream"}},
        {"content": 7},
        {"content": {"layout": "records", "columns": [{"layout": "stream"}]}},
        {"content": {"layout": "pages", "page": "x", "extents": {"blobs": b""}}},
        {"content": {"layout": "stream", "extents": {"blobs": b"short"}}},
        {"subtree": b"short"},
        7,
    ],
)
def test_what_cannot_be_understood_is_reported_and_not_passed_over(
    repository: Repository, node: object
) -> None:
    from snap.repo import codec

    plain = codec.encode({"nodes": [node]})
    following = Following(repository, lambda where, error: problems.append(str(error)))
    problems: list[str] = []
    id_ = repository.keys.blob_id(Kind.TREE, plain)
    repository.cache.put_metadata(id_, Kind.TREE, plain)
    following.follow("here", [id_])
    assert len(problems) == 1


def test_numbers_are_found_by_the_beginning_of_an_id(repository: Repository) -> None:
    back_up(repository, DictSource({b"f": noise(1), b"g": noise(2)}))
    table = Numbers(repository.cache)
    for _, pack in repository.cache.numbered_packs():
        for id_ in pack.ids():
            assert table.of(id_) == repository.cache.numbers_of(id_)
    assert table.of(BlobId(bytes(32))) == []
