"""The independent reader's view of doomed objects, from spec/FORMAT.md §12.1 alone."""

from typing import Any

from tests.spec.strict import column, decode, get, need


def decode_doomed(plain: bytes) -> dict[str, Any]:
    """Return time, packs with kind and size, leases (None where absent), snapshots, replaces."""
    body = decode(plain)
    packs = ids(get(body, "packs", bytes))
    kinds = column(body, "kinds", "B", len(packs))
    sizes = column(body, "sizes", "Q", len(packs))
    need(len(set(packs)) == len(packs), "a pack twice")
    need(set(kinds) <= {1, 2}, "a pack of another kind")
    lists = {
        key: ids(get(body, key, bytes)) if key in body else None
        for key in ("leases", "snapshots", "replaces")
    }
    return {
        "time": get(body, "time", int),
        "packs": [list(row) for row in zip(packs, kinds, sizes, strict=True)],
        "leases": lists["leases"],
        "snapshots": lists["snapshots"] or [],
        "replaces": lists["replaces"] or [],
    }


def ids(joined: bytes) -> list[bytes]:
    """Split ids of 32 bytes."""
    need(len(joined) % 32 == 0, "ids that are cut short")
    return [joined[i : i + 32] for i in range(0, len(joined), 32)]
