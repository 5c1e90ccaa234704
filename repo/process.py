"""Which process something is of, and whether that process is gone.

A number alone does not tell: it is given anew, and each container has a number 1. The system tells
when a process started, of which boot it is, and whose numbers they are (proc(5),
pid_namespaces(7)). Where it does not, the number has to do.
"""

import hashlib
import os
import re
from functools import cache
from pathlib import Path

from .clock import MINUTE_NS

_START_FIELD = 21
"""Of /proc/<pid>/stat: when the process started, in ticks since boot (proc(5))."""
_MARK = re.compile(r"(\d+)(?:\.(\d+)\.([0-9a-f]{8})\.(\d+)\.([0-9a-f]{8}))?", re.ASCII)
_OLD_NS = 24 * 60 * MINUTE_NS


def process_exists(pid: int) -> bool:
    """Return whether a process of this number runs on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@cache
def process_table() -> str:
    """Return what tells this process table from that of any other machine or container.

    Containers may share a host's name and not see each other's processes. Empty where the system
    has no such thing.
    """
    try:
        return f"{_boot()} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def process_identity(pid: int) -> str:
    """Return what no other process of this number has: boot and time of its start."""
    try:
        return f"{_boot()}:{_started(pid)}"
    except OSError:
        return ""


def is_gone(pid: int, process: str) -> bool:
    """Return whether a process has ended; ``process`` is what `process_identity` said of it."""
    return not process_exists(pid) or process_identity(pid) != process


def process_mark() -> str:
    """Return what tells this process, fit for a file's name: ``PID.START.BOOT.TABLE.HOST``.

    Of the boot's id the first 8 digits, of the host's name a hash; only ``PID`` where the system
    does not tell the others.
    """
    pid = os.getpid()
    if not process_table():
        return str(pid)
    boot, _, table = process_table().partition(" ")
    return f"{pid}.{_started(pid)}.{boot[:8]}.{table}.{_host()}"


def is_left(mark: str, age_ns: int) -> bool:
    """Return whether what has the mark was left by a process that is gone.

    ``age_ns`` decides where the process cannot be seen from here, as it is another host's or
    another container's: after a day. What is no mark is nobody's, and not left.
    """
    parsed = _MARK.fullmatch(mark)
    if parsed is None:
        return False
    number, started, boot, table, host = parsed.groups()
    pid = int(number)
    if boot is None or not process_table():
        return not process_exists(pid)
    own_boot, _, own_table = process_table().partition(" ")
    if boot != own_boot[:8]:
        return host == _host() or age_ns > _OLD_NS
    if table != own_table:
        return age_ns > _OLD_NS
    try:
        return _started(pid) != started
    except OSError:
        return not process_exists(pid)


@cache
def _host() -> str:
    return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:8]


def _boot() -> str:
    # As bytes: who gave up being root may not be able to load Python's codecs any more.
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip().decode("ascii")


def _started(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    # The second field, the program's name, may hold anything.
    return stat.rpartition(b")")[2].split()[_START_FIELD - 2].decode("ascii")
