"""Opening copies with Chroma itself, by the Python that has it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snap.errors import TargetError
from snap.sources.chroma_index import DATA
from snap.sources.chroma_open import is_installed, require_not_older
from snap.sources.chroma_proof import prove_store
from tests.servers.chroma import ROOT, Chroma

PROGRAM = """
import json, sys
from pathlib import Path
from snap.errors import IntegrityError
from snap.sources.chroma_open import is_installed, prove_by_opening
assert is_installed()
folder, scratch, collections = sys.argv[1:]
try:
    print(prove_by_opening(Path(folder), Path(scratch), json.loads(collections)))
except IntegrityError as error:
    print("refused:", error)
"""


def opened(chroma: Chroma, folder: Path, scratch: Path, recorded: list[dict[str, Any]]) -> str:
    done = subprocess.run(
        [chroma.python, "-c", PROGRAM, str(folder), str(scratch), json.dumps(recorded)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not scratch.exists()
    return done.stdout.strip()


def recorded_of(folder: Path) -> list[dict[str, Any]]:
    proof = prove_store(folder)
    return [
        {"id": c.id, "name": c.name, "space": c.space, "count": proof.counts[c.id]}
        for c in proof.store.collections
    ]


def test_every_record_is_given_and_the_directory_is_not_touched(
    chroma: Chroma, made_chroma: Path, tmp_path: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in made_chroma.rglob("*")}
    said = opened(chroma, made_chroma, tmp_path / "scratch", recorded_of(made_chroma))
    assert said == "Chroma 1.5.9 opens a copy and gives every record with its vector"
    assert {p: p.stat().st_mtime_ns for p in made_chroma.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "told"),
    [({"count": 1499}, "gives 1500 of 1499"), ({"id": "other"}, "is not there")],
)
def test_what_differs_from_the_record_is_told(
    chroma: Chroma, made_chroma: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    recorded = recorded_of(made_chroma)
    recorded[1] |= change
    said = opened(chroma, made_chroma, tmp_path / "scratch", recorded)
    assert said.startswith("refused:")
    assert told in said


def test_an_index_of_another_moment_is_refused_whatever_chroma_does_with_it(
    chroma: Chroma, made_chroma: Path, later_chroma: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(later_chroma, mixed)
    index = next(mixed.glob(f"*/{DATA}")).parent
    shutil.rmtree(index)
    shutil.copytree(made_chroma / index.name, index)
    said = opened(chroma, mixed, tmp_path / "scratch", recorded_of(later_chroma))
    assert said.startswith("refused:")


@pytest.mark.parametrize(
    ("made_by", "installed"), [("1.x", "0.6.3"), ("0.6", "0.4.24"), ("0.5", "0.4.24")]
)
def test_an_older_chroma_is_refused_and_said_to_be_one(made_by: str, installed: str) -> None:
    with pytest.raises(TargetError, match=f"of ChromaDB {made_by}, and {installed} is installed"):
        require_not_older(made_by, installed)


@pytest.mark.parametrize(
    ("made_by", "installed"),
    # The mark of 0.6 is also that of 0.5.23; nothing is known of what is unknown.
    [("1.x", "1.0.0"), ("1.x", "1.5.9"), ("0.6", "0.5.23"), ("0.4", "1.5.9"), ("unknown", "0.4")],
)
def test_the_same_and_newer_ones_are_let_try(made_by: str, installed: str) -> None:
    require_not_older(made_by, installed)


def test_chroma_is_found_only_where_it_is_installed() -> None:
    code = "import importlib.util as u; print(u.find_spec('chromadb') is not None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert str(is_installed()) == done.stdout.strip()
