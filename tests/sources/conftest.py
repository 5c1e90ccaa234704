"""ChromaDB directories that Chroma itself made."""

import shutil
from pathlib import Path

import pytest

from tests.servers.chroma import Chroma


@pytest.fixture(scope="session")
def made_chroma(chroma: Chroma, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two collections of 1,500 records, 1,000 of each in files and the rest in the queue."""
    folder = tmp_path_factory.mktemp("made") / "chroma"
    chroma.run("fill", str(folder), "1500", "8", "2")
    return folder


@pytest.fixture(scope="session")
def later_chroma(
    chroma: Chroma, made_chroma: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same directory after two thirds of the records were deleted, and files written anew."""
    folder = tmp_path_factory.mktemp("later") / "chroma"
    shutil.copytree(made_chroma, folder)
    chroma.run("thin", str(folder))
    return folder


@pytest.fixture
def chroma_folder(made_chroma: Path, tmp_path: Path) -> Path:
    """A copy of the first, to do with as one likes."""
    folder = tmp_path / "chroma"
    shutil.copytree(made_chroma, folder)
    return folder
