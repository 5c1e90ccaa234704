import os
from pathlib import Path

from snap.sources import openfiles
from snap.sources.openfiles import OpenFiles


def open_count() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_few_files_stay_open_and_each_can_be_used_again(tmp_path: Path) -> None:
    files, before = OpenFiles(), open_count()
    paths = [os.fsencode(tmp_path / str(n)) for n in range(3 * openfiles._OPEN_LIMIT)]
    for text in (b"a", b"b"):
        for path in paths:
            with files.use(path) as descriptor:
                os.pwrite(descriptor, text, 0 if text == b"a" else 1)
    assert open_count() - before == openfiles._OPEN_LIMIT
    files.close(paths[-1])
    files.close(paths[-1])
    assert open_count() - before == openfiles._OPEN_LIMIT - 1
    files.close_all()
    assert open_count() == before
    assert {p.read_bytes() for p in tmp_path.iterdir()} == {b"ab"}


def test_a_file_in_use_is_not_closed_for_another(tmp_path: Path) -> None:
    files = OpenFiles()
    with files.use(os.fsencode(tmp_path / "kept")) as descriptor:
        for n in range(2 * openfiles._OPEN_LIMIT):
            with files.use(os.fsencode(tmp_path / str(n))):
                pass
        os.pwrite(descriptor, b"x", 0)
        with files.use(os.fsencode(tmp_path / "kept")) as same:
            assert same == descriptor
    files.close_all()
    assert (tmp_path / "kept").read_bytes() == b"x"
