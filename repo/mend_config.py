"""Writing anew a ``config`` of which only what does not open the repository is damaged."""

import os
from dataclasses import replace

from snap.backends.base import Backend
from snap.errors import IntegrityError

from .aside import keep_aside
from .clock import Clock
from .config import CONFIG_NAME, check_config, decode_config
from .slots import open_any_slot


def mend_config(backend: Backend, credential: str, clock: Clock, *, dry_run: bool) -> bool:
    """Return whether ``config`` had to be written anew, with a new instance id; or would have to.

    A key slot opens under the right repository id only: that it does proves the one thing that
    cannot be made up. The damaged ``config`` is kept aside.

    Raises:
        IntegrityError: it cannot be read at all.
        WrongPassword: no slot opens: the credential is wrong, or the repository id.
        ObjectNotFound: there is no ``config``.
    """
    stored = backend.get(CONFIG_NAME)
    config = decode_config(stored)
    keys, _ = open_any_slot(backend, credential, config.repository_id, [])
    try:
        check_config(stored, keys.config_key)
    except IntegrityError:
        if not dry_run:
            anew = replace(config, instance_id=os.urandom(16), created_ns=clock())
            keep_aside(backend, CONFIG_NAME)
            backend.put(CONFIG_NAME, anew.encode(keys.config_key))
        return True
    return False
