from snap.sources.neo4j_access import UNSAID, Neo4jAccess


def test_what_nobody_said_is_empty() -> None:
    assert Neo4jAccess() == UNSAID
    assert not any(UNSAID)
