"""Opening sources ahead of their turn, so that their consistent points lie close together."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from .source import Source, View


@dataclass(slots=True)
class _Opening:
    """A source that the thread opens. ``stack`` leaves it, and is set together with ``view``."""

    source: Source
    done: threading.Event = field(default_factory=threading.Event)
    stack: ExitStack | None = None
    view: View | None = None


class OpenAhead:
    """Opens views in their turn, or, where an open view is a copy that waits, as early as it can.

    The first source is opened by itself; while it is stored, a thread opens those of the others
    that `Source.can_wait`. One that fails ahead is opened once more in its turn: by then there may
    be room for its copy, and its error is told where it belongs.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._openings = {s.name: _Opening(s) for s in sources[1:] if s.can_wait}
        self._lock = threading.Lock()
        self._closed = False
        self._begun = False

    @contextmanager
    def open(self, source: Source) -> Iterator[View]:
        """Open a source's view, or give the one that is open.

        Raises:
            SourceError: as of `Source.open`.
        """
        if not self._begun:
            self._openings.pop(source.name, None)
        opening = self._openings.get(source.name)
        if opening is not None:
            opening.done.wait()
            if opening.stack is not None and opening.view is not None:
                stack, opening.stack = opening.stack, None
                with stack:
                    yield opening.view
                return
        with source.open() as view:
            self._begin()
            yield view

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            # An interruption does not wait for a copy that is being made.
            threading.Thread(target=self._open_all, name="snap-ahead", daemon=True).start()

    def _open_all(self) -> None:
        for opening in self._openings.values():
            with self._lock:
                if self._closed:
                    return
            stack = ExitStack()
            try:
                view = stack.enter_context(opening.source.open())
            except Exception:
                # Whatever it is, it comes again in its turn.
                opening.done.set()
                continue
            with self._lock:
                is_wanted = not self._closed
                if is_wanted:
                    opening.stack, opening.view = stack, view
            if not is_wanted:
                stack.close()
            opening.done.set()

    def close(self) -> None:
        """Close what is open and was not asked for."""
        with self._lock:
            self._closed = True
            left = [o.stack for o in self._openings.values() if o.stack is not None]
            for opening in self._openings.values():
                opening.stack = None
        for stack in left:
            stack.close()
