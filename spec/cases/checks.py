"""Cases of check objects (spec/FORMAT.md §12.2)."""

import struct
from collections.abc import Iterator
from typing import Any

from blake3 import blake3

from spec.cases.case import OK, REFUSED, Case, broken_msgpack, pack

PACKS = sorted(blake3(bytes((n,))).digest() for n in range(3))
READ = (1_790_000_000_000_000_000, 0, (1 << 64) - 1)
OTHERS = sorted(blake3(b"check" + bytes((n,))).digest() for n in range(2))


def check_body(**changes: Any) -> dict[str, Any]:
    """Return the map of a check of three packs, the second of them damaged."""
    return {
        "time": 1_790_000_000_000_000_001,
        "errors": 1,
        "replaces": b"".join(OTHERS),
        "packs": b"".join(PACKS),
        "read": struct.pack("<3Q", *READ),
        "damaged": b"\0\1\0",
        **changes,
    }


def checks() -> Iterator[Case]:
    """§12.2."""
    good = check_body()
    packs = [[p.hex(), r, d] for p, r, d in zip(PACKS, READ, (0, 1, 0), strict=True)]
    head = {"time": good["time"], "errors": 1, "replaces": [other.hex() for other in OTHERS]}
    result = {**head, "packs": packs}
    yield Case("three-packs", OK, "one of them damaged", pack(good), {}, result)
    none = {"packs": b"", "read": b"", "damaged": b"", "replaces": b"", "errors": 0, "time": -1}
    nothing = {"time": -1, "errors": 0, "replaces": [], "packs": []}
    yield Case("nothing", OK, "no packs, before 1970, keys backwards", pack(none), {}, nothing)
    yield from broken_msgpack(good, result, {})
    for name, changes in (
        ("packs-cut", {"packs": good["packs"][:-1]}),
        ("packs-short", {"packs": good["packs"][:-32]}),
        ("packs-twice", {"packs": PACKS[0] + PACKS[0] + PACKS[1]}),
        ("packs-unordered", {"packs": b"".join(reversed(PACKS))}),
        ("packs-as-list", {"packs": PACKS}),
        ("packs-as-text", {"packs": "x" * 96}),
        ("read-cut", {"read": good["read"][:-1]}),
        ("read-long", {"read": good["read"] + bytes(8)}),
        ("read-nil", {"read": None}),
        ("damaged-short", {"damaged": b"\0\1"}),
        ("damaged-2", {"damaged": b"\0\2\0"}),
        ("damaged-as-text", {"damaged": "\0\1\0"}),
        ("replaces-cut", {"replaces": good["replaces"][:-1]}),
        ("replaces-twice", {"replaces": OTHERS[0] * 2}),
        ("replaces-unordered", {"replaces": OTHERS[1] + OTHERS[0]}),
        ("errors-negative", {"errors": -1}),
        ("errors-true", {"errors": True}),
        ("time-float", {"time": 1.5}),
        ("time-text", {"time": "now"}),
    ):
        yield Case(name, REFUSED, f"{name}: cannot be", pack(check_body(**changes)), {})
    for key in good:
        lacking = {name: value for name, value in good.items() if name != key}
        yield Case(f"no-{key}", REFUSED, f"without {key!r}", pack(lacking), {})
