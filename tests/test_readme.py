"""The README's tour runs as printed, and prints what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def tour() -> tuple[list[str], list[str]]:
    """Return the tour's commands, as lines for a shell, and the lines that it shows."""
    text = (ROOT / "README.md").read_text()
    block = text.split("## Five minutes")[1].split("```\n")[1]
    commands, shown = [], []
    here_document = False
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
            here_document = "<<END" in line
        elif here_document:
            commands.append(line)
            here_document = line != "END"
        else:
            shown.append(line)
    return commands, shown


def shape(line: str) -> str:
    """Return a line without what differs from run to run: ids, times, sizes, owners, paths."""
    line = re.sub(r"\b[0-9a-f]{8}\b|\b[0-9a-f]{32}\b|\b([A-Z2-7]{4}-){13}[A-Z2-7]{4}\b", "ID", line)
    line = re.sub(r"/\S*snap-tour", "TOUR", line)
    line = re.sub(r"\b\d[\d.]*( [KM]iB| B| s\b)?", "N", line)
    line = re.sub(r"(-rw-r--r--) +\S+ +\S+", r"\1 OWNER", line)
    line = re.sub(r"\S+@\S+|shop +\S+ +success", "WHO", line)
    return re.sub(r"[ \-:]+", " ", line).strip()


def test_the_tour_runs_as_printed(tmp_path: Path) -> None:
    commands, shown = tour()
    assert len(commands) > 15
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "COLUMNS": "100",
        "LANG": "C.UTF-8",
    }
    done = subprocess.run(
        ["bash", "-e"],
        input="\n".join(commands),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    expected = sorted(shape(line) for line in shown if line.strip())
    found = sorted(shape(line) for line in done.stdout.splitlines() if line.strip())

    # The two key slots may have been made within one tick of the clock, in either order.
    def unmarked(lines: list[str]) -> list[str]:
        return sorted(line.replace("* ", "") for line in lines)

    assert unmarked(found) == unmarked(expected)
