"""What the engines tell about their progress."""

from typing import Protocol


class Reporter(Protocol):
    """Takes progress; cheap, never raises, safe from several threads."""

    def start(self, task: str, total_bytes: int | None) -> None:
        """Begin a task; ``total_bytes`` None where it is not known."""
        ...

    def advance(self, count_bytes: int, *, item: str = "") -> None:
        """Say that so many more bytes are done, now working on ``item``."""
        ...

    def warn(self, message: str) -> None:
        """Say something that the user should know and that does not stop the run."""
        ...

    def finish(self) -> None:
        """End the task."""
        ...


class SilentReporter:
    """Keeps the warnings and shows nothing."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def start(self, task: str, total_bytes: int | None) -> None:
        """Ignore it."""

    def advance(self, count_bytes: int, *, item: str = "") -> None:
        """Ignore it."""

    def warn(self, message: str) -> None:
        """Remember the message."""
        self.warnings.append(message)

    def finish(self) -> None:
        """Ignore it."""
