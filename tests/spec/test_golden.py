import ast
import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from snap.backends.local import LocalBackend
from snap.repo.browse import walk
from snap.repo.catalog import list_snapshots, select_snapshot
from snap.repo.content import extents_of
from snap.repo.extents import Extent
from snap.repo.ids import BlobId, Kind
from snap.repo.progress import SilentReporter
from snap.repo.repository import open_repository
from snap.repo.restore import run_restore
from snap.repo.totals import blob_totals
from snap.sources.folder import FolderTarget
from spec.make_golden import (
    change_records,
    change_source,
    describe_database,
    describe_tree,
    make_golden,
    make_records,
    make_source,
)
from tests.spec import program
from tests.spec.program import READER

REPOS = Path(__file__).parents[2] / "spec" / "repos"
GOLDEN = REPOS / "golden-v1"


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REPOS / f"{name}.json").read_text())
    return found


MANIFEST = manifest("golden-v1")

KINDS = ("config", "keys", "index", "snapshots", "meta", "data")
SEALED_KINDS = ("keys", "index", "snapshots")


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", MANIFEST["passphrase"])


def check_restored(target: Path, expected: dict[str, Any]) -> None:
    components = sorted({"events.db", "files"} & set(expected))
    assert sorted(p.name for p in target.iterdir()) == components
    assert describe_tree(target / "files") == expected["files"]
    if "events.db" in components:
        assert describe_database(target / "events.db" / "events.db") == expected["events.db"]
        sparse = (target / "files" / "sparse").stat()
        assert sparse.st_blocks * 512 < sparse.st_size // 2


def restore_with_product(folder: Path, id_: str, target: Path) -> None:
    target.mkdir()
    with open_repository(LocalBackend(folder), MANIFEST["passphrase"], cache_dir=None) as repo:
        snapshot = select_snapshot(list_snapshots(repo), id_, UTC)
        for component in snapshot.components:
            into = FolderTarget(target / component.name)
            result = run_restore(
                repo, snapshot, component.name, (), into, reporter=SilentReporter()
            )
            assert result.problems == []


def flip(path: Path, *, keep_name: bool) -> None:
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    name = path.name if keep_name else blake3(stored).hexdigest()
    path.unlink()
    path.with_name(name).write_bytes(stored)


def objects(folder: Path, kind: str) -> list[Path]:
    return sorted(p for p in [folder / kind, *(folder / kind).rglob("*")] if p.is_file())


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", ["golden-v1", "golden-v1-layouts", "golden-v1-records"])
def test_reader_restores_the_golden_repositories_as_their_manifests_say(
    name: str, number: int, tmp_path: Path
) -> None:
    expected = manifest(name)["snapshots"][number]
    folder, id_ = str(REPOS / name), expected["id"][:8]
    assert program.main([folder, "restore", id_, str(tmp_path / "out")]) == 0
    check_restored(tmp_path / "out", expected)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", ["golden-v1", "golden-v1-layouts", "golden-v1-records"])
def test_product_restores_the_golden_repositories_as_their_manifests_say(
    name: str, number: int, tmp_path: Path
) -> None:
    expected = manifest(name)["snapshots"][number]
    folder = Path(shutil.copytree(REPOS / name, tmp_path / "golden"))
    restore_with_product(folder, expected["id"], tmp_path / "out")
    check_restored(tmp_path / "out", expected)


@pytest.mark.parametrize(
    ("make", "change"),
    [(make_source, change_source), (make_records, change_records)],
    ids=["everything", "records"],
)
def test_reader_and_product_restore_what_this_code_writes(
    tmp_path: Path, make: Callable[[Path], None], change: Callable[[Path], None]
) -> None:
    (tmp_path / "work").mkdir()
    manifest = make_golden(tmp_path / "new", tmp_path / "work", make, change)
    for number, expected in enumerate(manifest["snapshots"]):
        by_reader, by_product = tmp_path / f"reader{number}", tmp_path / f"product{number}"
        arguments = [str(tmp_path / "new"), "restore", expected["id"], str(by_reader)]
        assert program.main(arguments) == 0
        check_restored(by_reader, expected)
        restore_with_product(tmp_path / "new", expected["id"], by_product)
        check_restored(by_product, expected)


