"""Consent: what a person allowed on which channel, since when, and who says so.

It is never a profile field. The newest record of a channel counts; of two records with one time the stricter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast


class Channel(StrEnum):
    EMAIL = "email"
    SMS = "sms"


class ConsentState(StrEnum):
    SUBSCRIBED = "subscribed"
    NEVER_SUBSCRIBED = "never_subscribed"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"

    @property
    def strictness(self) -> int:
        return list(ConsentState).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One record of the ledger; `at` is when the person said so, by the clock of `source`."""

    channel: Channel
    state: ConsentState
    at: datetime
    source: str
    evidence: str | None = None


def current(records: Iterable[Consent]) -> dict[Channel, Consent]:
    """The record that counts, per channel."""
    newest: dict[Channel, Consent] = {}
    for record in records:
        known = newest.get(record.channel)
        if known is None or _rank(record) > _rank(known):
            newest[record.channel] = record
    return newest


def _rank(record: Consent) -> tuple[datetime, int]:
    return record.at, record.state.strictness


def consent_from(subscriptions: Mapping[str, Any], *, read_at: datetime) -> list[Consent]:
    """The ledger's records of a `subscriptions` block as Klaviyo returns it.

    A suppression outranks the consent value; a channel that is missing or unknown to us yields nothing.
    `can_receive_…` is implicit and not consent, so it is not looked at.
    """
    email = _marketing(subscriptions, "email")
    records = [
        _record(Channel.EMAIL, email, read_at),
        _record(Channel.SMS, _marketing(subscriptions, "sms"), read_at),
    ]
    suppression = _newest_suppression(email)
    if suppression is not None:
        state = ConsentState.UNSUBSCRIBED if suppression[1] == "UNSUBSCRIBE" else ConsentState.SUPPRESSED
        records.append(
            Consent(
                channel=Channel.EMAIL,
                state=state,
                at=suppression[0] or read_at,
                source="klaviyo",
                evidence=f"suppression:{suppression[1]}",
            )
        )
    return [record for record in records if record is not None]


def suppressed_at(subscriptions: Mapping[str, Any]) -> datetime | None:
    """When email was last suppressed, by Klaviyo's clock; None when it is not."""
    newest = _newest_suppression(_marketing(subscriptions, "email"))
    return newest[0] if newest else None


def _marketing(subscriptions: Mapping[str, Any], channel: str) -> Mapping[str, Any]:
    block = cast(Mapping[str, Any], subscriptions.get(channel) or {})
    return cast(Mapping[str, Any], block.get("marketing") or {})


def _record(channel: Channel, block: Mapping[str, Any], read_at: datetime) -> Consent | None:
    consent = str(block.get("consent") or "").lower()
    if consent not in {ConsentState.SUBSCRIBED, ConsentState.UNSUBSCRIBED}:
        return None
    at = _time(block.get("consent_timestamp")) or _time(block.get("last_updated")) or read_at
    return Consent(channel=channel, state=ConsentState(consent), at=at, source="klaviyo", evidence=block.get("method"))


def _newest_suppression(email: Mapping[str, Any]) -> tuple[datetime | None, str] | None:
    entries = [
        (_time(entry.get("timestamp")), str(entry.get("reason") or "")) for entry in email.get("suppression") or ()
    ]
    return max(entries, key=lambda entry: entry[0] or datetime.min.replace(tzinfo=UTC), default=None)


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(cast(str, value))
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
