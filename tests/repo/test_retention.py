"""Policies against golden files: spec/retention/calendar.txt, and keep.json, which restic made."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.errors import UsageError
from snap.repo.ids import ObjectId
from snap.repo.retention import (
    ALL,
    Calendar,
    Candidate,
    Keep,
    Policy,
    Span,
    decide,
    months_before,
    parse_span,
)

GOLDEN = Path(__file__).parents[2] / "spec/retention"
_UNITS = ("years", "months", "days", "hours")


def id_of(number: int) -> ObjectId:
    return ObjectId(number.to_bytes(4, "big") + bytes(28))


def ns(moment: str, zone: str = "UTC") -> int:
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=ZoneInfo(zone))
    return int(parsed.timestamp()) * 10**9


@dataclass
class Case:
    """One of calendar.txt: see its head."""

    name: str
    policy: Calendar
    zone: str
    now: str
    lines: list[str] = field(default_factory=list)

    def verdicts(self) -> list[str]:
        candidates = []
        for number, line in enumerate(self.lines, start=1):
            said = line.split(" | ")[0].strip()
            marks = set(re.findall(r"\[(\S+?)\]", said))
            assert marks <= {"bad", "untrusted", "held"}, line
            candidates.append(
                Candidate(
                    id_of(number),
                    ns(said.partition(" [")[0], self.zone),
                    is_good="bad" not in marks,
                    is_trusted="untrusted" not in marks,
                    is_held="held" in marks,
                )
            )
        found = decide(candidates, self.policy, ns(self.now, self.zone), ZoneInfo(self.zone))
        return [
            f"{line.split(' | ')[0].rstrip()} | {'keep' if v.keep else 'remove'} | "
            f"{'; '.join(v.reasons)}"
            for line, v in zip(self.lines, (found[c.id] for c in candidates), strict=True)
        ]


def calendar_cases() -> Iterator[Case]:
    for block in (GOLDEN / "calendar.txt").read_text().split("\n\n")[1:]:
        head, *lines = block.strip().splitlines()
        name, policy, zone, now = (part.strip() for part in head.removeprefix("# ").split(" | "))
        numbers = [int(n) for n in policy.split("/")]
        yield Case(name, Calendar(*numbers), zone, now, lines)


@pytest.mark.parametrize("case", list(calendar_cases()), ids=lambda case: case.name)
def test_the_calendar_decides_as_the_golden_file_says(case: Case) -> None:
    assert case.verdicts() == case.lines


def test_there_are_at_least_40_golden_cases() -> None:
    names = [case.name for case in calendar_cases()]
    assert len(names) == len(set(names))
    assert len(names) + len(KEEP["cases"]) >= 40


KEEP = json.loads((GOLDEN / "keep.json").read_text())


def policy_of(rules: str) -> Keep:
    counts, within, tags = [], [], []
    words = rules.split()
    for flag, value in zip(words[::2], words[1::2], strict=True):
        name = flag.removeprefix("--keep-")
        if name == "tag":
            tags.append(frozenset(value.split(",")))
        elif name.startswith("within"):
            within.append((name.removeprefix("within").strip("-") or "last", parse_span(value)))
        else:
            counts.append((name, ALL if value == "unlimited" else int(value)))
    return Keep(tuple(counts), tuple(within), tuple(tags))


@pytest.mark.parametrize(
    "case", KEEP["cases"], ids=lambda case: f"{case['snapshots'][:6]} {case['rules']}"
)
def test_the_keep_rules_decide_as_restic_does(case: dict[str, Any]) -> None:
    given_ = KEEP["snapshots"][case["snapshots"]]
    zone = given_["zone"]
    candidates = [
        Candidate(id_of(number), ns(time, zone), tags=frozenset({tag}))
        for number, (time, tag) in enumerate(given_["times"])
    ]
    found = decide(candidates, policy_of(case["rules"]), ns("2026-11-26"), ZoneInfo(zone))
    # What restic does not have: the last good one stays whatever the rules say.
    kept = [
        n
        for n, c in enumerate(candidates)
        if set(found[c.id].reasons) - {"last good one"} and found[c.id].keep
    ]
    assert kept == case["keep"]


@pytest.mark.parametrize("policy", [Calendar(0, 0, 0), Keep(), Keep((("daily", 0),))])
def test_a_policy_that_keeps_nothing_is_refused(policy: Policy) -> None:
    with pytest.raises(UsageError, match="keeps nothing"):
        decide([Candidate(id_of(1), 0)], policy, 1, UTC)


def test_spans_are_read_as_written_and_others_refused() -> None:
    assert parse_span("1y5m7d2h") == Span(1, 5, 7, 2)
    assert parse_span("10d") == Span(days=10)
    assert str(parse_span("2y3h")) == "2y3h"
    for text in ("", "5", "d", "1d1y", "1w", "-1d", "1.5d", "99999999d"):
        with pytest.raises(UsageError, match="length of time"):
            parse_span(text)


def test_months_before_end_with_the_month() -> None:
    moment = datetime.fromisoformat("2026-05-31T12:00:00")
    assert months_before(moment, 3) == datetime.fromisoformat("2026-02-28T12:00:00")
    assert months_before(moment, 17) == datetime.fromisoformat("2024-12-31T12:00:00")


DAY_NS = 24 * 3600 * 10**9
candidate_lists = st.lists(
    st.builds(
        lambda day, good, trusted, held: (day, good, trusted, held),
        st.integers(0, 900),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)
policies = st.one_of(
    st.builds(Calendar, st.integers(0, 10), st.integers(0, 6), st.integers(1, 6)),
    st.builds(
        lambda daily, weekly: Keep((("daily", daily), ("weekly", weekly))),
        st.integers(1, 9),
        st.integers(0, 9),
    ),
)


def made(rows: list[tuple[int, bool, bool, bool]]) -> list[Candidate]:
    return [
        Candidate(
            id_of(n), (20_000 + day) * DAY_NS + n, is_good=good, is_trusted=trusted, is_held=held
        )
        for n, (day, good, trusted, held) in enumerate(rows)
    ]


@given(candidate_lists, policies, st.integers(-100, 1000))
def test_held_ones_and_the_last_good_one_stay_whatever_the_policy_and_the_clock_say(
    rows: list[tuple[int, bool, bool, bool]], policy: Policy, now_day: int
) -> None:
    candidates = made(rows)
    found = decide(candidates, policy, (20_000 + now_day) * DAY_NS, UTC)
    assert found.keys() == {c.id for c in candidates}
    assert all(found[c.id].keep for c in candidates if c.is_held)
    good = [c for c in candidates if c.is_good]
    if good:
        assert found[max(good, key=lambda c: c.time_ns).id].keep
    assert any(verdict.keep for verdict in found.values())
    assert all(verdict.reasons for verdict in found.values())


@given(candidate_lists, candidate_lists, policies, st.integers(0, 1000))
def test_what_cannot_be_trusted_or_is_not_good_displaces_nothing(
    rows: list[tuple[int, bool, bool, bool]],
    pushed: list[tuple[int, bool, bool, bool]],
    policy: Policy,
    now_day: int,
) -> None:
    now = (20_000 + now_day) * DAY_NS
    honest = made([(day, True, True, held) for day, _, _, held in rows])
    forged = [
        Candidate(
            id_of(1000 + n), (20_000 + day) * DAY_NS + 500 + n, is_good=good, is_trusted=False
        )
        for n, (day, good, _, _) in enumerate(pushed)
    ]
    alone = decide(honest, policy, now, UTC)
    beside = decide(honest + forged, policy, now, UTC)
    assert all(beside[c.id].keep for c in honest if alone[c.id].keep)
