"""snap with its half hours made seconds, as the host that STRESS_HOST names.

Nothing of what it does differs: only how soon a lease is dead, a mark ripe and a tombstone old, and
how large packs are. With ``serve`` it carries out one command after the other, each in a process of
its own that is forked: Python's start and its imports would take most of the time of a test. It
ends with the thread that started it, also where it is stopped.
"""

import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from functools import partial
from typing import Any, NoReturn

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


def run(arguments: list[str]) -> NoReturn:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    name = os.environ.get("STRESS_HOST", "")
    if name:
        socket.gethostname = lambda: name
    compress_time()
    if "init" in arguments:
        make_packs_small()
    from snap.cli.main import main

    main(arguments)


def serve(modules: list[str]) -> None:
    """Read orders, a line of JSON each; answer with the process' number, then its exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    compress_time()
    from snap.cli.main import COMMANDS

    for module in (*(f"snap.cli.{command}" for command in COMMANDS), *modules):
        importlib.import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _obey(order)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _obey(order: dict[str, Any]) -> NoReturn:
    try:
        for number, path in enumerate((os.devnull, order["out"], order["err"])):
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        os.environ.clear()
        os.environ.update(order["environment"])
        run(order["arguments"])
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2:])
    else:
        run(sys.argv[1:])
