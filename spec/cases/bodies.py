"""Cases of what is inside: index, extents, content, tree, snapshot."""

import struct
from collections.abc import Iterator
from typing import Any, cast

from blake3 import blake3

from spec.cases.case import (
    BLOB_COLUMNS,
    NEW,
    OK,
    REFUSED,
    Case,
    broken_msgpack,
    pack,
)


def index_body(entries: list[tuple[bytes, int, int, list[tuple[Any, ...]]]]) -> dict[str, Any]:
    """Return an index body of (pack id, kind, size, records)."""
    records = [record for entry in entries for record in entry[3]]
    codes = {"kind": "B", "compression": "B", "key": "H"}
    blob_columns = {
        key: b"".join(struct.pack("<" + codes.get(key, "I"), r[i + 1]) for r in records)
        for i, key in enumerate(BLOB_COLUMNS)
    }
    packs_ = {
        "id": b"".join(e[0] for e in entries),
        "kind": bytes(e[1] for e in entries),
        "size": b"".join(struct.pack("<Q", e[2]) for e in entries),
        "keys": b"\1\0" * len(entries),
        "blobs": b"".join(struct.pack("<I", len(e[3])) for e in entries),
    }
    return {"packs": packs_, "blobs": {"id": b"".join(r[0] for r in records), **blob_columns}}


def indexes() -> Iterator[Case]:
    """§8."""
    ids = [blake3(bytes((n,))).digest() for n in range(5)]
    first = [(ids[2], 1, 0, 0, 0, 1180, 20, 4), (ids[3], 1, 1, 0, 1, 1200, 30, 900)]
    second = [(ids[4], 2, 0, 0, 0, 44, 21, 5)]
    entries = [(ids[0], 1, 1400, first), (ids[1], 2, 200, second)]
    body = index_body(cast(Any, entries))
    result = [
        [i.hex(), k, s, [[r[0].hex(), *r[1:]] for r in rs]] for i, k, s, rs in cast(Any, entries)
    ]
    yield Case("two-packs", OK, "columns, pack after pack", pack(body), {}, result)
    yield Case("nothing", OK, "no packs", pack(index_body([])), {}, [])
    yield from broken_msgpack(body, result, {})
    for table, columns in body.items():
        for key, column in columns.items():
            changed = {**body, table: {**columns, key: column[:-1]}}
            yield Case(f"{table}-{key}-short", REFUSED, "unequal columns", pack(changed), {})
            changed = {**body, table: {k: v for k, v in columns.items() if k != key}}
            yield Case(f"{table}-{key}-missing", REFUSED, "no column", pack(changed), {})
    for name, counts in (("fewer", b"\1\0\0\0\1\0\0\0"), ("more", b"\2\0\0\0\2\0\0\0")):
        changed = {**body, "packs": {**body["packs"], "blobs": counts}}
        yield Case(f"blobs-{name}", REFUSED, "packs.blobs do not add up", pack(changed), {})
    changed = {**body, "packs": {**body["packs"], "kind": b"\1\3"}}
    yield Case("pack-kind-3", REFUSED, "a pack of unknown kind", pack(changed), {})
    changed = {**body, "packs": {**body["packs"], "id": body["packs"]["id"].hex()}}
    yield Case("ids-as-text", REFUSED, "str instead of bin", pack(changed), {})


BLOB_IDS = [blake3(b"blob %d" % n).digest() for n in range(3)]


def table(extents: list[tuple[int, int, int]], count: int = 2, **changes: Any) -> dict[str, Any]:
    """Return an extent table of (index, offset, length) over `count` blobs."""
    fields = {
        "blobs": b"".join(BLOB_IDS[:count]),
        "index": b"".join(struct.pack("<I", e[0]) for e in extents),
        "offset": b"".join(struct.pack("<I", e[1]) for e in extents),
        "length": b"".join(struct.pack("<Q", e[2]) for e in extents),
    }
    return {**fields, **changes}


HOLE = 0xFFFFFFFF
EXTENTS = [(0, 0, 100), (HOLE, 0, 1 << 40), (1, 7, 3), (0, 50, 50)]


