"""Cases of files that are stored as their columns."""

import struct
from collections.abc import Iterator
from typing import Any

from spec.cases.bodies import BLOB_IDS, DIGESTS, HOLE, node, table
from spec.cases.case import OK, REFUSED, Case, broken_msgpack, pack

REGION = 16 << 20
WIDTHS = [1, 2, 1]


def column(size: int, **changes: Any) -> dict[str, Any]:
    """Return the content of a column, all of which is a hole."""
    count = -(-size // REGION)
    extents = table([(HOLE, 0, size)] if size else [], 0, regions=(DIGESTS * 5)[: 16 * count])
    sizes = {"layout": "pages", "size": size, "page": 1024, "region": REGION}
    return {**sizes, "extents": extents, **changes}


def records(size: int, widths: list[int], **changes: Any) -> dict[str, Any]:
    """Return the content of a file of records."""
    count, rest = divmod(size, sum(widths))
    sizes = [count * width for width in widths]
    sizes[-1] += rest
    columns = [column(n) for n in sizes]
    return {"layout": "records", "size": size, "widths": widths, "columns": columns, **changes}


def contents() -> Iterator[Case]:
    """§9.7."""
    good = records(10, WIDTHS)
    result = {"layout": "records", "size": 10, "widths": WIDTHS}
    yield Case("records", OK, "two records, and two bytes behind them", pack(good), {}, result)
    for case in broken_msgpack(good, result, {}):
        yield case._replace(name=f"records-{case.name}")
    for name, size, widths in (
        ("nothing", 0, WIDTHS),
        ("less-than-one", 3, WIDTHS),
        ("no-rest", 12, WIDTHS),
        ("one-column", 7, [3]),
        ("64-columns", 6401, [1] * 64),
        ("largest", 5 << 20, [1, (1 << 20) - 1]),
    ):
        found = {"layout": "records", "size": size, "widths": widths}
        body = pack(records(size, widths))
        yield Case(f"records-{name}", OK, f"records that may be: {name}", body, {}, found)
    lists = {"id": BLOB_IDS[0], "length": struct.pack("<Q", 4)}
    listed = {k: v for k, v in column(4, lists=lists).items() if k != "extents"}
    body = pack({**good, "columns": [column(2), listed, column(4)]})
    yield Case("records-lists", OK, "a column with extents blobs", body, {}, result)
    for name, bad in (*widths_refused(), *columns_refused()):
        comment = f"records that cannot be: {name}"
        yield Case(f"records-{name}", REFUSED, comment, pack(bad), {})


def widths_refused() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield contents whose widths are wrong, while the columns would fit them."""
    good = records(10, WIDTHS)
    yield "widths-missing", {k: v for k, v in good.items() if k != "widths"}
    yield "no-widths", {**good, "widths": [], "columns": []}
    yield "no-widths-of-nothing", {"layout": "records", "size": 0, "widths": [], "columns": []}
    zero = [column(2), column(4), column(4), column(0)]
    yield "width-zero-last", {**good, "widths": [*WIDTHS, 0], "columns": zero}
    yield "all-widths-zero", {**good, "widths": [0, 0, 0]}
    yield "width-negative", {**good, "widths": [-1, 4, 1]}
    yield "width-true", {**good, "widths": [True, 2, 1]}
    yield "width-float", {**good, "widths": [1.0, 2, 1]}
    yield "width-text", {**good, "widths": ["1", 2, 1]}
    yield "width-nil", {**good, "widths": [None, 2, 1]}
    yield "widths-bin", {**good, "widths": bytes(WIDTHS)}
    yield "widths-int", {**good, "widths": 4}
    yield "65-columns", records(65, [1] * 65)
    yield "record-too-long", records(10, [1, 1 << 20])
    yield "width-huge", records(10, [(1 << 64) - 1, 2])
    overflow = [1 << 63, 1 << 63, 4]
    yield "widths-overflow", {**good, "widths": overflow}


def columns_refused() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield contents whose columns are wrong."""
    good = records(10, WIDTHS)
    first, second, third = good["columns"]

    def of(*columns: Any) -> dict[str, Any]:
        return {**good, "columns": list(columns)}

    yield "columns-missing", {k: v for k, v in good.items() if k != "columns"}
    yield "columns-map", {**good, "columns": {}}
    yield "no-columns", of()
    yield "column-too-few", of(first, second)
    yield "column-too-many", of(first, second, third, column(0))
    yield "column-nil", of(first, second, None)
    yield "column-list", of(first, second, [third])
    yield "column-short", of(first, second, column(3))
    yield "column-long", of(first, second, column(5))
    yield "rest-in-first", of(column(4), second, column(2))
    yield "columns-swapped", of(second, first, third)
    yield "size-negative", {**good, "size": -1}
    yield "size-of-one-more", {**good, "size": 11}
    yield "extents-as-well", {**good, "extents": table([(HOLE, 0, 10)], 0)}
    lists = {"id": BLOB_IDS[0], "length": struct.pack("<Q", 10)}
    yield "lists-as-well", {**good, "lists": lists}
    only_extents = {"layout": "records", "size": 10, "extents": table([(HOLE, 0, 10)], 0)}
    yield "extents-only", only_extents
    for layout in ("blobs", "stream", "records", "of the future", 7, None):
        name = str(layout).replace(" ", "-").lower()
        yield f"column-in-{name}", of(first, second, {**third, "layout": layout})
    yield "records-in-records", of(first, second, records(4, [2, 2]))
    yield "column-without-layout", of(first, second, {"size": 4})
    yield "column-page", of(first, second, {**third, "page": 1000})
    extents = {**third["extents"], "regions": b""}
    yield "column-regions", of(first, second, {**third, "extents": extents})
    yield "column-extents", of(first, second, column(4, extents=column(3)["extents"]))


def trees() -> Iterator[Case]:
    """§9.2 with files of records."""
    good = node(b"a", "file", content=records(10, WIDTHS))
    listed = [[b"a".hex(), "file", good["mode"], good["mtime"]]]
    yield Case("records", OK, "a file of records", pack({"nodes": [good]}), {}, listed)
    bad = node(b"a", "file", content={**records(10, WIDTHS), "size": 11})
    comment = "a file whose columns do not fit its records"
    yield Case("records-size", REFUSED, comment, pack({"nodes": [bad]}), {})
