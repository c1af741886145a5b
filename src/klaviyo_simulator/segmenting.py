"""Keeping segments up to date: evaluated again when read after something has changed."""

from __future__ import annotations

from klaviyo_simulator.account import Account, Segment
from klaviyo_simulator.conditions import fulfils
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.log import Cause

NOBODY = Cause()


def new_segment(account: Account, name: str, definition: JsonObject, *, starred: bool = False) -> Segment:
    now = account.now()
    item = Segment(
        id=account.world.ids.short(),
        name=name,
        definition=definition,
        created=now,
        updated=now,
        is_starred=starred,
    )
    account.segments[item.id] = item
    begin(account, item)
    return item


def begin(account: Account, item: Segment) -> None:
    """Process a new or changed definition: the members appear after a while."""
    item.is_processing = True

    def work() -> None:
        item.is_processing = False
        evaluate(account, item)

    account.world.scheduler.after(account.world.switches.delay_segment, work)


def refresh(account: Account, item: Segment) -> None:
    """Evaluate unless nothing has happened since, or the definition is still being processed."""
    if not item.is_processing and item.evaluated_at != _state(account):
        evaluate(account, item)


def refresh_all(account: Account) -> None:
    for item in account.segments.values():
        refresh(account, item)


def evaluate(account: Account, item: Segment) -> None:
    now = account.now()
    for profile in account.profiles:
        if fulfils(account, profile, item.definition):
            if item.members.join(profile.id, now):
                _note(account, item, profile.id, now, change=1)
        elif item.members.leave(profile.id):
            _note(account, item, profile.id, now, change=-1)
    for gone in [one for one in item.members if one not in account.profiles.by_id]:
        item.members.leave(gone)
        _note(account, item, gone, now, change=-1)
    item.evaluated_at = _state(account)


def _note(account: Account, item: Segment, profile_id: str, now: float, *, change: int) -> None:
    item.history.append((now, change))
    kind = "segment.joined" if change > 0 else "segment.left"
    account.effect(kind, NOBODY, profile_id=profile_id, values={"segment": item.id})


def _state(account: Account) -> tuple[int, int]:
    """Changes with every effect that may matter, and every minute (definitions know time frames)."""
    counts = account.world.log.effects_by
    own = counts[account.id, "segment.joined"] + counts[account.id, "segment.left"]
    return len(account.world.log.effects) - own, int(account.now() // 60)