def extents_cases() -> Iterator[Case]:
    """§9.4, §9.5."""
    result = [[None if i == HOLE else BLOB_IDS[i].hex(), o, n] for i, o, n in EXTENTS]
    yield Case(
        "slices-and-holes", OK, "a blob twice, a slice, a hole", pack(table(EXTENTS)), {}, result
    )
    yield Case("nothing", OK, "an empty file", pack(table([], 0)), {}, [])
    yield from broken_msgpack(table(EXTENTS), result, {})
    for name, bad in (
        ("index-out-of-range", table([(2, 0, 1)])),
        ("index-almost-a-hole", table([(HOLE - 1, 0, 1)])),
        ("length-zero", table([(0, 0, 0)])),
        ("hole-of-zero", table([(HOLE, 0, 0)])),
        ("length-2-63", table([(HOLE, 0, 1 << 63)])),
        ("hole-with-offset", table([(HOLE, 1, 1)])),
        ("blob-twice", table(EXTENTS, blobs=BLOB_IDS[0] * 2)),
        ("blobs-cut", table(EXTENTS, blobs=b"".join(BLOB_IDS)[:-1])),
        ("index-cut", table(EXTENTS, index=bytes(15))),
        ("offset-short", table(EXTENTS, offset=bytes(12))),
        ("length-long", table(EXTENTS, length=b"\1" * 40)),
        ("length-missing", {k: v for k, v in table(EXTENTS).items() if k != "length"}),
        ("index-as-list", table(EXTENTS, index=[0, 1])),
    ):
        yield Case(name, REFUSED, f"an extent table that cannot be: {name}", pack(bad), {})
    ignored = table(EXTENTS, regions=b"ignored")
    comment = "a key that only the layout pages has"
    yield Case("regions-of-no-use", OK, comment, pack(ignored), {}, result)


PAGE, REGION = 512, 2048
PAGED = [(0, 0, 1024), (HOLE, 0, 1024), (1, 512, 512), (0, 512, 1538)]
PAGED_SIZE = 4098
DIGESTS = b"".join(blake3(b"region %d" % n).digest()[:16] for n in range(4))


def paged_table(**changes: Any) -> dict[str, Any]:
    """Return an extent table of two whole regions and a last one of two bytes."""
    return table(PAGED, **{"regions": DIGESTS[:48], **changes})


def paged_refused() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield tables whose regions do not fit `PAGED_SIZE` bytes."""
    yield "regions-missing", table(PAGED)
    yield "regions-none", paged_table(regions=b"")
    yield "regions-short", paged_table(regions=DIGESTS[:32])
    yield "regions-cut", paged_table(regions=DIGESTS[:47])
    yield "regions-long", paged_table(regions=DIGESTS)
    yield "regions-as-text", paged_table(regions="x" * 48)
    yield "regions-as-list", paged_table(regions=[DIGESTS[:16]] * 3)
    yield "regions-nil", paged_table(regions=None)


def paged_extents() -> Iterator[Case]:
    """§9.4, §9.5 in the layout `pages`."""
    result = [[None if i == HOLE else BLOB_IDS[i].hex(), o, n] for i, o, n in PAGED]
    inputs = {"length": str(PAGED_SIZE), "page": str(PAGE), "region": str(REGION)}
    found = {"extents": result, "regions": DIGESTS[:48].hex()}
    good = pack(paged_table())
    yield Case("last-region-short", OK, "two bytes in the last region", good, inputs, found)
    whole = table([(HOLE, 0, 2 * REGION)], 0, regions=DIGESTS[:32])
    even = {**inputs, "length": str(2 * REGION)}
    found_whole = {"extents": [[None, 0, 2 * REGION]], "regions": DIGESTS[:32].hex()}
    yield Case("whole-regions", OK, "one hole of two regions", pack(whole), even, found_whole)
    one_byte = {**inputs, "length": "1"}
    tiny = table([(0, 3, 1)], 1, regions=DIGESTS[:16])
    found_tiny = {"extents": [[BLOB_IDS[0].hex(), 3, 1]], "regions": DIGESTS[:16].hex()}
    yield Case("one-byte", OK, "one region of one byte", pack(tiny), one_byte, found_tiny)
    nothing = pack(table([], 0, regions=b""))
    of_nothing = {"extents": [], "regions": ""}
    yield Case("nothing", OK, "no bytes", nothing, {**inputs, "length": "0"}, of_nothing)
    yield from broken_msgpack(paged_table(), found, inputs)
    for name, bad in paged_refused():
        yield Case(name, REFUSED, f"regions that cannot be: {name}", pack(bad), inputs)
    for name, length in (("low", PAGED_SIZE - 1), ("high", PAGED_SIZE + 1)):
        changed = {**inputs, "length": str(length)}
        yield Case(f"length-{name}", REFUSED, "extents do not add up", good, changed)
    long = paged_table(length=struct.pack("<4Q", 0, 1024, 512, 2562))
    yield Case("length-zero", REFUSED, "an extent of no bytes", pack(long), inputs)
    coarse = {**inputs, "region": str(2 * REGION)}
    yield Case("coarser-regions", REFUSED, "digests of smaller regions", good, coarse)


def content(**changes: Any) -> dict[str, Any]:
    """Return a file's content of 153 bytes and a hole."""
    size = sum(e[2] for e in EXTENTS)
    return {"layout": "blobs", "size": size, "extents": table(EXTENTS), **changes}


