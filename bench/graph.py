"""The part that follows a Neo4j database from day to day: neo4j."""

import gzip
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmark import MIB, Bench
from record import times_restic
from scratch import require_space
from tools import ROOT, Restic, Snap, Tool

_STATE_BYTES = 100 << 20
_COPIES = 8
_AT_ONCE = 10_000


class Guide:
    """What the guide's script does: stop, dump to a file, start; then compress the dump."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server = server
        self.folder = folder
        self.stored_bytes = 0
        folder.mkdir()

    def dump(self) -> float:
        """Dump and copy the dump away while the server is stopped; return the seconds of that."""
        dump = self.folder / "neo4j.dump"
        began = time.perf_counter()
        self._server.stop()
        to = (f"--to-path={self.folder}", "--overwrite-destination=true")
        self._server.admin("database", "dump", "neo4j", *to)
        shutil.copyfile(dump, self.folder.parent / "copy.dump")
        self._server.start()
        seconds = time.perf_counter() - began
        (self.folder.parent / "copy.dump").unlink()
        self.stored_bytes += len(gzip.compress(dump.read_bytes(), 6))
        return seconds


def measure_neo4j(bench: Bench, sizes: dict[str, int]) -> None:
    """Measure daily states of a real server; snap dumps it itself, restic gets each dump."""
    # The tests' server, put together once beside the repository.
    sys.path.insert(0, str(ROOT))
    from tests.servers.neo4j import neo4j_in  # noqa: PLC0415 - only where it is wanted

    bench.record.begin("neo4j", sizes)
    require_space(bench.scratch, _COPIES * _STATE_BYTES, "neo4j")
    folder = bench.scratch / "neo4j"
    folder.mkdir()
    try:
        with neo4j_in(folder) as server:
            server.start()
            _fill(server, sizes)
            _follow(bench, server, sizes["days"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(server: Any, sizes: dict[str, int]) -> None:
    server.run("CREATE CONSTRAINT person FOR (p:Person) REQUIRE p.n IS UNIQUE")
    nodes, relationships = sizes["nodes"], sizes["relationships"]
    for first in range(0, nodes, _AT_ONCE):
        server.run(
            "UNWIND range($first, $last) AS n CREATE (:Person "
            "{n: n, name: 'person ' + n, mail: 'p' + n + '@example.org', score: rand()})",
            first=first,
            last=min(nodes, first + _AT_ONCE) - 1,
        )
    chance = random.Random(1)
    for first in range(0, relationships, _AT_ONCE):
        pairs = [
            [chance.randrange(nodes), chance.randrange(nodes), number]
            for number in range(first, min(relationships, first + _AT_ONCE))
        ]
        server.run(
            "UNWIND $pairs AS p MATCH (a:Person {n: p[0]}), (b:Person {n: p[1]}) "
            "CREATE (a)-[:KNOWS {since: p[2]}]->(b)",
            pairs=pairs,
        )


def _change(server: Any, day: int) -> None:
    [found] = server.run("MATCH (p:Person) RETURN count(p) AS n")
    chosen = random.Random(day).sample(range(found["n"]), found["n"] // 100)
    server.run(
        "UNWIND $chosen AS n MATCH (p:Person {n: n}) SET p.name = $day + n, p.score = rand()",
        chosen=chosen,
        day=f"day {day} ",
    )


def _follow(bench: Bench, server: Any, days: int) -> None:
    snap, restic = bench.tool(Snap), bench.tool(Restic)
    guide = Guide(server, server.home.parent / "dumps")
    downtimes: dict[str, list[float]] = {"dump and copy": [], "snap": []}
    for day in range(days):
        if day:
            _change(server, day)
        downtimes["dump and copy"].append(guide.dump())
        before = {tool.name: tool.stored_bytes() for tool in (snap, restic)}
        restic.backup(guide.folder)
        downtimes["snap"].append(_back_up(snap, server))
        tools: tuple[Tool, ...] = (snap, restic)
        added = {t.name: (t.stored_bytes() - before[t.name]) / MIB for t in tools}
        bench.note(f"neo4j: stored on day {day}", "MiB", added)
        bench.note(
            f"neo4j: downtime on day {day}, restic's being a dump to a file and its copy",
            "s",
            {"restic": downtimes["dump and copy"][-1], "snap": downtimes["snap"][-1]},
        )
    sizes = {t.name: t.stored_bytes() / MIB for t in (snap, restic)}
    bench.note("neo4j: repository after all days", "MiB", sizes, times_restic(1 / 2))
    gzipped = {"restic": guide.stored_bytes / MIB, "snap": sizes["snap"]}
    bench.note("neo4j: the same, restic's being a gzip of each dump", "MiB", gzipped)


def _back_up(snap: Tool, server: Any) -> float:
    """Back the server up; return the seconds for which it was stopped."""
    environment = {**snap.environment, "NEO4J_PASSWORD": server.password}
    environment["SNAP_STATE_DIR"] = str(snap.cache / "state")
    done = subprocess.run(
        [*snap.program, "backup", "--json", "--name", "graph", f"neo4j:{server.home}"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the backup of {server.home} failed: {done.stdout[-500:]}")
    summary = json.loads(done.stdout.splitlines()[-1])
    return max(float(c["downtime_seconds"]) for c in summary["components"])
