import random
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from snap.errors import IntegrityError
from snap.repo import plan as plan_module
from snap.repo.cache import Location
from snap.repo.extents import Extent
from snap.repo.ids import BlobId, Kind, ObjectId
from snap.repo.pack import DATA_PACK, PackEntry
from snap.repo.plan import Plan, PlanFailed, merge_extents
from snap.repo.source import Attributes, NodeType
from snap.repo.target import TargetEntry

BLOB_BYTES = 1 << 20
ODD = Attributes(
    mode=0o4755,
    uid=2**40,
    user="ü",
    mtime_ns=-(2**70),
    inode=2**64 - 1,
    device=2**63,
    links=2,
    xattrs=((b"user.a", b"\0"),),
)


def blob(number: int) -> BlobId:
    return BlobId(number.to_bytes(32, "big"))


def locate(id_: BlobId) -> Location | None:
    """Place blobs in packs of ten, later numbers further to the front; blob 0 is nowhere."""
    number = int.from_bytes(id_, "big")
    if number == 0:
        return None
    pack, place = divmod(10**6 - number, 10)
    entry = PackEntry(id_, Kind.DATA, 1, 0, 0, place * BLOB_BYTES, BLOB_BYTES, BLOB_BYTES)
    return Location(ObjectId(pack.to_bytes(32, "big")), DATA_PACK, entry)


def file(name: bytes, size: int, attributes: Attributes = ODD) -> TargetEntry:
    return TargetEntry((b"d", name), NodeType.FILE, attributes, size)


def test_extents_that_adjoin_in_blob_and_file_become_one() -> None:
    extents = [
        Extent(blob(1), 0, 10),
        Extent(blob(1), 10, 5),
        Extent(blob(1), 16, 5),
        Extent(None, 0, 7),
        Extent(None, 0, 3),
        Extent(blob(1), 21, 5),
        Extent(blob(2), 26, 5),
        Extent(blob(2), 31, 1),
    ]
    assert list(merge_extents(extents)) == [
        (0, blob(1), 0, 15),
        (15, blob(1), 16, 5),
        (30, blob(1), 21, 5),
        (35, blob(2), 26, 6),
    ]
    assert list(merge_extents([])) == []
    assert list(merge_extents([Extent(None, 0, 9)])) == []


def test_blobs_come_in_the_order_of_packs_with_the_slices_of_all_files() -> None:
    with Plan(locate) as plan:
        a = plan.add_file(file(b"a", 30), [Extent(blob(n), 5, 10) for n in (3, 25, 3)])
        b = plan.add_file(file(b"b", 10), [Extent(blob(3), 0, 10)])
        c = plan.add_file(file(b"c", 20), [Extent(blob(14), 7, 10), Extent(None, 0, 10)])
        found = list(plan.blobs(100))
        assert [one.id for one in found] == [blob(25), blob(14), blob(3)]
        assert [one.location for one in found] == [locate(one.id) for one in found]
        slices = [(s.file, s.at, s.start, s.length, s.is_whole_file) for s in found[2].slices]
        assert slices == [(a, 0, 5, 10, False), (a, 20, 5, 10, False), (b, 0, 0, 10, True)]
        assert [s.file for s in found[1].slices] == [c]
        assert found[2].slices[2].entry == file(b"b", 10)
        assert found[2].slices[0].entry == file(b"a", 30)


def test_each_blob_is_located_once_and_what_is_nowhere_comes_first() -> None:
    asked: list[BlobId] = []

    def asking(id_: BlobId) -> Location | None:
        asked.append(id_)
        return locate(id_)

    with Plan(asking) as plan:
        for name in (b"a", b"b"):
            plan.add_file(file(name, 9), [Extent(blob(n), 0, 3) for n in (7, 0, 7)])
        first, second = plan.blobs(100)
    assert asked == [blob(7), blob(0)]
    assert (first.id, first.location) == (blob(0), None)
    assert second.id == blob(7)


def test_a_blob_of_many_slices_comes_in_parts() -> None:
    with Plan(locate) as plan:
        plan.add_file(file(b"a", 70), [Extent(blob(1), 3, 10)] * 7)
        parts = list(plan.blobs(3))
    assert [len(part.slices) for part in parts] == [3, 3, 1]
    assert [part.continues for part in parts] == [True, True, False]
    assert [s.at for part in parts for s in part.slices] == list(range(0, 70, 10))


