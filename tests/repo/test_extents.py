import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.repo.codec import DecodeError
from snap.repo.extents import (
    LIST_LIMIT,
    Content,
    Extent,
    UnknownLayout,
    decode_content,
    decode_extents,
    encode_extents,
    is_list_end,
    require_layout,
)
from snap.repo.ids import BlobId

blob_ids = st.binary(min_size=32, max_size=32).map(BlobId)
extents = st.lists(
    st.builds(Extent, blob_ids, st.integers(0, 2**32 - 1), st.integers(1, 2**40))
    | st.builds(lambda n: Extent(None, 0, n), st.integers(1, 2**40))
)


@given(extents)
def test_extents_come_back_from_their_table(given_extents: list[Extent]) -> None:
    assert decode_extents(encode_extents(given_extents)) == tuple(given_extents)


@given(extents)
def test_content_comes_back_inline_and_as_lists(given_extents: list[Extent]) -> None:
    size = sum(e.length for e in given_extents)
    inline = Content("blobs", size, tuple(given_extents))
    assert decode_content(inline.encode()) == inline
    lists = tuple((BlobId(bytes([n % 256]) * 32), e.length) for n, e in enumerate(given_extents))
    listed = Content("blobs", size, None, lists)
    assert decode_content(listed.encode()) == listed


A, B = BlobId(b"a" * 32), BlobId(b"b" * 32)
TABLE = encode_extents([Extent(A, 0, 5), Extent(None, 0, 7), Extent(B, 3, 9)])


@pytest.mark.parametrize(
    "change",
    [
        {"blobs": A + A},
        {"blobs": A},
        {"blobs": A + b"x"},
        {"index": TABLE["index"][:-1]},
        {"offset": TABLE["offset"] + b"\0"},
        {"offset": b"\1\0\0\0" * 3},
        {"length": bytes(24)},
        {"length": b"\xff" * 24},
        {"length": None},
    ],
)
def test_tables_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    assert len(decode_extents(TABLE)) == 3
    with pytest.raises(DecodeError):
        decode_extents(TABLE | change)


def test_sizes_that_do_not_add_up_are_refused() -> None:
    good = {"layout": "blobs", "size": 21, "extents": TABLE}
    assert decode_content(good).size_bytes == 21
    for bad in (
        good | {"size": 20},
        good | {"size": -1},
        good | {"lists": {}},
        {"layout": "blobs", "size": 0},
        {"layout": "blobs", "size": 5, "lists": {"id": A, "length": bytes(8)}},
    ):
        with pytest.raises(DecodeError):
            decode_content(bad)


def test_an_unknown_layout_can_be_listed_and_is_a_clear_error_when_read() -> None:
    content = decode_content({"layout": "crystals", "size": 77})
    assert content.size_bytes == 77
    with pytest.raises(UnknownLayout, match="'crystals'") as caught:
        require_layout(content, "a/file")
    assert caught.value.exit_code == 13
    require_layout(Content("blobs", 0, ()), "a/file")


def test_lists_end_by_content_and_at_the_limit() -> None:
    low, high = Extent(BlobId(b"\x03" * 32), 0, 1), Extent(BlobId(b"\x04" * 32), 0, 1)
    assert is_list_end(low, 1)
    assert not is_list_end(high, LIST_LIMIT - 1)
    assert is_list_end(high, LIST_LIMIT)
    assert not is_list_end(Extent(None, 0, 1), 1)
