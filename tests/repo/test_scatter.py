import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snap.backends.base import BackendUnavailable
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import TargetError
from snap.repo import scatter as scatter_module
from snap.repo.blobs import BlobReader
from snap.repo.cache import Location
from snap.repo.extents import Extent
from snap.repo.ids import BlobId, Kind, ObjectId, pack_name
from snap.repo.keys import MINIMUM_COST
from snap.repo.pack import DATA_PACK, PackEntry
from snap.repo.plan import Plan
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.scatter import DISTANT_RANGE_BYTES, GAP_BYTES, RANGE_BYTES, Scatter, plan_tasks
from snap.repo.source import Attributes, NodeType
from snap.repo.target import TargetEntry
from snap.repo.writer import BlobWriter, WriterOptions

from .conftest import PASSPHRASE, SMALL, Opener
from .copies import flip
from .memorytarget import MemoryTarget

PLAIN = Attributes(mode=0o644)
SIZES = [1, 100, 3000, 9000, 20_000]
PLAINS = [random.Random(n).randbytes(SIZES[n % len(SIZES)]) for n in range(40)]

slices = st.tuples(
    st.none() | st.integers(0, len(PLAINS) - 1), st.integers(0, 20_000), st.integers(1, 9000)
)
plans = st.lists(st.lists(slices, max_size=30), max_size=8)


class CountingReader(BlobReader):
    """Counts how often each blob is opened."""

    opened: Counter[bytes]

    def open_at(self, location: Location, kind: Kind, stored: bytes | memoryview) -> bytes:
        if kind is Kind.DATA:
            self.opened[location.entry.id] += 1
        return super().open_at(location, kind, stored)


def watch(repository: Repository, backend: MemoryBackend) -> tuple[FaultyBackend, CountingReader]:
    counting = FaultyBackend(backend)
    reader = CountingReader(
        counting, repository.keys, repository.cache, repository.load_readable_index
    )
    reader.opened = Counter()
    repository.blobs = reader
    return counting, reader


def store(repository: Repository, plains: list[bytes]) -> list[BlobId]:
    writer = BlobWriter(repository, WriterOptions())
    ids = [writer.submit(Kind.DATA, plain).result().id for plain in plains]
    writer.finish()
    writer.close()
    return ids


def entry(name: bytes, size: int) -> TargetEntry:
    return TargetEntry((name,), NodeType.FILE, PLAIN, size)


def scatter_all(
    repository: Repository, files: dict[bytes, list[Extent]]
) -> tuple[MemoryTarget, Scatter, dict[bytes, int]]:
    target, numbers = MemoryTarget(), {}
    scatter = Scatter(repository, target, SilentReporter())
    with Plan(repository.cache.locate_one) as plan:
        for name, extents in files.items():
            numbers[name] = plan.add_file(entry(name, sum(e.length for e in extents)), extents)
        scatter.run(plan)
        for file in plan.files(also=scatter.failed):
            if file.number in scatter.failed:
                target.drop_file(file.entry)
            else:
                target.complete_file(file.entry)
    target.finish()
    return target, scatter, numbers


