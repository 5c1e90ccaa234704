"""spec/reader.py, run as the program that it is."""

import subprocess
import sys
from pathlib import Path

READER = Path(__file__).parents[2] / "spec" / "reader.py"


def main(arguments: list[str]) -> int:
    """Run it with SNAP_PASSWORD from the environment; pass its output on."""
    done = subprocess.run(
        [sys.executable, str(READER), *arguments], capture_output=True, text=True, check=False
    )
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode
