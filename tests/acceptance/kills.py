"""Runs of one command that are killed at random moments."""

import random
import signal
import subprocess
import time
from collections.abc import Iterator

_MOST_RUNS = 6
"""How many runs there are at most for each that was asked for."""


def new_chance() -> random.Random:
    """Return randomness whose seed is printed, so that a failure can be had again."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


class Kills:
    """Kills runs at any moment, until there were enough, on a machine of any speed.

    How long the first run takes, which is left alone, says little of the next: on a busy machine
    either may take several times as long as the other. So the moments follow what happens, and
    the runs go on while too few were killed.
    """

    def __init__(
        self, chance: random.Random, runs: int, enough: int, earliest: float = 0.0
    ) -> None:
        """Kill at least ``enough`` of ``runs`` runs.

        Args:
            chance: draws the moments.
            runs: how many runs there are after the first, or more.
            enough: how many of them have to be killed.
            earliest: the first moment, as a share of how long a run takes.
        """
        self.killed = 0
        self._chance = chance
        self._runs = runs
        self._enough = enough
        self._earliest = earliest
        self._latest = 0.0

    def rounds(self) -> Iterator[int]:
        """Yield the numbers of the runs; the first is 0.

        Raises:
            AssertionError: too few were killed.
        """
        for number in range(_MOST_RUNS * self._runs + 1):
            if number > self._runs and self.killed >= self._enough:
                break
            yield number
        print(f"{self.killed} kills in {number} runs")
        assert self.killed >= self._enough

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for the run that has just been started, which must go well if first, or kill it."""
        begun = time.monotonic()
        first = not self._latest
        if not first:
            moment = self._chance.uniform(self._earliest * self._latest, self._latest)
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                self.killed += 1
        _, err = process.communicate()
        # A bit beyond the end of most runs, on any machine: were it to follow only the runs
        # that finish, which are the short ones, the end of a run would never be hit.
        if first:
            assert process.returncode == 0, err.decode()
            self._latest = 1.2 * (time.monotonic() - begun)
        else:
            self._latest *= 0.8 if process.returncode == 0 else 1.05
