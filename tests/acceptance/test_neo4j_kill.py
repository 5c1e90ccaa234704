"""Restores into a Neo4j that are killed at any moment leave the old databases or the new ones."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.scale import rounds
from tests.servers.docker import RealDocker
from tests.servers.neo4j import Bolt, RealNeo4j

from .command import Snap
from .kills import Kills, new_chance

_STEPS = """
import os, signal, sys
import snap.sources.neo4j_in_place as place
from snap.sources.neo4j_docker_stage import DockerStage
from snap.sources.neo4j_install_stage import InstallStage
from snap.cli.main import run

step, number = sys.argv[1], int(sys.argv[2])
def dies(function, after):
    left = [number]
    def killed(*arguments, **options):
        left[0] -= 1
        if left[0] > 0:
            return function(*arguments, **options)
        if after:
            function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return killed
def renames(function):
    def each(self, steps):
        for step in steps:
            function(self, [step])
    return each
if step == "rename":
    for stage in (InstallStage, DockerStage):
        stage.apply = renames(dies(stage.apply, after=True))
else:
    name, _, when = step.partition(":")
    setattr(place, name, dies(getattr(place, name), after=when == "after"))
raise SystemExit(run(sys.argv[3:]))
"""


def count(server: Bolt) -> list[dict[str, object]]:
    server.wait_online()
    return server.run("MATCH (n) RETURN labels(n) AS l, count(*) AS n ORDER BY l")


@pytest.fixture
def replaced(
    snap: Snap, neo4j_server: RealNeo4j, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RealNeo4j:
    """A server with nodes ``Old``; in the latest snapshot it has nodes ``New``."""
    monkeypatch.setenv("NEO4J_PASSWORD", str(neo4j_server.password))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    neo4j_server.start()
    neo4j_server.run("UNWIND range(1, 300) AS n CREATE (:New {n: n})")
    snap.ok("backup", f"neo4j:{neo4j_server.home}")
    make_old(neo4j_server)
    return neo4j_server


def make_old(server: Bolt) -> None:
    server.run("MATCH (n) DETACH DELETE n")
    server.run("UNWIND range(1, 200) AS n CREATE (:Old {n: n})")


KILLS = rounds(30, otherwise=2)
"""Each takes half a minute."""
OLD, NEW = [{"l": ["Old"], "n": 200}], [{"l": ["New"], "n": 300}]

RENAMES = (1, 2, 3, 4)[:: rounds(1, otherwise=3)]
"""Store and transaction logs, of two databases."""
STEPS = [
    ("begin_exchange:before", 1, OLD),
    ("begin_exchange:after", 1, OLD),
    *(("rename", number, OLD) for number in RENAMES),
    ("turn:after", 1, NEW),
    ("compare_counts:before", 1, NEW),
    ("end_exchange:before", 1, NEW),
]


def kill_at(snap: Snap, program: Path, step: str, number: int) -> None:
    program.write_text(_STEPS)
    done = subprocess.run(
        [sys.executable, program, step, str(number), "restore", "latest", "--in-place", "--yes"],
        env=snap.environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, (step, done.stderr)


def survive_steps(
    snap: Snap, server: RealNeo4j, folder: Path, steps: Sequence[tuple[str, int, object]]
) -> None:
    for step, number, expected in steps:
        make_old(server)
        kill_at(snap, folder / "killed.py", step, number)
        told = snap.run("status", "--json")
        status = json.loads(told.stdout)
        is_begun = step != "begin_exchange:before"
        assert (told.returncode, bool(status["interrupted_restores"])) == (4, is_begun), step
        snap.ok("status", "--mend")
        assert count(server) == expected, step
        assert list((folder / "snap").iterdir()) == [], step
        assert bool(list(server.data.glob(".snap-*"))) is not is_begun, step
    snap.ok("restore", "latest", "--in-place", "--yes")
    assert count(server) == NEW
    assert list(server.data.glob(".snap-*")) == []


@pytest.mark.slow
def test_killed_at_any_step_the_rest_is_done_by_the_next_run(
    snap: Snap, replaced: RealNeo4j, tmp_path: Path
) -> None:
    survive_steps(snap, replaced, tmp_path, STEPS)


def survive_kills(snap: Snap, server: RealNeo4j, state: Path, kills: int) -> None:
    outcomes = {"old": 0, "new": 0}
    killing = Kills(new_chance(), kills, kills // 2, earliest=0.2)
    for _ in killing.rounds():
        make_old(server)
        killing.end(snap.start("restore", "latest", "--in-place", "--yes"))
        # What a killed run started may go on for a moment.
        snap.ok("status", "--mend")
        found = count(server)
        assert found in (OLD, NEW)
        assert list(state.iterdir()) == []
        outcomes["new" if found == NEW else "old"] += 1
    print(outcomes)
    snap.ok("restore", "latest", "--in-place", "--yes")
    assert count(server) == NEW
    assert list(server.data.glob(".snap-*")) == []
    snap.ok("check", "--read-data")


@pytest.mark.slow
def test_kills_during_a_restore_leave_the_old_or_the_new(
    snap: Snap, replaced: RealNeo4j, tmp_path: Path
) -> None:
    survive_kills(snap, replaced, tmp_path / "snap", KILLS)


@pytest.mark.slow
def test_killed_at_a_step_a_container_gets_the_rest_done_by_the_next_run(
    snap: Snap, real_docker: RealDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_docker.neo4j_container() as container:
        monkeypatch.setenv("NEO4J_PASSWORD", str(container.password))
        monkeypatch.setenv("DOCKER_HOST", real_docker.url)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        container.start()
        container.run("UNWIND range(1, 300) AS n CREATE (:New {n: n})")
        snap.ok("backup", f"neo4j-docker:{container.container.name}")
        for step, number, expected in (("rename", 3, OLD), ("turn:after", 1, NEW)):
            make_old(container)
            kill_at(snap, tmp_path / "killed.py", step, number)
            snap.ok("status", "--mend")
            assert count(container) == expected
            assert list((tmp_path / "snap").iterdir()) == []
