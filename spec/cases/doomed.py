"""Cases of doomed objects (spec/FORMAT.md §12.1)."""

import struct
from collections.abc import Iterator
from typing import Any

from blake3 import blake3

from spec.cases.case import OK, REFUSED, Case, broken_msgpack, pack

IDS = sorted(blake3(b"doomed %d" % n).digest() for n in range(6))


def doomed_body(**changes: Any) -> dict[str, Any]:
    """Return a body of two packs, marked while one lease was there."""
    body = {
        "time": 1_795_000_000_000_000_000,
        "packs": IDS[0] + IDS[1],
        "kinds": b"\1\2",
        "sizes": struct.pack("<2Q", 33_554_432, 5_000_000_000),
        "leases": IDS[2],
    }
    return {**body, **changes}


def expected(**changes: Any) -> dict[str, Any]:
    """Return what the body says."""
    packs = [[IDS[0].hex(), 1, 33_554_432], [IDS[1].hex(), 2, 5_000_000_000]]
    result = {
        "time": 1_795_000_000_000_000_000,
        "packs": packs,
        "leases": [IDS[2].hex()],
        "snapshots": [],
        "replaces": [],
    }
    return {**result, **changes}


def doomed() -> Iterator[Case]:
    """§12.1."""
    good = doomed_body()
    yield Case("finished", OK, "two packs and a lease", pack(good), {}, expected())
    alone = doomed_body(leases=b"")
    yield Case("alone", OK, "nothing else was at work", pack(alone), {}, expected(leases=[]))
    half = {key: value for key, value in good.items() if key != "leases"}
    yield Case("unfinished", OK, "no leases yet", pack(half), {}, expected(leases=None))
    forgotten = {
        "time": -1,
        **dict.fromkeys(("packs", "kinds", "sizes"), b""),
        "snapshots": IDS[3] + IDS[4],
        "replaces": IDS[5],
    }
    told = {"time": -1, "packs": [], "leases": None, "snapshots": [IDS[3].hex(), IDS[4].hex()]}
    result = expected(**told, replaces=[IDS[5].hex()])
    yield Case("forgotten", OK, "snapshots and no packs", pack(forgotten), {}, result)
    yield from broken_msgpack(good, expected(), {})
    for name, bad in (
        ("packs-cut", doomed_body(packs=good["packs"][:-1])),
        ("packs-fewer", doomed_body(packs=IDS[0])),
        ("packs-twice", doomed_body(packs=IDS[0] * 2)),
        ("packs-as-text", doomed_body(packs=good["packs"].hex()[:64])),
        ("packs-missing", {key: value for key, value in good.items() if key != "packs"}),
        ("kinds-long", doomed_body(kinds=b"\1\2\1")),
        ("kind-3", doomed_body(kinds=b"\1\3")),
        ("kinds-missing", {key: value for key, value in good.items() if key != "kinds"}),
        ("sizes-cut", doomed_body(sizes=good["sizes"][:-1])),
        ("sizes-missing", {key: value for key, value in good.items() if key != "sizes"}),
        ("leases-cut", doomed_body(leases=IDS[2][:-1])),
        ("leases-as-list", doomed_body(leases=[IDS[2]])),
        ("snapshots-cut", doomed_body(snapshots=IDS[3][:-1])),
        ("snapshots-as-text", doomed_body(snapshots="x" * 32)),
        ("replaces-cut", doomed_body(replaces=IDS[3] + b"x")),
        ("time-float", doomed_body(time=1.0)),
        ("time-true", doomed_body(time=True)),
        ("time-missing", {key: value for key, value in good.items() if key != "time"}),
    ):
        yield Case(name, REFUSED, f"a doomed object that cannot be: {name}", pack(bad), {})
