"""The strict decoder of check objects, from spec/FORMAT.md §12.2 alone."""

from typing import Any

from tests.spec.strict import column, get, need, split


def decode_check(body: dict[str, Any]) -> dict[str, Any]:
    """Return {time, errors, replaces, packs}; of each pack (id, read, damaged)."""
    replaces, ids = (split(get(body, key, bytes)) for key in ("replaces", "packs"))
    for joined in (replaces, ids):
        need(joined == sorted(set(joined)), "ids do not ascend, or one is there twice")
    read, damaged = column(body, "read", "Q", len(ids)), column(body, "damaged", "B", len(ids))
    need(set(damaged) <= {0, 1}, "neither damaged nor not")
    errors = get(body, "errors", int)
    need(errors >= 0, "fewer than no errors")
    packs = list(zip(ids, read, damaged, strict=True))
    return {"time": get(body, "time", int), "errors": errors, "replaces": replaces, "packs": packs}
