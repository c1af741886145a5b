"""How requests about consent become calls.

Whoever is to be subscribed, or freed of a suppression, is read at Klaviyo first: what Klaviyo knows and we do not
(an opt-out during an outage, or since the backup that was restored) decides before anything is sent. Klaviyo itself
does not protect anybody: a subscribe lifts an unsubscribe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from klaviyo_bridge.domain.consent import Channel, Consent, consent_from
from klaviyo_bridge.domain.consent_request import ConsentRequest
from klaviyo_bridge.domain.outbox import Batch, Lane, RowState, Verdict, WaitingRow
from klaviyo_bridge.domain.profile import Identity
from klaviyo_bridge.errors import InvalidPayload, NotFound, Problem
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.packing import (
    Envelope,
    subscribe_envelope,
    suppress_envelope,
    unsubscribe_envelope,
    unsuppress_envelope,
)
from klaviyo_bridge.klaviyo.rows import consent_row, suppression_row
from klaviyo_bridge.klaviyo.types import RemoteProfile
from klaviyo_bridge.services.delivery.consent_planner import part
from klaviyo_bridge.services.delivery.consent_reading import members_of, read_profiles
from klaviyo_bridge.services.delivery.lanes import LaneSender, Outcome, one_by_one, packed

TAKEN = "taken"  # stands for Klaviyo's job where it names none
_PHONE = (Channel.SMS, Channel.WHATSAPP)


class Judge(Protocol):
    """The ledger. `infra.stores.consent.ConsentStore` is one."""

    def judge(
        self, account: str, rows: Sequence[WaitingRow], told: Mapping[int, Sequence[Consent]]
    ) -> dict[int, str]: ...
    def forget(self, account: str, row_id: int, person: int) -> None: ...


def consent_lanes(klaviyo: KlaviyoAPI, judge: Judge, *, clock: Callable[[], datetime]) -> dict[Lane, LaneSender]:
    """Every lane of this module."""
    return {
        Lane.SUBSCRIBE: Subscribes(klaviyo, judge, clock=clock),
        Lane.UNSUBSCRIBE: Unsubscribes(klaviyo),
        Lane.SUPPRESS: Suppressions(klaviyo, suppress_envelope(), klaviyo.profiles.suppress),
        Lane.UNSUPPRESS: Unsuppressions(klaviyo, judge, clock=clock),
        Lane.ERASE: Erasures(klaviyo, judge),
    }


class _Guarded:
    """Sends only what the ledger still allows after Klaviyo was asked."""

    def __init__(self, klaviyo: KlaviyoAPI, judge: Judge, *, clock: Callable[[], datetime]) -> None:
        self._klaviyo = klaviyo
        self._judge = judge
        self._clock = clock

    def send(self, batch: Batch) -> Outcome:
        requests = _requests(batch)
        profiles = read_profiles(self._klaviyo, {key: request.identity for key, request in requests.items()})
        told = {key: self._told(found) for key, found in profiles.items()}
        reasons = self._judge.judge(batch.account, batch.rows, told)
        if not reasons:
            return self._send(batch, requests, profiles)
        refused = [Verdict(row_id=key, state=RowState.REFUSED, reason=why) for key, why in reasons.items()]
        rest = [row for row in batch.rows if row.id not in reasons]
        return Outcome(verdicts=refused, parts=[part(batch.lane, rest)] if rest else [])

    def _told(self, profiles: Sequence[RemoteProfile]) -> list[Consent]:
        now = self._clock()
        return [record for found in profiles for record in consent_from(found.subscriptions or {}, read_at=now)]

    def _send(
        self, batch: Batch, requests: Mapping[int, ConsentRequest], profiles: Mapping[int, Sequence[RemoteProfile]]
    ) -> Outcome:
        raise NotImplementedError  # pragma: no cover  # each lane says how


class Subscribes(_Guarded):
    """Up to 1,000 people a request, of one list. `accepted` until they can be seen to be subscribed."""

    def _send(
        self, batch: Batch, requests: Mapping[int, ConsentRequest], profiles: Mapping[int, Sequence[RemoteProfile]]
    ) -> Outcome:
        first = next(iter(requests.values()))
        envelope = subscribe_envelope(first.list_id, historical_import=first.historical, custom_source=first.source)

        def encode(row: WaitingRow) -> bytes:
            request = requests[row.id]
            return _row(request, "SUBSCRIBED", reachable(request.identity, profiles[row.id]))

        def send(body: bytes) -> str:
            self._klaviyo.profiles.subscribe(body)
            return TAKEN

        return packed(batch, encode, envelope, send)


class Unsuppressions(_Guarded):
    """Up to 100 emails a request. `accepted` until Klaviyo's suppression is seen to be gone."""

    def _send(
        self, batch: Batch, requests: Mapping[int, ConsentRequest], profiles: Mapping[int, Sequence[RemoteProfile]]
    ) -> Outcome:
        def encode(row: WaitingRow) -> bytes:
            return suppression_row(_email(reachable(requests[row.id].identity, profiles[row.id])))

        return packed(batch, encode, unsuppress_envelope(), lambda body: self._klaviyo.profiles.unsuppress(body).id)


