import subprocess
import sys
from pathlib import Path

import pytest

from snap.sources.folder_in_place import FolderExchange


def make(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(name)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_that_was_in_the_old_folder_goes_with_it_and_comes_back(tmp_path: Path) -> None:
    live = make(tmp_path / "live", "db", "db-journal")
    staged = make(tmp_path / "work/new", "db")
    place = FolderExchange(live)
    place.swap(staged)
    assert (names(live), names(staged)) == (["db"], ["db", "db-journal"])
    place.put_back(staged)
    assert (names(live), names(staged)) == (["db", "db-journal"], ["db"])


def test_a_missing_folder_is_made_and_gone_again(tmp_path: Path) -> None:
    staged = make(tmp_path / "work/new", "db")
    place = FolderExchange(tmp_path / "live")
    assert place.fingerprint() is None
    assert place.users() == []
    place.swap(staged)
    assert names(tmp_path / "live") == ["db"]
    place.put_back(staged)
    assert names(staged) == ["db"]
    assert not (tmp_path / "live").exists()


@pytest.mark.parametrize("change", ["content", "new", "gone", "time"])
def test_any_change_below_the_folder_shows(tmp_path: Path, change: str) -> None:
    live = make(tmp_path / "live", "a", "b")
    place = FolderExchange(live)
    before = place.fingerprint()
    assert place.fingerprint() == before
    match change:
        case "content":
            (live / "a").write_text("longer")
        case "new":
            (live / "c").touch()
        case "gone":
            (live / "b").unlink()
        case _:
            (live / "a").touch()
    assert place.fingerprint() != before


def test_who_has_a_file_open_is_found_before_and_after(tmp_path: Path) -> None:
    live = make(tmp_path / "live", "db")
    staged = make(tmp_path / "work/new", "db")
    place = FolderExchange(live)
    script = "import sys; f = open(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(live / "db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        before = place.users()
        place.swap(staged)
        after = place.users()
        holder.communicate(b"\n")
    assert any(f"process {holder.pid}" in user for user in before)
    assert after == before
    assert place.users() == []


def test_a_link_to_the_folder_stays(tmp_path: Path) -> None:
    make(tmp_path / "real", "old")
    (tmp_path / "live").symlink_to("real")
    place = FolderExchange(tmp_path / "live")
    place.swap(make(tmp_path / "work/new", "new"))
    assert (tmp_path / "live").is_symlink()
    assert names(tmp_path / "real") == ["new"]
