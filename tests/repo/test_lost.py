import random

from snap.backends.memory import MemoryBackend
from snap.repo.browse import find_node
from snap.repo.content import extents_of
from snap.repo.ids import BlobId
from snap.repo.lost import Damage, LostPath, lost_paths
from snap.repo.repository import Repository
from snap.repo.snapshot import Snapshot

from .conftest import back_up
from .copies import flip
from .dictsource import DictSource

CHANCE = random.Random(6)
LARGE = CHANCE.randbytes(200_000)
FILES = {b"a": LARGE, b"d/b": b"small", b"d/e/c": b"other", b"z": b""}


def lost(repository: Repository, damage: Damage, *snapshots: Snapshot) -> list[tuple[bytes, bytes]]:
    return [shown(e) for e in lost_paths(repository, snapshots, damage)]


def shown(entry: LostPath) -> tuple[bytes, bytes]:
    return entry.snapshot.id, b"/".join(entry.path)


def blobs_of(repository: Repository, snapshot: Snapshot, *path: bytes) -> list[BlobId]:
    content = find_node(repository, snapshot, "data", path).content
    assert content is not None
    return [e.blob for e in extents_of(repository, content, "") if e.blob is not None]


def harm(repository: Repository, blob: BlobId) -> Damage:
    return Damage(places={(place.pack_id, blob) for place in repository.cache.locate(blob)})


def test_of_what_is_whole_nothing_is_lost(repository: Repository) -> None:
    snapshot = back_up(repository, DictSource(FILES))
    assert lost(repository, Damage(), snapshot) == []


def test_a_lost_blob_is_told_for_each_path_and_each_snapshot_that_needs_it(
    repository: Repository,
) -> None:
    first = back_up(repository, DictSource({**FILES, b"again": b"small"}))
    second = back_up(repository, DictSource({**FILES, b"new": b"n"}))
    third = back_up(repository, DictSource({**FILES, b"d/b": b"not that"}))
    damage = harm(repository, blobs_of(repository, first, b"d", b"b")[0])
    assert lost(repository, damage, first, second, third) == [
        (first.id, b"again"),
        (first.id, b"d/b"),
        (second.id, b"d/b"),
    ]


def test_one_blob_of_a_large_file_costs_that_file_only(repository: Repository) -> None:
    snapshot = back_up(repository, DictSource(FILES))
    damage = harm(repository, blobs_of(repository, snapshot, b"a")[-1])
    assert lost(repository, damage, snapshot) == [(snapshot.id, b"a")]


def test_a_truncated_pack_costs_what_lay_behind_the_cut(repository: Repository) -> None:
    snapshot = back_up(repository, DictSource(FILES))
    blob = blobs_of(repository, snapshot, b"d", b"b")[0]
    [place] = repository.cache.locate(blob)
    end = place.entry.offset + place.entry.stored_length
    whole = Damage(sizes={place.pack_id: end})
    cut = Damage(sizes={place.pack_id: end - 1})
    gone = Damage(sizes={place.pack_id: None})
    assert (snapshot.id, b"d/b") not in lost(repository, whole, snapshot)
    assert (snapshot.id, b"d/b") in lost(repository, cut, snapshot)
    assert (snapshot.id, b"d/b") in lost(repository, gone, snapshot)


def test_a_folder_whose_tree_is_lost_is_told_and_its_neighbours_are_looked_at(
    repository: Repository, backend: MemoryBackend
) -> None:
    first = back_up(repository, DictSource(FILES))
    second = back_up(repository, DictSource({**FILES, b"d/e/c": b"changed"}))
    damage = harm(repository, blobs_of(repository, first, b"d", b"b")[0])
    tree = find_node(repository, first, "data", (b"d", b"e")).subtree[0]
    [place] = repository.cache.locate(tree)
    repository.forget_content()
    name = f"meta/{place.pack_id.hex()[:2]}/{place.pack_id.hex()}"
    flip(backend, name, place.entry.offset)
    assert lost(repository, damage, first, second) == [
        (first.id, b"d/b"),
        (first.id, b"d/e"),
        (second.id, b"d/b"),
    ]
