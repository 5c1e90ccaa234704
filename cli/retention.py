"""Policies as people write them: options of ``forget``, tables of ``snap.toml``."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from snap.errors import UsageError
from snap.repo.clock import system_clock
from snap.repo.forget import PolicyOf, kept_ids
from snap.repo.replicate import Keeps
from snap.repo.retention import ALL, RULES, Calendar, Keep, Policy, Span, parse_span, require_policy

from .settings import Settings
from .times import LOCAL_ZONE


class _Count(click.ParamType[int]):
    name = "N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if value in ("unlimited", ALL):
            return ALL
        try:
            count = int(str(value))
        except ValueError:
            count = -1
        if count < 0:
            raise UsageError(f"not a count: {value!r}", "write a number, or 'unlimited'")
        return count


def keep_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options ``--keep-...``."""
    for period in reversed(RULES):
        what = "N snapshots" if period == "last" else f"{period} snapshots of N periods"
        function = click.option(
            f"--keep-{period}", type=_Count(), metavar="N", help=f"Keep the last {what}."
        )(function)
        within = "--keep-within" + ("" if period == "last" else f"-{period}")
        kind = "all" if period == "last" else period
        function = click.option(
            within, metavar="SPAN", help=f"Keep {kind} snapshots of this time: 1y5m7d2h."
        )(function)
    return click.option(
        "--keep-tag",
        metavar="T[,T]",
        multiple=True,
        help="Keep those with all of these tags; '' means without any.",
    )(function)


def policy_of(rules: dict[str, object]) -> Policy | None:
    """Return the policy that ``--keep-...`` options mean, None where there are none.

    Raises:
        UsageError: not a count or a length of time, or they keep nothing.
    """
    counts: list[tuple[str, int]] = []
    within: list[tuple[str, Span]] = []
    for period in RULES:
        count = rules.get(f"keep_{period}")
        if isinstance(count, int):
            counts.append((period, count))
        span = rules.get("keep_within" + ("" if period == "last" else f"_{period}"))
        if isinstance(span, str):
            within.append((period, parse_span(span)))
    given = rules.get("keep_tag") or ()
    tags = [_tags_of(text) for text in given] if isinstance(given, tuple) else []
    if not (counts or within or tags):
        return None
    return require_policy(Keep(tuple(counts), tuple(within), tuple(tags)))


def _tags_of(text: str) -> frozenset[str]:
    return frozenset(tag.strip() for tag in text.split(","))


def configured_policies(settings: Settings) -> PolicyOf:
    """Return what the configuration says for each source of the repository in use.

    A copy's own table counts for all its sources; else a source's own, else the common one, else
    the calendar.
    """
    found = settings.configuration
    if found is None:
        return one_for_all(Calendar())
    for copy in found.copies:
        if copy.location == settings.repository and copy.retention:
            return one_for_all(policy_of_table(copy.retention))
    common = policy_of_table(found.values.get("retention", {}))
    own = {
        source.name: policy_of_table(source.values["retention"])
        for source in found.sources
        if "retention" in source.values
    }
    return lambda _service, name: own.get(_source_name(name, own), common)


def keeps_of_copy(settings: Settings, location: str) -> Keeps | None:
    """Return what a copy's own policy lets stay there; None where it has none and takes all."""
    found = settings.configuration
    for copy in found.copies if found is not None else ():
        if copy.location == location and copy.retention:
            policies = one_for_all(policy_of_table(copy.retention))
            return partial(kept_ids, policy_of=policies, now_ns=system_clock(), zone=LOCAL_ZONE)
    return None


def one_for_all(policy: Policy) -> PolicyOf:
    """Return one policy as that of every source."""
    return lambda _service, _name: policy


def _source_name(component: str, own: Mapping[str, Policy]) -> str:
    """Return the source that a component is of: a Neo4j's are ``NAME`` and ``NAME-system`` etc."""
    for suffix in ("", "-system", "-configuration"):
        name = component.removesuffix(suffix)
        if suffix and name == component:
            continue
        if name in own:
            return name
    return component


def policy_of_table(table: Mapping[str, Any]) -> Policy:
    """Return the policy that a table of the configuration means; the calendar by default.

    Raises:
        UsageError: not a length of time, or it keeps nothing.
    """
    if not any(name.startswith("keep_") for name in table):
        return require_policy(Calendar(**table))
    counts = tuple((p, table[f"keep_{p}"]) for p in RULES if f"keep_{p}" in table)
    within = tuple(
        (period, parse_span(table[name]))
        for period in RULES
        if (name := "keep_within" + ("" if period == "last" else f"_{period}")) in table
    )
    tags = tuple(_tags_of(text) for text in table.get("keep_tags", ()))
    return require_policy(Keep(counts, within, tags))
