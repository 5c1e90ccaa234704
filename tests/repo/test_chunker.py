import random

from hypothesis import given
from hypothesis import strategies as st

from snap.repo.chunker import Chunker
from snap.repo.config import Parameters

from .conftest import SMALL

SEED = 12345


def cut(
    data: bytes, steps: list[int], seed: int = SEED, parameters: Parameters = SMALL
) -> list[bytes]:
    chunker, blobs, start = Chunker(parameters, seed), [], 0
    for step in [*steps, len(data)]:
        blobs += [bytes(blob) for blob in chunker.feed(data[start : start + step])]
        start += step
    return blobs + [bytes(blob) for blob in chunker.finish()]


def noise(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


@given(st.integers(0, 200_000), st.lists(st.integers(0, 60_000), max_size=8))
def test_blobs_joined_are_the_file_and_do_not_depend_on_how_it_was_read(
    count: int, steps: list[int]
) -> None:
    data = noise(count)
    blobs = cut(data, steps)
    assert b"".join(blobs) == data
    assert all(blobs)
    assert blobs == cut(data, [])


def test_blob_sizes_stay_within_the_limits() -> None:
    for data in (noise(3_000_000), bytes(500_000), b"ab" * 250_000):
        sizes = [len(blob) for blob in cut(data, [100_000] * 30)]
        assert max(sizes) <= SMALL.blob_max_bytes
        assert min(sizes[:-1]) >= SMALL.blob_min_bytes


def test_an_insertion_at_the_front_changes_few_blobs() -> None:
    data = noise(1_000_000)
    before, after = set(cut(data, [])), set(cut(b"x" + data, []))
    assert len(after - before) <= 3


def test_other_seeds_cut_elsewhere() -> None:
    data = noise(1_000_000)
    assert not set(cut(data, [], seed=1)) & set(cut(data, [], seed=2))


def test_a_chunker_that_was_finished_begins_afresh() -> None:
    chunker = Chunker(SMALL, SEED)
    list(chunker.feed(noise(5_000)))
    list(chunker.finish())
    assert list(chunker.finish()) == []
