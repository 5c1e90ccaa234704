"""Dumps are read in one pass and proven whole; what is made of their files is loaded again."""

import contextlib
import gzip
import io
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from snap.errors import SourceError
from snap.repo.source import NodeType
from snap.sources.neo4j_archive import (
    Archive,
    ArchiveEntry,
    OutputFile,
    make_dump,
    recognise,
)
from snap.sources.neo4j_envelope import NotWhole
from tests.servers.neo4j import RealNeo4j

FILES = {
    "neostore": b"n" * 8192,
    "schema/index/range-1.0/3/index-3": bytes(1_000_000) + b"i" * 99,
    "empty": b"",
    "x" * 200: b"long name",
    "neostore.transaction.db.0": b"t" * 700,
}


def tar_of(files: dict[str, bytes], *, extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in (".", "./schema"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode, info.mtime = len(data), 0o644, 1_700_000_000.25
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return buffer.getvalue()


def dump_of(
    tar: bytes, files: int = len(FILES), size: int = sum(map(len, FILES.values())), **options: int
) -> bytes:
    prelude = struct.pack(">4sIQQ", b"zstd", options.get("version", 1), files, size)
    return b"DZV1" + zstandard.ZstdCompressor(write_checksum=True).compress(prelude + tar)


def read(dump: bytes) -> list[tuple[ArchiveEntry, bytes]]:
    archive = Archive(dump[:4], io.BytesIO(dump[4:]))
    return [(e, b"".join(iter(lambda r=r: r.read(1 << 16), b""))) for e, r in archive.entries()]  # type: ignore[misc]


def test_files_come_with_names_times_and_content() -> None:
    found = {
        b"/".join(entry.path).decode(): (entry, data)
        for entry, data in read(dump_of(tar_of(FILES)))
    }
    assert set(found) == {*FILES, "schema"}
    assert {name: data for name, (_, data) in found.items() if name != "schema"} == FILES
    assert found["schema"][0].type is NodeType.DIR
    entry = found["neostore"][0]
    assert (entry.mode, entry.mtime_ns, entry.size_bytes) == (
        0o644,
        1_700_000_000_250_000_000,
        8192,
    )


def test_what_is_not_read_of_a_file_is_left_out() -> None:
    dump = dump_of(tar_of(FILES))
    archive = Archive(dump[:4], io.BytesIO(dump[4:]))
    first = [reader.read(3) for _, reader in archive.entries()]
    assert len(first) == len(FILES) + 1
    assert archive.files == len(FILES)


def test_a_dump_of_gzip_has_no_counts(tmp_path: Path) -> None:

    assert len(read(b"DGV1" + gzip.compress(tar_of(FILES)))) == len(FILES) + 1


@pytest.mark.parametrize(
    ("files", "size"), [(len(FILES) + 1, sum(map(len, FILES.values()))), (len(FILES), 1)]
)
def test_other_counts_than_the_beginning_says_are_refused(files: int, size: int) -> None:
    with pytest.raises(NotWhole, match="instead of"):
        read(dump_of(tar_of(FILES), files, size))


def test_an_archive_that_ends_early_is_refused_wherever_it_is_cut() -> None:
    whole = tar_of(FILES)
    end = len(whole.rstrip(b"\0"))
    for length in (*range(0, end + 1024, 511), end + 512):
        with pytest.raises(NotWhole):
            read(dump_of(whole[:length]))


def test_what_follows_the_archive_is_refused() -> None:
    with pytest.raises(NotWhole, match="follows"):
        read(dump_of(tar_of(FILES) + b"more"))


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    info = tarfile.TarInfo(name)
    info.pax_headers = {"path": name}
    with pytest.raises(NotWhole):
        read(dump_of(tar_of(FILES, extra=(info,)), len(FILES) + 1))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_what_is_neither_file_nor_folder_is_refused(kind: bytes) -> None:
    info = tarfile.TarInfo("./link")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(NotWhole, match="neither"):
        read(dump_of(tar_of(FILES, extra=(info,))))


def test_another_version_of_the_counts_is_refused() -> None:
    with pytest.raises(NotWhole, match="counts"):
        read(dump_of(tar_of(FILES), version=2))


@pytest.mark.parametrize("magic", [b"DZV1", b"DGV1"])
def test_dumps_are_recognised(magic: bytes) -> None:
    assert recognise(magic)


@pytest.mark.parametrize("magic", [b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08\0", b"BZV1", b"\0\1\2\3"])
def test_what_is_older_or_unknown_is_told_apart(magic: bytes) -> None:
    assert not recognise(magic)


@pytest.mark.parametrize(
    "start", [b"File", b"Exec", b"neo4", b"2026", b"\nDon", b"\r\n  ", b"\x1b[0m", b"\tat "]
)
def test_text_in_the_dump_is_an_error_that_says_so(start: bytes) -> None:
    with pytest.raises(SourceError, match="text is mixed into the dump"):
        recognise(start)


@pytest.mark.parametrize("start", [b"", b"DZV"])
def test_nothing_is_no_dump(start: bytes) -> None:
    with pytest.raises(NotWhole, match="empty"):
        recognise(start)


@given(st.binary(max_size=3000))
def test_rubbish_inside_is_never_more_than_a_clear_error(rubbish: bytes) -> None:
    for tar in (rubbish, tar_of({"a": b"b"})[:1536] + rubbish):
        with contextlib.suppress(NotWhole):
            read(dump_of(tar))


@given(st.integers(0, 6000), st.integers(1, 255))
def test_a_wrong_byte_inside_changes_contents_or_is_refused(at: int, mask: int) -> None:
    tar = bytearray(tar_of({"a": b"b" * 700, "y" * 150: b"c"}))
    tar[at % len(tar)] ^= mask
    with contextlib.suppress(NotWhole):
        read(dump_of(bytes(tar), 2, 701))


def extended(records: bytes, *, kind: bytes = tarfile.XHDTYPE) -> bytes:
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, len(records)
    return header.tobuf() + records + bytes(-len(records) % tarfile.BLOCKSIZE)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while length != (whole := len(str(length)) + len(key) + len(value) + 3):
        length = whole
    return b"%d %s=%s\n" % (length, key, value)


def with_header(records: bytes) -> list[tuple[ArchiveEntry, bytes]]:
    """Read a dump of an empty file whose extended header says this."""
    return read(dump_of(extended(records) + tarfile.TarInfo("./a").tobuf() + bytes(2 * 512), 1, 0))


@pytest.mark.parametrize(
    "records",
    [
        b"9" * 5000 + b" a=b\n",
        b" a=b\n",
        b"6 a=b",
        b"99 a=b\n",
        b"3 \n",
        b"-6 a=b\n",
        record(b"size", b"1" * 5000),
        record(b"size", b"-1"),
        record(b"size", b"0_0"),
        record(b"size", b"9" * 39),
        record(b"path", b"a/" * 100_000 + b"b"),
        record(b"path", b"a/" * 64 + b"b"),
        record(b"path", (b"a" * 200 + b"/") * 20 + b"b" * 200),
        record(b"path", b"./"),
    ],
)
def test_headers_that_no_one_writes_are_a_clear_error(records: bytes) -> None:
    with pytest.raises(NotWhole):
        with_header(records)


@pytest.mark.parametrize(
    "told", [b"1e999990", b"-1e999990", b"1e-999990", b"inf", b"nan", b"sNaN", b"9" * 900_000, b"x"]
)
def test_times_that_cannot_be_are_none(told: bytes) -> None:
    [(entry, _)] = with_header(record(b"mtime", told))
    assert entry.mtime_ns == 0


def test_a_time_before_1970_has_its_nanoseconds() -> None:
    [(entry, _)] = with_header(record(b"mtime", b"-3.250000001"))
    assert entry.mtime_ns == -3_250_000_001


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"path", b"size", b"mtime", b"linkpath", b"x"]), st.binary(max_size=60)
        ),
        max_size=4,
    ),
    st.sampled_from([tarfile.XHDTYPE, tarfile.XGLTYPE]),
)
def test_headers_of_any_content_are_never_more_than_a_clear_error(
    records: list[tuple[bytes, bytes]], kind: bytes
) -> None:
    said = b"".join(record(key, value) for key, value in records)
    tar = extended(said, kind=kind) + tarfile.TarInfo("./a").tobuf() + bytes(2 * 512)
    with contextlib.suppress(NotWhole):
        read(dump_of(tar, 1, 0))


