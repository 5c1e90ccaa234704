import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from snap.repo import codec
from snap.repo.codec import DecodeError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_a_map_comes_back_as_it_was_encoded(value: dict[str, object]) -> None:
    assert codec.decode(codec.encode(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_a_map_or_a_decode_error(data: bytes) -> None:
    try:
        assert isinstance(codec.decode(data), dict)
    except DecodeError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (msgpack.packb([1]), "not a map"),
        (msgpack.packb({"a": 1}) + b"\0", "msgpack"),
        (b"\x82\xa1a\x01\xa1a\x02", "twice"),
        (b"\x81\x01\x02", "not text"),
        (b"", "msgpack"),
    ],
)
def test_what_is_not_one_map_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        codec.decode(data)


def test_deep_nesting_is_refused() -> None:
    value: dict[str, object] = {}
    for _ in range(40):
        value = {"in": [value]}
    with pytest.raises(DecodeError):
        codec.decode(codec.encode(value))


def test_a_field_of_another_type_is_refused() -> None:
    assert codec.field({"a": 1}, "a", int) == 1
    assert codec.field({}, "a", int, default=7) == 7
    assert codec.optional({}, "a", int) is None
    for bad in ({"a": "x"}, {"a": True}, {}):
        with pytest.raises(DecodeError, match="'a'"):
            codec.field(bad, "a", int)


@given(st.binary(max_size=3000))
def test_compressed_bytes_come_back(data: bytes) -> None:
    assert codec.decompress(codec.compress(data), len(data)) == data


def test_damaged_and_oversized_frames_are_refused() -> None:
    frame = codec.compress(b"abc" * 1000)
    streaming = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    unsized = streaming.compress(b"x" * 10) + streaming.flush()
    for bad in (frame[:-1], frame + b"x", frame + frame, b"", b"nonsense", unsized):
        with pytest.raises(DecodeError):
            codec.decompress(bad, 3000)
    with pytest.raises(DecodeError, match="2999 allowed"):
        codec.decompress(frame, 2999)
