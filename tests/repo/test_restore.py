import random

import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError, TargetError
from snap.repo.browse import PathNotFound
from snap.repo.keys import MINIMUM_COST, Capability, FullKeyRequired
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository
from snap.repo.restore import RestoreResult, run_restore
from snap.repo.snapshot import Snapshot
from snap.repo.source import Attributes, Consistency, Entry, NodeType, ViewReport
from snap.repo.target import TargetEntry

from .conftest import Opener, back_up
from .copies import flip
from .dictsource import FILE, BytesReader, DictSource, Item, records
from .memorytarget import MemoryTarget

NOISE = random.Random(7).randbytes(400_000)


def restore(
    repository: Repository, snapshot: Snapshot, path: bytes = b""
) -> tuple[MemoryTarget, RestoreResult]:
    target = MemoryTarget()
    parts = tuple(part for part in path.split(b"/") if part)
    result = run_restore(repository, snapshot, "data", parts, target, reporter=SilentReporter())
    return target, result


def test_everything_comes_back_with_its_attributes(
    repository: Repository, open_again: Opener
) -> None:
    link = Entry((b"l",), NodeType.SYMLINK, Attributes(mode=0o777), target=b"../elsewhere")
    fifo = Entry((b"p",), NodeType.FIFO, Attributes(mode=0o600, uid=5))
    files: dict[bytes, Item] = {b"a/b/c": b"1", b"a/d": NOISE, b"l": link, b"p": fifo, b"z": b""}
    snapshot = back_up(repository, DictSource(files))
    target, result = restore(open_again(), snapshot)
    assert target.files == {b"a/b/c": b"1", b"a/d": NOISE, b"z": b""}
    assert target.entries[b"l"].target == b"../elsewhere"
    assert target.entries[b"p"].attributes == Attributes(mode=0o600, uid=5)
    assert target.entries[b"a/d"].attributes == FILE
    assert (result.files, result.bytes, result.problems) == (3, len(NOISE) + 1, [])
    order = list(target.entries)
    assert order.index(b"a") < order.index(b"a/b") < order.index(b"a/b/c")


def test_the_folder_itself_gets_its_attributes_back_with_the_whole_component(
    repository: Repository,
) -> None:
    root = Attributes(mode=0o700, uid=3, gid=4, user="u", mtime_ns=9, xattrs=((b"a", b"b"),))
    report = ViewReport(Consistency.CRASH, 5, root=root)
    snapshot = back_up(repository, DictSource({b"d/f": b"x"}, report=report))
    whole, _ = restore(repository, snapshot)
    assert whole.root == root
    part, _ = restore(repository, snapshot, b"d")
    assert part.root is None


def test_a_part_comes_with_the_folders_above_it(repository: Repository) -> None:
    files = {b"a/b/c": b"1", b"a/b/d": b"2", b"a/e": b"3", b"f": b"4"}
    snapshot = back_up(repository, DictSource(files))
    target, _ = restore(repository, snapshot, b"a/b")
    assert list(target.entries) == [b"a", b"a/b", b"a/b/c", b"a/b/d"]
    target, _ = restore(repository, snapshot, b"a/b/d")
    assert target.files == {b"a/b/d": b"2"}
    with pytest.raises(PathNotFound, match="a/x"):
        restore(repository, snapshot, b"a/x")


def test_holes_reach_the_target_as_holes(repository: Repository) -> None:
    data = NOISE[:20_000] + bytes(1_000_000) + NOISE[:5_000]
    source = DictSource({b"f": lambda: BytesReader(data, {20_000: 1_000_000})})
    target, _ = restore(repository, back_up(repository, source))
    assert target.files[b"f"] == data
    assert target.holes == [(20_000, 1_000_000)]


def linked(path: bytes, data: bytes) -> Entry:
    attributes = Attributes(mode=0o644, inode=9, device=1, links=2)
    return Entry((path,), NodeType.FILE, attributes, open=lambda: BytesReader(data))


def test_names_of_one_file_are_linked_again(repository: Repository) -> None:
    files: dict[bytes, Item] = {b"a": linked(b"a", NOISE), b"b": linked(b"b", NOISE), b"c": NOISE}
    target, result = restore(repository, back_up(repository, DictSource(files)))
    assert target.entries[b"a"].link_to is None
    assert target.entries[b"b"].link_to == (b"a",)
    assert target.entries[b"c"].link_to is None
    assert set(target.files.values()) == {NOISE}
    assert result.files == 3


def damage_pack_of(backend: MemoryBackend, repository: Repository, plain: bytes) -> str:
    from snap.repo.ids import Kind, pack_name

    (place,) = repository.cache.locate(repository.keys.blob_id(Kind.DATA, plain))
    name = pack_name(place.pack_kind, place.pack_id)
    flip(backend, name, place.entry.offset)
    return name


