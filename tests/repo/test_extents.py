import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.repo.codec import DecodeError
from snap.repo.extents import (
    LIST_LIMIT,
    Content,
    Extent,
    ExtentTable,
    Paging,
    UnknownLayout,
    decode_content,
    decode_extents,
    decode_table,
    encode_extents,
    is_list_end,
    require_layout,
)
from snap.repo.ids import BlobId
from snap.repo.records import Records

blob_ids = st.binary(min_size=32, max_size=32).map(BlobId)
extents = st.lists(
    st.builds(Extent, blob_ids, st.integers(0, 2**32 - 1), st.integers(1, 2**40))
    | st.builds(lambda n: Extent(None, 0, n), st.integers(1, 2**40))
)


@given(extents)
def test_extents_come_back_from_their_table(given_extents: list[Extent]) -> None:
    assert decode_extents(encode_extents(given_extents)) == tuple(given_extents)


@given(extents, st.sampled_from(["blobs", "stream"]))
def test_content_comes_back_inline_and_as_lists(given_extents: list[Extent], layout: str) -> None:
    size = sum(e.length for e in given_extents)
    inline = Content(layout, size, tuple(given_extents))
    assert decode_content(inline.encode()) == inline
    lists = tuple((BlobId(bytes([n % 256]) * 32), e.length) for n, e in enumerate(given_extents))
    listed = Content(layout, size, None, lists)
    assert decode_content(listed.encode()) == listed


@given(extents, st.integers(1, 16 << 20))
def test_the_size_of_a_streams_chunks_comes_back(given_extents: list[Extent], chunk: int) -> None:
    size = sum(e.length for e in given_extents)
    inline = Content("stream", size, tuple(given_extents), chunk_bytes=chunk)
    assert list(inline.encode()) == ["layout", "size", "chunk", "extents"]
    assert decode_content(inline.encode()) == inline
    listed = Content("stream", size, None, ((BlobId(b"l" * 32), size),), chunk_bytes=chunk)
    assert decode_content(listed.encode()) == listed


@pytest.mark.parametrize("chunk", [-1, (16 << 20) + 1, 1.0, True, "1", None])
def test_impossible_sizes_of_chunks_are_refused_and_other_layouts_ignore_them(
    chunk: object,
) -> None:
    fields = {"layout": "stream", "size": 0, "extents": encode_extents(())}
    assert decode_content(fields).chunk_bytes == 0
    with pytest.raises(DecodeError, match="chunk"):
        decode_content({**fields, "chunk": chunk})
    assert decode_content({**fields, "layout": "blobs", "chunk": chunk}).chunk_bytes == 0


pagings = st.integers(9, 16).flatmap(
    lambda n: st.builds(
        Paging, st.just(1 << n), st.integers(1, (16 << 20) >> n).map(lambda m: m << n)
    )
)
short_extents = st.lists(
    st.builds(Extent, blob_ids, st.integers(0, 2**32 - 1), st.integers(1, 2**14)), max_size=16
)


def regions_of(size: int, paging: Paging) -> bytes:
    count = len(range(0, size, paging.region_bytes))
    return b"".join(n.to_bytes(16, "big") for n in range(count))


@given(short_extents, pagings)
def test_paged_content_comes_back_with_its_sizes_and_regions(
    given_extents: list[Extent], paging: Paging
) -> None:
    size = sum(e.length for e in given_extents)
    regions = regions_of(size, paging)
    inline = Content("pages", size, tuple(given_extents), paging=paging, regions=regions)
    assert decode_content(inline.encode()) == inline
    lists = tuple((e.blob, e.length) for e in given_extents if e.blob is not None)
    listed = Content("pages", size, None, lists, paging)
    assert decode_content(listed.encode()) == listed


@given(short_extents, pagings)
def test_a_paged_table_comes_back_and_has_exactly_one_digest_a_region(
    given_extents: list[Extent], paging: Paging
) -> None:
    size = sum(e.length for e in given_extents)
    regions = regions_of(size, paging)
    table = encode_extents(given_extents, regions)
    assert decode_table(table, size, paging) == ExtentTable(tuple(given_extents), regions)
    for wrong in (regions + bytes(16), regions + b"x", regions[:-1] or b"x", regions.hex()):
        with pytest.raises(DecodeError):
            decode_table({**table, "regions": wrong}, size, paging)


