import ast
import json
import shutil
import subprocess
import sys
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from snap.backends.local import LocalBackend
from snap.repo.catalog import list_snapshots, select_snapshot
from snap.repo.progress import SilentReporter
from snap.repo.repository import open_repository
from snap.repo.restore import run_restore
from snap.sources.folder import FolderTarget
from spec import reader
from spec.make_golden import describe_database, describe_tree, make_golden

REPOS = Path(__file__).parents[2] / "spec" / "repos"
GOLDEN = REPOS / "golden-v1"
MANIFEST: dict[str, Any] = json.loads(GOLDEN.with_suffix(".json").read_text())
READER = Path(reader.__file__)
KINDS = ("config", "keys", "index", "snapshots", "meta", "data")
SEALED_KINDS = ("keys", "index", "snapshots")


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", MANIFEST["passphrase"])


def check_restored(target: Path, expected: dict[str, Any]) -> None:
    assert sorted(p.name for p in target.iterdir()) == ["events.db", "files"]
    assert describe_tree(target / "files") == expected["files"]
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
def test_reader_restores_the_golden_repository_as_its_manifest_says(
    number: int, tmp_path: Path
) -> None:
    expected = MANIFEST["snapshots"][number]
    assert reader.main([str(GOLDEN), "restore", expected["id"][:8], str(tmp_path / "out")]) == 0
    check_restored(tmp_path / "out", expected)


@pytest.mark.parametrize("number", [0, 1])
def test_product_restores_the_golden_repository_as_its_manifest_says(
    number: int, golden: Path, tmp_path: Path
) -> None:
    expected = MANIFEST["snapshots"][number]
    restore_with_product(golden, expected["id"], tmp_path / "out")
    check_restored(tmp_path / "out", expected)


def test_reader_and_product_restore_what_this_code_writes(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    manifest = make_golden(tmp_path / "new", tmp_path / "work")
    for number, expected in enumerate(manifest["snapshots"]):
        by_reader, by_product = tmp_path / f"reader{number}", tmp_path / f"product{number}"
        arguments = [str(tmp_path / "new"), "restore", expected["id"], str(by_reader)]
        assert reader.main(arguments) == 0
        check_restored(by_reader, expected)
        restore_with_product(tmp_path / "new", expected["id"], by_product)
        check_restored(by_product, expected)


def test_golden_repository_holds_what_it_is_kept_for() -> None:
    repository = reader.Repository(GOLDEN, MANIFEST["passphrase"])
    component = repository.select("latest")["components"][1]
    nodes = {n["name"]: n for n in repository.nodes(reader.split(component["subtree"]))}
    assert len(list((GOLDEN / "data").glob("*/*"))) >= 3
    assert len(nodes[b"large.bin"]["content"]["lists"]) >= 2
    assert len(nodes[b"a"]["subtree"]) == 2
    assert (None, 0) not in nodes[b"sparse"]["content"]["extents"]
    assert any(id_ is None for id_, _, _ in nodes[b"sparse"]["content"]["extents"])


def test_reader_run_as_a_program_lists_and_takes_the_recovery_key_from_a_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "key").write_text(MANIFEST["recovery_key"].lower() + "\n")
    command = [sys.executable, str(READER), str(GOLDEN), "list"]
    command += ["--passphrase-file", str(tmp_path / "key")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split()[:2] for line in done.stdout.splitlines()] == sorted(
        [s["id"], str(s["time"])] for s in MANIFEST["snapshots"]
    )


def test_reader_refuses_a_wrong_passphrase(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", "another")
    assert reader.main([str(GOLDEN), "list"]) == 12
    assert capsys.readouterr().err == ("reader: error: no key slot opens with this passphrase\n")


def test_writer_passphrase_lists_and_restores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", MANIFEST["writer_passphrase"])
    assert reader.main([str(GOLDEN), "list"]) == 0
    assert reader.main([str(GOLDEN), "restore", "latest", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "reader: error: a writer key reads no file content\n"


@pytest.mark.parametrize("kind", KINDS)
def test_reader_refuses_an_object_with_a_flipped_bit(
    kind: str, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in objects(golden, kind):
        flip(path, keep_name=True)
    assert reader.main([str(golden), "restore", "latest", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"reader: error: {kind}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("kind", SEALED_KINDS)
def test_reader_refuses_a_flipped_bit_also_where_the_name_was_made_to_fit(
    kind: str, golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in objects(golden, kind):
        flip(path, keep_name=False)
    assert reader.main([str(golden), "list"]) == 1
    assert capsys.readouterr().err.endswith("damaged, or not what it is taken for\n")


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