class Unsubscribes:
    """Up to 100 people a request. With a list, only its members: Klaviyo unsubscribes others from everything."""

    def __init__(self, klaviyo: KlaviyoAPI) -> None:
        self._klaviyo = klaviyo

    def send(self, batch: Batch) -> Outcome:
        requests = _requests(batch)
        list_id = next(iter(requests.values())).list_id
        identities = {key: request.identity for key, request in requests.items()}
        profiles = read_profiles(self._klaviyo, identities, subscriptions=False) if _incomplete(requests) else {}
        if list_id is not None and (outsiders := self._outsiders(list_id, identities, profiles)):
            rest = [row for row in batch.rows if row.id not in outsiders]
            return Outcome(verdicts=_not_members(outsiders), parts=[part(batch.lane, rest)] if rest else [])

        def encode(row: WaitingRow) -> bytes:
            request = requests[row.id]
            return _row(request, "UNSUBSCRIBED", reachable(request.identity, profiles.get(row.id, ()), by_id=False))

        return _taken(batch, packed(batch, encode, unsubscribe_envelope(list_id), self._send))

    def _send(self, body: bytes) -> str:
        self._klaviyo.profiles.unsubscribe(body)
        return TAKEN

    def _outsiders(
        self, list_id: str, identities: Mapping[int, Identity], profiles: Mapping[int, Sequence[RemoteProfile]]
    ) -> set[int]:
        known = {found.id: found for each in profiles.values() for found in each}
        members = members_of(self._klaviyo, list_id, known)
        return {key for key in identities if not any(found.id in members for found in profiles.get(key, ()))}


class Suppressions:
    """Up to 100 emails a request. Klaviyo may take hours; nothing that follows can undo it by accident."""

    def __init__(self, klaviyo: KlaviyoAPI, envelope: Envelope, send: Callable[[bytes], object]) -> None:
        self._klaviyo = klaviyo
        self._envelope = envelope
        self._send = send

    def send(self, batch: Batch) -> Outcome:
        requests = _requests(batch)
        nameless = {key: r.identity for key, r in requests.items() if not r.identity.email}
        profiles = read_profiles(self._klaviyo, nameless, subscriptions=False) if nameless else {}

        def encode(row: WaitingRow) -> bytes:
            return suppression_row(_email(reachable(requests[row.id].identity, profiles.get(row.id, ()))))

        def send(body: bytes) -> str:
            self._send(body)
            return TAKEN

        return _taken(batch, packed(batch, encode, self._envelope, send))


