"""What the reader must do with repositories that this version's writer does not make."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from snap.backends.local import LocalBackend
from snap.errors import IntegrityError
from snap.repo import codec
from snap.repo.catalog import list_snapshots
from snap.repo.extents import Content, Extent, Paging, encode_extents
from snap.repo.ids import BlobId, Kind
from snap.repo.keys import MINIMUM_COST
from snap.repo.progress import SilentReporter
from snap.repo.repository import SNAPSHOT_PREFIX, Repository, create_repository, open_repository
from snap.repo.restore import run_restore
from snap.repo.snapshot import Component, Snapshot, encode_snapshot
from snap.repo.source import Attributes, NodeType
from snap.repo.tree import Node, encode_tree
from snap.repo.writer import BlobWriter, WriterOptions
from snap.sources.folder import FolderTarget
from tests.spec import program
from tests.spec.program import READER

PLAIN = bytes(range(256))


class Maker:
    """A repository whose trees and extents are made by hand."""

    def __init__(self, folder: Path) -> None:
        backend = LocalBackend(folder)
        create_repository(backend, "secret", label="x", cost=MINIMUM_COST)
        self.folder = folder
        self.repository: Repository = open_repository(backend, "secret", cache_dir=None)
        self._writer = BlobWriter(self.repository, WriterOptions())

    def blob(self, kind: Kind, plain: bytes) -> BlobId:
        return self._writer.submit(kind, plain).result().id

    def tree(self, *nodes: Node) -> BlobId:
        return self.blob(Kind.TREE, encode_tree(nodes))

    def snapshot(self, *subtree: BlobId) -> Snapshot:
        self._writer.finish()
        component = Component("part", "files", "/", "success", subtree)
        record = Snapshot(1, "s", "h", "u", "test", "success", (component,))
        self.repository.put_object(SNAPSHOT_PREFIX, Kind.SNAPSHOT, encode_snapshot(record))
        return record

    def close(self) -> None:
        self._writer.close()
        self.repository.close()


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    monkeypatch.setenv("SNAP_PASSWORD", "secret")
    made = Maker(tmp_path / "repository")
    yield made
    made.close()


def file_of(*extents: Extent, layout: str = "blobs") -> Node:
    content = Content(layout, sum(e.length for e in extents), extents)
    return Node(b"file", NodeType.FILE, Attributes(0o600), content=content)


def folder_of(name: bytes, *subtree: BlobId) -> Node:
    return Node(name, NodeType.DIR, Attributes(0o700), subtree=subtree)


def test_slices_of_blobs_and_holes_are_restored_by_reader_and_product(
    maker: Maker, tmp_path: Path
) -> None:
    blob = maker.blob(Kind.DATA, PLAIN)
    extents = (
        Extent(blob, 200, 56),
        Extent(None, 0, 5),
        Extent(blob, 0, 256),
        Extent(blob, 7, 1),
        Extent(None, 0, 3),
    )
    expected = PLAIN[200:] + bytes(5) + PLAIN + PLAIN[7:8] + bytes(3)
    snapshot = maker.snapshot(maker.tree(file_of(*extents)))

    assert program.main([str(maker.folder), "restore", "latest", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "part" / "file").read_bytes() == expected

    into = FolderTarget(tmp_path / "b")
    [stored] = list_snapshots(maker.repository)
    assert stored.components == snapshot.components
    run_restore(maker.repository, stored, "part", (), into, reporter=SilentReporter())
    assert (tmp_path / "b" / "file").read_bytes() == expected


def file_in_layout(maker: Maker, layout: str, extents: tuple[Extent, ...], listed: bool) -> Node:
    """Return a file with regions of 1 KiB; ``listed`` in two extents blobs, the first of 1 KiB."""
    paging = Paging(512, 1024) if layout == "pages" else None
    size = sum(e.length for e in extents)

    def regions_of(part: tuple[Extent, ...]) -> bytes:
        return b"not of the bytes" * -(-sum(e.length for e in part) // 1024) if paging else b""

    if not listed:
        regions = regions_of(extents)
        content = Content(layout, size, extents, paging=paging, regions=regions)
    else:
        lists = []
        for part in (extents[:2], extents[2:]):
            plain = codec.encode(encode_extents(part, regions_of(part) if paging else None))
            lists.append((maker.blob(Kind.EXTENTS, plain), sum(e.length for e in part)))
        content = Content(layout, size, None, tuple(lists), paging)
    return Node(b"file", NodeType.FILE, Attributes(0o600), content=content)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("layout", ["pages", "stream"])
def test_pages_and_streams_are_restored_by_reader_and_product_whatever_their_companions(
    maker: Maker, tmp_path: Path, layout: str, listed: bool
) -> None:
    pages = b"".join(bytes([n]) * 512 for n in range(1, 5))
    blob = maker.blob(Kind.DATA, pages)
    maker.blob(Kind.DIGESTS, b"not even msgpack")
    extents = (
        Extent(blob, 512, 512),
        Extent(None, 0, 512),
        Extent(blob, 1024, 1024),
        Extent(blob, 0, 3),
    )
    expected = pages[512:1024] + bytes(512) + pages[1024:] + pages[:3]
    snapshot = maker.snapshot(maker.tree(file_in_layout(maker, layout, extents, listed)))

    assert program.main([str(maker.folder), "restore", "latest", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "part" / "file").read_bytes() == expected

    into = FolderTarget(tmp_path / "b")
    run_restore(maker.repository, snapshot, "part", (), into, reporter=SilentReporter())
    assert (tmp_path / "b" / "file").read_bytes() == expected


@pytest.mark.parametrize("layout", ["pages", "stream"])
def test_extents_of_any_layout_that_do_not_add_up_are_refused_by_the_reader(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    extents = (Extent(maker.blob(Kind.DATA, PLAIN), 0, 256), Extent(None, 0, 256))
    node = file_in_layout(maker, layout, extents, listed=False)
    assert node.content is not None
    longer = node.content._replace(size_bytes=513)
    maker.snapshot(maker.tree(Node(b"file", NodeType.FILE, Attributes(0o600), content=longer)))
    code, error = restore_error(maker, tmp_path / "out", capsys)
    assert (code, error) == (1, "reader: error: extents do not add up\n")
    assert not (tmp_path / "out" / "part" / "file").exists()


def restore_error(
    maker: Maker, target: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    code = program.main([str(maker.folder), "restore", "latest", str(target)])
    return code, capsys.readouterr().err


def test_slice_beyond_the_end_of_its_blob_is_refused(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beyond = Extent(maker.blob(Kind.DATA, PLAIN), 200, 57)
    maker.snapshot(maker.tree(file_of(beyond)))
    code, error = restore_error(maker, tmp_path / "out", capsys)
    assert (code, error) == (1, "reader: error: an extent reaches beyond its blob\n")


def test_unknown_layout_stops_with_the_code_for_a_later_version(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.snapshot(maker.tree(file_of(layout="of the future")))
    code, error = restore_error(maker, tmp_path / "out", capsys)
    assert (code, error) == (13, "reader: error: unknown layout 'of the future'\n")


def file_of_records(*columns: Content, widths: tuple[int, ...]) -> Node:
    size = sum(column.size_bytes for column in columns)
    content = Content("records", size, None, widths=widths, columns=columns)
    return Node(b"file", NodeType.FILE, Attributes(0o600), content=content)


def column_of(*extents: Extent) -> Content:
    size = sum(e.length for e in extents)
    regions = b"not of the bytes" * -(-size // 1024)
    return Content("pages", size, extents, paging=Paging(512, 1024), regions=regions)


def test_records_are_put_together_by_reader_and_product(maker: Maker, tmp_path: Path) -> None:
    blob = maker.blob(Kind.DATA, PLAIN)
    columns = (
        column_of(Extent(blob, 0, 3)),
        column_of(Extent(blob, 100, 1), Extent(None, 0, 4), Extent(blob, 20, 1)),
        # One byte of each record, and the rest; a slice reaches from the one into the other.
        column_of(Extent(blob, 200, 1), Extent(blob, 210, 3), Extent(None, 0, 1)),
    )
    expected = bytes([0, 100, 0, 200, 1, 0, 0, 210, 2, 0, 20, 211, 212, 0])
    snapshot = maker.snapshot(maker.tree(file_of_records(*columns, widths=(1, 2, 1))))

    assert program.main([str(maker.folder), "restore", "latest", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "part" / "file").read_bytes() == expected

    into = FolderTarget(tmp_path / "b")
    run_restore(maker.repository, snapshot, "part", (), into, reporter=SilentReporter())
    assert (tmp_path / "b" / "file").read_bytes() == expected


def test_columns_that_do_not_fit_their_records_are_refused_by_reader_and_product(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blob = maker.blob(Kind.DATA, PLAIN)
    columns = column_of(Extent(blob, 0, 3)), column_of(Extent(blob, 0, 1))
    snapshot = maker.snapshot(maker.tree(file_of_records(*columns, widths=(1, 1))))
    code, error = restore_error(maker, tmp_path / "out", capsys)
    assert (code, error) == (1, "reader: error: columns do not fit their records\n")
    assert not (tmp_path / "out" / "part" / "file").exists()
    with pytest.raises(IntegrityError, match="do not fit"):
        run_restore(
            maker.repository,
            snapshot,
            "part",
            (),
            FolderTarget(tmp_path / "b"),
            reporter=SilentReporter(),
        )


def test_names_out_of_order_across_the_tree_blobs_of_a_directory_are_refused(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = maker.tree(file_of()), maker.tree(folder_of(b"a", maker.tree()))
    maker.snapshot(first, second)
    code, error = restore_error(maker, tmp_path / "out", capsys)
    assert (code, error) == (1, "reader: error: a name that cannot be, or out of order: b'a'\n")


def test_data_blob_taken_for_a_tree_is_refused(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.snapshot(maker.blob(Kind.DATA, encode_tree([file_of()])))
    code, error = restore_error(maker, tmp_path / "out", capsys)
    assert code == 1
    assert error.endswith("is of another kind\n")


def test_blob_that_no_index_object_names_is_an_error(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.snapshot(BlobId(b"\7" * 32))
    code, error = restore_error(maker, tmp_path / "out", capsys)
    assert (code, error) == (1, f"reader: error: blob {'07' * 32} is in no index object\n")


def test_existing_component_is_left_alone(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.snapshot(maker.tree(file_of()))
    (tmp_path / "out" / "part").mkdir(parents=True)
    code, error = restore_error(maker, tmp_path / "out", capsys)
    assert code == 1
    assert "exists" in error
    assert list((tmp_path / "out" / "part").iterdir()) == []


def test_folder_without_a_repository_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([str(tmp_path), "list"]) == 10
    assert capsys.readouterr().err == f"reader: error: no repository at {tmp_path}\n"


def test_reader_is_one_file_of_at_most_300_lines() -> None:
    assert len(READER.read_text().splitlines()) <= 300


def test_check_objects_are_nothing_to_the_reader(maker: Maker, tmp_path: Path) -> None:
    blob = maker.blob(Kind.DATA, PLAIN)
    maker.snapshot(maker.tree(file_of(Extent(blob, 0, 256))))
    body = {"time": 1, "errors": 0, "replaces": b"", "packs": b"", "read": b"", "damaged": b""}
    maker.repository.put_object("checks/", Kind.CHECK, body)
    (maker.folder / "checks" / ("0" * 64)).write_bytes(b"garbage")
    assert program.main([str(maker.folder), "restore", "latest", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "part" / "file").read_bytes() == PLAIN
