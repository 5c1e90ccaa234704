import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.cli.config import EXAMPLE
from snap.cli.config_file import ConfigurationError, read_configuration


def written(folder: Path, text: str) -> Path:
    path = folder / "snap.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def problems(folder: Path, text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(written(folder, text))
    return [(p.line, p.message, p.hint) for p in caught.value.problems]


def test_the_example_is_right_also_with_all_that_is_commented_out(tmp_path: Path) -> None:
    found = read_configuration(written(tmp_path, EXAMPLE))
    assert [s.name for s in found.sources] == ["graph", "events", "vectors", "uploads"]
    lines = [
        line.removeprefix("# ")
        for line in EXAMPLE.splitlines()
        if " = " in line or line.startswith(("[", "# ["))
    ]
    # Of each pair that excludes each other the first stays.
    chosen = [line for line in lines if not line.startswith(("password_command", 'url = "http:'))]
    everything = read_configuration(written(tmp_path, "\n".join(chosen)))
    assert len(everything.sources) == 5
    assert [c.name for c in everything.copies] == ["usb", "office"]
    rule = {"copies": 3, "media": 2, "offsite": 1, "verified_within": "30d"}
    assert everything.rule == rule
    assert everything.values["retention"] == {"daily": 7, "weekly": 4, "monthly": 3}


def test_a_length_of_time_in_the_rule_is_checked(tmp_path: Path) -> None:
    for text, problem in (
        ('"30"', "'verified_within': not a length of time: '30'"),
        ('"0d"', "'verified_within': no length of time: '0d'"),
        ("30", "'verified_within' in [rule] is not text: 30"),
    ):
        [found] = problems(tmp_path, f"[rule]\nverified_within = {text}\n")
        assert found[:2] == (2, problem)