def test_the_golden_repository_of_layouts_has_pages_streams_and_slices_of_old_blobs() -> None:
    folder = REPOS / "golden-v1-layouts"
    with open_repository(LocalBackend(folder), MANIFEST["passphrase"], cache_dir=None) as repo:
        repo.load_index()
        first, second = list_snapshots(repo)
        layouts, shared, companions = set(), 0, 0
        old: set[object] = set()
        for snapshot in (first, second):
            for _, path, node in walk(repo, snapshot):
                if node.content is None:
                    continue
                layouts.add((node.content.layout, node.content.extents is None))
                for extent in extents_of(repo, node.content, str(path)):
                    if snapshot is first:
                        old.add(extent.blob)
                    elif extent.blob in old and extent.offset:
                        shared += 1
        companions = blob_totals(repo.cache)[Kind.DIGESTS][0]
    assert layouts >= {("pages", True), ("pages", False), ("stream", False)}
    assert shared
    assert companions > 10


def blobs_of(extents: list[Extent]) -> set[BlobId]:
    return {extent.blob for extent in extents if extent.blob is not None}


def test_the_golden_repository_of_records_has_columns_of_all_kinds() -> None:
    folder = REPOS / "golden-v1-records"
    with open_repository(LocalBackend(folder), MANIFEST["passphrase"], cache_dir=None) as repo:
        repo.load_index()
        first, second = (
            node.content
            for snapshot in list_snapshots(repo)
            for _, path, node in walk(repo, snapshot)
            if path == (b"elements.records",) and node.content is not None
        )
        assert first.widths == second.widths == (132, 512, 8)
        assert first.size_bytes % 652 == 19
        assert [bool(column.lists) for column in first.columns] == [False, True, False]
        old, new = (
            [list(extents_of(repo, column, "f")) for column in content.columns]
            for content in (first, second)
        )
        for before, after in zip(old, new, strict=True):
            blobs = blobs_of(before)
            assert blobs_of(after) & blobs
            assert blobs_of(after) - blobs
        for column in (0, 1):
            assert any(extent.blob is None for extent in old[column])
            assert any(extent.blob is None for extent in new[column])
        assert any(extent.blob in blobs_of(old[1]) and extent.offset for extent in new[1])


def test_golden_repository_holds_what_it_is_kept_for() -> None:
    with open_repository(LocalBackend(GOLDEN), MANIFEST["passphrase"], cache_dir=None) as repo:
        repo.load_index()
        snapshot = list_snapshots(repo)[-1]
        nodes = {b"/".join(path): node for _, path, node in walk(repo, snapshot, "files")}
        sparse = nodes[b"sparse"].content
        assert len(list((GOLDEN / "data").glob("*/*"))) >= 3
        large = nodes[b"large.bin"].content
        assert large is not None
        assert len(large.lists) >= 2
        assert len(nodes[b"a"].subtree) == 2
        assert sparse is not None
        assert any(e.blob is None for e in extents_of(repo, sparse, "sparse"))


def test_reader_lists_and_takes_the_recovery_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", MANIFEST["recovery_key"].lower())
    assert program.main([str(GOLDEN), "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == sorted(
        ([s["id"], str(s["time"])] for s in MANIFEST["snapshots"]), key=lambda s: int(s[1])
    )


def test_reader_refuses_a_wrong_passphrase(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", "another")
    assert program.main([str(GOLDEN), "list"]) == 12
    assert capsys.readouterr().err == (
        "reader: error: wrong passphrase: no key slot opens with it\n"
    )


def test_writer_passphrase_lists_and_restores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", MANIFEST["writer_passphrase"])
    assert program.main([str(GOLDEN), "list"]) == 0
    assert program.main([str(GOLDEN), "restore", "latest", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "reader: error: a writer key reads no file content\n"


@pytest.mark.parametrize("kind", KINDS)
def test_reader_refuses_an_object_with_a_flipped_bit(
    kind: str, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in objects(golden, kind):
        flip(path, keep_name=True)
    # A damaged slot is like none: another may open.
    code, named = (12, "wrong passphrase") if kind == "keys" else (1, kind)
    assert program.main([str(golden), "restore", "latest", str(tmp_path / "out")]) == code
    error = capsys.readouterr().err
    assert error.startswith(f"reader: error: {named}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("kind", SEALED_KINDS)
def test_reader_refuses_a_flipped_bit_also_where_the_name_was_made_to_fit(
    kind: str, golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in objects(golden, kind):
        flip(path, keep_name=False)
    assert program.main([str(golden), "list"]) == (12 if kind == "keys" else 1)
    error = capsys.readouterr().err
    assert "wrong passphrase" in error or "damaged (InvalidTag" in error


def test_reader_has_no_code_of_the_product() -> None:
    text = READER.read_text()
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or ".").partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names)
    assert foreign == {"blake3", "cryptography", "msgpack", "zstandard"}