def contents() -> Iterator[Case]:
    """§9.3."""
    good = content()
    result = {"layout": "blobs", "size": good["size"]}
    yield Case("extents", OK, "a table", pack(good), {}, result)
    lists = {"id": b"".join(BLOB_IDS), "length": struct.pack("<3Q", 1, 2, 3)}
    by_lists = {"layout": "blobs", "size": 6, "lists": lists}
    yield Case("lists", OK, "extents blobs", pack(by_lists), {}, {"layout": "blobs", "size": 6})
    yield from broken_msgpack(good, result, {})
    later = pack(content(layout="of the future"))
    yield Case("layout-of-the-future", NEW, "a layout of a later version", later, {})
    comment = "the layout records without widths and columns"
    yield Case("layout-records", REFUSED, comment, pack(content(layout="records")), {})
    stream = {"layout": "stream", "size": good["size"]}
    yield Case("layout-stream", OK, "a table", pack(content(layout="stream")), {}, stream)
    comment = "the layout pages without page, region, regions"
    yield Case("layout-pages", REFUSED, comment, pack(content(layout="pages")), {})
    listed = {**by_lists, "layout": "stream"}
    yield Case("stream-lists", OK, "extents blobs", pack(listed), {}, {**stream, "size": 6})
    odd = content(layout="stream", page="x", region=0)
    yield Case("stream-page-ignored", OK, "page is of the layout pages", pack(odd), {}, stream)
    yield from stream_chunks()
    yield from paged_contents()
    for name, bad in (
        ("size-low", content(size=good["size"] - 1)),
        ("size-high", content(size=good["size"] + 1)),
        ("size-negative", content(size=-1, extents=table([], 0))),
        ("size-true", content(size=True, extents=table([(HOLE, 0, 1)]))),
        ("size-missing", {k: v for k, v in good.items() if k != "size"}),
        ("layout-missing", {k: v for k, v in good.items() if k != "layout"}),
        ("both", {**by_lists, **good}),
        ("neither", {"layout": "blobs", "size": 0}),
        ("extents-nil", content(extents=None)),
        ("lists-do-not-add-up", {**by_lists, "size": 7}),
        ("lists-unequal", {**by_lists, "lists": {**lists, "length": bytes(16)}}),
        ("lists-id-cut", {**by_lists, "lists": {**lists, "id": lists["id"][:-1]}}),
        ("sum-overflows", content(size=0, extents=table([(HOLE, 0, (1 << 63) - 1)] * 2))),
    ):
        yield Case(name, REFUSED, f"a content that cannot be: {name}", pack(bad), {})


