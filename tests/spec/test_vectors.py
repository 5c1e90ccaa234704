"""One loop over spec/vectors: the independent reader and the product must agree with each file."""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.spec import by_product, by_reader

FOLDER = Path(__file__).parents[2] / "spec" / "vectors"
PATHS = sorted(FOLDER.glob("*.txt"))
VERDICTS = {"success", "integrity failure", "wrong password", "too new", "refused"}


class Vector(NamedTuple):
    structure: str
    expect: str
    inputs: dict[str, str]
    result: Any
    body: bytes


def read_vector(path: Path) -> Vector:
    head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert fields.pop("format") == "1"
    assert fields.pop("comment")
    structure, expect = fields.pop("structure"), fields.pop("expect")
    result = json.loads(fields.pop("result", "null"))
    return Vector(structure, expect, fields, result, base64.b64decode(body))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_reader_and_product_give_the_verdict_of_the_vector(path: Path) -> None:
    vector = read_vector(path)
    expected = (plain_verdict(vector.expect), vector.result)
    assert by_reader.verdict(vector.structure, vector.body, vector.inputs) == expected
    assert by_product.verdict(vector.structure, vector.body, vector.inputs) == expected


def plain_verdict(expect: str) -> str:
    """Decoders do not tell damage from what the format does not allow: both refuse."""
    return "refused" if expect == "integrity failure" else expect


def test_vectors_cover_every_structure_with_good_and_bad_cases() -> None:
    seen = Counter((v.structure, v.expect) for v in map(read_vector, PATHS))
    assert {expect for _, expect in seen} == VERDICTS
    structures = set(by_reader.DECODERS)
    assert structures == set(by_product.DECODERS)
    assert {s for s, expect in seen if expect == "success"} == structures
    only_computed = {"derived-keys", "associated-data", "blob-id", "chunk-digest", "digests-id"}
    assert {s for s, expect in seen if expect != "success"} == structures - only_computed
    assert sum(seen.values()) >= 80


def test_a_vector_begins_with_the_structure_that_it_is_of() -> None:
    for path in PATHS:
        assert path.stem.startswith(read_vector(path).structure)
