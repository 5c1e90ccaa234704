import pytest

from snap.repo.window import READ_BYTES, Window

from .dictsource import BytesReader, FileBytesReader


def window(reader: BytesReader) -> tuple[Window, list[int]]:
    counts: list[int] = []
    return Window(reader, counts.append), counts


def test_looking_gives_what_was_asked_for_and_skipping_moves_on() -> None:
    data = bytes(range(256)) * (READ_BYTES // 100)
    view, counts = window(BytesReader(data))
    got = b""
    while part := view.look(700_000)[:700_000]:
        got += part
        view.skip(len(part))
    assert got == data
    assert sum(counts) == view.position == len(data)


def test_looking_stops_at_a_hole_and_holes_can_be_taken_in_parts() -> None:
    view, counts = window(BytesReader(b"ab" + bytes(100) + b"cd", {2: 100}))
    assert view.hole() == 0
    assert bytes(view.look(50)) == b"ab"
    view.skip(2)
    assert bytes(view.look(50)) == b""
    assert (view.hole(60), view.hole(60), view.hole(60)) == (60, 40, 0)
    assert bytes(view.look(50)) == b"cd"
    view.skip(2)
    assert bytes(view.look(1)) == b""
    assert view.hole() == 0
    assert counts == [2, 60, 40, 2]


def test_a_file_can_be_skipped_beyond_what_was_looked_at_and_a_stream_not() -> None:
    data = bytes(range(256)) * (READ_BYTES // 64)
    view, _ = window(FileBytesReader(data))
    view.look(10)
    view.skip(READ_BYTES * 3 + 5)
    assert bytes(view.look(4)[:4]) == bytes([5, 6, 7, 8])
    stream, _ = window(BytesReader(data))
    stream.look(10)
    with pytest.raises(ValueError, match="looked at"):
        stream.skip(READ_BYTES * 3)
