"""Three-way merge of one profile: what both sides last agreed on, ours, and theirs.

Only one side changed: that side. Both changed: the owner the mapping names, or the later write. Equal values
are agreement, whoever wrote them, which is how our own write coming back is recognised. The whole truth table
is in docs/explanation/merge.md, and the tests read it from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from klaviyo_bridge.domain.mapping import Direction, FieldRule, Owner
from klaviyo_bridge.domain.profile import IDENTIFIERS
from klaviyo_bridge.domain.values import Json, same

TIE = timedelta(seconds=1)
"""Klaviyo shows whole seconds: two times no further apart than this say nothing about who was later."""


class Move(StrEnum):
    """What a field does."""

    AGREE = "agree"
    PUSH = "push"
    PULL = "pull"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field both sides changed: who won, and why. The values are not in here."""

    name: str
    winner: Owner
    because: str


@dataclass(frozen=True, slots=True)
class Times:
    """When each side last changed the person; None where nobody knows."""

    ours: datetime | None
    theirs: datetime | None


@dataclass(frozen=True, slots=True)
class Merge:
    """`push`: what Klaviyo must be told. `pull`: what the application must be told. None clears.

    `agreed`: what both sides hold already.
    """

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
    times: Times,
) -> Merge:
    """What has to cross, field by field.

    Fields that `ours` lacks (they are not valid) are left alone. In `theirs` a missing value is None; a name that
    `base` lacks was never agreed on, which is not the same as agreed emptiness.
    """
    moved: dict[Move, dict[str, Json]] = {move: {} for move in Move}
    conflicts: list[Conflict] = []
    for name, rule in rules.items():
        if name not in ours:
            continue
        mine, yours = ours[name], theirs.get(name)
        move, conflict = decide(
            name, rule, known=name in base, last=base.get(name), mine=mine, yours=yours, times=times
        )
        moved[move][name] = mine if move is Move.PUSH else yours
        if conflict is not None:
            conflicts.append(conflict)
    return Merge(moved[Move.PUSH], moved[Move.PULL], moved[Move.AGREE], conflicts)


def decide(
    name: str, rule: FieldRule, *, known: bool, last: Json, mine: Json, yours: Json, times: Times
) -> tuple[Move, Conflict | None]:
    """What one field does; `known` says whether `last` was ever agreed on."""
    if same(mine, yours):
        return Move.AGREE, None
    if rule.direction is Direction.PUSH:
        return _one_way(name, Move.PUSH, known=known, last=last, winner=mine, loser=yours)
    if rule.direction is Direction.PULL:
        return _one_way(name, Move.PULL, known=known, last=last, winner=yours, loser=mine)
    if name in IDENTIFIERS and (mine is None or yours is None):
        return _kept_identifier(known=known, last=last, mine=mine, yours=yours), None
    if not known and (mine is None or yours is None):
        return Move.PULL if mine is None else Move.PUSH, None
    if known and same(mine, last):
        return Move.PULL, None
    if known and same(yours, last):
        return Move.PUSH, None
    winner, because = _winner(rule.owner, times)
    return Move.PUSH if winner is Owner.APP else Move.PULL, Conflict(name, winner, because)


def _one_way(
    name: str, move: Move, *, known: bool, last: Json, winner: Json, loser: Json
) -> tuple[Move, Conflict | None]:
    """One side is the master. What it never knew it does not clear; an identifier it clears never."""
    if winner is None and (not known or name in IDENTIFIERS):
        return Move.LEAVE, None
    overridden = known and not same(loser, last)
    master = Owner.APP if move is Move.PUSH else Owner.KLAVIYO
    return move, Conflict(name, master, "direction") if overridden else None


def _kept_identifier(*, known: bool, last: Json, mine: Json, yours: Json) -> Move:
    """Nobody loses an identifier because the other side has none: it is filled in where it was never known."""
    if mine is not None:
        return Move.PUSH
    return Move.LEAVE if known and same(yours, last) else Move.PULL


def _winner(owner: Owner, times: Times) -> tuple[Owner, str]:
    if owner is not Owner.NEWEST:
        return owner, "owner"
    if times.ours is None or times.theirs is None:
        return Owner.KLAVIYO, "no time of change on our side" if times.ours is None else "no time at Klaviyo"
    if abs(times.ours - times.theirs) <= TIE:
        return Owner.APP, "same time"
    return (Owner.APP, "later") if times.ours > times.theirs else (Owner.KLAVIYO, "later")
