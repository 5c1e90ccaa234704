import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from snap.backends.base import StorageFull
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import SnapError, SourceError, UsageError
from snap.repo.backup import printable, run_backup
from snap.repo.catalog import list_snapshots
from snap.repo.dump import dump_file
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository
from snap.repo.snapshot import UNSTORED
from snap.repo.source import (
    Attributes,
    Consistency,
    Entry,
    NodeType,
    Reader,
    Unchanged,
    ViewReport,
)

from .conftest import OPTIONS, Opener, back_up
from .dictsource import FILE, BytesReader, DictSource, records

NOISE = random.Random(5).randbytes(300_000)


def content(repository: Repository, path: bytes) -> bytes:
    snapshot = list_snapshots(repository)[-1]
    return b"".join(dump_file(repository, snapshot, "data", tuple(path.split(b"/"))))


def test_files_come_back_byte_for_byte(repository: Repository) -> None:
    files = {b"a/b/c": b"hello", b"a/empty": b"", b"big": NOISE, b"odd\xff\n": b"x" * 70_000}
    snapshot = back_up(repository, DictSource(files))
    assert snapshot.status == "success"
    assert snapshot.components[0].files == 4
    assert snapshot.components[0].bytes == sum(map(len, files.values()))
    for path, expected in files.items():
        assert content(repository, path) == expected


def test_a_second_backup_of_the_same_stores_nothing_new(
    repository: Repository, open_again: Opener
) -> None:
    source = DictSource({b"big": NOISE, b"d/small": b"x"})
    first = back_up(repository, source)
    assert first.statistics.bytes_new >= len(NOISE)
    for again in (repository, open_again()):
        second = back_up(again, source)
        assert second.statistics.bytes_new == 0
        assert second.components[0].subtree == first.components[0].subtree


class UnchangedSource(DictSource):
    @contextmanager
    def open(self) -> Iterator[DictSource]:
        raise Unchanged("its last transaction is still 7")
        yield self


def test_what_did_not_change_is_taken_over_from_the_last_snapshot(
    repository: Repository,
) -> None:
    files = {b"a/f": NOISE, b"b": b"x"}
    report = ViewReport(Consistency.QUIESCED, 5, {"last": 7}, warnings=("w",), downtime_ns=9)
    first = back_up(repository, DictSource(files, report=report)).components[0]
    second = back_up(repository, UnchangedSource({})).components[0]
    assert second.subtree == first.subtree
    assert (second.files, second.bytes, second.bytes_stored) == (2, first.bytes, 0)
    assert (second.statistics, second.point_ns, second.downtime_ns) == ({"last": 7}, 5, 0)
    assert second.warnings == ("w", "its last transaction is still 7")
    assert content(repository, b"a/f") == NOISE


