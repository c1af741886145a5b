"""Three-way merge of one profile: what both sides last agreed on, ours, and theirs.

Only one side changed: that side. Both changed: the owner the mapping names, or the later write. Equal values
are agreement, whoever wrote them, which is how our own write coming back is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from klaviyo_bridge.domain.mapping import FieldRule, Owner
from klaviyo_bridge.domain.values import Json


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field both sides changed: who won, and why. The values are not in here."""

    name: str
    winner: Owner
    because: str


@dataclass(frozen=True, slots=True)
class Merge:
    """`push`: what Klaviyo must be told. `pull`: what the application must be told. None clears."""

    push: Mapping[str, Json] = field(default_factory=dict[str, Json])
    pull: Mapping[str, Json] = field(default_factory=dict[str, Json])
    agreed: Mapping[str, Json] = field(default_factory=dict[str, Json])
    conflicts: Sequence[Conflict] = ()


def merge(
    rules: Mapping[str, FieldRule],
    *,
    base: Mapping[str, Json],
    ours: Mapping[str, Json],
    theirs: Mapping[str, Json],
    ours_at: datetime | None,
    theirs_at: datetime,
) -> Merge:
    """What has to cross, field by field. A missing value and None are both "empty"."""
    push: dict[str, Json] = {}
    pull: dict[str, Json] = {}
    agreed: dict[str, Json] = {}
    conflicts: list[Conflict] = []
    for name, rule in rules.items():
        last, mine, yours = base.get(name), ours.get(name), theirs.get(name)
        if mine == yours:
            agreed[name] = yours
        elif mine == last:
            pull[name] = yours
        elif yours == last:
            push[name] = mine
        else:
            conflict = _decide(name, rule, ours_at=ours_at, theirs_at=theirs_at)
            conflicts.append(conflict)
            (push if conflict.winner is Owner.APP else pull)[name] = mine if conflict.winner is Owner.APP else yours
    return Merge(
        push={name: value for name, value in push.items() if rules[name].pushes},
        pull={name: value for name, value in pull.items() if rules[name].pulls},
        agreed=agreed,
        conflicts=conflicts,
    )


def _decide(name: str, rule: FieldRule, *, ours_at: datetime | None, theirs_at: datetime) -> Conflict:
    if rule.owner is not Owner.NEWEST:
        return Conflict(name, rule.owner, "owner")
    if ours_at is not None and ours_at >= theirs_at:
        return Conflict(name, Owner.APP, "later")
    return Conflict(name, Owner.KLAVIYO, "later" if ours_at else "no time of change on our side")