def test_a_list_of_extents_that_breaks_off_leaves_nothing_in_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan_module, "_BATCH_ROWS", 4)

    def broken() -> Iterator[Extent]:
        for number in range(1, 11):
            yield Extent(blob(number), 0, 1)
        raise IntegrityError("damaged")

    with Plan(locate) as plan:
        plan.add_file(file(b"a", 3), [Extent(blob(1), n, 1) for n in (5, 3, 1)])
        with pytest.raises(IntegrityError, match="damaged"):
            plan.add_file(file(b"bad", 20), broken())
        last = plan.add_file(file(b"c", 2), [Extent(blob(2), n, 1) for n in (5, 3)])
        slices = [s for one in plan.blobs(100) for s in one.slices]
        assert [s.entry.path[1] for s in slices] == [b"c", b"c", b"a", b"a", b"a"]
        assert [f.entry.path[1] for f in plan.files()] == [b"a", b"c"]
        assert last == 2
    with pytest.raises(IntegrityError, match="larger"), Plan(locate) as plan:
        plan.add_file(file(b"a", 1 << 63), [])


def test_files_in_pieces_and_those_asked_for_come_in_order() -> None:
    with Plan(locate) as plan:
        plan.add_file(file(b"whole", 3), [Extent(blob(1), 0, 3)])
        plan.add_file(file(b"empty", 0), [])
        plan.add_file(file(b"longer", 5), [Extent(blob(1), 0, 3), Extent(None, 0, 2)])
        wanted = plan.add_file(file(b"wanted", 3), [Extent(blob(1), 0, 3)])
        found = [(f.entry.path[1], f.is_whole, f.data_bytes) for f in plan.files(also=[wanted])]
    assert found == [(b"empty", False, 0), (b"longer", False, 3), (b"wanted", True, 3)]


def test_names_of_one_inode_find_each_other() -> None:
    other = Attributes(mode=0o644, inode=ODD.inode, device=1, links=2)
    with Plan(locate) as plan:
        assert plan.first_name(ODD) is None
        number = plan.add_file(file(b"a", 0), [])
        plan.remember_name(ODD, number)
        assert plan.first_name(ODD) == number
        assert plan.first_name(other) is None
        plan.add_name(file(b"b", 0), number)
        assert list(plan.names()) == [(file(b"b", 0), number, file(b"a", 0))]


def test_300000_extents_do_not_stay_in_memory() -> None:
    chance = random.Random(3)
    places = [(chance.randrange(1, 4000), chance.randrange(256) * 4096) for _ in range(300_000)]
    size = len(places) * 4096
    extents = (Extent(blob(number), at, 4096) for number, at in places)
    # Once outside of what is measured: what SQLite takes for good.
    with Plan(locate) as plan:
        plan.add_file(file(b"f", 4096), [Extent(blob(1), 0, 4096)])
        assert len(list(plan.blobs(10))) == 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Plan(locate) as plan:
        plan.add_file(file(b"f", size), extents)
        slices, packs = 0, []
        for one in plan.blobs(1000):
            slices += len(one.slices)
            assert one.location is not None
            packs.append((one.location.pack_id, one.location.entry.offset))
    assert slices > 290_000
    assert packs == sorted(packs)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 64 << 10


def test_no_room_for_the_plan_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = sqlite3.connect

    def tiny(_: str, **options: object) -> sqlite3.Connection:
        db = real(tmp_path / "plan", **options)  # type: ignore[call-overload]
        db.execute("pragma max_page_count=20")
        assert isinstance(db, sqlite3.Connection)
        return db

    monkeypatch.setattr(sqlite3, "connect", tiny)
    with pytest.raises(PlanFailed, match="full") as caught, Plan(locate) as plan:
        plan.add_file(file(b"f", 10**6), [Extent(blob(n % 900), 3, 10) for n in range(100_000)])
    assert "TMPDIR" in caught.value.hint


def test_a_blob_that_was_forgotten_and_comes_again_is_still_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan_module, "_RECENT_BLOBS", 2)
    with Plan(locate) as plan:
        plan.add_file(file(b"a", 8), [Extent(blob(n), 0, 1) for n in (1, 2, 3, 1, 0, 2, 1, 0)])
        found = [(one.id, [s.at for s in one.slices]) for one in plan.blobs(100)]
    assert found == [(blob(0), [4, 7]), (blob(3), [2]), (blob(2), [1, 5]), (blob(1), [0, 3, 6])]