def test_tables_have_regions_in_the_layout_of_pages_only() -> None:
    one = (Extent(A, 0, 5),)
    assert "regions" not in encode_extents(one)
    assert encode_extents(one, b"")["regions"] == b""
    assert decode_table(encode_extents(one, b"ignored"), 5, None) == ExtentTable(one)
    with pytest.raises(DecodeError, match="regions"):
        decode_table(encode_extents(one), 5, Paging(512, 512))
    in_order = ["layout", "size", "page", "region", "extents"]
    paged = Content("pages", 5, one, paging=Paging(512, 1024), regions=bytes(16))
    assert list(paged.encode()) == in_order
    assert "page" not in Content("stream", 5, one).encode()


def test_a_table_must_describe_as_many_bytes_as_it_is_asked_for() -> None:
    table = encode_extents([Extent(A, 0, 600), Extent(None, 0, 424)], bytes(32))
    assert decode_table(table, 1024, Paging(512, 512)).regions == bytes(32)
    for paging in (None, Paging(512, 512)):
        for length in (0, 1023, 1025):
            with pytest.raises(DecodeError, match="add up"):
                decode_table(table, length, paging)


@pytest.mark.parametrize(
    ("page", "region"),
    [
        (0, 0),
        (0, 4096),
        (-512, 4096),
        (256, 4096),
        (513, 513),
        (1536, 3072),
        (131_072, 131_072),
        (512.0, 4096),
        (True, 4096),
        ("512", 4096),
        (None, 4096),
        (4096, 0),
        (4096, -4096),
        (4096, 2048),
        (4096, 4608),
        (4096, (16 << 20) + 4096),
        (4096, 8192.0),
        (4096, None),
    ],
)
def test_impossible_sizes_of_pages_and_regions_are_refused(page: object, region: object) -> None:
    empty = {"layout": "pages", "size": 0, "extents": encode_extents((), b"")}
    for good in ((512, 512), (4096, 12_288), (65_536, 16 << 20)):
        content = decode_content({**empty, "page": good[0], "region": good[1]})
        assert content.paging == Paging(*good)
    with pytest.raises(DecodeError):
        decode_content({**empty, "page": page, "region": region})


def test_content_of_pages_without_its_sizes_is_refused_and_other_layouts_ignore_them() -> None:
    sizes = {"page": 512, "region": 1024}
    for missing in sizes:
        fields = {"layout": "pages", "size": 0, "extents": encode_extents((), b""), **sizes}
        assert decode_content(fields).paging == Paging(512, 1024)
        del fields[missing]
        with pytest.raises(DecodeError, match=missing):
            decode_content(fields)
    odd = {"layout": "stream", "size": 0, "extents": encode_extents(()), "page": "x"}
    assert decode_content(odd) == Content("stream", 0, ())


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
    for layout in ("blobs", "pages", "stream"):
        require_layout(Content(layout, 0, ()), "a/file")


def test_lists_end_by_content_and_at_the_limit() -> None:
    low, high = Extent(BlobId(b"\x03" * 32), 0, 1), Extent(BlobId(b"\x04" * 32), 0, 1)
    assert is_list_end(low, None, 1)
    assert is_list_end(low, high, 1)
    assert is_list_end(low, Extent(None, 0, 1), 1)
    assert not is_list_end(low, Extent(low.blob, 1, 1), LIST_LIMIT - 1)
    assert is_list_end(low, Extent(low.blob, 1, 1), LIST_LIMIT)
    assert not is_list_end(high, None, LIST_LIMIT - 1)
    assert is_list_end(high, low, LIST_LIMIT)
    assert not is_list_end(Extent(None, 0, 1), low, 1)


def column(size: int) -> Content:
    extents = (Extent(None, 0, size),) if size else ()
    return Content(
        "pages", size, extents, paging=Paging(512, 1 << 20), regions=b"r" * 16 * (size > 0)
    )


@given(st.lists(st.integers(1, 99), min_size=1, max_size=64), st.integers(0, 9_000))
def test_records_come_back_with_their_columns(widths: list[int], size: int) -> None:
    columns = tuple(column(n) for n in Records(tuple(widths), size).column_bytes())
    content = Content("records", size, None, widths=tuple(widths), columns=columns)
    assert list(content.encode()) == ["layout", "size", "widths", "columns"]
    assert decode_content(content.encode()) == content
    assert content.parts == columns
    assert columns[0].parts == (columns[0],)
    for bad in (size - 1, size + 1):
        with pytest.raises(DecodeError, match=r"fit|negative"):
            decode_content({**content.encode(), "size": bad})


def test_a_layout_that_is_not_known_is_told_apart() -> None:
    later = decode_content({"layout": "later", "size": 5})
    assert not later.is_known
    assert all(Content(name, 0, ()).is_known for name in ("blobs", "pages", "records", "stream"))
    with pytest.raises(UnknownLayout, match="f: stored in the layout 'later'"):
        require_layout(later, "f")
