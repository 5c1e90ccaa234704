from pathlib import Path

import pytest

from snap.cli.config_file import read_configuration
from snap.cli.places import Wanted, sources_of
from snap.cli.settings import Settings
from snap.errors import SourceError, UsageError


def settings(folder: Path, text: str = "") -> Settings:
    path = folder / "snap.toml"
    path.write_text(text)
    return Settings(
        cache_folder=folder / "cache",
        state_folder=folder / "state",
        configuration=read_configuration(path),
    )


def test_each_kind_gets_its_place_from_its_own_key(tmp_path: Path) -> None:
    text = """
[sources.a]
kind = "chroma"
path = "store"
[sources.b]
kind = "chroma"
url = "http://vectors:8000"
[sources.c]
kind = "files"
path = "/tree"
exclude = ["*.tmp"]
"""
    found = [p.sources[0] for p in sources_of(Wanted(), settings(tmp_path, text), {})]
    assert [(s.name, s.kind, s.place) for s in found] == [
        ("a", "chroma", str(tmp_path / "store")),
        ("b", "chroma-server", "http://vectors:8000"),
        ("c", "files", "/tree"),
    ]


def test_what_cannot_be_had_stands_for_itself_until_it_is_opened(tmp_path: Path) -> None:
    text = '[sources.g]\nkind = "neo4j"\nhome = "none"\n'
    [place] = sources_of(Wanted(), settings(tmp_path, text), {})
    [source] = place.sources
    assert (source.name, source.kind) == ("g", "neo4j")
    with pytest.raises(SourceError), source.open():
        pass


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(sources=("a",), stdin=True),
        Wanted(sources=("a", "b"), name="n"),
        Wanted(shell_command="x"),
        Wanted(shell_command="x", name="n", excludes=("y",)),
        Wanted(sources=("a",), name="a/b"),
        Wanted(sources=("neo4j:/x",), dry_run=True),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, wanted: Wanted) -> None:
    with pytest.raises(UsageError) as caught:
        sources_of(wanted, settings(tmp_path), {})
    assert str(caught.value)


def test_options_for_places_are_not_for_configured_sources(tmp_path: Path) -> None:
    text = '[sources.c]\nkind = "files"\npath = "/tree"\n'
    with pytest.raises(UsageError, match="--exclude"):
        sources_of(Wanted(sources=("c",), excludes=("x",)), settings(tmp_path, text), {})
