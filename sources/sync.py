"""Making what was written durable on one file system, without waiting for others."""

import ctypes
import os


def sync_disk(folder: bytes) -> None:
    """Wait until the file system that holds ``folder`` has written everything.

    Where the C library has no ``syncfs``, all file systems are waited for.

    Raises:
        OSError: something that was written has been lost.
    """
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)
