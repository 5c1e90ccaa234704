"""What reviews would otherwise have to look for."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("backends", "repo", "sources", "cli")
MODULES = [
    path for room in ROOMS for path in sorted((ROOT / room).glob("*.py")) if path.stem != "__init__"
]
CONTRACTS = {"source", "target", "readme"}
"""Modules of types and texts only; their promises are tested by the suites of who keeps them."""


def test_the_import_root_links_to_every_room_and_nothing_else() -> None:
    links = {p.name: p.readlink() for p in (ROOT / "src/snap").iterdir() if p.is_symlink()}
    assert links == {room: Path(f"../../{room}") for room in ROOMS}


@pytest.mark.parametrize("module", MODULES, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_every_module_has_a_test_file(module: Path) -> None:
    if module.stem in CONTRACTS:
        return
    names = {path.stem for path in (ROOT / "tests" / module.parent.name).glob("test_*.py")}
    assert f"test_{module.stem}" in names


def python_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in done.stdout.split() if not name.startswith("src/")]


def test_no_file_is_longer_than_500_lines() -> None:
    long = {str(p): n for p in python_files() if (n := len(p.read_text().splitlines())) > 500}
    assert long == {}


def test_no_function_of_the_product_is_longer_than_60_lines() -> None:
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                body = (
                    node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                )
                if node.end_lineno - body[0].lineno + 1 > 60:
                    long.append(f"{path.name}: {node.name}")
    assert long == []


def test_the_documents_mention_every_command() -> None:
    from snap.cli.main import root

    readme, contract = (ROOT / "README.md").read_text(), (ROOT / "spec/CLI.md").read_text()
    commands = root.list_commands(None)  # type: ignore[arg-type]  # the context is not used
    assert len(commands) >= 12
    for command in commands:
        assert f"snap {command}" in readme, command
        assert re.search(rf"\b{command}\b", contract), command


def test_sections_that_docstrings_cite_exist() -> None:
    text = (ROOT / "spec/FORMAT.md").read_text()
    sections = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", text, re.MULTILINE))
    for path in MODULES:
        for line in re.findall(
            r"spec/FORMAT\.md ((?:§[\d.]+(?:, | and | to )?)+)", path.read_text()
        ):
            for cited in re.findall(r"§(\d+(?:\.\d+)?)", line):
                assert cited in sections, f"{path.name} cites §{cited}"
