import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.neo4j import RealNeo4j, neo4j_home, neo4j_in
from tests.servers.services import runs


def test_a_server_answers_and_stops_cleanly(neo4j_server: RealNeo4j) -> None:
    assert not neo4j_server.is_running()
    neo4j_server.start()
    assert neo4j_server.is_running()
    neo4j_server.run("CREATE (:Person {name: $name})", name="Ada")
    assert neo4j_server.run("MATCH (p:Person) RETURN p.name AS name") == [{"name": "Ada"}]
    neo4j_server.stop()
    assert not neo4j_server.is_running()
    assert '"recoveryRequired":"false"' in neo4j_server.admin("database", "info", "--format=json")


def test_a_killed_server_needs_recovery_and_asks_for_no_password(tmp_path: Path) -> None:
    with neo4j_in(tmp_path, password=None) as server:
        server.start()
        server.run("CREATE ()")
        server.kill()
        assert not server.is_running()
        info = server.admin("database", "info", "neo4j", "--format=json")
        assert '"recoveryRequired":"true"' in info


_LEFT = """
import sys, time
from pathlib import Path
from tests.servers.neo4j import neo4j_in
with neo4j_in(Path(sys.argv[1]), password=None) as server:
    server.start()
    print(server.pid(), flush=True)
    time.sleep(600)
"""


def test_no_server_outlives_a_test_run_that_was_killed(tmp_path: Path) -> None:
    neo4j_home()
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", _LEFT, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        run.send_signal(signal.SIGKILL)
    limit = time.monotonic() + 120
    while runs(pid):
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_a_missing_service_skips_or_fails_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.servers.services import unavailable

    monkeypatch.setenv("SNAP_REQUIRE_SERVICES", "tmpfs,docker")
    with pytest.raises(pytest.skip.Exception, match="no neo4j here: because"):
        unavailable("neo4j", "because")
    monkeypatch.setenv("SNAP_REQUIRE_SERVICES", "tmpfs,neo4j")
    with pytest.raises(pytest.fail.Exception, match="neo4j is required: because"):
        unavailable("neo4j", "because")