@settings(max_examples=40, deadline=None)
@given(plans, st.sampled_from([3, 4096]))
def test_any_plan_gives_the_files_and_reads_each_blob_once(
    given_plans: list[list[tuple[int | None, int, int]]], slices_limit: int
) -> None:
    backend = MemoryBackend()
    _, recovery = create_repository(
        backend, PASSPHRASE, label="", cost=MINIMUM_COST, parameters=SMALL
    )
    with (
        open_repository(backend, recovery, cache_dir=None) as repository,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(scatter_module, "TASK_SLICES", slices_limit)
        ids = store(repository, PLAINS)
        _, reader = watch(repository, backend)
        files: dict[bytes, list[Extent]] = {}
        expected: dict[bytes, bytes] = {}
        for number, parts in enumerate(given_plans):
            extents, content = [], b""
            for which, place, length in parts:
                if which is None:
                    extents.append(Extent(None, 0, length))
                    content += bytes(length)
                    continue
                at = place % len(PLAINS[which])
                taken = PLAINS[which][at : at + length]
                extents.append(Extent(ids[which], at, len(taken)))
                content += taken
            files[b"f%d" % number], expected[b"f%d" % number] = extents, content
        target, scatter, _ = scatter_all(repository, files)
        assert target.files == expected
        assert scatter.failed == {}
        used = {e.blob for extents in files.values() for e in extents if e.blob is not None}
        assert reader.opened == Counter(used)


def test_neighbours_in_a_pack_are_read_together(
    repository: Repository, backend: MemoryBackend
) -> None:
    ids = store(repository, PLAINS)
    counting, reader = watch(repository, backend)
    files = {b"f%d" % n: [Extent(id_, 0, len(PLAINS[n]))] for n, id_ in enumerate(ids)}
    target, scatter, _ = scatter_all(repository, files)
    assert target.files == {b"f%d" % n: plain for n, plain in enumerate(PLAINS)}
    assert (scatter.files, scatter.bytes) == (len(PLAINS), sum(map(len, PLAINS)))
    packs = {name for operation, name in counting.calls if name.startswith("data/")}
    assert len(packs) > 3
    # For each pack one range, with its header.
    assert len(counting.calls) == len(packs) < len(ids)
    assert sum(reader.opened.values()) == len(ids)


def place_of(number: int, pack: int, offset: int, stored: int) -> Location:
    id_ = BlobId(number.to_bytes(32, "big"))
    return Location(
        ObjectId(bytes([pack]) * 32), DATA_PACK, PackEntry(id_, 1, 1, 0, 0, offset, stored, stored)
    )


def portions(places: list[Location], range_bytes: int) -> list[tuple[list[int], int, int]]:
    found = {p.entry.id: p for p in places}
    with Plan(found.get) as plan:
        for number, p in enumerate(places):
            plan.add_file(entry(b"%d" % number, 1), [Extent(p.entry.id, 0, 1)])
        tasks = plan_tasks(plan, range_bytes)
        return [([b.id[-1] for b in t.blobs], t.begin, t.end) for t in tasks]


def test_portions_end_at_gaps_packs_and_sizes() -> None:
    near = 1000 + GAP_BYTES
    far = near + 1000 + GAP_BYTES + 1
    places = [
        place_of(1, 1, 0, 1000),
        place_of(2, 1, near, 1000),
        place_of(3, 1, far, 1000),
        place_of(4, 2, 0, RANGE_BYTES),
        place_of(5, 2, RANGE_BYTES, 1),
        place_of(6, 3, GAP_BYTES + 1, 10 * RANGE_BYTES),
        place_of(7, 4, 7, 10 * RANGE_BYTES),
        place_of(8, 5, GAP_BYTES, 5),
    ]
    tasks = portions(places, RANGE_BYTES)
    distant = portions(places, DISTANT_RANGE_BYTES)
    assert [blobs for blobs, _, _ in distant] == [[1, 2], [3], [4, 5], [6], [7], [8]]
    assert tasks == [
        ([1, 2], 0, near + 1000),
        ([3], far, far + 1000),
        ([4], 0, RANGE_BYTES),
        ([5], RANGE_BYTES, RANGE_BYTES + 1),
        ([6], GAP_BYTES + 1, GAP_BYTES + 1 + 10 * RANGE_BYTES),
        # The header lies before these, and is read with them.
        ([7], 0, 7 + 10 * RANGE_BYTES),
        ([8], 0, GAP_BYTES + 5),
    ]


def test_damage_concerns_the_files_that_need_it_only(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    ids = store(repository, PLAINS)
    bad = PLAINS.index(PLAINS[13])
    [location] = repository.cache.locate(ids[bad])
    name = pack_name(location.pack_kind, location.pack_id)
    flip(backend, name, location.entry.offset)
    again = open_again()
    again.load_readable_index()
    files = {
        b"%d" % n: [Extent(ids[n], 0, 1), Extent(None, 0, 5), Extent(ids[n - 1], 0, 1)]
        for n in range(1, 40)
    }
    target, scatter, numbers = scatter_all(again, files)
    damaged = {b"13", b"14"}
    assert {n for n, number in numbers.items() if number in scatter.failed} == damaged
    assert all(name in str(error) for error in scatter.failed.values())
    assert target.files.keys() == files.keys() - damaged
    for n in range(1, 13):
        assert target.files[b"%d" % n] == PLAINS[n][:1] + bytes(5) + PLAINS[n - 1][:1]


def test_a_slice_beyond_its_blob_concerns_its_file_only(repository: Repository) -> None:
    ids = store(repository, PLAINS)
    whole, beyond = Extent(ids[2], 0, 3000), Extent(ids[2], 1, 3000)
    files = {b"a": [whole], b"b": [beyond], b"c": [whole, beyond], b"d": [whole, whole]}
    target, scatter, numbers = scatter_all(repository, files)
    assert sorted(scatter.failed) == [numbers[b"b"], numbers[b"c"]]
    assert "beyond" in str(scatter.failed[numbers[b"b"]])
    assert target.files == {b"a": PLAINS[2], b"d": PLAINS[2] * 2}


def test_what_the_cache_does_not_know_is_found_by_building_it_anew(
    repository: Repository,
) -> None:
    ids = store(repository, PLAINS)
    repository.cache.clear()
    files = {b"%d" % n: [Extent(ids[n], 0, 1)] for n in range(40)}
    target, scatter, _ = scatter_all(repository, files)
    assert scatter.failed == {}
    assert target.files == {b"%d" % n: PLAINS[n][:1] for n in range(40)}


def test_a_store_that_fails_and_a_target_that_is_full_stop_the_run(
    repository: Repository, backend: MemoryBackend
) -> None:
    ids = store(repository, PLAINS)
    files = {b"%d" % n: [Extent(ids[n], 0, 1)] for n in range(40)}
    counting, _ = watch(repository, backend)
    counting.faults.append(Fault("get", "data/", at=2, times=None))
    with pytest.raises(BackendUnavailable):
        scatter_all(repository, files)
    watch(repository, backend)

    class FullTarget(MemoryTarget):
        def write_file(self, entry: TargetEntry, data: bytes | memoryview) -> None:
            raise TargetError("No space left on device")

    with Plan(repository.cache.locate_one) as plan:
        plan.add_file(entry(b"f", len(PLAINS[0])), [Extent(ids[0], 0, len(PLAINS[0]))])
        with pytest.raises(TargetError, match="No space"):
            Scatter(repository, FullTarget(), SilentReporter()).run(plan)
