"""snap as a process, with an environment and folders of its own."""

import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSWORD = "acceptance"
SOURCES = str(Path(__file__).parents[2] / "src")
MIB = 1 << 20
Picture = dict[str, tuple[object, ...]]


@dataclass
class Snap:
    """One repository, as one host sees it."""

    repository: Path
    cache: Path
    password: str = PASSWORD
    extra: tuple[str, ...] = field(default=())
    python: str = sys.executable
    url: str = ""
    """Where the repository is, if not in the folder ``repository`` of this machine."""
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SNAP_")}
        return {
            **kept,
            **self.variables,
            "SNAP_REPOSITORY": self.url or str(self.repository),
            "SNAP_CACHE_DIR": str(self.cache),
            "SNAP_PASSWORD": self.password,
            # Another Python than the tests' has not installed it.
            "PYTHONPATH": os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), SOURCES))),
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.python, "-m", "snap", *arguments, *self.extra],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A background job inherits an ignored SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=600)
        assert b"Traceback" not in err, err.decode()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, (arguments, done.returncode, done.stderr.decode())
        return done.stdout.decode()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json").strip().splitlines()[-1])

    def init(self) -> "Snap":
        self.ok("init", "--kdf-seconds", "0")
        return self

    def ids(self) -> list[str]:
        return [s["id"] for s in json.loads(self.ok("snapshots", "--json"))]


def picture(root: Path, *, with_holes: bool = False) -> Picture:
    """Return all that a restore has to bring back below a folder."""
    seen: dict[tuple[int, int], str] = {}
    result: Picture = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        here = [b"."] if folder == top else []
        for name in (*here, *folders, *files):
            path = os.path.join(folder, name)
            found = os.lstat(path)
            relative = os.path.relpath(path, top).decode("utf-8", "surrogateescape")
            what: tuple[object, ...] = (
                stat.S_IFMT(found.st_mode),
                stat.S_IMODE(found.st_mode) if not stat.S_ISLNK(found.st_mode) else 0,
                found.st_uid,
                found.st_gid,
                found.st_mtime_ns,
                sorted(
                    (name, os.getxattr(path, name, follow_symlinks=False))
                    for name in os.listxattr(path, follow_symlinks=False)
                ),
            )
            if stat.S_ISLNK(found.st_mode):
                what += (os.readlink(path),)
            elif stat.S_ISREG(found.st_mode):
                first = seen.setdefault((found.st_dev, found.st_ino), relative)
                what += (found.st_size, digest(path), first, found.st_nlink)
                if with_holes:
                    what += (tuple(data_ranges(path)),)
            result[relative] = what
    return result


def digest(path: bytes | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_ranges(path: bytes) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    with open(path, "rb") as file:
        end = 0
        while True:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                return ranges
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            ranges.append((begin, end))


def write_noise(path: Path, mib: int) -> None:
    chance = random.Random(mib)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(chance.randbytes(MIB))
