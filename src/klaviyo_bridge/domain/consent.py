"""Consent: what a person allowed on which channel, since when, and who says so.

It is never a profile field. The newest record of a channel counts; of two records with one time the stricter.
An opt-out is overruled by newer, dated consent and by nothing else. How a request to change consent looks is in
`consent_request`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast


class Channel(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    PUSH = "push"


class ConsentState(StrEnum):
    """From the most lenient to the strictest.

    `requested`: somebody asked for a subscription and did not say when the person agreed. `consented`: the
    application says when. Neither is Klaviyo's word that the person *is* subscribed.
    """

    REQUESTED = "requested"
    CONSENTED = "consented"
    UNSUPPRESSED = "unsuppressed"
    SUBSCRIBED = "subscribed"
    NEVER_SUBSCRIBED = "never_subscribed"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"

    @property
    def strictness(self) -> int:
        return list(ConsentState).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One record of the ledger; `at` is when the person said so, by the clock of `source`.

    With a `list_id` it is about that list only.
    """

    channel: Channel
    state: ConsentState
    at: datetime
    source: str
    evidence: str | None = None
    list_id: str | None = None

    @property
    def is_echo(self) -> bool:
        """Whether Klaviyo tells of a subscription that came by its API: perhaps ours, and never proof of consent."""
        return self.source == KLAVIYO and self.state is ConsentState.SUBSCRIBED and self.evidence == "API"


KLAVIYO = "klaviyo"
_ASKED = {ConsentState.REQUESTED, ConsentState.CONSENTED}
_LIFTS_SUPPRESSION = {ConsentState.UNSUPPRESSED, ConsentState.SUBSCRIBED, ConsentState.CONSENTED}


def current(records: Iterable[Consent]) -> dict[Channel, Consent]:
    """The record that counts, per channel; what was only asked for, and what is about one list, does not."""
    of_channel: dict[Channel, list[Consent]] = {}
    for record in records:
        if record.list_id is None and record.state not in _ASKED:
            of_channel.setdefault(record.channel, []).append(record)
    found = {channel: _standing(known) for channel, known in of_channel.items()}
    return {channel: record for channel, record in found.items() if record is not None}


def opt_out(records: Iterable[Consent], channel: Channel, *, list_id: str | None = None) -> Consent | None:
    """The newest record that forbids to subscribe the person on this channel (to this list); None if there is none.

    A subscription Klaviyo reports overrules an opt-out only when it did not come by the API: our own delayed
    request, applied late, must not look like the person's change of mind.
    """
    mine = [r for r in records if r.channel is channel and not r.is_echo and r.list_id in (None, list_id)]
    standing = _standing(record for record in mine if record.state is not ConsentState.REQUESTED)
    return standing if standing is not None and standing.state in _OPT_OUTS else None


_OPT_OUTS = {ConsentState.UNSUBSCRIBED, ConsentState.SUPPRESSED}


def _standing(records: Iterable[Consent]) -> Consent | None:
    said: Consent | None = None
    suppressed: Consent | None = None
    for record in sorted(records, key=_rank):
        if record.state is ConsentState.SUPPRESSED:
            suppressed = record
        elif record.state in _LIFTS_SUPPRESSION:
            suppressed = None
        if record.state not in (ConsentState.SUPPRESSED, ConsentState.UNSUPPRESSED):
            said = record
    return max((record for record in (said, suppressed) if record is not None), key=_rank, default=None)


def _rank(record: Consent) -> tuple[datetime, int]:
    return record.at, record.state.strictness


def consent_from(subscriptions: Mapping[str, Any], *, read_at: datetime) -> list[Consent]:
    """The ledger's records of a `subscriptions` block as Klaviyo returns it.

    A suppression outranks the consent value; a channel that is missing or unknown to us yields nothing.
    `can_receive_…` is implicit and not consent, so it is not looked at.
    """
    records = [_record(channel, _marketing(subscriptions, name), read_at) for channel, name in _BLOCKS.items()]
    email = _marketing(subscriptions, "email")
    suppression = _newest_suppression(email)
    if suppression is not None:
        records.append(_suppressed(suppression, read_at))
    return [*(record for record in records if record is not None), *_list_opt_outs(email, read_at)]


_BLOCKS = {
    Channel.EMAIL: "email",
    Channel.SMS: "sms",
    Channel.WHATSAPP: "whatsapp",
    Channel.PUSH: "mobile_push",
}


def suppressed_at(subscriptions: Mapping[str, Any]) -> datetime | None:
    """When email was last suppressed, by Klaviyo's clock; None when it is not."""
    newest = _newest_suppression(_marketing(subscriptions, "email"))
    return newest[0] if newest else None


def _suppressed(suppression: tuple[datetime | None, str], read_at: datetime) -> Consent:
    at, reason = suppression
    return Consent(
        channel=Channel.EMAIL,
        state=ConsentState.UNSUBSCRIBED if reason == "UNSUBSCRIBE" else ConsentState.SUPPRESSED,
        at=at or read_at,
        source=KLAVIYO,
        evidence=f"suppression:{reason}",
    )


def _list_opt_outs(email: Mapping[str, Any], read_at: datetime) -> Iterator[Consent]:
    for entry in cast(Sequence[Mapping[str, Any]], email.get("list_suppressions") or ()):
        if entry.get("list_id"):
            yield Consent(
                channel=Channel.EMAIL,
                state=ConsentState.UNSUBSCRIBED,
                at=_time(entry.get("timestamp")) or read_at,
                source=KLAVIYO,
                evidence=f"suppression:{entry.get('reason')}",
                list_id=str(entry["list_id"]),
            )


def _marketing(subscriptions: Mapping[str, Any], channel: str) -> Mapping[str, Any]:
    block = cast(Mapping[str, Any], subscriptions.get(channel) or {})
    return cast(Mapping[str, Any], block.get("marketing") or {})


def _record(channel: Channel, block: Mapping[str, Any], read_at: datetime) -> Consent | None:
    consent = str(block.get("consent") or "").lower()
    if consent not in {ConsentState.SUBSCRIBED, ConsentState.UNSUBSCRIBED}:
        return None
    at = _time(block.get("consent_timestamp")) or _time(block.get("last_updated")) or read_at
    return Consent(channel=channel, state=ConsentState(consent), at=at, source=KLAVIYO, evidence=block.get("method"))


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
