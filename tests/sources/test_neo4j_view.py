import io

import pytest

from snap.errors import SourceError
from snap.repo.source import Consistency, Entry, ViewReport
from snap.sources.neo4j_view import (
    OPAQUE,
    PAGE_BYTES,
    RECORD_PAGE_BYTES,
    DumpView,
    MemoryReader,
    StreamReader,
    page_bytes_of,
)

from .test_neo4j_archive import FILES, dump_of, tar_of


class Dump:
    """Bytes as a dump, whose program ends well or not."""

    def __init__(self, data: bytes, error: SourceError | None = None) -> None:
        self.read = io.BytesIO(data).read
        self._error = error
        self.finished = 0

    def finish(self) -> None:
        self.finished += 1
        if self._error is not None:
            raise self._error


def view_of(dump: Dump, ended: list[str], artifact: str = "dump") -> DumpView:
    return DumpView(
        "graph",
        dump,
        at_end=lambda: ended.append("end"),
        report=lambda statistics, warnings: ViewReport(
            Consistency.QUIESCED, 1, statistics, warnings=warnings
        ),
        artifact=artifact,
    )


def content(entry: Entry) -> bytes:
    assert entry.open is not None
    with entry.open() as reader:
        return b"".join(iter(lambda: reader.read(1 << 16), b""))


@pytest.mark.parametrize(
    ("path", "page_bytes"),
    [
        ((b"neostore",), RECORD_PAGE_BYTES),
        ((b"neostore.propertystore.db",), RECORD_PAGE_BYTES),
        ((b"neostore.transaction.db.17",), PAGE_BYTES),
        ((b"checkpoint.0",), PAGE_BYTES),
        ((b"schema", b"index", b"range-1.0", b"3", b"index-3"), PAGE_BYTES),
    ],
)
def test_stores_are_compared_in_smaller_pages_than_logs_and_indexes(
    path: tuple[bytes, ...], page_bytes: int
) -> None:
    assert page_bytes_of(path) == page_bytes


def test_files_are_entries_with_their_pages() -> None:
    ended: list[str] = []
    dump = Dump(dump_of(tar_of(FILES)))
    view = view_of(dump, ended)
    found = {}
    for entry in view.entries():
        assert ended == []
        if entry.open is not None:
            assert entry.page_bytes == page_bytes_of(entry.path)
            found[b"/".join(entry.path).decode()] = content(entry)
    assert found == FILES
    assert (ended, dump.finished) == (["end"], 1)
    report = view.finish()
    assert report.statistics == {
        "database": "graph",
        "envelope": "DZV1",
        "files": len(FILES),
        "bytes": sum(map(len, FILES.values())),
    }
    assert not view.is_sorted


def test_an_unknown_dump_is_stored_as_it_is_and_that_is_said() -> None:
    data = b"\x28\xb5\x2f\xfd" + bytes(range(256)) * 100
    view = view_of(Dump(data), [])
    [entry] = [(e.path, content(e)) for e in view.entries()]
    assert entry == ((b"graph.dump",), data)
    report = view.finish()
    assert report.statistics["envelope"] == OPAQUE
    assert "cannot be proven" in report.warnings[0]


def test_a_backup_of_enterprise_is_stored_as_it_is_under_a_name_without_a_time() -> None:
    data = b"BTV1" + bytes(range(256)) * 100
    view = view_of(Dump(data), [], "backup")
    assert [(e.path, content(e)) for e in view.entries()] == [((b"graph.backup",), data)]
    report = view.finish()
    assert (report.statistics["envelope"], report.statistics["artifact"]) == (OPAQUE, "backup")
    assert "the backup begins with b'BTV1'" in report.warnings[0]


def test_a_backup_that_is_a_dump_inside_is_opened_as_one() -> None:
    view = view_of(Dump(dump_of(tar_of(FILES))), [], "backup")
    found = {b"/".join(e.path).decode(): content(e) for e in view.entries() if e.open is not None}
    assert found == FILES
    assert "artifact" not in view.finish().statistics


def test_why_the_program_failed_is_told_instead_of_what_is_missing() -> None:
    whole = dump_of(tar_of(FILES))
    for data in (b"", whole[: len(whole) // 2], whole):
        ended: list[str] = []
        view = view_of(Dump(data, SourceError("the database is in use")), ended)
        with pytest.raises(SourceError, match="in use"):
            for entry in view.entries():
                if entry.open is not None:
                    content(entry)
        assert ended == []
        with pytest.raises(SourceError, match="not read to its end"):
            view.finish()


def test_a_dump_cut_short_with_exit_code_0_is_refused() -> None:
    whole = dump_of(tar_of(FILES))
    for length in (0, 3, 4, 40, len(whole) // 2, len(whole) - 1):
        view = view_of(Dump(whole[:length]), [])
        with pytest.raises(SourceError):
            for entry in view.entries():
                if entry.open is not None:
                    content(entry)


def test_text_in_the_dump_is_told() -> None:
    view = view_of(Dump(b"Files: 1/39, data: 0.0%\n" + dump_of(tar_of(FILES))), [])
    with pytest.raises(SourceError, match="text is mixed"):
        list(view.entries())


def test_short_content_can_be_read_anywhere() -> None:
    reader = MemoryReader(b"0123456789")
    assert (reader.read(3), reader.read(99), reader.read(1)) == (b"012", b"3456789", b"")
    buffer = bytearray(4)
    assert reader.read_at(8, memoryview(buffer)) == 2
    assert bytes(buffer) == b"89\0\0"
    reader.seek(5)
    assert (reader.read(2), reader.size_bytes, reader.hole(), reader.is_changed()) == (
        b"56",
        10,
        0,
        False,
    )
    with StreamReader(io.BytesIO(b"x").read) as stream:
        assert (stream.read(5), stream.hole(), stream.is_changed()) == (b"x", 0, False)
