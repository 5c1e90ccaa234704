from snap.backends.s3_body import Body

DATA = bytes(range(256)) * 4096


def test_small_data_goes_as_it_is_and_large_in_pieces() -> None:
    assert Body.of(memoryview(b"small")) == b"small"
    body = Body.of(bytearray(DATA))
    assert isinstance(body, Body)
    pieces = list(iter(lambda: body.read(16 << 10), b""))
    assert {len(piece) for piece in pieces} == {64 << 10}
    assert b"".join(pieces) == DATA


def test_it_can_be_read_again_from_anywhere() -> None:
    body = Body(DATA)
    assert body.read() == DATA
    assert body.seek(-10, 2) == body.tell() == len(DATA) - 10
    assert body.read(100) == DATA[-10:]
    assert body.seek(0) == 0
    assert body.read(1 << 20) == DATA
    assert len(body) == len(DATA)