@given(st.binary(max_size=512))
def test_a_header_of_any_bytes_is_never_more_than_a_clear_error(block: bytes) -> None:
    # With the sum that belongs to it: without, all end there.
    header = bytearray(block.ljust(512, b"\0"))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with contextlib.suppress(NotWhole):
        read(dump_of(bytes(header) + bytes(2 * 512), 1, 0))


def test_sizes_above_8_gib_are_written_and_read() -> None:
    # Beyond what eleven octal digits hold; of the content, only the beginning is asked for.
    size = 9 << 30
    large = OutputFile((b"large",), False, 0o600, 0, size, lambda: iter([b"beginning" * 100_000]))
    stream = io.BytesIO()
    with pytest.raises(NotWhole, match=f"900000 bytes instead of {size}"):
        stream.writelines(make_dump([large]))
    stream.seek(4)
    entry, reader = next(Archive(b"DZV1", stream).entries())
    assert (entry.path, entry.size_bytes) == ((b"large",), size)
    assert reader.read(9) == b"beginning"


def outputs(files: dict[str, bytes]) -> list[OutputFile]:
    def content(data: bytes) -> Iterator[bytes]:
        yield data[:10]
        yield data[10:]

    return [
        OutputFile(
            tuple(name.encode().split(b"/")),
            False,
            0o644,
            5_000_000_001,
            len(data),
            lambda data=data: content(data),  # type: ignore[misc]
        )
        for name, data in files.items()
    ]


