from pathlib import Path

import pytest

from snap.sources.exchange import CannotExchange, exchange, put_in_place


def test_two_files_get_each_others_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    exchange(tmp_path / "a", tmp_path / "b")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"2", b"1")


def test_two_folders_that_are_not_empty_get_each_others_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"x")
    exchange(tmp_path / "a", tmp_path / "b")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_what_is_not_there_cannot_be_exchanged(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_another_file_system_is_refused_and_is_not_a_lack_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        exchange(tmp_path / "a", Path("/proc/self/comm"))
    assert not isinstance(caught.value, CannotExchange)


def test_a_name_that_something_has_is_not_taken_from_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    put_in_place(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"1"
    (tmp_path / "c").write_bytes(b"2")
    with pytest.raises(FileExistsError):
        put_in_place(tmp_path / "c", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"1"
