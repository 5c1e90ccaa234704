"""How many blobs there are, and what they take."""

from .cache import Cache


def blob_totals(cache: Cache) -> dict[int, tuple[int, int, int]]:
    """Return, per kind, how many distinct blobs there are, their stored and raw bytes."""
    totals: dict[int, tuple[int, int, int]] = {}
    for _, pack in cache.numbered_packs():
        for kind, amounts in pack.amounts():
            _add(totals, kind, amounts)
    for id_ in cache.repeated_ids():
        # Of a pack that several index objects name, the blobs were counted once.
        places = {place.pack_id: place.entry for place in cache.locate(id_)}
        for entry in list(places.values())[1:]:
            _add(totals, entry.kind, (-1, -entry.stored_length, -entry.raw_length))
    return totals


def _add(totals: dict[int, tuple[int, int, int]], kind: int, amounts: tuple[int, int, int]) -> None:
    blobs, stored, raw = totals.get(kind, (0, 0, 0))
    totals[kind] = (blobs + amounts[0], stored + amounts[1], raw + amounts[2])
