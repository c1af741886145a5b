"""The merge, row by row of the table in docs/explanation/merge.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from klaviyo_bridge.domain.mapping import Direction, FieldRule, Owner
from klaviyo_bridge.domain.merge import Times, decide
from klaviyo_bridge.domain.values import masked, same

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "merge.md"
THEIRS_AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OURS_AT = {
    "ours": THEIRS_AT + timedelta(seconds=5),
    "theirs": THEIRS_AT - timedelta(seconds=5),
    "same": THEIRS_AT,
    "unknown": None,
}
FIELDS = {"city": "location.city", "email": "email"}


def table() -> list[list[str]]:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_table_is_there() -> None:
    assert len(table()) >= 20


@pytest.mark.parametrize("row", table(), ids=" ".join)
def test_decides_as_the_table_says(row: list[str]) -> None:
    field, direction, owner, base, ours, theirs, newer, move, conflict = row
    value = {"-": None, "?": None}
    rule = FieldRule(column="c", owner=Owner(owner), direction=Direction(direction))

    decided, found = decide(
        FIELDS[field],
        rule,
        known=base != "?",
        last=value.get(base, base),
        mine=value.get(ours, ours),
        yours=value.get(theirs, theirs),
        times=Times(OURS_AT[newer], THEIRS_AT),
    )

    assert (decided, found is not None) == (move, conflict == "yes")


def test_numbers_are_compared_as_numbers_but_never_with_true() -> None:
    assert same(1, 1.0)
    assert not same(True, 1)
    assert same("e\u0301", "\u00e9")


def test_masked_values_tell_no_secret() -> None:
    assert masked("ann@example.com") == "a…@example.com"
    assert masked("Hamburg") == "H… (7 characters)"
    assert masked(12) == "int"
