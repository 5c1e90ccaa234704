"""Processes that are killed at random moments."""

import random
import signal
import subprocess
import time
from dataclasses import dataclass

from .command import Snap


def new_chance() -> random.Random:
    """Return randomness whose seed is printed, so that a failure can be had again."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


@dataclass
class KilledRestores:
    """Restores in place, each but the first killed at a moment of the time that the first took."""

    snap: Snap
    chance: random.Random
    beyond: float = 1.1
    """How much of that time counts: a bit more of it also lets some end by themselves."""
    killed: int = 0
    _latest_seconds: float = 0.0

    def restore(self) -> None:
        begun, latest = time.monotonic(), self._latest_seconds
        process = self.snap.start("restore", "latest", "--in-place", "--yes")
        if latest:
            try:
                process.communicate(timeout=self.chance.uniform(0.2 * latest, latest))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                self.killed += 1
        _, err = process.communicate()
        if not latest:
            assert process.returncode == 0, err.decode()
            self._latest_seconds = self.beyond * (time.monotonic() - begun)
