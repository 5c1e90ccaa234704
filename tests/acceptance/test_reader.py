"""A repository made by this code, read by the reader that knows only the specification."""

import os
import subprocess
import sys
from pathlib import Path

from .command import PASSWORD, Snap, picture
from .test_tree import make_tree

READER = Path(__file__).resolve().parents[2] / "spec" / "reader.py"


def test_the_independent_reader_restores_what_the_product_stored(
    snap: Snap, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    make_tree(tree, 200, 8 << 20)
    snap.ok("backup", str(tree))
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(READER), str(snap.repository), "restore", "latest", str(out)],
        env={"PATH": os.environ["PATH"], "SNAP_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected, found = picture(tree), picture(out / "tree")
    assert found.keys() == expected.keys()
    expected.pop(".")  # the folder itself, like owners, is beyond what the reader promises
    for name, what in expected.items():
        kind, mode, _, _, mtime, _, *content = what
        got_kind, got_mode, _, _, got_mtime, _, *got_content = found[name]
        assert (got_kind, got_mode, got_mtime, got_content) == (kind, mode, mtime, content), name
