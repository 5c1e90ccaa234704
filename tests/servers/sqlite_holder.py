"""A process that has a SQLite database open."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    db.execute(statement).fetchone()
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(path: Path, *statements: str) -> Iterator[int]:
    """Have a process carry out these statements and do nothing more; give its number.

    At the end it is gone, and what it had begun is rolled back.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield holder.pid
        finally:
            holder.communicate()
