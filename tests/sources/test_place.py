from pathlib import Path

import pytest

from snap.errors import UsageError
from snap.sources.files import FilesSource
from snap.sources.place import Surroundings, open_place, parse_place
from snap.sources.sqlite import SqliteSource


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqlite:events.db", ("sqlite", "events.db")),
        ("files:a:b", ("files", "a:b")),
        ("dir/x", ("files", "dir/x")),
        ("./sqlite:x", ("files", "./sqlite:x")),
        ("/a:b", ("files", "/a:b")),
    ],
)
def test_a_text_is_kind_and_place_or_a_path(text: str, expected: tuple[str, str]) -> None:
    assert parse_place(text) == expected


def test_an_existing_path_with_a_colon_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").write_bytes(b"x")
    assert parse_place("a:b") == ("files", "a:b")


def test_an_unknown_kind_gets_the_nearest_as_a_hint() -> None:
    with pytest.raises(UsageError) as caught:
        parse_place("sqlit:x")
    assert "sqlite:" in caught.value.hint
    assert parse_place("neo4j:") == ("neo4j", "")
    for text in ("", "sqlite:", "chroma:", "neo4j-docker:", "wonder:x"):
        with pytest.raises(UsageError):
            parse_place(text)


def test_sources_are_opened_by_kind(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, tmp_path)
    [made] = open_place("sqlite:a.db", name=None, excludes=(), around=around).sources
    assert isinstance(made, SqliteSource)
    assert made.name == "a.db"
    [tree] = open_place(str(tmp_path), name="named", excludes=["x"], around=around).sources
    assert isinstance(tree, FilesSource)
    assert tree.name == "named"
    with pytest.raises(UsageError, match="--exclude"):
        open_place("sqlite:a.db", name=None, excludes=["x"], around=around)
