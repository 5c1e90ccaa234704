from pathlib import Path

from .conftest import Snap, stored


def test_json_has_the_promised_fields(two_snapshots: tuple[Snap, str, str], clean: Path) -> None:
    snap, _, _ = two_snapshots
    statistics = snap.ok("stats", "--json").json
    assert set(statistics) == {
        "snapshots",
        "packs",
        "data_blobs",
        "metadata_blobs",
        "bytes_stored",
        "bytes_data_stored",
        "bytes_metadata_stored",
        "bytes_raw",
        "bytes_processed",
        "compression_ratio",
        "deduplication_ratio",
        "by_component",
        "by_snapshot",
    }
    packs = stored(clean, "data") + stored(clean, "meta")
    assert statistics["snapshots"] == 2
    assert statistics["packs"] == len(packs)
    assert statistics["bytes_stored"] == sum(p.stat().st_size for p in packs)
    assert statistics["bytes_processed"] == 6 + 10240 + 14 + 4


def test_each_source_and_each_snapshot_tells_what_it_added(
    two_snapshots: tuple[Snap, str, str],
) -> None:
    snap, first, second = two_snapshots
    statistics = snap.ok("stats", "--json").json
    assert [s["id"] for s in statistics["by_snapshot"]] == [first, second]
    for kind in ("processed", "new", "stored"):
        key = f"bytes_{kind}"
        by_component = sum(c[key] for c in statistics["by_component"])
        parts = [c[key] for s in statistics["by_snapshot"] for c in s["components"]]
        assert by_component == sum(parts) == sum(s[key] for s in statistics["by_snapshot"]) > 0
    lines = snap.ok("stats").out.splitlines()
    assert any(line.startswith(first[:8]) for line in lines)


def test_people_get_a_table(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, _, _ = two_snapshots
    rows = [line.split() for line in snap.ok("stats").out.splitlines()]
    assert rows[0] == ["what", "amount"]
    assert ["snapshots", "2"] in rows


def test_an_empty_repository_has_statistics_too(initialized: Snap) -> None:
    statistics = initialized.ok("stats", "--json").json
    assert statistics["bytes_stored"] == 0
