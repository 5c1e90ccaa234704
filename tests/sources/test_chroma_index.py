import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.errors import IntegrityError
from snap.sources.chroma_index import (
    DATA,
    FILES,
    HEADER,
    LABELS,
    LINKS,
    NORMS,
    _load_labels,
    prove_index,
    read_header,
    vectors,
)

DIMENSION = 8


def index_of(folder: Path) -> Path:
    return next(path.parent for path in sorted(folder.glob(f"*/{LABELS}")))


@pytest.fixture
def index(chroma_folder: Path) -> Path:
    return index_of(chroma_folder)


def test_a_sound_index_gives_its_ids_and_vectors(index: Path) -> None:
    found = prove_index(index, DIMENSION)
    assert found.ids == {f"t0-{n}" for n in range(1000)} or found.ids == {
        f"t1-{n}" for n in range(1000)
    }
    labels = _load_labels(index / LABELS)["id_to_label"]
    given_ = {label: bytes(vector) for label, vector in vectors(index)}
    assert given_.keys() == set(labels.values())
    assert {len(vector) for vector in given_.values()} == {4 * DIMENSION}
    assert len(set(given_.values())) == 1000


def test_the_header_says_how_an_element_is_made(index: Path) -> None:
    header = read_header(index / HEADER)
    assert (header.dimension, header.widths) == (8, (132, 32, 8))
    assert header.element_count * header.element_bytes <= (index / DATA).stat().st_size


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(index: Path, name: str) -> None:
    (index / name).unlink()
    with pytest.raises(IntegrityError, match=f"{name} is missing"):
        prove_index(index, DIMENSION)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_is_found(index: Path, name: str, share: float) -> None:
    data = (index / name).read_bytes()
    (index / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(IntegrityError):
        prove_index(index, DIMENSION)


@pytest.mark.parametrize("name", [HEADER, DATA, LINKS, LABELS])
def test_a_file_of_an_earlier_moment_is_found(
    made_chroma: Path, later_chroma: Path, tmp_path: Path, name: str
) -> None:
    later, earlier = index_of(later_chroma), index_of(made_chroma)
    prove_index(later, DIMENSION)
    mixed = tmp_path / "mixed"
    shutil.copytree(later, mixed)
    if (earlier / name).read_bytes() == (later / name).read_bytes():
        pytest.fail(f"{name} did not change between the moments")
    shutil.copy(earlier / name, mixed / name)
    with pytest.raises(IntegrityError):
        prove_index(mixed, DIMENSION)


def patch(path: Path, at: int, raw: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(raw)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda i: patch(i / DATA, 4, struct.pack("<I", 5000)), "links that lead nowhere"),
        (lambda i: patch(i / DATA, 0, struct.pack("<I", 900)), "links that lead nowhere"),
        (lambda i: patch(i / DATA, 132, struct.pack("<f", float("nan"))), "a number that is none"),
        (lambda i: patch(i / DATA, 132, struct.pack("<f", float("inf"))), "a number that is none"),
        (lambda i: patch(i / DATA, 164, struct.pack("<Q", 2)), "twice|other elements"),
        (lambda i: patch(i / DATA, 2, b"\1"), "other elements"),
        (lambda i: patch(i / HEADER, 0, struct.pack("<i", 7)), "that this version knows"),
        (lambda i: patch(i / LINKS, 0, struct.pack("<I", 1 << 30)), "cannot be"),
        (lambda i: (i / NORMS).write_bytes(b"xyz"), "3 bytes"),
        (lambda i: (i / LABELS).write_bytes(pickle.dumps([1])), "not a map"),
        (lambda i: (i / LABELS).write_bytes(pickle.dumps({"id_to_label": {}})), "no ids"),
        (
            lambda i: (i / LABELS).write_bytes(
                pickle.dumps({"id_to_label": {"a": 1}, "label_to_id": {2: "a"}})
            ),
            "contradicts itself",
        ),
    ],
)
def test_damage_is_named(index: Path, damage: Callable[[Path], object], told: str) -> None:
    damage(index)
    with pytest.raises(IntegrityError, match=told):
        prove_index(index, DIMENSION)


def test_another_dimension_than_the_collections_is_found(index: Path) -> None:
    with pytest.raises(IntegrityError, match="8 dimensions in a collection of 16"):
        prove_index(index, 16)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/snap-hostile-pickle"),))


def test_a_pickle_that_would_run_code_runs_nothing(index: Path) -> None:
    (index / LABELS).write_bytes(pickle.dumps({"id_to_label": Hostile()}))
    with pytest.raises(IntegrityError, match="does not open: it wants"):
        prove_index(index, DIMENSION)
    assert not Path("/tmp/snap-hostile-pickle").exists()


def test_the_class_that_pickles_of_old_versions_name_is_read(index: Path) -> None:
    labels = _load_labels(index / LABELS)["id_to_label"]
    found = {"id_to_label": labels, "label_to_id": {v: k for k, v in labels.items()}}
    # What pickle writes for an object of that class: its name, no arguments, its attributes.
    state = pickle.dumps(found | {"max_seq_id": 42}, protocol=2)[2:-1]
    name = b"cchromadb.segment.impl.vector.local_persistent_hnsw\nPersistentData\n"
    (index / LABELS).write_bytes(b"\x80\x02" + name + b")\x81" + state + b"b.")
    assert prove_index(index, DIMENSION).own_number == 42


@given(data=st.binary(max_size=300))
def test_no_bytes_in_place_of_the_labels_do_more_than_raise(
    made_chroma: Path, tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in FILES:
        shutil.copy(index_of(made_chroma) / name, folder / name)
    (folder / LABELS).write_bytes(data)
    with pytest.raises(IntegrityError):
        prove_index(folder, DIMENSION)
    shutil.rmtree(folder)