def stream_chunks() -> Iterator[Case]:
    """§9.3: `chunk`, which is for the next writer."""
    empty: dict[str, Any] = {"layout": "stream", "size": 0, "extents": table([], 0)}
    result = {"layout": "stream", "size": 0}
    for name, chunk in (("one", 1), ("64-kib", 65_536), ("16-mib", 16 << 20)):
        body = pack({**empty, "chunk": chunk})
        yield Case(f"stream-chunk-{name}", OK, "a size that may be", body, {}, result)
    for name, bad in (
        ("negative", -1),
        ("large", (16 << 20) + 1),
        ("huge", 1 << 63),
        ("true", True),
        ("float", 65_536.0),
        ("text", "65536"),
        ("nil", None),
    ):
        body = pack({**empty, "chunk": bad})
        yield Case(f"stream-chunk-{name}", REFUSED, "a size that cannot be", body, {})
    ignored = pack({**empty, "layout": "blobs", "chunk": "x"})
    blobs = {"layout": "blobs", "size": 0}
    yield Case("blobs-chunk-ignored", OK, "chunk is of the layout stream", ignored, {}, blobs)


def paged(**changes: Any) -> dict[str, Any]:
    """Return the content of a file in the layout `pages`."""
    sizes = {"layout": "pages", "size": PAGED_SIZE, "page": PAGE, "region": REGION}
    return {**sizes, "extents": paged_table(), **changes}


def paged_contents() -> Iterator[Case]:
    """§9.3 in the layout `pages`."""
    good = paged()
    sizes = {key: good[key] for key in ("layout", "size", "page", "region")}
    yield Case("pages", OK, "a table", pack(good), {}, sizes)
    lists = {"id": BLOB_IDS[0] + BLOB_IDS[1], "length": struct.pack("<2Q", 16 * REGION, 1)}
    listed = {**sizes, "size": 16 * REGION + 1, "lists": lists}
    found = {**sizes, "size": 16 * REGION + 1}
    yield Case("pages-lists", OK, "extents blobs", pack(listed), {}, found)
    empty = paged(size=0, extents=table([], 0, regions=b""))
    yield Case("pages-empty", OK, "an empty file", pack(empty), {}, {**sizes, "size": 0})
    for name, page, region, count in (
        ("smallest", 512, 512, 9),
        ("largest", 65_536, 16 << 20, 1),
        ("region-of-three-pages", 512, 1536, 3),
    ):
        digests = (DIGESTS * 3)[: 16 * count]
        body = pack(paged(page=page, region=region, extents=paged_table(regions=digests)))
        found = {**sizes, "page": page, "region": region}
        yield Case(f"pages-{name}", OK, "sizes at a limit", body, {}, found)
    for name, bad in paged_contents_refused():
        yield Case(f"pages-{name}", REFUSED, f"a content that cannot be: {name}", pack(bad), {})
    for name, bad in paged_refused():
        comment = f"regions that cannot be: {name}"
        yield Case(f"pages-{name}", REFUSED, comment, pack(paged(extents=bad)), {})


