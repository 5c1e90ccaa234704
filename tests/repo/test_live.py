import random
from collections.abc import Callable

import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import SnapError
from snap.repo.ids import BlobId, Kind
from snap.repo.live import LiveBlobs, LiveSet
from snap.repo.repository import Repository
from snap.repo.source import Entry, NodeType

from .conftest import Opener, back_up
from .dictsource import FILE, BytesReader, DictSource, records

NOISE = random.Random(42).randbytes(200_000)
MANY = {b"d%03d/f%02d" % (n % 50, n): b"%d" % n for n in range(300)}


class Following:
    def __init__(self, repository: Repository) -> None:
        self.reports: list[tuple[str, str]] = []
        self.live = LiveBlobs(repository, self.report)

    def report(self, where: str, error: SnapError) -> None:
        self.reports.append((where, str(error)))


def test_a_blob_is_new_once_and_unknown_where_no_index_has_it(repository: Repository) -> None:
    back_up(repository, DictSource({b"a": NOISE}))
    live = LiveSet(repository.cache)
    ids = [e.id for p in repository.cache.packs() for e in repository.cache.entries_of(p.id)]
    assert [live.mark(id_) for id_ in ids] == [True] * len(ids)
    assert [live.mark(id_) for id_ in ids] == [False] * len(ids)
    assert live.mark(BlobId(b"?" * 32)) is None


def test_when_blobs_are_numbered_anew_all_are_new_again(repository: Repository) -> None:
    back_up(repository, DictSource({b"a": b"one", b"b": b"two"}))
    one, two = (repository.keys.blob_id(Kind.DATA, plain) for plain in (b"one", b"two"))
    live = LiveSet(repository.cache)
    assert live.mark(one)
    repository.cache.clear()
    repository.load_index()
    assert live.mark(two)
    assert live.mark(one)


def test_all_that_a_snapshot_needs_is_marked_and_no_tree_is_read_twice(
    repository: Repository, backend: MemoryBackend
) -> None:
    first = back_up(repository, DictSource({**MANY, b"z": NOISE}))
    second = back_up(repository, DictSource({**MANY, b"z": NOISE, b"zz": b"new"}))
    following = Following(repository)
    for snapshot in (first, second):
        following.live.follow("here", snapshot.components[0].subtree or ())
    assert following.reports == []
    marked = following.live.live
    ids = [e.id for p in repository.cache.packs() for e in repository.cache.entries_of(p.id)]
    assert {marked.mark(id_) for id_ in ids} == {False}
    # What was followed is not even asked for again.
    repository.forget_content()
    for stat in list(backend.list("meta/")):
        backend.delete(stat.name)
    following.live.follow("here", second.components[0].subtree or ())
    assert following.reports == []


def test_a_file_with_many_extents_in_few_blobs_asks_for_each_blob_once(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that changes for a year has thousands of extents, and prune follows them all."""
    pages = [random.Random(n).randbytes(512) for n in range(200)]
    for night in range(6):
        for n in range(night, 200, 7):
            pages[n] = random.Random(1000 * night + n).randbytes(512)
        data = b"".join(pages)
        entry = Entry((b"f",), NodeType.FILE, FILE, len(data), open=opener(data), page_bytes=512)
        snapshot = back_up(repository, DictSource({b"f": entry}))
    asked: list[BlobId] = []
    look_up = repository.cache.numbers_of

    def numbers_of(id_: BlobId) -> list[int]:
        asked.append(id_)
        return look_up(id_)

    monkeypatch.setattr(repository.cache, "numbers_of", numbers_of)
    following = Following(repository)
    following.live.follow("here", snapshot.components[0].subtree or ())
    assert len(set(asked)) == len(asked) < 80
    entries = [e for p in repository.cache.packs() for e in repository.cache.entries_of(p.id)]
    assert sum(following.live.live.mark(e.id) is False for e in entries) > 10


def opener(data: bytes) -> Callable[[], BytesReader]:
    return lambda: BytesReader(data)


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.TREE, Kind.EXTENTS])
def test_what_is_in_no_index_is_reported_with_where_it_is_needed(
    repository: Repository, open_again: Opener, backend: MemoryBackend, kind: Kind
) -> None:
    snapshot = back_up(repository, DictSource({b"d/a": NOISE, b"z": b"fine"}))
    from dataclasses import replace

    lost = None
    fine = repository.keys.blob_id(Kind.DATA, b"fine")
    for name in repository.names("index/"):
        packs = [pack.summary() for pack in repository.read_index(name)]
        backend.delete(name)
        for number, pack in enumerate(packs):
            found = [e for e in pack.entries if e.kind == kind and lost is None and e.id != fine]
            if kind is Kind.TREE:
                root = (snapshot.components[0].subtree or ())[0]
                found = [e for e in found if e.id != root]
            if found:
                lost = found[0].id
                packs[number] = replace(
                    pack, entries=tuple(e for e in pack.entries if e.id != lost)
                )
        repository.store_index(packs)
    assert lost is not None
    fresh = open_again()
    fresh.load_index()
    following = Following(fresh)
    following.live.follow("here", snapshot.components[0].subtree or ())
    ((where, problem),) = following.reports
    assert where.startswith("here/d")
    assert lost.hex() in problem


def test_all_that_a_file_of_records_stored_is_needed(repository: Repository) -> None:
    """Columns with few extents and with lists of them, and the companions of both."""
    snapshot = back_up(repository, DictSource({b"r": records(b"r", NOISE, (8, 92))}))
    following = Following(repository)
    following.live.follow("here", snapshot.components[0].subtree or ())
    entries = [e for p in repository.cache.packs() for e in repository.cache.entries_of(p.id)]
    assert {e.kind for e in entries} == {Kind.DATA, Kind.TREE, Kind.EXTENTS, Kind.DIGESTS}
    assert [e.kind for e in entries if following.live.live.mark(e.id)] == []
    assert following.reports == []
