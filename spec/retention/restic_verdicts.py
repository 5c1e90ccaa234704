"""Makes keep.json: what restic itself keeps of given snapshots under given rules.

    spec/retention/restic_verdicts.py RESTIC > spec/retention/keep.json

snap's ``--keep-*`` have restic's meaning, so restic says what is right
(tests/repo/test_retention.py).
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

_FORMAT = "%Y-%m-%d %H:%M:%S"
Times = list[tuple[str, str]]
"""Local time and tag of each snapshot."""


def _every(first: str, last: str, **step: int) -> Times:
    moment, end, found = datetime.fromisoformat(first), datetime.fromisoformat(last), []
    while moment <= end:
        found.append((moment.strftime(_FORMAT), "nightly"))
        moment += timedelta(**step)
    return found


SETS: dict[str, tuple[str, Times]] = {
    "nights with gaps, and years before": (
        "UTC",
        [
            ("2022-12-31 23:30:00", "yearly"),
            ("2023-01-01 00:30:00", "yearly"),
            ("2024-02-29 02:00:00", "yearly"),
            *_every("2025-11-20 02:00:00", "2025-12-28 02:00:00", days=1),
            # A week and the first of January missed.
            *_every("2026-01-05 02:00:00", "2026-02-10 02:00:00", days=2),
            ("2026-02-10 14:00:00", "by-hand"),
        ],
    ),
    "several a day over the end of summer time": (
        "Europe/Berlin",
        [
            *_every("2025-10-24 00:15:00", "2025-10-28 21:00:00", hours=5),
            ("2025-10-28 22:00:00", "release"),
            ("2025-10-28 22:00:01", "release"),
            ("2025-10-28 22:59:59", "nightly"),
        ],
    ),
    "one": ("UTC", [("2026-03-01 00:00:00", "nightly")]),
}
RULES = [
    "--keep-last 1",
    "--keep-last 5",
    "--keep-last unlimited",
    "--keep-hourly 4",
    "--keep-daily 7",
    "--keep-daily 3 --keep-last 2",
    "--keep-weekly 4",
    "--keep-weekly 30",
    "--keep-monthly 3",
    "--keep-monthly 12",
    "--keep-yearly 2",
    "--keep-yearly 10",
    "--keep-daily 7 --keep-weekly 4 --keep-monthly 3",
    "--keep-daily unlimited",
    "--keep-within 3d",
    "--keep-within 1m",
    "--keep-within 2y5m7d3h",
    "--keep-within-hourly 1d",
    "--keep-within-daily 10d",
    "--keep-within-weekly 2m",
    "--keep-within-monthly 1y",
    "--keep-within-yearly 10y",
    "--keep-tag yearly",
    "--keep-tag release --keep-last 1",
    "--keep-tag nightly,release --keep-tag by-hand --keep-yearly 1",
]


def _cases(restic: str, name: str, zone: str, times: Times) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TZ": zone,
            "RESTIC_REPOSITORY": f"{folder}/repository",
            "RESTIC_PASSWORD": "x",
        }

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [restic, *arguments], env=environment, capture_output=True, text=True, check=True
            )
            return done.stdout

        run("init")
        file = Path(folder) / "file"
        file.write_text("x")
        ids = []
        for time, tag in times:
            printed = run("backup", "--json", "--time", time, "--tag", tag, str(file))
            ids.append(json.loads(printed.splitlines()[-1])["snapshot_id"])
        cases = []
        for rules in RULES:
            try:
                printed = run("forget", "--dry-run", "--json", "--group-by", "", *rules.split())
            except subprocess.CalledProcessError as error:
                if "refusing to delete last snapshot" not in error.stderr:
                    raise SystemExit(error.stderr) from error
                # Its way not to remove everything.
                cases.append({"snapshots": name, "rules": rules, "keep": []})
                continue
            groups = json.loads(printed.splitlines()[0])
            kept = {s["id"] for group in groups for s in group["keep"] or []}
            keep = [number for number, id_ in enumerate(ids) if id_ in kept]
            cases.append({"snapshots": name, "rules": rules, "keep": keep})
    return cases


def main() -> None:
    """Ask restic, and print what it says."""
    cases = chain.from_iterable(
        _cases(sys.argv[1], name, zone, times) for name, (zone, times) in SETS.items()
    )
    sets = {name: {"zone": zone, "times": times} for name, (zone, times) in SETS.items()}
    print(json.dumps({"snapshots": sets, "cases": list(cases)}, indent=1))


if __name__ == "__main__":
    main()
