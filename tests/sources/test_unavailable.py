import pytest

from snap.errors import SourceError, UsageError
from snap.sources.unavailable import UnavailableSource


def test_it_says_what_it_stands_for_and_why_it_cannot_be_opened() -> None:
    source = UnavailableSource("neo4j", "/opt/neo4j", "graph", UsageError("not there", "install"))
    assert (source.kind, source.place, source.name) == ("neo4j", "/opt/neo4j", "graph")
    with pytest.raises(SourceError, match="not there") as caught, source.open():
        pass
    assert caught.value.hint == "install"