def test_a_dump_that_was_made_has_the_same_files() -> None:
    folder = OutputFile((b"schema",), True, 0o755, 0, 0, lambda: iter(()))
    made = b"".join(make_dump([folder, *outputs(FILES)]))
    found = {b"/".join(e.path).decode(): data for e, data in read(made)}
    assert found == {**FILES, "schema": b""}


def test_a_file_that_is_not_as_long_as_it_should_be_makes_no_dump() -> None:
    [file] = outputs({"a": b"b" * 20})
    with pytest.raises(NotWhole, match="20 bytes instead of 21"):
        list(make_dump([file._replace(size_bytes=21)]))


@pytest.mark.slow
def test_a_real_dump_is_read_made_again_and_loaded(running_neo4j: RealNeo4j) -> None:
    running_neo4j.run("UNWIND range(1, 300) AS n CREATE (:Person {n: n})-[:KNOWS]->(:Thing)")
    running_neo4j.stop()

    admin = str(running_neo4j.home / "bin/neo4j-admin")
    dump = subprocess.run(
        [admin, "database", "dump", "neo4j", "--to-stdout"], capture_output=True, check=True
    ).stdout
    files = read(dump)
    names = {b"/".join(entry.path) for entry, _ in files}
    assert {b"neostore", b"neostore.nodestore.db", b"neostore.transaction.db.0"} <= names
    made = b"".join(
        make_dump(
            [
                OutputFile(
                    entry.path,
                    entry.type is NodeType.DIR,
                    entry.mode,
                    entry.mtime_ns,
                    len(data),
                    lambda data=data: iter([data]),  # type: ignore[misc]
                )
                for entry, data in sorted(files)
            ]
        )
    )
    running_neo4j.start()
    running_neo4j.run("MATCH (n) DETACH DELETE n")
    running_neo4j.stop()
    subprocess.run(
        [admin, "database", "load", "neo4j", "--from-stdin", "--overwrite-destination=true"],
        input=made,
        capture_output=True,
        check=True,
    )
    running_neo4j.start()
    [found] = running_neo4j.run("MATCH (a)-[r:KNOWS]->(b) RETURN count(r) AS n")
    assert found == {"n": 300}
