"""Wherever an exchange of several folders is cut, the journal leads back to the old state."""

import itertools
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from snap.errors import SourceError, TargetError
from snap.sources.neo4j_admin import AdminProgram
from snap.sources.neo4j_conf import Neo4jConf
from snap.sources.neo4j_exchange import (
    FORWARD,
    Exchange,
    Step,
    begin_exchange,
    end_exchange,
    find_exchange,
    left_exchanges,
    put_back,
    put_in_place,
    swap_by_renames,
    turn,
)
from snap.sources.neo4j_install_stage import InstallStage

DATABASES = ("neo4j", "system")


class CutShort(Exception):
    """The process is killed here."""


class CutStage(InstallStage):
    """A stage whose process is killed after a number of renames."""

    left = 0
    can_swap = True

    def apply(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.swaps and self.can_swap:
                parts = [step]
            elif step.swaps:
                parts = [Step(swaps=False, source=a, target=b) for a, b in swap_by_renames(step)]
            else:
                parts = [step]
            for part in parts:
                if not self.left:
                    raise CutShort
                self.left -= 1
                super().apply([part])


def stage_of(folder: Path) -> CutStage:
    conf = Neo4jConf(folder, {})
    program = AdminProgram(folder / "neo4j-admin", settings={}, account=None)
    stage = CutStage(conf, program, None, f"{os.getpid()}-1")
    stage.left = 1000
    return stage


def prepared(folder: Path, there: Sequence[str] = DATABASES) -> CutStage:
    """Two databases with what they are now, and staged what they are to be."""
    folder.mkdir()
    stage = stage_of(folder)
    stage.make()
    for database in DATABASES:
        for live, staged in stage.folders(database):
            if database in there:
                Path(live).mkdir()
                (Path(live) / "what").write_text("old")
            Path(staged).mkdir()
            (Path(staged) / "what").write_text("new")
    return stage


def state(stage: CutStage) -> set[str]:
    """Return what the live folders hold."""
    found = set()
    for database in DATABASES:
        for live, _ in stage.folders(database):
            path = Path(live) / "what"
            found.add(path.read_text() if path.exists() else "nothing")
    return found


def begun(folder: Path, stage: CutStage) -> Exchange:
    return begin_exchange(
        folder, stage, kind="neo4j", place="/home", token="1-1", databases=DATABASES
    )


@pytest.mark.parametrize("can_swap", [True, False])
@pytest.mark.parametrize("there", [DATABASES, ("system",), ()])
def test_every_cut_is_rolled_back(tmp_path: Path, there: Sequence[str], can_swap: bool) -> None:
    before = {"old", "nothing"} if len(there) == 1 else {"old"} if there else {"nothing"}
    for cut in itertools.count():
        folder = tmp_path / f"{can_swap}-{cut}"
        stage = prepared(folder, there)
        stage.can_swap = can_swap
        begun(folder / "state", stage)
        stage.left = cut
        try:
            put_in_place(stage, begun(folder / "state", stage))
        except CutShort:
            pass
        else:
            assert state(stage) == {"new"}
            break
        # What goes back may be cut as well, at any rename, and is tried again.
        for again in (0, 1, 2, 1000):
            stage = stage_of(folder)
            stage.left = again
            found = find_exchange(folder / "state", kind="neo4j", place="/home")
            assert found is not None
            try:
                assert not put_back(stage, found)
            except CutShort:
                continue
        assert state(stage) == before
    assert cut >= 4


def test_what_came_to_be_meanwhile_is_moved_aside(tmp_path: Path) -> None:
    stage = prepared(tmp_path / "data")
    exchange = begun(tmp_path / "state", stage)
    stage.can_swap = False
    stage.left = 1
    with pytest.raises(CutShort):
        put_in_place(stage, exchange)
    # Started by hand now, a server makes an empty database.
    live = Path(exchange.moves[0].live)
    live.mkdir()
    (live / "what").write_text("empty")
    assert put_back(stage_of(tmp_path / "data"), exchange)
    assert state(stage) == {"old"}
    assert "empty" in {path.read_text() for path in (tmp_path / "data").rglob("what")}


def test_an_old_state_that_is_nowhere_is_told_and_nothing_moved(tmp_path: Path) -> None:
    stage = prepared(tmp_path / "data")
    exchange = begun(tmp_path / "state", stage)
    put_in_place(stage, exchange)
    stage.remove()
    with pytest.raises(TargetError, match="not found beside it"):
        put_back(stage, exchange)
    assert state(stage) == {"new"}


def test_what_is_staged_must_be_there(tmp_path: Path) -> None:
    stage = prepared(tmp_path / "data")
    stage.remove()
    with pytest.raises(SourceError, match="nothing was exchanged"):
        begun(tmp_path / "state", stage)
    assert left_exchanges(tmp_path / "state") == []


@pytest.fixture
def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def test_the_journal_says_what_a_dead_process_left(tmp_path: Path, dead_pid: int) -> None:
    stage = prepared(tmp_path / "data")
    folder = tmp_path / "state"
    exchange = begun(folder, stage)
    assert find_exchange(folder, kind="neo4j", place="/home") == exchange
    assert find_exchange(folder, kind="neo4j", place="/other") is None
    assert left_exchanges(folder) == []
    turned = turn(folder, exchange, FORWARD)
    [path] = folder.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": dead_pid}))
    [found] = left_exchanges(folder)
    assert (found.direction, found.moves) == (FORWARD, exchange.moves)
    path.write_text("{}")
    with pytest.raises(SourceError, match="cannot be read"):
        left_exchanges(folder)
    end_exchange(folder, turned)
    assert list(folder.iterdir()) == []
