"""What `snap.repo.source.Source` promises, as tests; every source runs them."""

import os
import time
from collections.abc import Mapping

import msgpack
import pytest

from snap.errors import SourceError
from snap.repo.source import Entry, NodeType, Source, ViewReport


def read_all(source: Source) -> tuple[list[Entry], dict[bytes, bytes], ViewReport]:
    """Read a source to its end: entries, contents (holes as zeros), report."""
    contents: dict[bytes, bytes] = {}
    entries = []
    with source.open() as view:
        for entry in view.entries():
            entries.append(entry)
            if entry.type is NodeType.FILE and not entry.problem:
                contents[b"/".join(entry.path)] = read_entry(entry)
        report = view.finish()
    return entries, contents, report


def read_entry(entry: Entry, block: int = 70_000) -> bytes:
    """Return a file's content."""
    assert entry.open is not None
    parts: list[bytes] = []
    with entry.open() as reader:
        while True:
            hole = reader.hole()
            part = bytes(hole) if hole else reader.read(block)
            if not part:
                return b"".join(parts)
            parts.append(part)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class SourceContract:
    """Subclasses give ``source``, what it holds as ``expected``, and a ``missing`` one."""

    def test_it_says_what_it_is(self, source: Source) -> None:
        assert source.name
        assert "/" not in source.name
        assert source.kind
        assert source.place

    def test_content_is_complete_and_equal(
        self, source: Source, expected: Mapping[bytes, bytes]
    ) -> None:
        _, contents, _ = read_all(source)
        assert contents == expected

    def test_entries_are_sorted_with_folders_before_what_is_in_them(self, source: Source) -> None:
        entries, _, _ = read_all(source)
        paths = [entry.path for entry in entries]
        assert paths == sorted(set(paths))
        folders = {()} | {e.path for e in entries if e.type is NodeType.DIR}
        assert all(path and path[:-1] in folders for path in paths)

    def test_the_report_can_be_stored_and_its_point_lies_in_the_run(self, source: Source) -> None:
        began_ns = time.time_ns()
        _, _, report = read_all(source)
        packed = msgpack.packb(dict(report.statistics))
        assert msgpack.unpackb(packed) == dict(report.statistics)
        assert all(isinstance(value, str) for value in report.versions.values())
        assert began_ns <= report.point_ns <= time.time_ns()
        assert report.downtime_ns >= 0

    def test_every_file_has_attributes_and_a_mode(self, source: Source) -> None:
        entries, _, _ = read_all(source)
        for entry in entries:
            assert entry.attributes is not None
            assert 0 <= entry.attributes.mode <= 0o7777

    def test_nothing_stays_open_also_when_it_is_left_early(self, source: Source) -> None:
        before = open_descriptors()
        with source.open() as view:
            next(iter(view.entries()))
        assert open_descriptors() == before

    def test_a_place_that_is_not_there_is_a_source_error(self, missing: Source) -> None:
        with pytest.raises(SourceError) as caught:
            read_all(missing)
        assert str(caught.value)
        assert caught.value.hint
