"""Another state of a Neo4j installed on this machine, made beside its data and exchanged with it.

`neo4j-admin` loads and checks it by settings of its own, while the server goes on.
"""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from snap.errors import IntegrityError, TargetError
from snap.repo.source import Source

from .abandoned import abandoned_in
from .exchange import CannotExchange, exchange
from .files import FilesSource
from .neo4j_admin import Account, AdminProgram, end_programs_in
from .neo4j_conf import Neo4jConf
from .neo4j_exchange import Step, swap_by_renames
from .neo4j_server import (
    ByteStream,
    StoreInfo,
    check_database_name,
    essence,
    explain_admin,
    parse_infos,
    warnings_of,
)
from .sync import sync_folder

STAGE_PREFIX = ".snap-in-place-"
KEPT_PREFIX = ".snap-replaced-"
CHECK_MEMORY = "256m"
_INFO_SECONDS = 120.0
_CHECK_SECONDS = 24 * 3600.0
_SETTINGS = "snap-stage.conf"
_IN_USE = "exchanging"


class InstallStage:
    """The folders ``.snap-in-place-<token>`` beside the stores and beside the transaction logs.

    Mostly these are one. ``token`` tells the process that makes it.
    """

    def __init__(
        self, conf: Neo4jConf, admin: AdminProgram, account: Account | None, token: str
    ) -> None:
        self._conf = conf
        self._admin = admin
        self._account = account
        self._token = token

    @property
    def _live(self) -> tuple[Path, Path]:
        return self._conf.data_folders()

    @property
    def _stages(self) -> tuple[Path, Path]:
        stores, logs = self._live
        name = STAGE_PREFIX + self._token
        return _beside(stores) / name, _beside(logs) / name

    @property
    def _staged(self) -> tuple[Path, Path]:
        stores, logs = self._stages
        # Neo4j itself adds the first one's name to the folder of its data.
        return stores / "databases", logs / "transactions"

    def make(self) -> None:
        """Make it, as the data's owner's."""
        try:
            for folder in self._live:
                self._make(folder)
            self._remove_abandoned()
            for folder in (*self._stages, *self._staged):
                self._make(folder, mode=0o700)
            stores, logs = self._staged
            settings = self._settings_file
            settings.write_text(
                f"server.directories.data={stores.parent}\n"
                f"server.directories.transaction.logs.root={logs}\n"
            )
            settings.chmod(0o600)
            self._own(settings)
        except OSError as error:
            raise TargetError(
                f"cannot make a folder beside {self._live[0]}: {error.strerror}",
                "run snap as the owner of Neo4j's data, or as root",
            ) from error

    def _make(self, folder: Path, mode: int = 0o755) -> None:
        if folder.is_dir():
            return
        if not folder.parent.is_dir():
            self._make(folder.parent)
        folder.mkdir(mode=mode)
        self._own(folder)

    def _own(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _remove_abandoned(self) -> None:
        for parent in {_beside(folder) for folder in self._live}:
            for folder in abandoned_in(parent, STAGE_PREFIX):
                if not (folder / _IN_USE).exists():
                    # A check that goes on would make some of it anew.
                    end_programs_in(folder)
                    shutil.rmtree(folder, ignore_errors=True)

    @property
    def _settings_file(self) -> Path:
        return self._stages[0] / _SETTINGS

    def free_bytes(self) -> int:
        """Return what the fuller of the file systems has free."""
        return min(shutil.disk_usage(folder).free for folder in self._stages)

    def load(self, database: str, dump: ByteStream) -> Sequence[str]:
        """Load a dump."""
        ended = self._admin.feed(self._arguments("load", "--from-stdin", database), dump)
        said = ended.stdout + ended.stderr
        if ended.code:
            raise explain_admin("load", database, ended.code, said)
        self._as_before(database)
        return warnings_of(said)

    def _as_before(self, database: str) -> None:
        """Give the new folders the permissions of those that they replace."""
        for live, staged in self.folders(database):
            with contextlib.suppress(FileNotFoundError):
                os.chmod(staged, os.stat(live).st_mode & 0o7777)

    def info(self, database: str) -> StoreInfo:
        """Return its state."""
        ended = self._admin.run(self._arguments("info", "--format=json", database), _INFO_SECONDS)
        if ended.code:
            raise explain_admin("info", database, ended.code, ended.stdout + ended.stderr)
        return parse_infos(ended.stdout)[0]

    def check(self, database: str) -> None:
        """Run `neo4j-admin database check`."""
        options = [f"--max-off-heap-memory={CHECK_MEMORY}", f"--report-path={self._stages[0]}"]
        ended = self._admin.run(self._arguments("check", *options, database), _CHECK_SECONDS)
        if ended.code:
            raise not_consistent(database, ended.stderr or ended.stdout)

    def _arguments(self, command: str, *others: str) -> list[str]:
        expand = ["--expand-commands"] if self._conf.has_commands else []
        return [
            "database",
            command,
            *expand,
            f"--additional-config={self._settings_file}",
            *others,
        ]

    def folders(self, database: str) -> list[tuple[str, str]]:
        """Return the store's folder and that of the transaction logs, live and staged."""
        check_database_name(database)
        return [
            (str(live / database), str(staged / database))
            for live, staged in zip(self._live, self._staged, strict=True)
        ]

    def identify(self, paths: Sequence[str]) -> dict[str, str]:
        """Return inode numbers."""
        found = dict.fromkeys(paths, "")
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                found[path] = str(os.lstat(path).st_ino)
        return found

    def apply(self, steps: Sequence[Step]) -> None:
        """Rename and exchange."""
        # From now on it may hold all that is left of the old state.
        (self._stages[0] / _IN_USE).touch()
        sync_folder(self._stages[0])
        for step in steps:
            if step.swaps:
                try:
                    exchange(Path(step.source), Path(step.target))
                except CannotExchange:
                    for source, target in swap_by_renames(step):
                        os.rename(source, target)
            else:
                os.rename(step.source, step.target)
        for folder in {Path(p).parent for step in steps for p in (step.source, step.target)}:
            sync_folder(folder)

    def plain_sources(self, database: str, name: str) -> list[Source]:
        """Return both folders, as far as they are there, as sources of files."""
        names = (name, f"{name}-transactions")
        return [
            FilesSource(Path(live), name=own)
            for own, (live, _) in zip(names, self.folders(database), strict=True)
            if Path(live).is_dir()
        ]

    def remove(self) -> None:
        """Remove the folders."""
        for folder in set(self._stages):
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self) -> str:
        """Rename the folders."""
        for folder in set(self._stages):
            with contextlib.suppress(FileNotFoundError):
                os.rename(folder, folder.with_name(KEPT_PREFIX + self._token))
        return str(self._stages[0].with_name(KEPT_PREFIX + self._token))


def not_consistent(database: str, said: str) -> IntegrityError:
    """Return the error for a check that failed."""
    return IntegrityError(
        f"Neo4j's own check finds the restored database {database} inconsistent: {essence(said)}",
        "restore an earlier snapshot",
    )


def _beside(folder: Path) -> Path:
    """Return where a folder can be made from which renames into ``folder`` are possible."""
    parent = folder.parent
    try:
        if os.stat(folder).st_dev != os.stat(parent).st_dev:
            return folder
    except FileNotFoundError:
        pass
    return parent
