import random

import pytest
import zstandard

from snap.repo.compression import Compression, compressor

CHANCE = random.Random(8)
WORDS = ["".join(CHANCE.choices("abcdefghijklmno", k=CHANCE.randint(3, 9))) for _ in range(900)]
TEXT = "".join(
    f"{n},{CHANCE.getrandbits(60):x},{' '.join(CHANCE.choices(WORDS, k=9))}\n" for n in range(9_000)
).encode()


def size(choice: Compression) -> int:
    engine = compressor(choice)
    assert engine is not None
    frame = engine.compress(TEXT)
    assert zstandard.ZstdDecompressor().decompress(frame) == TEXT
    return len(frame)


def test_the_harder_it_tries_the_smaller_it_gets() -> None:
    fast, default, most = (
        size(c) for c in (Compression.FAST, Compression.DEFAULT, Compression.MAX)
    )
    assert most < default < fast < len(TEXT)


def test_off_compresses_nothing() -> None:
    assert compressor(Compression.OFF) is None


@pytest.mark.parametrize("word", ["off", "fast", "default", "max"])
def test_words_are_those_of_the_command_line(word: str) -> None:
    assert Compression(word) == word
