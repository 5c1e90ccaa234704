"""The steps of a restore in place, and what is there after each of them fails."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snap.errors import IntegrityError, SnapError, TargetError
from snap.repo.source import Source
from snap.sources.files import FilesSource
from snap.sources.in_place import InUse, replace_in_place

STEPS = ("settle", "save", "fill", "prove_staged", "swap", "prove")


class FilePlace:
    """A plain file as a database; calls ``at`` before each step."""

    def __init__(self, path: Path, at: Callable[[str], None] = lambda step: None) -> None:
        self.path = path
        self.steps: list[str] = []
        self.used_by: dict[int, list[str]] = {}
        self._asked = 0
        self._at = at

    def _step(self, name: str) -> None:
        self.steps.append(name)
        self._at(name)

    def sources(self, name: str, spool_dir: Path) -> list[Source]:
        return [FilesSource(self.path, name=name)]

    def plain_files(self, name: str) -> list[Source]:
        return [FilesSource(self.path, name=name)]

    def users(self) -> list[str]:
        self._asked += 1
        return self.used_by.get(self._asked, [])

    def settle(self) -> None:
        self._step("settle")

    def fingerprint(self) -> object:
        return self.path.read_bytes() if self.path.exists() else None

    def prove_staged(self, folder: Path) -> list[str]:
        self._step("prove_staged")
        return [f"staged {(folder / 'f').read_text()}"]

    def swap(self, folder: Path) -> None:
        self._step("swap")
        if self.path.exists():
            os.rename(self.path, folder / "old")
        os.rename(folder / "f", self.path)

    def put_back(self, folder: Path) -> None:
        self.steps.append("put_back")
        os.unlink(self.path)
        if (folder / "old").exists():
            os.rename(folder / "old", self.path)

    def prove(self) -> list[str]:
        self._step("prove")
        return [f"live {self.path.read_text()}"]

    def save(self) -> None:
        self._step("save")

    def fill(self, folder: Path) -> None:
        self._step("fill")
        (folder / "f").write_text("new")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    path = tmp_path / "live"
    path.write_text("old")
    return path


def left(live: Path) -> list[str]:
    return sorted(p.name for p in live.parent.iterdir())


def test_the_new_state_is_proven_beside_and_in_its_place(live: Path) -> None:
    place = FilePlace(live)
    replaced = replace_in_place(place, save=place.save, fill=place.fill)
    assert place.steps == list(STEPS)
    assert replaced.proofs == ["staged new", "live new"]
    assert (live.read_text(), left(live)) == ("new", ["live"])


def test_where_nothing_is_nothing_is_saved_and_folders_are_made(tmp_path: Path) -> None:
    place = FilePlace(tmp_path / "gone/too/live")
    replace_in_place(place, save=place.save, fill=place.fill)
    assert "save" not in place.steps
    assert place.path.read_text() == "new"


@pytest.mark.parametrize("failing", STEPS[1:])
def test_whatever_fails_the_old_state_is_there(live: Path, failing: str) -> None:
    def fail(step: str) -> None:
        if step == failing:
            raise IntegrityError(f"{step} failed", "a hint")

    place = FilePlace(live, fail)
    with pytest.raises(SnapError, match=f"{failing} failed") as caught:
        replace_in_place(place, save=place.save, fill=place.fill)
    assert (live.read_text(), left(live)) == ("old", ["live"])
    if failing == "prove":
        assert "is back in its place" in str(caught.value)
        assert caught.value.hint == "a hint"


def test_an_interruption_after_the_swap_brings_the_old_state_back(live: Path) -> None:
    def interrupt(step: str) -> None:
        if step == "prove":
            raise KeyboardInterrupt

    place = FilePlace(live, interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_in_place(place, save=place.save, fill=place.fill)
    assert (live.read_text(), left(live)) == ("old", ["live"])


@pytest.mark.parametrize("time", [1, 2, 3])
def test_a_user_at_any_time_is_named_and_nothing_is_replaced(live: Path, time: int) -> None:
    place = FilePlace(live)
    place.used_by = {time: ["app, process 1", "b", "c", "d", "e"]}
    with pytest.raises(TargetError, match="app, process 1, b, c and 2 more") as caught:
        replace_in_place(place, save=place.save, fill=place.fill)
    assert isinstance(caught.value, InUse) == (time < 3)
    assert (live.read_text(), left(live)) == ("old", ["live"])


def test_what_was_written_meanwhile_is_not_thrown_away(live: Path) -> None:
    def write(step: str) -> None:
        if step == "fill":
            live.write_text("newer")

    place = FilePlace(live, write)
    with pytest.raises(TargetError, match="written to while"):
        replace_in_place(place, save=place.save, fill=place.fill)
    assert (live.read_text(), left(live)) == ("newer", ["live"])


def test_an_old_state_that_cannot_be_put_back_is_kept_and_its_place_told(live: Path) -> None:
    class Stuck(FilePlace):
        def put_back(self, folder: Path) -> None:
            raise PermissionError(1, "not permitted")

    def fail(step: str) -> None:
        if step == "prove":
            raise IntegrityError("wrong rows")

    place = Stuck(live, fail)
    with pytest.raises(TargetError, match=r"wrong rows.*not permitted") as caught:
        replace_in_place(place, save=place.save, fill=place.fill)
    kept = Path(caught.value.hint.removeprefix("what was there before is in "))
    assert (kept / "new/old").read_text() == "old"


def test_what_a_killed_restore_left_is_removed_and_what_a_running_one_has_is_not(
    live: Path,
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    abandoned = live.parent / f".snap-in-place-live-{dead.pid}-0"
    running = live.parent / f".snap-in-place-live-{os.getppid()}-0"
    for folder in (abandoned, running):
        folder.mkdir()
        (folder / "f").write_text("x")
    place = FilePlace(live)
    replaced = replace_in_place(place, save=place.save, fill=place.fill)
    assert not abandoned.exists()
    assert running.exists()
    assert any(str(abandoned) in warning for warning in replaced.warnings)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_clear_error(live: Path) -> None:
    live.parent.chmod(0o500)
    place = FilePlace(live)
    try:
        with pytest.raises(TargetError, match="beside"):
            replace_in_place(place, save=place.save, fill=place.fill)
    finally:
        live.parent.chmod(0o700)
