import pytest

from snap.repo.ids import BlobId, Kind, id_of_name, object_id, pack_name, split_ids


def test_a_pack_lies_in_a_folder_by_kind_and_first_digits() -> None:
    id_ = object_id(b"pack")
    assert pack_name(Kind.DATA, id_) == f"data/{id_.hex()[:2]}/{id_.hex()}"
    assert pack_name(2, id_).startswith("meta/")
    assert id_of_name(pack_name(2, id_)) == id_


def test_names_that_end_in_no_id_have_none() -> None:
    digits = object_id(b"x").hex()
    for name in (
        "config",
        "keys/abc",
        f"keys/{digits.upper()}",
        f"keys/{digits}0",
        "keys/" + "g" * 64,
    ):
        assert id_of_name(name) is None


def test_joined_ids_are_split_and_partial_ones_refused() -> None:
    ids = [BlobId(bytes([n]) * 32) for n in range(3)]
    assert split_ids(b"".join(ids)) == ids
    with pytest.raises(ValueError, match="32"):
        split_ids(b"x" * 33)