def paged_contents_refused() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield contents that a reader must refuse, by what is wrong with them.

    All but those about regions have one region, so that no other rule refuses them.
    """
    one = paged_table(regions=DIGESTS[:16])
    large = paged(region=16 << 20, extents=one)
    yield "page-missing", {k: v for k, v in paged().items() if k != "page"}
    yield "region-missing", {k: v for k, v in paged().items() if k != "region"}
    lists = {"id": BLOB_IDS[0], "length": struct.pack("<Q", PAGED_SIZE)}
    yield "lists-without-page", {"layout": "pages", "size": PAGED_SIZE, "lists": lists}
    for name, page in (
        ("zero", 0),
        ("negative", -512),
        ("small", 256),
        ("odd", 513),
        ("of-three", 1536),
        ("large", 131_072),
        ("huge", 1 << 63),
        ("true", True),
        ("float", 512.0),
        ("text", "512"),
        ("nil", None),
    ):
        yield f"page-{name}", {**large, "page": page, "region": 3 << 22}
    for name, region in (
        ("zero", 0),
        ("negative", -REGION),
        ("half-a-page", 2048),
        ("no-multiple", 4096 + 512),
        ("large", (16 << 20) + 4096),
        ("huge", 1 << 63),
        ("true", True),
        ("float", 8192.0),
        ("text", "8192"),
        ("nil", None),
    ):
        yield f"region-{name}", {**large, "page": 4096, "region": region}
    yield "size-low", paged(size=PAGED_SIZE - 1)
    yield "size-of-another-region", paged(size=3 * REGION)
    yield "both", paged(lists=lists)
    yield "neither", {k: v for k, v in paged().items() if k != "extents"}
    yield "empty-with-a-region", paged(size=0, extents=table([], 0, regions=DIGESTS[:16]))
    yield "empty-without-regions", paged(size=0, extents=table([], 0))


def node(name: Any = b"name", type_: Any = "fifo", **changes: Any) -> dict[str, Any]:
    """Return a node."""
    owner = {"uid": 0, "gid": 0, "user": "root", "group": "root"}
    return {"name": name, "type": type_, "mode": 0o644, **owner, "mtime": -1, **changes}


def trees() -> Iterator[Case]:
    """§9.1, §9.2."""
    linked = {"ctime": 5, "inode": 7, "device": 1, "links": 2}
    good = [
        node(b"-rf", "file", content=content(), **linked),
        node(b"dir", "dir", subtree=BLOB_IDS[0] + BLOB_IDS[1], mode=0o7777),
        node(b"link", "symlink", target=b"../\xff"),
        node(b"new\nline", "socket", xattrs=[[b"user.a", b"\0"]]),
        node(b"x" * 4096, "chardev", rdev=5),
        node(b"\xff\xfe", "file", content=content(), changed=True),
    ]
    result = [[n["name"].hex(), n["type"], n["mode"], n["mtime"]] for n in good]
    yield Case("all-types", OK, "nodes of most types", pack({"nodes": good}), {}, result)
    yield Case("nothing", OK, "an empty directory", pack({"nodes": []}), {}, [])
    later = pack({"nodes": [node(b"a", "file", content=content(layout="of the future"))]})
    listed = [[b"a".hex(), "file", 0o644, -1]]
    yield Case("unknown-layout", OK, "it is listed; reading the file stops", later, {}, listed)
    files = [node(b"a", "file", content=paged()), node(b"b", "file", content=content())]
    files[1]["content"]["layout"] = "stream"
    listed.append([b"b".hex(), "file", 0o644, -1])
    yield Case("pages-and-stream", OK, "files of both", pack({"nodes": files}), {}, listed)
    yield from broken_msgpack({"nodes": good}, result, {})
    yield Case("no-nodes", REFUSED, "the key is missing", pack({}), {})
    yield Case("nodes-map", REFUSED, "nodes is a map", pack({"nodes": {}}), {})
    yield Case("node-list", REFUSED, "a node is a list", pack({"nodes": [[b"a"]]}), {})
    twice, unsorted = [node(b"a"), node(b"a")], [node(b"b"), node(b"a")]
    yield Case("name-twice", REFUSED, "one name twice", pack({"nodes": twice}), {})
    yield Case("unsorted", REFUSED, "b before a", pack({"nodes": unsorted}), {})
    for name, bad in nodes_refused():
        comment = f"a node that cannot be: {name}"
        yield Case(name, REFUSED, comment, pack({"nodes": [bad]}), {})


def nodes_refused() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield nodes that a reader must refuse."""
    hostile: dict[str, Any] = {
        "empty": b"",
        "dot": b".",
        "dot-dot": b"..",
        "slash": b"a/b",
        "absolute": b"/etc/passwd",
        "climbing": b"../x",
        "nul": b"a\0",
        "too-long": b"x" * 4097,
        "text": "name",
    }
    for name, value in hostile.items():
        yield f"name-{name}", node(value)
    changes: dict[str, dict[str, Any]] = {
        "type-unknown": {"type": "door"},
        "type-bytes": {"type": b"fifo"},
        "mode-bits": {"mode": 0o10000},
        "mode-negative": {"mode": -1},
        "mode-true": {"mode": True},
        "uid-negative": {"uid": -1},
        "gid-text": {"gid": "0"},
        "mtime-float": {"mtime": 1.5},
        "user-bytes": {"user": b"root"},
        "xattrs-map": {"xattrs": {}},
        "xattrs-single": {"xattrs": [[b"user.a"]]},
        "xattrs-text": {"xattrs": [["user.a", b""]]},
    }
    for name, change in changes.items():
        yield name, {**node(), **change}
    yield "name-missing", {k: v for k, v in node().items() if k != "name"}
    yield "mode-missing", {k: v for k, v in node().items() if k != "mode"}
    yield "file-without-content", node(type_="file")
    yield "file-links-text", node(type_="file", content=content(), links="2")
    yield "file-inode-float", node(type_="file", content=content(), inode=1.5)
    yield "file-pages-without-page", node(type_="file", content=content(layout="pages"))
    yield "file-size", node(type_="file", content=content(size=1))
    yield "dir-without-subtree", node(type_="dir")
    yield "dir-without-blobs", node(type_="dir", subtree=b"")
    yield "dir-subtree-cut", node(type_="dir", subtree=BLOB_IDS[0][:-1])
    yield "symlink-without-target", node(type_="symlink")
    yield "symlink-text-target", node(type_="symlink", target="x")


