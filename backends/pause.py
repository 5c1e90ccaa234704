"""Waiting that is cut short when the program is to end."""

import time
from collections.abc import Callable

_STEP_SECONDS = 0.1


class Interrupted(KeyboardInterrupt):
    """The program is to end. No error of the store: nobody may go on with something else."""


class Pauses:
    """What threads that wait have in common: one call ends all of it.

    Without locks, so that a signal's handler may make that call.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._is_over = False

    def end(self) -> None:
        """End every pause that is going on, and each that is still to come."""
        self._is_over = True

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Interrupted: `end` was called.
        """
        left = seconds
        while left > 0:
            if self._is_over:
                raise Interrupted
            self._sleep(min(left, _STEP_SECONDS))
            left -= _STEP_SECONDS

    def pause_if_going_on(self, seconds: float) -> None:
        """Wait; but not at all once it is over: what an ending program still does is little.

        Raises:
            Interrupted: `end` was called meanwhile.
        """
        if not self._is_over:
            self.pause(seconds)


PROCESS_PAUSES = Pauses()
"""Those of this process' stores."""