def test_every_problem_is_told_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    text = """repositry = "/x"
tags = [
  "a",
]
compression = "defalt"

[sources.a]
kind = "sqlit"
path = "x"

[sources."b c"]
kind = "files"
exclud = ["x"]
"""
    assert problems(tmp_path, text) == [
        (1, "unknown key 'repositry'", "did you mean 'repository'?"),
        (5, "'compression' cannot be 'defalt'", "did you mean 'default'?"),
        (8, "unknown kind of source: 'sqlit'", "did you mean 'sqlite'?"),
        (11, "[sources.b c] has no 'path'", ""),
        (13, "unknown key 'exclud' in [sources.b c]", "did you mean 'exclude'?"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("service = 3", 1, "'service' is not text: 3"),
        ("\ntags = 'x'", 2, "'tags' is not a list of texts: 'x'"),
        ("tags = [1]", 1, "'tags' is not a list of texts"),
        ("repository = ''", 1, "'repository' is empty"),
        ("sources = 3", 1, "'sources' is not a table"),
        ("sources.a = 3", 1, "'a' is no table"),
        ("sources.a.kind = 'files'", 1, "has no 'path'"),
        ("[sources.a]\npath = 'x'", 1, "has no 'kind'"),
        ("[sources.'a/b']\nkind = 'sqlite'\npath = 'x'", 1, "not a name for a source: 'a/b'"),
        ("[sources.a]\nkind = 'neo4j'\npassword = 'x'", 3, "unknown key 'password'"),
        ("[sources.a]\nkind = 'neo4j'\nskip_unchanged = 'yes'", 3, "not true or false: 'yes'"),
        ("[sources.a]\nkind = 'chroma'", 1, "neither 'path' nor 'url'"),
        ("[sources.a]\nkind = 'chroma'\npath = 'x'\nurl = 'y'", 4, "exclude each other"),
        ("[sources.a]\nkind = 'chroma'\npath = 'x'\nlock_seconds = true", 4, "not a number"),
        ("[sources.a]\nkind = 'chroma'\npath = 'x'\nlock_seconds = 0", 4, "not a number"),
        ("copies = 3", 1, "'copies' is not a table"),
        ("copies.a = 3", 1, "'a' is no table"),
        ("[copies.a]\nmedia = 'x'", 1, "[copies.a] has no 'location'"),
        ("[copies.a]\nlocation = 'x'", 1, "[copies.a] has no 'media'"),
        ("[copies.a]\nlocation = 'x'\nmedia = 'y'\noffsite = 1", 4, "not true or false: 1"),
        ("[copies.a]\nlocation = 'x'\nmedia = 'y'\nkeep = {}", 4, "unknown key 'keep'"),
        ("[copies.'a/b']\nlocation = 'x'\nmedia = 'y'", 1, "not a name for a copy: 'a/b'"),
        ("repository = 'x'\n[copies.a]\nlocation = 'x'\nmedia = 'y'", 3, "as the repository"),
        ("[copies.repository]\nlocation = 'x'\nmedia = 'y'", 1, "cannot be named 'repository'"),
        ("[rule]\ncopies = -1", 2, "not a whole number: -1"),
        ("[rule]\ncopies = true", 2, "not a whole number: True"),
        ("password_file = 'a'\npassword_command = 'b'", 2, "exclude each other"),
        ("a = 1\nb = = 2", 2, "not TOML"),
        ('a = """\n\n', 3, "not TOML"),
        ("a = 1\na = 2", 2, "not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, line: int, told: str
) -> None:
    found = problems(tmp_path, text)
    assert any(told in message for _, message, _ in found), found
    assert line in {where for where, _, _ in found}


def test_a_password_in_the_file_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    [(_, _, hint)] = problems(tmp_path, "[sources.a]\nkind = 'neo4j'\npassword = 'x'")
    assert "password_file" in hint


def test_paths_are_meant_from_the_file(tmp_path: Path) -> None:
    found = read_configuration(written(tmp_path, ""))
    assert found.path_of("a/b") == str(tmp_path / "a/b")
    assert found.path_of("/a") == "/a"
    assert found.path_of("~/a") == str(Path.home() / "a")
    assert found.location_of("s3://bucket/x") == "s3://bucket/x"
    assert found.location_of("repo") == str(tmp_path / "repo")


def test_lines_are_found_behind_lists_and_texts_of_many_lines(tmp_path: Path) -> None:
    text = 'tags = [\n "service = 1",\n]\nhost = """\nservice = 2\n"""\nservice = "x" # [y]\n'
    found = read_configuration(written(tmp_path, text))
    assert found.origin("service") == f"{found.path}:7"


def test_copies_are_places_with_what_they_lie_on(tmp_path: Path) -> None:
    text = """
[copies.near]
location = "usb"
media = "disk"
[copies.far]
location = "s3://bucket/x"
media = "s3"
offsite = true
"""
    found = read_configuration(written(tmp_path, text))
    assert [(c.name, c.location, c.media, c.offsite) for c in found.copies] == [
        ("near", str(tmp_path / "usb"), "disk", False),
        ("far", "s3://bucket/x", "s3", True),
    ]
    assert found.origin("copies", "far", "media") == f"{found.path}:7"
    twice = text + "[copies.again]\nlocation = 'usb'\nmedia = 'x'\nofsite = true"
    assert problems(tmp_path, twice) == [
        (10, "[copies.again] is the same place as [copies.near]", ""),
        (12, "unknown key 'ofsite' in [copies.again]", "did you mean 'offsite'?"),
    ]


def test_a_file_that_others_may_write_names_no_programs(tmp_path: Path) -> None:
    path = written(tmp_path, "password_command = 'pass show x'")
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="everybody may write to it"):
        read_configuration(path)
    path.write_text("service = 'x'")
    assert read_configuration(path).values == {"service": "x"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_file_of_somebody_else_names_no_programs(tmp_path: Path) -> None:
    path = written(tmp_path, "[sources.a]\nkind = 'command'\ncommand = 'true'")
    read_configuration(path)
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        read_configuration(path)


def test_a_missing_file_one_that_is_no_text_and_a_huge_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_configuration(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"a = 1\n\xff")
    with pytest.raises(ConfigurationError, match=r"bytes\.toml:2: is not UTF-8"):
        read_configuration(tmp_path / "bytes.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigurationError, match="larger than any"):
        read_configuration(tmp_path / "huge.toml")


_WORDS = st.sampled_from(
    ["[sources.a]\n", "kind", "=", "'sqlite'", "path", "\n", "[", "]", '"""', "1", ".", "{", "}"]
)


@given(st.lists(_WORDS | st.text(max_size=5), max_size=12).map(" ".join))
def test_no_text_does_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = read_configuration(path)
    except ConfigurationError as error:
        assert error.problems
    else:
        assert all(table.kind for table in found.sources)
