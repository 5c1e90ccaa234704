"""What came of putting one component back into its place."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from snap.errors import SnapError
from snap.repo.backup import BackupOptions, run_backup
from snap.repo.catalog import BEFORE_RESTORE_TAG
from snap.repo.repository import Repository
from snap.repo.snapshot import Component, Snapshot
from snap.repo.source import Source

from .errors import FAILED, OK, print_error, words_of_os_error
from .init import username
from .progress import open_reporter
from .settings import Settings


@dataclass(slots=True)
class Outcome:
    """One component's; ``safety`` is the snapshot that keeps what was there before."""

    component: Component
    proofs: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    safety: Snapshot | None = None
    error: str = ""
    exit_code: int = OK

    @property
    def status(self) -> str:
        """Return what the summary says."""
        return "failed" if self.error else "success"

    def fail(self, error: SnapError | OSError, settings: Settings) -> None:
        """Note and print why it failed."""
        if isinstance(error, SnapError):
            message, hint, code = str(error), error.hint, error.exit_code
        else:
            message, hint, code = words_of_os_error(error), "", FAILED
        self.error, self.exit_code = message, code
        print_error(f"{self.component.name}: {message}", hint, code=code, as_json=settings.json)


def keep_what_is_there(
    repository: Repository, snapshot: Snapshot, sources: Sequence[Source], settings: Settings
) -> Snapshot:
    """Store a snapshot of what is going to be replaced by a part of ``snapshot``.

    Raises:
        SourceError: nothing of it can be read.
    """
    options = BackupOptions(
        service=snapshot.service,
        hostname=socket.gethostname(),
        username=username(),
        tags=(BEFORE_RESTORE_TAG,),
    )
    with open_reporter(settings, "keeping") as reporter:
        return run_backup(repository, sources, options, reporter)