def component(name: Any = "files", **changes: Any) -> dict[str, Any]:
    """Return a component of a snapshot."""
    fields: dict[str, Any] = {"name": name, "kind": "files", "place": "/srv", "status": "success"}
    fields |= {"subtree": BLOB_IDS[0], "files": 1, "bytes": 2, "bytes_new": 2, "bytes_stored": 1}
    fields |= {"consistency": "crash", "started": 1, "point": 2, "finished": 3, "downtime": 0}
    fields |= {"statistics": {}, "versions": {}, "problems": [], "warnings": []}
    return {**fields, **changes}


def snapshot(**changes: Any) -> dict[str, Any]:
    """Return the body of a snapshot."""
    statistics = ("bytes_processed", "bytes_new", "bytes_stored", "blobs_new", "duration")
    fields: dict[str, Any] = {"time": 1795392000000000000, "service": "s", "hostname": "h"}
    fields |= {"username": "u", "program": "snap-backup 0.1.0", "tags": [], "status": "success"}
    fields |= {"components": [component()], "skew": 0, "revision": 0}
    return {**fields, "statistics": dict.fromkeys(statistics, 0), **changes}


def snapshots() -> Iterator[Case]:
    """§10."""
    time = snapshot()["time"]
    failed = {k: v for k, v in component("b", status="failed").items() if k != "subtree"}
    two = snapshot(components=[component("a"), {**failed, "error": "gone"}])
    yield Case(
        "two-components", OK, "one failed", pack(two), {}, {"time": time, "names": ["a", "b"]}
    )
    rewritten = snapshot(original=BLOB_IDS[0], revision=1)
    named = {"time": time, "names": ["files"]}
    yield Case("rewritten", OK, "with an original", pack(rewritten), {}, named)
    yield from broken_msgpack(snapshot(), named, {})
    for name, bad in (
        ("no-components", {k: v for k, v in snapshot().items() if k != "components"}),
        ("component-list", snapshot(components=[[]])),
        ("component-twice", snapshot(components=[component(), component()])),
        ("components-unsorted", snapshot(components=[component("b"), component("a")])),
        ("name-empty", snapshot(components=[component("")])),
        ("name-dot-dot", snapshot(components=[component("..")])),
        ("name-climbing", snapshot(components=[component("../../etc")])),
        ("name-absolute", snapshot(components=[component("/etc")])),
        ("name-nul", snapshot(components=[component("a\0")])),
        ("name-too-long", snapshot(components=[component("é" * 2049)])),
        ("name-bytes", snapshot(components=[component(b"files")])),
        ("subtree-cut", snapshot(components=[component(subtree=BLOB_IDS[0][:-1])])),
        ("subtree-empty", snapshot(components=[component(subtree=b"")])),
        ("time-text", snapshot(time="now")),
        ("time-true", snapshot(time=True)),
        ("original-short", snapshot(original=BLOB_IDS[0][:-1], revision=1)),
        ("original-text", snapshot(original=BLOB_IDS[0].hex(), revision=1)),
        ("revision-text", snapshot(revision="1")),
    ):
        yield Case(name, REFUSED, f"a snapshot that cannot be: {name}", pack(bad), {})
