"""The three programs, each behind the same few verbs."""

import os
import re
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "bench"


@dataclass(frozen=True)
class Measured:
    """One run of a program: wall clock, and the largest resident set of it or a child."""

    seconds: float
    peak_mib: float


LAUNCHER = """
import os, subprocess, sys, time
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(process.returncode, time.perf_counter() - begun, usage.ru_maxrss / 1024)
"""
"""Small itself: what a child inherits at its fork would count as its own peak."""


def measure(
    arguments: list[str], environment: dict[str, str], folder: Path | None = None
) -> Measured:
    """Run a program and measure it; anything but success stops the benchmark."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    code, seconds, peak_mib = done.stdout.split()
    if int(code):
        raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return Measured(float(seconds), float(peak_mib))


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Tool(ABC):
    """A backup program with one repository below a scratch folder."""

    name = ""
    version_argument = "--version"

    def __init__(self, program: list[str], scratch: Path) -> None:
        self.program = program
        self.repository = scratch / f"{self.name}-repository"
        self.cache = scratch / f"{self.name}-cache"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(scratch / f"{self.name}-home"),
            **self.settings(),
        }

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return the program's environment."""

    @abstractmethod
    def init(self) -> None:
        """Make the repository."""

    @abstractmethod
    def backup(self, folder: Path) -> Measured:
        """Back up a folder; every file is read."""

    @abstractmethod
    def restore(self, target: Path) -> Measured:
        """Restore the latest snapshot."""

    def run(self, *arguments: str, folder: Path | None = None) -> Measured:
        """Run the program."""
        return measure([*self.program, *arguments], self.environment, folder)

    def version(self) -> str:
        """Return what the program says of itself."""
        done = subprocess.run(
            [*self.program, self.version_argument],
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"\d+\.\d+\.\d+", done.stdout)
        return f"{self.name} {found[0] if found else '?'}"

    def stored_bytes(self) -> int:
        """Return the size of the repository."""
        return size_of(self.repository)


class Snap(Tool):
    """snap, as `snap backup FOLDER`."""

    name = "snap"

    def settings(self) -> dict[str, str]:
        """Return the environment of a snap call."""
        return {
            "SNAP_REPOSITORY": str(self.repository),
            "SNAP_PASSWORD": PASSWORD,
            "SNAP_CACHE_DIR": str(self.cache),
        }

    def init(self) -> None:
        """Make the repository."""
        self.run("init", "--kdf-seconds", "0")

    def backup(self, folder: Path) -> Measured:
        """Back up a folder; every file is read."""
        return self.run("backup", "-q", "--full", "--name", "data", str(folder))

    def restore(self, target: Path) -> Measured:
        """Restore the latest snapshot."""
        return self.run("restore", "-q", "latest", "--target", str(target))


class Restic(Tool):
    """restic, reading every file (--force) with its default compression."""

    name = "restic"
    version_argument = "version"

    def settings(self) -> dict[str, str]:
        """Return the environment of a restic call."""
        return {
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(self.cache),
        }

    def init(self) -> None:
        """Make the repository."""
        self.run("init", "-q")

    def backup(self, folder: Path) -> Measured:
        """Back up a folder; every file is read."""
        return self.run("backup", "-q", "--force", ".", folder=folder)

    def restore(self, target: Path) -> Measured:
        """Restore the latest snapshot."""
        return self.run("restore", "-q", "latest", "--target", str(target))


class Borg(Tool):
    """borg with zstd level 3 and authenticated encryption; its file cache off, so all is read."""

    name = "borg"

    def settings(self) -> dict[str, str]:
        """Return the environment of a borg call."""
        return {
            "BORG_REPO": str(self.repository),
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_BASE_DIR": str(self.cache),
        }

    def init(self) -> None:
        """Make the repository."""
        self._count = 0
        self.cache.mkdir()
        self.run("init", "--encryption=repokey-blake2")

    def backup(self, folder: Path) -> Measured:
        """Back up a folder; every file is read."""
        self._count += 1
        return self.run(
            "create",
            "--compression=zstd,3",
            "--files-cache=disabled",
            f"::a{self._count}",
            ".",
            folder=folder,
        )

    def restore(self, target: Path) -> Measured:
        """Extract the last archive."""
        target.mkdir()
        return self.run("extract", f"::a{self._count}", folder=target)


def snap_program() -> list[str]:
    """Return how to run the snap of this checkout."""
    return [str(Path(sys.executable).with_name("snap"))]
