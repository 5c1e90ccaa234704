"""The damaged golden repositories: what check, repair and prune say, and what can be restored.

``spec/repos/damaged/cases.json`` says how a golden repository is damaged, ``verdicts.json`` beside
it what is expected. SNAP_UPDATE_VERDICTS=1 writes the latter anew: read the difference before
keeping it. A prune verdict of null is not compared.
"""

import base64
import contextlib
import io
import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from snap.cli.main import run
from spec.make_golden import describe_database, describe_tree

REPOS = Path(__file__).parents[2] / "spec" / "repos"
UPDATE = "SNAP_UPDATE_VERDICTS" in os.environ
RECIPES: dict[str, Any] = json.loads((REPOS / "damaged" / "cases.json").read_text())
VERDICTS = REPOS / "damaged" / "verdicts.json"
MANIFEST: dict[str, Any] = json.loads((REPOS / f"{RECIPES['repository']}.json").read_text())
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in RECIPES["cases"]}
SHORT = 8


def damage(folder: Path, change: dict[str, Any]) -> None:
    path = folder / change["object"]
    match change["do"]:
        case "delete":
            path.unlink()
        case "truncate":
            path.write_bytes(path.read_bytes()[: change["to"]])
        case "flip":
            stored = bytearray(path.read_bytes())
            stored[change["at"]] ^= 1
            path.write_bytes(stored)
        case "append":
            path.write_bytes(path.read_bytes() + base64.b64decode(change["base64"]))
        case "put":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(change["base64"]))
        case "move":
            (folder / change["to"]).parent.mkdir(parents=True, exist_ok=True)
            path.rename(folder / change["to"])
        case "age":
            at = time.time() - 60 * change["minutes"]
            os.utime(path, (at, at))
        case other:
            raise AssertionError(other)