def test_what_did_not_change_and_is_not_stored_whole_is_not_taken_over(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    with pytest.raises(SourceError, match="not whole"):
        back_up(repository, UnchangedSource({}))
    back_up(repository, DictSource({b"f": NOISE}))
    for pack in list(backend.list("data/")):
        backend.delete(pack.name)
    with pytest.raises(SourceError, match="not whole"):
        back_up(open_again(), UnchangedSource({}))


def test_equal_content_in_one_run_is_stored_once(repository: Repository) -> None:
    snapshot = back_up(repository, DictSource({b"a": NOISE, b"b": NOISE, b"c": NOISE}))
    assert snapshot.statistics.bytes_new < len(NOISE) + 10_000


def test_holes_are_kept_and_not_stored(repository: Repository) -> None:
    data = NOISE[:50_000] + bytes(10_000_000) + NOISE[50_000:60_000] + bytes(500)
    holes = {50_000: 10_000_000, 10_060_000: 500}
    snapshot = back_up(repository, DictSource({b"f": lambda: BytesReader(data, holes)}))
    assert snapshot.components[0].bytes == len(data)
    assert snapshot.statistics.bytes_new < 70_000
    assert content(repository, b"f") == data


def test_a_large_file_has_its_extents_in_lists(repository: Repository) -> None:
    data = random.Random(6).randbytes(4_000_000)
    snapshot = back_up(repository, DictSource({b"f": data}))
    assert content(repository, b"f") == data
    from snap.repo.browse import find_node

    found = find_node(repository, snapshot, "data", (b"f",)).content
    assert found is not None
    assert found.extents is None
    assert len(found.lists) > 1


def test_one_source_that_fails_leaves_the_others_stored(repository: Repository) -> None:
    bad = DictSource({b"x": b"y"}, name="bad", error_at_end=SourceError("dump failed", "look"))
    snapshot = back_up(repository, DictSource({b"a": b"b"}), bad)
    assert snapshot.status == "partial"
    failed = snapshot.component("bad")
    assert failed is not None
    assert (failed.status, failed.subtree) == ("failed", None)
    assert failed.error == "dump failed (look)"
    assert content(repository, b"a") == b"b"


@pytest.mark.parametrize(
    "source",
    [
        DictSource({}),
        DictSource({b"x": b"y"}, error_at_end=SourceError("exit code 1")),
        DictSource({b"x": Entry((b"x",), NodeType.FILE, FILE, problem="denied")}),
    ],
    ids=["nothing there", "failed at the end", "nothing readable"],
)
def test_a_source_that_yields_nothing_good_makes_no_snapshot(
    repository: Repository, source: DictSource
) -> None:
    with pytest.raises(SourceError):
        back_up(repository, source)
    assert list_snapshots(repository) == []


def broken(data: bytes) -> Callable[[], AbstractContextManager[Reader]]:
    class Broken(BytesReader):
        def read(self, length: int) -> bytes:
            if self._file.tell():
                raise OSError(5, "Input/output error")
            return super().read(length)

    return lambda: Broken(data)


def test_an_unreadable_file_is_named_and_the_rest_is_kept(repository: Repository) -> None:
    denied = Entry((b"denied",), NodeType.FILE, None, problem="permission denied")
    source = DictSource(
        {b"a": b"1", b"broken": broken(NOISE), b"denied": denied, b"z": NOISE[:9000]}
    )
    snapshot = back_up(repository, source)
    (component,) = snapshot.components
    assert snapshot.status == component.status == "partial"
    assert component.problems == (
        (b"broken", "Input/output error"),
        (b"denied", "permission denied"),
    )
    assert content(repository, b"a") == b"1"
    assert content(repository, b"z") == NOISE[:9000], "the failed file left nothing in the chunker"
    with pytest.raises(SnapError, match="broken"):
        content(repository, b"broken")


def test_an_unreadable_folder_is_kept_empty_and_named(repository: Repository) -> None:
    folder = Entry((b"d",), NodeType.DIR, Attributes(mode=0o700), problem="permission denied")
    snapshot = back_up(repository, DictSource({b"a": b"1", b"d": folder}))
    assert snapshot.components[0].problems == ((b"d", "permission denied"),)
    from snap.repo.browse import find_node

    assert find_node(repository, snapshot, "data", (b"d",)).type is NodeType.DIR


def test_entries_out_of_order_or_without_their_folder_fail_the_source(
    repository: Repository,
) -> None:
    class Disorderly(DictSource):
        def entries(self):  # type: ignore[no-untyped-def]
            yield from reversed(list(super().entries()))

    for files in ({b"a": b"1", b"b": b"2"}, {b"d/a": b"1"}):
        with pytest.raises(SourceError, match=r"order|before its folder"):
            back_up(repository, Disorderly(files))


def test_a_dry_run_counts_and_stores_nothing(
    repository: Repository, backend: MemoryBackend
) -> None:
    before = sorted(stat.name for stat in backend.list(""))
    snapshot = back_up(repository, DictSource({b"a": NOISE}), dry_run=True)
    assert snapshot.id == UNSTORED
    assert snapshot.statistics.bytes_new >= len(NOISE)
    assert sorted(stat.name for stat in backend.list("")) == before


def test_statistics_point_and_consistency_come_from_the_source(repository: Repository) -> None:
    def report(point: int) -> ViewReport:
        return ViewReport(
            Consistency.TRANSACTION,
            point,
            statistics={"tables": {"odd\udcff": 5}},
            versions={"sqlite": "3"},
            warnings=["careful"],
            downtime_ns=7,
        )

    snapshot = back_up(
        repository,
        DictSource({b"a": b"1"}, name="one", report=report(100)),
        DictSource({b"a": b"1"}, name="two", report=report(350)),
    )
    stored = list_snapshots(repository)[0]
    assert stored == snapshot
    one = stored.components[0]
    assert one.statistics == {"tables": {"odd\\xff": 5}}
    assert (one.point_ns, one.consistency, one.downtime_ns) == (100, "transaction", 7)
    assert one.warnings == ("careful",)
    assert stored.skew_ns == 250


@pytest.mark.parametrize("name", ["a/b", "..", "", "nul\0"])
def test_a_name_that_no_component_can_have_is_refused_before_anything_is_stored(
    repository: Repository, name: str
) -> None:
    with pytest.raises(UsageError, match="not a name for a component"):
        run_backup(repository, [DictSource({b"f": b"x"}, name=name)], OPTIONS, SilentReporter())
    assert list(repository.backend.list("data/")) == []


def test_two_sources_of_one_name_are_refused(repository: Repository) -> None:
    with pytest.raises(SnapError, match="same name"):
        back_up(repository, DictSource({b"a": b"1"}), DictSource({b"a": b"1"}))


class Interrupting(DictSource):
    def entries(self):  # type: ignore[no-untyped-def]
        yield from super().entries()
        raise KeyboardInterrupt


def test_an_interrupted_backup_is_reused_by_the_next(
    repository: Repository, open_again: Opener, backend: MemoryBackend
) -> None:
    with pytest.raises(KeyboardInterrupt):
        back_up(repository, Interrupting({b"big": NOISE, b"other": NOISE[:100_000]}))
    assert list_snapshots(repository) == []
    assert list(backend.list("leases/")) == []
    after = back_up(open_again(), DictSource({b"big": NOISE}))
    assert after.statistics.bytes_new < 10_000


def test_a_store_that_fails_fails_the_backup_and_keeps_what_was_there(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a": b"good"}))
    full = Fault("put", prefix="data/", times=None, error=lambda: StorageFull("no space left"))
    repository.backend = FaultyBackend(backend, full)
    with pytest.raises(StorageFull):
        back_up(repository, DictSource({b"big": NOISE * 3}))
    repository.backend = backend
    assert len(list_snapshots(repository)) == 1
    assert content(repository, b"a") == b"good"
    back_up(repository, DictSource({b"big": NOISE * 3}))
    assert content(repository, b"big") == NOISE * 3


def test_backups_at_once_into_one_repository_all_succeed(
    open_again: Opener, tmp_path: Path
) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            repository = open_again(cache_dir=tmp_path / str(number % 2))
            source = DictSource(
                {b"shared": NOISE, b"own%d" % number: b"x%d" % number}, name=f"s{number}"
            )
            run_backup(repository, [source], OPTIONS, SilentReporter())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    repository = open_again()
    snapshots = list_snapshots(repository)
    assert len(snapshots) == 4
    for snapshot in snapshots:
        name = snapshot.components[0].name
        assert b"".join(dump_file(repository, snapshot, name, (b"shared",))) == NOISE


def test_text_that_is_not_utf_8_becomes_storable() -> None:
    assert printable("a\udcffb") == "a\\xffb"
    assert printable("ä") == "ä"


def test_an_unchanged_file_of_records_is_not_read_again(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    unchanged = records(b"r", NOISE, (40, 60))
    times = Attributes(0o644, mtime_ns=1_000_000_001, ctime_ns=1_000_000_001, inode=5)
    first = unchanged._replace(attributes=times)

    def unreadable() -> BytesReader:
        raise OSError("it was read")

    back_up(repository, DictSource({b"r": first}))
    second = back_up(repository, DictSource({b"r": first._replace(open=unreadable)}))
    assert content(repository, b"r") == NOISE
    assert (second.components[0].bytes, second.components[0].problems) == (len(NOISE), ())
    # When a column is lost, it is.
    for stat in list(backend.list("data/")):
        backend.delete(stat.name)
    with pytest.raises(SourceError, match="it was read"):
        back_up(open_again(), DictSource({b"r": first._replace(open=unreadable)}))
