"""The one hierarchy of errors that people see, each with an exit code and a hint.

::

    SnapError                  1   failed
    ├ UsageError               2   the call is wrong
    ├ IntegrityError           4   stored bytes are not what was written
    ├ BackendError             1   a store failed, for good (snap.backends.base)
    │ ├ ObjectNotFound
    │ ├ ObjectExists
    │ ├ PermissionDenied
    │ │ └ ObjectRetained         cannot be deleted yet
    │ ├ RetentionUnsupported
    │ ├ StorageFull
    │ ├ ShortRead
    │ └ BackendUnavailable         the only class that retrying can help
    ├ SourceError              1   a source cannot be dumped, or not consistently
    ├ TargetError              1   a restore cannot be written as asked
    ├ RepositoryNotFound      10   (snap.repo.config)
    ├ RepositoryLocked        11   (snap.repo.lease)
    ├ WrongPassword           12   (snap.repo.keys)
    ├ FullKeyRequired          1   (snap.repo.keys)
    └ FormatTooNew            13   (snap.repo.config)

A run that stored a snapshot with gaps is a result, not an error: exit code 3. The table of exit codes is in
spec/CLI.md.
"""


class SnapError(Exception):
    """A failure that a person can do something about.

    Attributes:
        hint: What to do next, one sentence without a full stop, or empty.
        exit_code: What the process exits with when nothing handles it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(SnapError):
    """The call cannot be carried out as it was written."""

    exit_code = 2


class IntegrityError(SnapError):
    """Stored bytes are not what was written; the message names the object."""

    exit_code = 4

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(
            message,
            hint or "run 'snap check --read-data' to see everything that is damaged",
        )


class SourceError(SnapError):
    """A source could not be dumped, or not as of one consistent moment."""


class TargetError(SnapError):
    """What was asked to be restored cannot be written there."""