def damaged_copy(case: dict[str, Any], folder: Path) -> Path:
    shutil.copytree(REPOS / RECIPES["repository"], folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for change in case["changes"]:
        damage(folder, change)
    return folder


def snap(folder: Path, *arguments: str) -> dict[str, Any]:
    """Return the exit code and the summary, or the error's message."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*arguments, "-r", str(folder), "--json", "-q", "--no-cache"])
        out.flush()
    assert "Traceback" not in err.getvalue(), err.getvalue()
    lines = out.buffer.getvalue().decode().splitlines()
    if lines:
        return {"exit": code, **json.loads(lines[-1])}
    [error] = [e for e in map(json.loads, err.getvalue().splitlines()) if "hint" in e]
    return {"exit": code, "error": error["message"].replace(str(folder), "REPOSITORY")}


def lost(summary: dict[str, Any]) -> list[str]:
    assert summary["lost_count"] == len(summary["lost"])
    return [f"{e['snapshot_id'][:SHORT]}:{e['component']}/{e['path']}" for e in summary["lost"]]


def told(problems: list[dict[str, str]]) -> list[str]:
    return [f"{problem['object']}: {problem['problem']}" for problem in problems]


def check_verdict(folder: Path) -> dict[str, Any]:
    summary = snap(folder, "check", "--read-data")
    if "error" in summary:
        return summary
    blobs = Counter(e["object"] for e in summary["errors"] if needs_blob(e))
    return {
        "exit": summary["exit"],
        "errors": told([e for e in summary["errors"] if not needs_blob(e)])
        + [f"{name}: needs {count} blobs that are in no index" for name, count in blobs.items()],
        "lost": lost(summary),
        "hints": summary["hints"],
    }


def needs_blob(error: dict[str, str]) -> bool:
    return error["problem"].startswith("needs blob ")


REPAIRED = ("exit", "indexed", "indexed_unread", "blobs_saved", "blobs_lost", "snapshots")


def repair_verdict(folder: Path, *options: str) -> dict[str, Any]:
    summary = snap(folder, "repair", *options)
    if "error" in summary:
        return summary
    lists = ("healed", "gone", "aside", "errors")
    return {
        **{key: summary[key] for key in REPAIRED},
        **{key: told(summary[key]) for key in lists},
        "lost": lost(summary),
    }


def prune_verdict(folder: Path) -> dict[str, Any]:
    """Mark, then delete at once, and say what of both was done."""
    result: dict[str, Any] = {}
    for step in ("mark", "now"):
        summary = snap(folder, "prune", *(["--now"] if step == "now" else []))
        result[step] = {
            "exit": summary["exit"],
            "error": summary.get("error", ""),
            "marked": summary.get("marked", {}).get("packs", 0),
            "deleted": summary.get("deleted", {}).get("packs", 0),
            "lost": len(summary.get("lost", [])),
        }
    return result


def restored(folder: Path, target: Path) -> dict[str, Any]:
    """Restore all snapshots; return for each what is missing. What is there must be right."""
    result = {}
    for expected in MANIFEST["snapshots"]:
        id_ = expected["id"][:SHORT]
        summary = snap(folder, "restore", id_, "--target", str(target / id_))
        found: dict[str, Any] = {}
        if (target / id_ / "files").exists():
            found = describe_tree(target / id_ / "files")
        for path, entry in found.items():
            # Another name of the file may be among what is lost.
            assert entry | {"links": 0} == expected["files"][path] | {"links": 0}, path
        missing = [f"files/{path}" for path in expected["files"] if path not in found]
        database = target / id_ / "events.db" / "events.db"
        if not database.exists():
            missing.append("events.db")
        else:
            assert describe_database(database) == expected["events.db"]
        result[id_] = {"exit": summary["exit"], "missing": missing}
        if len(missing) > len(expected["files"]):
            result[id_]["missing"] = ["everything"]
    return result


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    # It opens without the passphrase's costs, and no less.
    monkeypatch.setenv("SNAP_PASSWORD", MANIFEST["recovery_key"])
    monkeypatch.delenv("SNAP_CONFIG", raising=False)


def expect(name: str, column: str, actual: Any) -> None:
    verdicts = json.loads(VERDICTS.read_text()) if VERDICTS.exists() else {}
    if UPDATE:
        case = verdicts.setdefault(name, {})
        case[column] = actual
        ordered = {n: verdicts[n] for n in CASES if n in verdicts}
        VERDICTS.write_text(json.dumps(ordered, indent=1) + "\n")
        return
    assert actual == verdicts[name][column]


@pytest.mark.parametrize("name", CASES)
def test_check_and_repair_say_what_is_damaged_and_the_rest_is_restored(
    name: str, tmp_path: Path
) -> None:
    folder = damaged_copy(CASES[name], tmp_path / "repository")
    before = objects(folder)
    expect(name, "check", check_verdict(folder))
    supposed = repair_verdict(folder, "--read-data", "--dry-run")
    assert objects(folder) == before, "a check and a dry run change nothing"
    repaired = repair_verdict(folder, "--read-data")
    expect(name, "repair", repaired)
    if "error" not in supposed and "error" not in repaired:
        assert supposed == repaired
    kept = set(objects(folder).values())
    assert set(before.values()) <= kept, "what was there is there, or is aside"
    checked = check_verdict(folder)
    expect(name, "check after repair", checked)
    outcome = restored(folder, tmp_path / "out")
    expect(name, "restored", outcome)
    for id_, one in outcome.items():
        named = {path for path in checked.get("lost", []) if path.startswith(id_)}
        if "error" not in checked and one["exit"] != 1 and not any(map(is_folder, named)):
            assert len(named) == len(one["missing"]), "what is lost is what cannot be restored"
    if repaired["exit"] in (0, 4):
        again = repair_verdict(folder, "--read-data")
        quiet = ("indexed", "healed", "gone", "aside")
        assert [again[key] for key in quiet] == [[], [], [], []], "a second repair finds no work"
        assert again["lost"] == repaired["lost"]


def is_folder(lost_path: str) -> bool:
    component, _, path = lost_path[SHORT + 1 :].partition("/")
    entry = MANIFEST["snapshots"][0]["files"].get(path, {"mode": "0o10"})
    return not path or (component == "files" and entry["mode"].startswith("0o40"))


def objects(folder: Path) -> dict[str, bytes]:
    # What checks remember is put anew by each of them.
    paths = [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "checks"]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


@pytest.mark.parametrize("name", CASES)
def test_prune_deletes_nothing_that_could_still_be_restored(name: str, tmp_path: Path) -> None:
    untouched = damaged_copy(CASES[name], tmp_path / "untouched")
    before = restored(untouched, tmp_path / "before")
    folder = damaged_copy(CASES[name], tmp_path / "repository")
    expect(name, "prune", prune_verdict(folder))
    after = restored(folder, tmp_path / "after")
    assert {id_: one["missing"] for id_, one in after.items()} == {
        id_: one["missing"] for id_, one in before.items()
    }
