from pathlib import Path

import pytest

from .command import Snap
from .places import PLACES, Place, open_place


@pytest.fixture
def snap(tmp_path: Path) -> Snap:
    return Snap(tmp_path / "repository", tmp_path / "cache").init()


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place for a repository: a folder, an SSH server's, a bucket."""
    return open_place(request.param, tmp_path / "place", request)