def test_a_damaged_file_is_named_and_the_rest_is_restored(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    files = {b"a": b"good" * 50, b"b": b"bad" * 50, b"c": NOISE}
    snapshot = back_up(repository, DictSource(files))
    name = damage_pack_of(backend, repository, b"bad" * 50)
    target, result = restore(open_again(), snapshot)
    assert target.files == {b"a": b"good" * 50, b"c": NOISE}
    ((path, reason),) = result.problems
    assert path == b"b"
    assert name in reason


def test_when_the_first_name_of_a_link_is_damaged_no_name_is_linked_to_it(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    files: dict[bytes, Item] = {
        b"a": linked(b"a", b"bad" * 50),
        b"b": linked(b"b", b"bad" * 50),
        b"c": b"x",
    }
    snapshot = back_up(repository, DictSource(files))
    damage_pack_of(backend, repository, b"bad" * 50)
    target, result = restore(open_again(), snapshot)
    assert target.files == {b"c": b"x"}
    assert [path for path, _ in result.problems] == [b"a", b"b"]


def test_a_name_whose_own_content_is_whole_is_restored_though_the_first_name_is_damaged(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    files: dict[bytes, Item] = {
        b"a": linked(b"a", b"bad" * 50),
        # The file changed while it was backed up: its names do not hold the same.
        b"b": linked(b"b", b"good" * 50),
        b"c": linked(b"c", b"good" * 50),
    }
    snapshot = back_up(repository, DictSource(files))
    damage_pack_of(backend, repository, b"bad" * 50)
    target, result = restore(open_again(), snapshot)
    assert target.files == {b"b": b"good" * 50, b"c": b"good" * 50}
    assert target.entries[b"c"].link_to == (b"b",)
    assert [path for path, _ in result.problems] == [b"a"]
    assert (result.files, result.bytes) == (2, 200)


def test_an_interruption_and_a_full_target_leave_the_target_as_it_was(
    repository: Repository,
) -> None:
    snapshot = back_up(repository, DictSource({b"a": b"1", b"b": NOISE}))

    for error in (KeyboardInterrupt(), TargetError("No space left on device")):

        class FailingTarget(MemoryTarget):
            def write_file(self, entry: TargetEntry, data: bytes | memoryview) -> None:
                raise error  # noqa: B023 - used within the loop only

        target = FailingTarget()
        with pytest.raises(type(error)):
            run_restore(repository, snapshot, "data", (), target, reporter=SilentReporter())
        assert target.aborted
        assert target.files == {}


def test_problems_come_in_the_order_of_paths(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    names = [b"a", b"b/c", b"b/d", b"e"]
    files: dict[bytes, Item] = {name: name * 60 for name in names}
    snapshot = back_up(repository, DictSource(files))
    for stat in list(backend.list("data/")):
        backend.delete(stat.name)
    _, result = restore(open_again(), snapshot)
    assert [path for path, _ in result.problems] == names
    assert (result.files, result.bytes) == (0, 0)


def test_a_damaged_tree_restores_nothing_and_leaves_the_target_as_it_was(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    snapshot = back_up(repository, DictSource({b"a": b"x"}))
    for stat in list(backend.list("meta/")):
        backend.delete(stat.name)
    target = MemoryTarget()
    with pytest.raises(IntegrityError, match=r"meta/.*missing"):
        run_restore(open_again(), snapshot, "data", (), target, reporter=SilentReporter())
    assert target.aborted
    assert target.files == {}


def test_a_writer_key_cannot_restore(repository: Repository, open_again: Opener) -> None:
    snapshot = back_up(repository, DictSource({b"a": b"x"}))
    repository.add_passphrase_slot("w", capability=Capability.WRITER, label="w", cost=MINIMUM_COST)
    with pytest.raises(FullKeyRequired, match="writer"):
        restore(open_again("w"), snapshot)


def test_a_component_that_failed_cannot_be_restored(repository: Repository) -> None:
    from snap.errors import SourceError

    bad = DictSource({b"a": b"x"}, error_at_end=SourceError("broke"))
    snapshot = back_up(repository, bad, DictSource({b"a": b"x"}, name="good"))
    with pytest.raises(PathNotFound, match="broke"):
        restore(repository, snapshot)


RECORDS = random.Random(8).randbytes(50_000)
WIDTHS = (40, 60)


def test_a_file_of_records_is_put_together_and_counted(repository: Repository) -> None:
    empty = RECORDS + bytes(3 << 20) + RECORDS
    files: dict[bytes, Item] = {
        b"a": NOISE,
        b"d/r": records(b"d/r", empty, WIDTHS),
        b"z": records(b"z", RECORDS + b"rest", WIDTHS),
    }
    snapshot = back_up(repository, DictSource(files))
    target, result = restore(repository, snapshot)
    assert target.files == {b"a": NOISE, b"d/r": empty, b"z": RECORDS + b"rest"}
    assert sum(length for _, length in target.holes) >= 1 << 20
    written = 2 * len(RECORDS) + len(NOISE) + len(RECORDS) + 4
    assert result.files == 3
    assert written <= result.bytes <= written + (2 << 20)


def test_a_damaged_file_of_records_is_named_and_nothing_of_it_is_left(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    """The last column is damaged: by then much of the file may have been written."""
    bad = RECORDS * 40
    files: dict[bytes, Item] = {
        b"a": records(b"a", RECORDS, WIDTHS),
        b"b": records(b"b", bad, WIDTHS, inode=4),
        b"c": records(b"c", bad, WIDTHS, inode=4),
        b"d": NOISE,
    }
    snapshot = back_up(repository, DictSource(files))
    column = b"".join(bad[at + 40 : at + 100] for at in range(0, len(bad), 100))
    last = column[len(column) // 4096 * 4096 :]
    name = damage_pack_of(backend, repository, last)
    target, result = restore(open_again(), snapshot)
    assert target.files == {b"a": RECORDS, b"d": NOISE}
    assert [path for path, _ in result.problems] == [b"b", b"c"]
    assert all(name in reason for _, reason in result.problems)
    assert (result.files, result.bytes) == (2, len(RECORDS) + len(NOISE))


def test_names_of_one_file_of_records_are_linked_again(repository: Repository) -> None:
    files: dict[bytes, Item] = {n: records(n, RECORDS, WIDTHS, inode=7) for n in (b"a", b"b")}
    target, result = restore(repository, back_up(repository, DictSource(files)))
    assert target.files == {b"a": RECORDS, b"b": RECORDS}
    assert target.entries[b"b"].link_to == (b"a",)
    assert result.files == 2
