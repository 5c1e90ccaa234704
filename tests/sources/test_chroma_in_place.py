"""The steps of a Chroma directory's restore; whole restores are in tests/acceptance."""

import os
import shutil
from pathlib import Path

import pytest

from snap.errors import IntegrityError, TargetError
from snap.sources import chroma_in_place
from snap.sources.chroma_in_place import ChromaPlace
from snap.sources.chroma_index import DATA
from snap.sources.chroma_proof import prove_store, require_proven
from snap.sources.in_place import replace_in_place


def place_of(folder: Path, recorded: Path) -> ChromaPlace:
    proof = prove_store(recorded)
    return ChromaPlace(
        folder,
        {
            "collections": [
                {"id": c.id, "name": c.name, "space": c.space, "count": proof.counts[c.id]}
                for c in proof.store.collections
            ]
        },
    )


def put(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)


def counts(folder: Path) -> list[int]:
    return sorted(require_proven(folder).counts.values())


def test_a_directory_is_replaced_as_a_whole(chroma_folder: Path, later_chroma: Path) -> None:
    (chroma_folder / "chroma.sqlite3-journal").write_bytes(b"stale")
    saved = []
    result = replace_in_place(
        place_of(chroma_folder, later_chroma),
        save=lambda: saved.append(counts(later_chroma)),
        fill=lambda folder: put(later_chroma, folder),
    )
    assert counts(chroma_folder) == [500, 500]
    assert not (chroma_folder / "chroma.sqlite3-journal").exists()
    assert len(result.proofs) == 4
    assert saved
    assert [p.name for p in chroma_folder.parent.iterdir()] == [chroma_folder.name]


def test_what_is_not_as_recorded_is_never_put_in_place(
    chroma_folder: Path, later_chroma: Path
) -> None:
    with pytest.raises(IntegrityError, match="records that were recorded"):
        replace_in_place(
            place_of(chroma_folder, later_chroma),
            save=lambda: None,
            fill=lambda folder: put(chroma_folder, folder),
        )
    assert counts(chroma_folder) == [1500, 1500]


def test_an_older_chroma_beside_snap_is_not_taken_for_damage(
    chroma_folder: Path, later_chroma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chroma_in_place, "is_installed", lambda: True)
    monkeypatch.setattr(chroma_in_place, "installed_version", lambda: "0.6.3")
    with pytest.raises(TargetError, match=r"of ChromaDB 1\.x, and 0\.6\.3 is installed"):
        replace_in_place(
            place_of(chroma_folder, later_chroma),
            save=lambda: None,
            fill=lambda folder: put(later_chroma, folder),
        )
    assert counts(chroma_folder) == [1500, 1500]


def test_a_failure_after_the_exchange_brings_the_old_directory_back(
    chroma_folder: Path, later_chroma: Path
) -> None:
    def fill(folder: Path) -> None:
        put(later_chroma, folder)
        # The trap: Chroma would go on, and forget its vectors at the next start.
        os.chmod(next(folder.glob(f"*/{DATA}")), 0o444)

    with pytest.raises(TargetError, match="what was there before is back in its place"):
        replace_in_place(place_of(chroma_folder, later_chroma), save=lambda: None, fill=fill)
    assert counts(chroma_folder) == [1500, 1500]


def test_a_damaged_directory_can_be_kept_as_plain_files(
    chroma_folder: Path, tmp_path: Path
) -> None:
    place = place_of(chroma_folder, chroma_folder)
    [plain] = place.plain_files("chroma")
    assert plain.kind == "files"
    [source] = place.sources("chroma", tmp_path)
    assert (source.kind, source.place) == ("chroma", str(chroma_folder))