class Erasures:
    """One deletion a profile; then our own traces of the person go."""

    def __init__(self, klaviyo: KlaviyoAPI, judge: Judge) -> None:
        self._klaviyo = klaviyo
        self._judge = judge

    def send(self, batch: Batch) -> Outcome:
        return one_by_one(batch.rows, lambda row: self._erase(batch.account, row))

    def _erase(self, account: str, row: WaitingRow) -> Verdict:
        if row.payload:  # an empty one was emptied by an earlier attempt, after Klaviyo was told
            self._tell(ConsentRequest.load(row.payload).identity)
        self._judge.forget(account, row.id, row.person_id)
        return Verdict(row_id=row.id, state=RowState.DELIVERED)

    def _tell(self, identity: Identity) -> None:
        """Every profile one of the identifiers names; and the identifiers too, in case one is too new to be found."""
        found = read_profiles(self._klaviyo, {0: identity}, subscriptions=False)[0]
        for profile in found:
            self._ask(profile_id=profile.id)
        named = {str(p.attributes.get(name)).lower() for p in found for name in ("email", "phone_number")}
        if identity.email and identity.email not in named:
            self._ask(email=identity.email)
        if identity.phone_number and identity.phone_number not in named:
            self._ask(phone_number=identity.phone_number)

    def _ask(self, **one: str) -> None:
        try:
            self._klaviyo.data_privacy.erase(**one)
        except NotFound:
            return


def reachable(identity: Identity, profiles: Sequence[RemoteProfile], *, by_id: bool = True) -> Identity:
    """The identity with the address and number Klaviyo knows, where we know none."""
    theirs = {name: _attribute(profiles, name) for name in ("email", "phone_number")}
    found = replace(
        identity,
        email=identity.email or theirs["email"],
        phone_number=identity.phone_number or theirs["phone_number"],
        klaviyo_id=None,
    )
    if by_id and found.email is None and profiles:
        return replace(found, klaviyo_id=profiles[0].id)
    return found


def _attribute(profiles: Sequence[RemoteProfile], name: str) -> str | None:
    return next((str(found.attributes[name]) for found in profiles if found.attributes.get(name)), None)


def _requests(batch: Batch) -> dict[int, ConsentRequest]:
    return {row.id: ConsentRequest.load(row.payload) for row in batch.rows}


def _incomplete(requests: Mapping[int, ConsentRequest]) -> bool:
    """Whether Klaviyo must be asked who these people are."""
    return any(
        request.list_id is not None or not _has_address(request.identity, request.channels)
        for request in requests.values()
    )


def _has_address(identity: Identity, channels: Sequence[Channel]) -> bool:
    return all(identity.phone_number if channel in _PHONE else identity.email for channel in channels)


def _row(request: ConsentRequest, consent: str, identity: Identity) -> bytes:
    if any(channel in _PHONE for channel in request.channels) and not identity.phone_number:
        raise InvalidPayload(problems=[Problem("phone_number", "is needed for this channel, and nobody knows it")])
    if Channel.EMAIL in request.channels and not (identity.email or identity.klaviyo_id):
        raise InvalidPayload(problems=[Problem("email", "is needed for this channel, and nobody knows it")])
    return consent_row(
        consent,
        channels=[str(channel) for channel in request.channels],
        email=identity.email if Channel.EMAIL in request.channels else None,
        phone_number=identity.phone_number if any(channel in _PHONE for channel in request.channels) else None,
        profile_id=identity.klaviyo_id,
        consented_at=request.consented_at if request.historical else None,
    )


def _email(identity: Identity) -> str:
    if not identity.email:
        raise InvalidPayload(problems=[Problem("email", "is needed to suppress, and nobody knows it")])
    return identity.email


def _taken(batch: Batch, outcome: Outcome) -> Outcome:
    """202 is the last word about what only restricts."""
    if outcome.job_id is None:
        return outcome
    return Outcome(verdicts=[Verdict(row_id=row.id, state=RowState.DELIVERED) for row in batch.rows])


def _not_members(rows: set[int]) -> list[Verdict]:
    detail = "is not on the list; Klaviyo would have unsubscribed them from everything"
    return [Verdict(row_id=key, state=RowState.REFUSED, reason="not_a_member", detail=detail) for key in sorted(rows)]
