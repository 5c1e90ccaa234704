"""snap with its half hours made seconds, as the host that STRESS_HOST names.

Nothing of what it does differs: only how soon a lease is dead, a mark ripe and a tombstone old, and
how large packs are. It ends with the thread that started it, also where it is stopped.
"""

import ctypes
import os
import signal
import socket
import sys
from functools import partial

RENEW_SECONDS = 1.0
DEAD_SECONDS = 6
"""S3 tells times to the second: well above twice that."""
TOMBSTONE_SECONDS = 90
"""Longer than any pause: who sleeps longer than a tombstone stays is what the protocol gives up."""
_SECOND_NS = 1_000_000_000
_PR_SET_PDEATHSIG = 1


def compress_time() -> None:
    from snap.repo import lease

    lease.RENEW_SECONDS = RENEW_SECONDS
    lease.DEAD_AFTER_NS = DEAD_SECONDS * _SECOND_NS
    # Only now: it takes over what a lease has.
    from snap.repo import prune, verified, writer

    assert lease.DEAD_AFTER_NS == prune.RIPE_AFTER_NS
    seconds = int(os.environ.get("STRESS_TOMBSTONE", TOMBSTONE_SECONDS))
    prune.TOMBSTONE_NS = seconds * _SECOND_NS
    # What was put so long before the oldest backup at work began is spared, which nothing needs.
    prune._YOUNG_NS = int(os.environ.get("STRESS_YOUNG", "0")) * _SECOND_NS
    writer._INDEX_EVERY_NS = _SECOND_NS // 4
    verified.KEEP_EVERY_NS = _SECOND_NS


def make_packs_small() -> None:
    from snap.cli import init
    from snap.repo.config import Parameters
    from snap.repo.repository import create_repository

    small = Parameters(256 << 10, 16 << 10, 64 << 10, 256 << 10)
    init.create_repository = partial(create_repository, parameters=small)  # type: ignore[attr-defined]


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    name = os.environ.get("STRESS_HOST", "")
    if name:
        socket.gethostname = lambda: name
    compress_time()
    if "init" in sys.argv:
        make_packs_small()
    from snap.cli.main import main as run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
