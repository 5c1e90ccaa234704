"""Measure snap, restic and borg side by side: speed, size, memory. See bench/README.md."""

import argparse
import shutil
import sys
from pathlib import Path

from benchmark import Bench
from chroma import measure_chroma
from daily import SIXTY_SEED, measure_daily, measure_sixty
from graph import measure_neo4j
from parts import measure_small, measure_starts, measure_unchanged, measure_whole
from prune import measure_prune
from record import Record
from remote import measure_remote
from scratch import scratch_folder
from tools import ROOT, Borg, Restic, Snap, Tool, snap_program

PARTS = (
    *("starts", "whole", "unchanged", "days", "cold", "small", "sixty"),
    *("chroma", "neo4j", "remote", "prune"),
)
_WITH_STATES = {"days", "cold", "sixty"}
_MEASURED_VERSIONS = {"restic": "0.19.1", "borg": "1.4.5"}
"""What the budgets are about."""


def arguments() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restic", default="restic", help="the restic program, 0.19.1")
    parser.add_argument("--borg", default="borg", help="the borg program, 1.4.5")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeatable")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="medians of N runs")
    parser.add_argument("--megabytes", type=int, default=2400, help="of whole and unchanged")
    parser.add_argument("--files", type=int, default=200_000, help="of small")
    parser.add_argument("--states", type=Path, default=ROOT.parent / "shared/bench/make_states.py")
    parser.add_argument("--days", type=int, default=8, help="of days and cold")
    parser.add_argument("--sixty-days", type=int, default=60, help="of sixty")
    parser.add_argument("--chroma-days", type=int, default=10, help="of chroma and neo4j")
    parser.add_argument("--rows", type=int, default=300_000, help="of the daily states")
    parser.add_argument("--vectors", type=int, default=40_000, help="of the daily states")
    parser.add_argument("--nodes", type=int, default=50_000, help="of neo4j")
    parser.add_argument("--remote-megabytes", type=int, default=1000, help="of remote")
    parser.add_argument("--blobs", type=int, default=1_000_000, help="of prune")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--out", type=Path, default=ROOT / "bench/out/results.json")
    parser.add_argument(
        "--merge", action="store_true", help="keep the other parts that --out already has"
    )
    return parser.parse_args()


def program(name: str) -> list[str]:
    """Return how to run a program from any folder."""
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"there is no program {name!r}: see bench/README.md for how to get it")
    return [str(Path(found).absolute())]


def run(bench: Bench, a: argparse.Namespace, parts: list[str]) -> None:
    """Run the parts in their order, saving what was measured after each."""
    sizes = {"rows": a.rows, "vectors": a.vectors}
    daily = [part for part in ("days", "cold") if part in parts]
    if "starts" in parts:
        measure_starts(bench)
    if "whole" in parts:
        measure_whole(bench, a.megabytes)
        bench.record.save()
    if "unchanged" in parts:
        measure_unchanged(bench, a.megabytes)
        bench.record.save()
    if daily:
        measure_daily(bench, a.states, {"days": a.days, **sizes}, daily)
        bench.record.save()
    if "small" in parts:
        measure_small(bench, a.files)
        bench.record.save()
    if "chroma" in parts:
        measure_chroma(bench, {"days": a.chroma_days, "vectors": a.vectors})
        bench.record.save()
    if "neo4j" in parts:
        sizes = {"days": a.chroma_days, "nodes": a.nodes, "relationships": 3 * a.nodes}
        measure_neo4j(bench, sizes)
        bench.record.save()
    run_late(bench, a, parts)


def run_late(bench: Bench, a: argparse.Namespace, parts: list[str]) -> None:
    """Run the parts that come last."""
    if "remote" in parts:
        measure_remote(bench, a.remote_megabytes)
        bench.record.save()
    if "prune" in parts:
        measure_prune(bench, a.blobs)
        bench.record.save()
    if "sixty" in parts:
        sixty = {"days": a.sixty_days, "rows": a.rows, "vectors": a.vectors, "seed": SIXTY_SEED}
        measure_sixty(bench, a.states, sixty)
    bench.record.save()


def main() -> None:
    """Run what the arguments ask for."""
    a = arguments()
    parts = a.only or list(PARTS)
    if _WITH_STATES & set(parts) and not a.states.is_file():
        raise SystemExit(f"{a.states} is not there: give --states FILE, or other parts with --only")
    programs = {"restic": program(a.restic), "borg": program(a.borg), "snap": snap_program()}
    with scratch_folder(a.scratch) as scratch:
        kinds: list[type[Tool]] = [Restic, Borg, Snap]
        versions = {kind.name: kind(programs[kind.name], scratch).version() for kind in kinds}
        print(", ".join(f"{name} {version}" for name, version in versions.items()))
        for name, expected in _MEASURED_VERSIONS.items():
            if versions[name] != expected:
                print(f"the budgets are about {name} {expected}", file=sys.stderr)
        bench = Bench(scratch, programs, Record(a.out, versions, merge=a.merge), a.repeat)
        run(bench, a, parts)
        print(f"\n{bench.record.verdict()}\n{a.out.with_suffix('.md')}")


if __name__ == "__main__":
    main()
