from pathlib import Path

import pytest

from .command import Snap


@pytest.fixture
def snap(tmp_path: Path) -> Snap:
    return Snap(tmp_path / "repository", tmp_path / "cache").init()
