"""ChromaDB directories backed up while programs write to them at full speed."""

import contextlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from snap.errors import IntegrityError
from snap.sources.chroma_proof import require_proven
from tests.scale import rounds
from tests.servers.chroma import Chroma
from tests.servers.chroma_model import Shape

from .command import Snap


@dataclass
class Writer:
    """A program that writes, and its log."""

    chroma: Chroma
    place: str
    shape: Shape
    logs: Path
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def counts(self, word: str) -> list[int]:
        """Return how many operations of each thread were ``begun`` or ``done``."""
        return [self._count(word, number) for number in range(self.shape.threads)]

    def _count(self, word: str, thread: int) -> int:
        with contextlib.suppress(FileNotFoundError):
            lines = (self.logs / str(thread)).read_text().splitlines()
            # The last line may be half there.
            numbers = [line.partition(" ")[2] for line in lines if line.startswith(f"{word} ")]
            return int(numbers[-1] or numbers[-2]) if numbers else 0
        return 0

    def check(self, *, timeout: float = 600) -> dict[str, str]:
        """Return the problem of each folder of the jobs, empty where there is none."""
        path = self.logs / "jobs"
        path.write_text("".join(json.dumps(job) + "\n" for job in self.jobs))
        printed = self.chroma.run("check", str(path), _json(self.shape), timeout=timeout)
        found = [json.loads(line) for line in printed.splitlines()]
        return {Path(f["folder"]).name: f["problem"] for f in found}


def _json(shape: Shape) -> str:
    return json.dumps(asdict(shape))


@contextlib.contextmanager
def writing(chroma: Chroma, place: str, shape: Shape, logs: Path) -> Iterator[Writer]:
    logs.mkdir()
    command = chroma.program("write", str(logs), place, _json(shape))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        writer = Writer(chroma, place, shape, logs)
        while min(writer.counts("done")) < 12:
            assert process.poll() is None
        yield writer
        assert process.poll() is None, "the writer ended"
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def take_snapshots(snap: Snap, writer: Writer, folder: Path, count: int) -> list[dict[str, Any]]:
    """Back up so often, and note what each snapshot may hold; return the summaries."""
    summaries = []
    for _ in range(count):
        low = writer.counts("done")
        summary = snap.json("backup", f"chroma:{folder}")
        high = writer.counts("begun")
        summaries.append(summary)
        writer.jobs.append({"id": summary["snapshot_id"], "low": low, "high": high})
    return summaries


def restore_all(snap: Snap, writer: Writer, target: Path, name: str) -> None:
    for number, job in enumerate(writer.jobs):
        folder = target / str(number)
        snap.ok("restore", job["id"], "--target", str(folder))
        (folder / name).rename(target / f"{number}.db")
        job["folder"] = str(target / f"{number}.db")


def back_up_and_check(
    chroma: Chroma, snap: Snap, folder: Path, shape: Shape, count: int, place: str | None = None
) -> None:
    top = folder.parent
    with writing(chroma, place or str(folder), shape, top / "logs") as writer:
        summaries = take_snapshots(snap, writer, folder, count)
    restore_all(snap, writer, top / "restored", folder.name)
    problems = {name: p for name, p in writer.check().items() if p}
    assert not problems
    for summary in summaries:
        [component] = summary["components"]
        assert component["status"] == "success"
        assert 0 < component["statistics"]["writers_waited_ms"] < 5000
    # They are of many states, not all of one.
    assert len({json.dumps(job["low"]) for job in writer.jobs}) > count // 2


MANY = rounds(40, otherwise=6)
"""With scripts/test --full, 200 snapshots in all."""
SHAPES = {
    "two_threads": Shape(seed=1),
    "one_collection_of_four_threads": Shape(seed=2, threads=4, collections=1, batch=10),
    "persists_at_nearly_every_call": Shape(seed=3, threshold=3, batch=8),
    "cosine": Shape(seed=4, space="cosine", threshold=150, batch=60),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_directory_written_at_full_speed_is_restored_as_it_was_at_one_moment(
    chroma: Chroma, snap: Snap, tmp_path: Path, shape: Shape
) -> None:
    back_up_and_check(chroma, snap, tmp_path / "chroma", shape, 4)


def test_the_directory_of_a_server_is_restored_as_it_was_at_one_moment(
    chroma: Chroma, snap: Snap, tmp_path: Path
) -> None:
    folder = tmp_path / "chroma"
    with chroma.serve(folder) as url:
        back_up_and_check(chroma, snap, folder, Shape(seed=5), 4, url)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_many_snapshots_of_a_directory_are_all_of_one_moment(
    chroma: Chroma, snap: Snap, tmp_path: Path, shape: Shape
) -> None:
    back_up_and_check(chroma, snap, tmp_path / "chroma", shape, MANY)


@pytest.mark.slow
def test_many_snapshots_of_a_servers_directory_are_all_of_one_moment(
    chroma: Chroma, snap: Snap, tmp_path: Path
) -> None:
    folder = tmp_path / "chroma"
    with chroma.serve(folder) as url:
        back_up_and_check(chroma, snap, folder, Shape(seed=6, threads=3), MANY, url)


def test_the_same_check_catches_tar_of_a_live_directory(chroma: Chroma, tmp_path: Path) -> None:
    folder, taken = tmp_path / "chroma", tmp_path / "taken"
    # 3 to 7 of 100 are torn: of 400, all are whole once in 200,000 runs.
    shape = Shape(seed=7, threshold=20, batch=50, dimension=128)
    with writing(chroma, str(folder), shape, tmp_path / "logs"):
        for _ in range(400):
            if not _tar(folder, taken) or not _is_proven(taken):
                return
            shutil.rmtree(taken)
    pytest.fail("400 copies by tar were all whole")


def _tar(folder: Path, target: Path) -> bool:
    archive = target.with_suffix(".tar")
    done = subprocess.run(
        ["tar", "-cf", str(archive), "-C", str(folder), "."], capture_output=True, check=False
    )
    # 1: a file changed as it was read, which people get used to.
    if done.returncode > 1:
        return False
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    return True


def _is_proven(folder: Path) -> bool:
    scratch = folder.with_suffix(".scratch")
    shutil.copytree(folder, scratch)
    try:
        require_proven(scratch)
    except IntegrityError:
        return False
    finally:
        shutil.rmtree(scratch)
    return True
