import json

import pytest

from snap.errors import IntegrityError
from snap.repo.config import (
    PACKS_IN_FLIGHT_BYTES,
    FormatTooNew,
    Parameters,
    RepositoryConfig,
    check_config,
    decode_config,
)

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
