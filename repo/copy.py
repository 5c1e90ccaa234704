"""Copies: other repositories with the same packs under the same keys, each in a place of its own.

All objects but ``config`` and leases have the same names and bytes in all copies; ``config`` has
the same repository id and another instance id.
"""

import os
from dataclasses import replace

from snap.backends.base import Backend, BackendError, ObjectExists, ObjectNotFound
from snap.errors import IntegrityError, SnapError, UsageError

from .config import (
    CONFIG_NAME,
    RepositoryConfig,
    RepositoryNotFound,
    StoreRecord,
    check_config,
    decode_config,
    put_config,
)
from .objects import get_verified
from .readme import README_TEXT
from .repository import INDEX_PREFIX, SNAPSHOT_PREFIX, Repository, refuse_remains
from .slots import KEY_PREFIX

COPIED_PREFIXES = (KEY_PREFIX, "data/", "meta/", INDEX_PREFIX, SNAPSHOT_PREFIX)
"""What a copy has of its repository. Leases, ``doomed`` and ``checks`` are about one place."""


class ForeignRepository(SnapError):
    """What is there belongs to another repository."""


def create_copy(
    repository: Repository,
    backend: Backend,
    *,
    store: StoreRecord | None = None,
) -> RepositoryConfig:
    """Make an empty copy of ``repository``: its id, its parameters, its key slots as they are.

    ``config`` is written last and exclusively, as for a new repository, with what the copy's
    ``store`` lacks. A key slot that is damaged is left out, with a warning of the repository.

    Raises:
        UsageError: there is a repository already, which may be this one or a copy of it.
        ForeignRepository: another repository is there.
    """
    refuse_taken(repository, backend)
    backend.put("README", README_TEXT.encode())
    slots = []
    for name in repository.names(KEY_PREFIX):
        try:
            stored = get_verified(repository.backend, name)
        except IntegrityError as error:
            repository.warnings.append(f"{error}; the copy does not have it")
            continue
        backend.put(name, stored)
        slots.append(name)
    config = replace(
        repository.config,
        instance_id=os.urandom(16),
        created_ns=repository.clock(),
        store=store,
    )
    try:
        put_config(backend, config.encode(repository.keys.config_key), store)
    except ObjectExists:
        _take_back(repository, backend, slots)
        _refuse_repository(repository, backend)
        raise
    return config


def refuse_taken(repository: Repository, backend: Backend) -> None:
    """Refuse a place that a copy cannot be made in.

    Raises:
        UsageError, ForeignRepository: as `create_copy` does.
    """
    _refuse_repository(repository, backend)
    refuse_remains(backend)


def _refuse_repository(repository: Repository, backend: Backend) -> None:
    try:
        there = decode_config(backend.get(CONFIG_NAME))
    except ObjectNotFound:
        return
    if there.repository_id != repository.config.repository_id:
        raise foreign(backend)
    if there.instance_id == repository.config.instance_id:
        raise UsageError(
            f"{backend.location} is the repository itself", "make the copy in another place"
        )
    raise UsageError(
        f"there is a copy of the repository already at {backend.location}",
        "bring it up to date with 'snap replicate'",
    )


def _take_back(repository: Repository, backend: Backend, slots: list[str]) -> None:
    """Remove our key slots from a place where somebody else was faster.

    A copy of the same repository made at the same moment has the very same ones: they stay.
    """
    try:
        there = decode_config(backend.get(CONFIG_NAME))
        if there.repository_id != repository.config.repository_id:
            for name in slots:
                backend.delete(name)
    except (BackendError, IntegrityError):
        # Slots of another repository open nothing there; the refusal that follows matters more.
        return


def foreign(backend: Backend) -> ForeignRepository:
    """Return the error that says that a place belongs to another repository."""
    return ForeignRepository(
        f"{backend.location} holds another repository, not a copy of this one",
        "check the place; for a new copy choose an empty one",
    )


def open_copy(repository: Repository, backend: Backend) -> RepositoryConfig:
    """Return what a copy says of itself, once it is certain that it is one.

    That takes the metadata secret, which both share, and no password of the copy's own.

    Raises:
        RepositoryNotFound: there is none yet.
        ForeignRepository: it belongs to another repository.
        UsageError: it is the repository itself.
        IntegrityError: its ``config`` is damaged.
    """
    try:
        stored = backend.get(CONFIG_NAME)
    except ObjectNotFound as error:
        raise RepositoryNotFound(
            f"no copy at {backend.location} yet",
            f"make it: snap init --copy-of {repository.backend.location} -r {backend.location}",
        ) from error
    config = decode_config(stored)
    if config.repository_id != repository.config.repository_id:
        raise foreign(backend)
    if config.instance_id == repository.config.instance_id:
        raise UsageError(
            f"{backend.location} is the repository itself, or was not made by 'snap init'",
            "make copies with 'snap init --copy-of': each needs an instance id of its own",
        )
    check_config(stored, repository.keys.config_key)
    return config
