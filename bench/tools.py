"""The three programs, each behind the same few verbs."""

import os
import re
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "bench"
ROOT = Path(__file__).resolve().parent.parent


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
    # A session of its own: whatever ends the benchmark ends the program too, before its files go.
    with subprocess.Popen(
        [sys.executable, "-S", "-c", LAUNCHER, *arguments],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as launcher:
        try:
            out, err = launcher.communicate()
        except BaseException:
            os.killpg(launcher.pid, signal.SIGKILL)
            raise
    words = out.split()
    if launcher.returncode or int(words[0]):
        raise SystemExit(f"{' '.join(arguments)} failed: {err[-2000:]}")
    return Measured(float(words[1]), float(words[2]))


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

    def begin_anew(self) -> None:
        """Make an empty repository in place of the one that is there."""
        for place in (self.repository, self.cache, Path(self.environment["HOME"])):
            shutil.rmtree(place, ignore_errors=True)
        self.init()

    @abstractmethod
    def init(self) -> None:
        """Make the repository."""

    @abstractmethod
    def backup(self, folder: Path, *, full: bool = True) -> Measured:
        """Back up a folder; with ``full`` every file is read, else as the tool does by default."""

    @abstractmethod
    def restore(self, target: Path) -> Measured:
        """Restore the latest snapshot."""

    def restored(self, target: Path) -> Path:
        """Return where below ``target`` the folder that was backed up is after a restore."""
        return target

    def run(self, *arguments: str, folder: Path | None = None) -> Measured:
        """Run the program."""
        return measure([*self.program, *arguments], self.environment, folder)

    def version(self) -> str:
        """Return the program's version.

        Raises:
            SystemExit: it cannot be run.
        """
        command = [*self.program, self.version_argument]
        try:
            done = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{self.name} cannot be run: {error}: see bench/README.md") from error
        found = re.search(r"\d+\.\d+\.\d+", done.stdout)
        return found[0] if found else "?"

    def stored_bytes(self) -> int:
        """Return the size of the repository."""
        return size_of(self.repository)


class Snap(Tool):
    """snap, as `snap backup FOLDER`."""

    name = "snap"

    def settings(self) -> dict[str, str]:
        """Return the environment of a snap call."""
        return {
            # The snap of this checkout, whichever is installed beside the program.
            "PYTHONPATH": str(ROOT / "src"),
            "SNAP_REPOSITORY": str(self.repository),
            "SNAP_PASSWORD": PASSWORD,
            "SNAP_CACHE_DIR": str(self.cache),
        }

    def init(self) -> None:
        """Make the repository."""
        self.run("init", "--kdf-seconds", "0")

    def backup(self, folder: Path, *, full: bool = True) -> Measured:
        """Back up a folder; without ``full``, files that look unchanged are not read."""
        flags = ["--full"] if full else []
        return self.run("backup", "-q", *flags, "--name", "data", str(folder))

    def restore(self, target: Path) -> Measured:
        """Restore the latest snapshot."""
        return self.run("restore", "-q", "latest", "--target", str(target))

    def restored(self, target: Path) -> Path:
        """Return the component's folder."""
        return target / "data"


class ColdSnap(Snap):
    """snap on a machine that has never seen the repository: no cache before any backup."""

    def backup(self, folder: Path, *, full: bool = True) -> Measured:
        """Back up a folder without a cache."""
        shutil.rmtree(self.cache, ignore_errors=True)
        return super().backup(folder, full=full)


class SqliteSnap(Snap):
    """snap with a database as its source, `snap backup sqlite:FILE`, instead of a folder."""

    def backup(self, folder: Path, *, full: bool = True) -> Measured:
        """Back up the one database in a folder."""
        (database,) = folder.iterdir()
        return self.run("backup", "-q", "--name", "data", f"sqlite:{database}")


class ChromaSnap(Snap):
    """snap with a ChromaDB persist directory as its source, `snap backup chroma:DIR`."""

    def backup(self, folder: Path, *, full: bool = True) -> Measured:
        """Back up the directory."""
        return self.run("backup", "-q", "--name", "data", f"chroma:{folder}")


class Restic(Tool):
    """restic with its default compression."""

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

    def backup(self, folder: Path, *, full: bool = True) -> Measured:
        """Back up a folder; without ``full``, files as in the last snapshot are not read."""
        flags = ["--force"] if full else []
        return self.run("backup", "-q", *flags, ".", folder=folder)

    def restore(self, target: Path) -> Measured:
        """Restore the latest snapshot."""
        return self.run("restore", "-q", "latest", "--target", str(target))


class Borg(Tool):
    """borg with zstd level 3 and authenticated encryption."""

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

    def backup(self, folder: Path, *, full: bool = True) -> Measured:
        """Back up a folder; without ``full``, files that borg's cache knows are not read."""
        self._count += 1
        flags = ["--files-cache=disabled"] if full else []
        archive = f"::a{self._count}"
        return self.run("create", "--compression=zstd,3", *flags, archive, ".", folder=folder)

    def restore(self, target: Path) -> Measured:
        """Extract the last archive."""
        target.mkdir()
        return self.run("extract", f"::a{self._count}", folder=target)


def snap_program() -> list[str]:
    """Return how to run the snap of this checkout."""
    return [str(Path(sys.executable).with_name("snap"))]
