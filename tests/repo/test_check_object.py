import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.repo import codec
from snap.repo.check_object import (
    ROW_BYTES,
    CheckObject,
    decode_check,
    each_row,
    encode_check,
    merge_rows,
    row_of,
    rows_of,
    time_of,
)
from snap.repo.codec import DecodeError
from snap.repo.ids import ObjectId

Known = dict[ObjectId, tuple[int, bool]]

IDS = st.integers(0, 5).map(lambda n: ObjectId(bytes((n,)) * 32))
KNOWN = st.dictionaries(IDS, st.tuples(st.integers(0, 2**64 - 1), st.booleans()))


def rows(known: Known) -> bytes:
    return b"".join(row_of(id_, t, is_damaged=d) for id_, (t, d) in sorted(known.items()))


def known_of(joined: bytes) -> Known:
    return {ObjectId(r[:32]): (time_of(r), bool(r[-1])) for r in each_row(joined)}


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 99), st.sets(IDS), KNOWN)
def test_what_is_encoded_is_decoded(
    time_ns: int, errors: int, replaces: set[ObjectId], known: Known
) -> None:
    found = CheckObject(time_ns, errors, frozenset(replaces), rows(known))
    body = codec.decode(codec.encode(encode_check(found)))
    assert decode_check(body) == found
    assert len(found.rows) == ROW_BYTES * len(known)


@given(st.lists(KNOWN, max_size=4), KNOWN)
def test_the_latest_row_counts_and_ones_own_before_all(older: list[Known], own: Known) -> None:
    merged = b"".join(merge_rows([rows(known) for known in older], rows(own)))
    expected: Known = {}
    for known in older:
        for id_, found in known.items():
            expected[id_] = max(found, expected.get(id_, (-1, False)))
    assert known_of(merged) == expected | own
    ids = [row[:32] for row in each_row(merged)]
    assert ids == sorted(set(ids))


@given(KNOWN, st.sets(IDS))
def test_rows_are_found_for_ids_that_ascend(known: Known, asked: set[ObjectId]) -> None:
    ids = sorted(asked)
    found = list(rows_of(each_row(rows(known)), ids))
    assert [row is not None for row in found] == [id_ in known for id_ in ids]
    for id_, row in zip(ids, found, strict=True):
        assert row is None or (row[:32], time_of(row)) == (id_, known[id_][0])


def test_times_before_1970_are_none_that_a_pack_can_have() -> None:
    assert time_of(row_of(ObjectId(bytes(32)), -5, is_damaged=False)) == 0


def test_what_does_not_fit_is_refused() -> None:
    known = {ObjectId(bytes((n,)) * 32): (n, False) for n in range(3)}
    body = encode_check(CheckObject(1, 0, frozenset(), rows(known)))
    assert len(decode_check(body).rows) == 3 * ROW_BYTES
    bad = [
        {"packs": body["packs"][32:]},
        {"packs": body["packs"][::-1]},
        {"read": body["read"][:-1]},
        {"damaged": b"\0\0\2"},
        {"errors": -1},
        {"time": None},
    ]
    for changes in bad:
        with pytest.raises(DecodeError):
            decode_check(body | changes)
    assert list(body) == ["time", "errors", "replaces", "packs", "read", "damaged"]
