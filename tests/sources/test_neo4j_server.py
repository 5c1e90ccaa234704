import pytest

from snap.errors import SourceError
from snap.sources.neo4j_server import (
    DatabaseInUse,
    DatabaseMissing,
    StoreInfo,
    UncleanShutdown,
    check_database_name,
    essence,
    explain_admin,
    parse_infos,
    parse_version,
    warnings_of,
)

IN_USE = """2026-11-23 20:04:16.453+0000 INFO  [o.n.c.d.DumpCommand] Starting dump of database \
'neo4j'
2026-11-23 20:04:16.511+0000 ERROR [o.n.c.d.DumpCommand] Failed to dump database 'neo4j': \
The database is in use. Stop database 'neo4j' and try again.
2026-11-23 20:04:16.513+0000 ERROR [o.n.c.d.DumpCommand] Dump failed for databases: 'neo4j'
Dump failed for databases: 'neo4j'
Run with '--verbose' for a more detailed error message.
"""


def test_what_a_program_said_is_cut_down_to_what_tells() -> None:
    assert essence(IN_USE) == (
        "Failed to dump database 'neo4j': The database is in use. Stop database 'neo4j' and try "
        "again."
    )
    assert essence("Files: 1/39, data:  0.1%\nFiles: 2/39, data: 18.6%\n\n") == ""
    assert len(essence("x" * 5000)) < 700


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (IN_USE, DatabaseInUse),
        ("Failed to dump database 'x': Database does not exist: x", DatabaseMissing),
        ("Active logical log detected, this might be a source of", UncleanShutdown),
        ("You do not have permission to dump the database.", SourceError),
        ("Unable to dump database: IOException: No space left on device", SourceError),
        ("Not a valid Neo4j archive: reading from stdin", SourceError),
        ("", SourceError),
    ],
)
def test_every_failure_of_the_table_is_told_apart(said: str, kind: type[SourceError]) -> None:
    error = explain_admin("dump", "neo4j", 1, said)
    assert type(error) is kind
    assert error.hint


def test_a_signal_is_named_as_such() -> None:
    assert "was ended by signal 9" in str(explain_admin("dump", "neo4j", -9, ""))
    assert "failed with exit code 70" in str(explain_admin("dump", "neo4j", 70, ""))


def test_infos_are_read_one_or_many() -> None:
    one = (
        '{"databaseName":"neo4j","inUse":"false","storeFormat":"record-aligned-1.1",'
        '"storeFormatIntroduced":"5.0.0","storeFormatSuperseded":null,'
        '"lastCommittedTransaction":"15","recoveryRequired":"true"}'
    )
    used = (
        '{"databaseName":"system","inUse":"true","storeFormat":null,'
        '"lastCommittedTransaction":"-1","recoveryRequired":"true"}'
    )
    assert parse_infos(f"some line\n{one}\n") == [
        StoreInfo("neo4j", False, True, "record-aligned-1.1", 15)
    ]
    assert parse_infos(f"[{one},{used}]")[1] == StoreInfo("system", True, False, "", None)


@pytest.mark.parametrize("said", ["", "nothing", "[]x{", '{"databaseName":"neo4j"}', "[1]"])
def test_what_is_no_info_is_an_error(said: str) -> None:
    if said == "[]x{":
        assert parse_infos(said) == []
        return
    with pytest.raises(SourceError, match="is not understood"):
        parse_infos(said)


def test_versions_are_read_and_old_ones_refused() -> None:
    assert parse_version("5.26.29\n") == (5, 26, 29)
    assert parse_version("neo4j 2025.10.1") == (2025, 10, 1)
    with pytest.raises(SourceError, match=r"Neo4j 4\.4\.40 is too old"):
        parse_version("4.4.40")
    with pytest.raises(SourceError, match="does not tell its version"):
        parse_version("what?")


@pytest.mark.parametrize("name", ["*", "neo4j*", "../neo4j", "-v", "ab", "", "a" * 64, "a/b.c"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match="is not a Neo4j database's name"):
        check_database_name(name)


def test_a_warning_of_a_load_that_went_well_is_kept() -> None:
    said = (
        "Done: 42 files, 1.0MiB processed.\n"
        "2026-11-23 20:04:16.511+0000 WARN  [o.n.c.d.LoadCommand] The loaded database 'neo4j' is "
        "not on a supported version (current format: x). Use the migrate command\n"
    )
    (warning,) = warnings_of(said)
    assert warning.startswith("The loaded database 'neo4j' is not on a supported version")
    assert warnings_of("Done: 42 files") == []


def test_names_that_are_names_pass() -> None:
    for name in ("neo4j", "system", "my-shop.v2"):
        check_database_name(name)
