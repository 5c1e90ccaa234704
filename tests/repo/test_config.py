import json
from dataclasses import replace

import pytest

from snap.backends.base import ObjectExists
from snap.backends.memory import MemoryBackend
from snap.backends.probe import EXCLUSIVE_CREATE
from snap.errors import IntegrityError
from snap.repo.config import (
    PACKS_IN_FLIGHT_BYTES,
    FormatTooNew,
    Parameters,
    RepositoryConfig,
    StoreRecord,
    check_config,
    decode_config,
    put_config,
)
from tests.backends.unfaithful import LetsBothWin

CONFIG = RepositoryConfig(repository_id=b"r" * 16, instance_id=b"i" * 16, created_ns=5)
KEY = b"k" * 32


def changed(**fields: object) -> bytes:
    line = json.loads(CONFIG.encode(KEY).split(b"\n")[0])
    return json.dumps(line | fields).encode() + b"\n" + b"0" * 64 + b"\n"


def test_the_configuration_comes_back_and_its_check_line_fits() -> None:
    stored = CONFIG.encode(KEY)
    assert decode_config(stored) == CONFIG
    check_config(stored, KEY)


def test_a_later_version_or_an_unknown_feature_is_too_new() -> None:
    for stored in (changed(snap_repository=2), changed(features=["holograms"])):
        with pytest.raises(FormatTooNew) as caught:
            decode_config(stored)
        assert caught.value.exit_code == 13


@pytest.mark.parametrize("at", [5, 40, 200, -2])
def test_a_changed_byte_is_noticed(at: int) -> None:
    stored = bytearray(CONFIG.encode(KEY))
    stored[at] ^= 1
    with pytest.raises((IntegrityError, FormatTooNew)):
        decode_config(bytes(stored))
        check_config(bytes(stored), KEY)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{",
        b"[]\n",
        b"\xff\xfe",
        changed(repository_id="zz"),
        changed(repository_id="00"),
        changed(snap_repository="1"),
        changed(features="all"),
        changed(parameters={}),
        changed(
            parameters={
                "pack_bytes": 1,
                "blob_min_bytes": 1,
                "blob_avg_bytes": 1,
                "blob_max_bytes": 1,
            }
        ),
        b"[" * 100_000,
    ],
)
def test_what_is_no_configuration_is_named_as_damaged(stored: bytes) -> None:
    with pytest.raises(IntegrityError, match="config"):
        decode_config(stored)


def test_a_store_that_takes_many_puts_at_once_gets_packs_that_fit_in_memory_together() -> None:
    assert Parameters.for_requests(1) == Parameters()
    for parallel in (2, 8, 16):
        size = Parameters.for_requests(parallel).pack_bytes
        assert size * parallel <= PACKS_IN_FLIGHT_BYTES
        assert size >= 2 << 20
    assert Parameters.for_requests(8).pack_bytes == 8 << 20


def test_what_the_store_lacks_is_recorded_and_never_a_reason_to_refuse() -> None:
    record = StoreRecord(7, ("clock", "object-lock"))
    config = replace(CONFIG, store=record)
    stored = config.encode(KEY)
    assert decode_config(stored) == config
    check_config(stored, KEY)
    odd: object
    for odd in ("all is well", [], {"tried": "today", "lacks": []}, {"tried": 1}, None):
        assert decode_config(changed(store=odd)).store is None
    assert decode_config(changed(store={"tried": 7, "lacks": ["b", 1, "a"]})).store == StoreRecord(
        7, ("a", "b")
    )


def test_where_two_can_win_the_one_that_wrote_last_does() -> None:
    store = StoreRecord(7, (EXCLUSIVE_CREATE,))
    backend = LetsBothWin(MemoryBackend())
    waited: list[float] = []

    def other_writes(seconds: float) -> None:
        waited.append(seconds)
        put_config(backend, b"second", store, waited.append)

    with pytest.raises(ObjectExists):
        put_config(backend, b"first", store, other_writes)
    assert backend.get("config") == b"second"
    assert len(waited) == 2
    # Where only one can win nobody waits.
    put_config(MemoryBackend(), b"first", StoreRecord(7, ()), waited.append)
    assert len(waited) == 2
