"""Whole conversations: transcripts/*.txt, one after the other in a folder of its own.

``$ words`` is a call of snap, ``% words`` one of the shell; then come standard output (``| ``),
standard error (``! ``) and the exit code (``= ``). What differs from run to run is masked.
SNAP_UPDATE_TRANSCRIPTS=1 writes anew what follows the calls: read the difference before keeping it.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Result, Snap

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
UPDATE = "SNAP_UPDATE_TRANSCRIPTS" in os.environ

_MASKS = [
    (re.compile(r"\b[0-9A-Z]{4,}(-[0-9A-Z]{4,}){4,}\b"), "<recovery key>"),
    (re.compile(r"\b((?:data|meta)/)[0-9a-f]{2}/[0-9a-f]{64}\b"), r"\1<id>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<repository>"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "<short id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{6}\+00:00)?"), "<time>"),
    (re.compile(r"\b[\d.]+ s\b"), "<duration>"),
    (re.compile(r'("\w*seconds\w*"): [\d.]+'), r"\1: <duration>"),
    (re.compile(r'("bytes_(?:stored|new|per_second)"): \d+'), r"\1: <bytes>"),
    (re.compile(r"\b[\d.]+ (B|KiB|MiB)\b"), "<size>"),
    (re.compile(r"\d+ packs, \d+ blobs"), "<count> packs, <count> blobs"),
    (re.compile(r"^( *[-dl][-rwx]{9}) \S+ \S+", re.MULTILINE), r"\1 <owner>"),
    (re.compile(r" {2,}"), "  "),
]


def _masked(text: str, folder: Path) -> list[str]:
    text = text.replace(str(folder), "<folder>")
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text.splitlines()


def _shown(result: Result, folder: Path) -> Iterator[str]:
    yield from (f"| {line}".rstrip() for line in _masked(result.out, folder))
    yield from (f"! {line}".rstrip() for line in _masked(result.err, folder))
    yield f"= {result.code}"


def _played(text: str, snap: Snap, folder: Path) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("% "):
            subprocess.run(line[2:], shell=True, check=True, cwd=folder)
            yield line
        elif line.startswith("$ snap "):
            yield line
            yield from _shown(snap(*shlex.split(line)[2:]), folder)
        elif not line.startswith(("| ", "! ", "= ", "|", "!")):
            yield line


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=[p.stem for p in TRANSCRIPTS])
def test_the_conversation_goes_as_written(
    path: Path, snap: Snap, folder: Path, database: Path, clean: Path
) -> None:
    (clean / "writer").write_text("the writer's password\n")
    for place in (folder, folder / "sub"):
        place.chmod(0o755)
    expected = path.read_text()
    played = "\n".join(_played(expected, snap, clean)) + "\n"
    if UPDATE:
        path.write_text(played)
    assert played == expected


def test_there_are_conversations() -> None:
    assert len(TRANSCRIPTS) >= 4
