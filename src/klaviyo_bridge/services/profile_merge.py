"""A profile that comes back from Klaviyo, merged into what the application has.

Each field is compared three ways (see `domain.merge`). Fields that a row on its way will still write are left
to that row. Consent goes to the ledger, and from there to the application's own columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from klaviyo_bridge.domain.consent import Channel, Consent, ConsentState, consent_from
from klaviyo_bridge.domain.mapping import SourceRow, TableMapping, nested
from klaviyo_bridge.domain.merge import Merge, merge
from klaviyo_bridge.domain.outbox import Priority, Taken
from klaviyo_bridge.domain.profile import Identity, Person, ProfileChange, klaviyo_fields, profile_change
from klaviyo_bridge.domain.values import Json
from klaviyo_bridge.errors import InvalidPayload
from klaviyo_bridge.klaviyo.types import RemoteProfile


class WritableSource(Protocol):
    """The application's table. `infra.source.Source` is one."""

    @property
    def mapping(self) -> TableMapping: ...
    def get(self, keys: Sequence[str]) -> dict[str, SourceRow]: ...
    def find(self, name: str, values: Sequence[str]) -> dict[str, SourceRow]: ...
    def write(self, row: SourceRow, fields: Mapping[str, Json]) -> bool: ...
    def write_consent(self, key: str, channel: Channel, *, allowed: bool) -> bool: ...


class People(Protocol):
    """What we know of persons. `infra.stores.profiles.ProfileStore` is one."""

    def match(self, account: str, identities: Sequence[Identity]) -> list[Person]: ...
    def erased(self, account: str, identities: Sequence[Identity]) -> set[int]: ...
    def open_fields(self, account: str, person_ids: set[int]) -> dict[int, set[str]]: ...
    def agree(self, agreed: Mapping[int, Mapping[str, Json]], klaviyo_ids: Mapping[int, str]) -> None: ...
    def record_consent(
        self, account: str, records: Mapping[int, Sequence[Consent]]
    ) -> dict[int, dict[Channel, Consent]]: ...


class ChangeOutbox(Protocol):
    """Where writes of ours wait. `infra.stores.outbox.OutboxStore` is one."""

    def add_changes(self, account: str, changes: Sequence[ProfileChange], *, priority: Priority) -> Taken: ...


class MergeRecorder(Protocol):
    """What counts merges. `infra.telemetry.Recorder` is one."""

    def merged(self, read: int, applied: int, conflicts: int) -> None: ...


@dataclass(slots=True)
class Pulled:
    """Counts of a pull. `postponed`: the application's row changed meanwhile; a later round settles it."""

    read: int = 0
    applied: int = 0
    pushed_back: int = 0
    consents: int = 0
    conflicts: int = 0
    postponed: int = 0


@dataclass(frozen=True, slots=True)
class _Meeting:
    """One profile of theirs, the person it is, and the row of ours it meets."""

    person: Person
    profile: RemoteProfile
    theirs: Mapping[str, Json]
    busy: set[str]


class ProfileMerge:
    """Applies Klaviyo's side of one account to the application."""

    def __init__(
        self,
        account: str,
        people: People,
        outbox: ChangeOutbox,
        sources: Sequence[WritableSource],
        recorder: MergeRecorder,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._people = people
        self._outbox = outbox
        self._sources = sources
        self._recorder = recorder
        self._clock = clock

    def absorb(self, profiles: Sequence[RemoteProfile], total: Pulled) -> None:
        """Merge these profiles, as Klaviyo holds them now, and add to the counts of `total`. Safe to repeat."""
        erased = self._people.erased(self._account, [_identity(profile) for profile in profiles])
        profiles = [profile for index, profile in enumerate(profiles) if index not in erased]
        meetings = list(self._meetings(profiles))
        consents = self._record_consent(meetings)
        agreed = {meeting.person.id: dict(meeting.theirs) for meeting in meetings}
        for source in self._sources:
            rows = self._rows(source, profiles)
            for meeting in meetings:
                row = rows.get(meeting.profile.id)
                if row is not None:
                    self._meet(source, row, meeting, agreed[meeting.person.id], total)
                    total.consents += _tell_consent(source, row, consents.get(meeting.person.id, {}))
        self._people.agree(agreed, {meeting.person.id: meeting.profile.id for meeting in meetings})
        total.read += len(profiles)
        self._recorder.merged(total.read, total.applied, total.conflicts)

    def _meetings(self, profiles: Sequence[RemoteProfile]) -> Iterator[_Meeting]:
        persons = self._people.match(self._account, [_identity(profile) for profile in profiles])
        busy = self._people.open_fields(self._account, {person.id for person in persons})
        for person, profile in zip(persons, profiles, strict=True):
            held = busy.get(person.id, set())
            theirs = {name: value for name, value in klaviyo_fields(profile.attributes).items() if name not in held}
            yield _Meeting(person, profile, theirs, held)

    def _rows(self, source: WritableSource, profiles: Sequence[RemoteProfile]) -> dict[str, SourceRow]:
        """The source's row of each profile, by Klaviyo's id: by key, or by email where they know no key."""
        keys = {p.id: str(p.attributes["external_id"]) for p in profiles if p.attributes.get("external_id")}
        by_key = source.get(sorted(set(keys.values())))
        found = {profile_id: by_key[key] for profile_id, key in keys.items() if key in by_key}
        emails = {p.id: str(p.attributes["email"]) for p in profiles if p.id not in keys and p.attributes.get("email")}
        if emails and "email" in source.mapping.fields:
            by_email = source.find("email", sorted(set(emails.values())))
            found |= {id_: by_email[email.lower()] for id_, email in emails.items() if email.lower() in by_email}
        return found

    def _meet(
        self, source: WritableSource, row: SourceRow, meeting: _Meeting, agreed: dict[str, Json], total: Pulled
    ) -> None:
        rules = {name: rule for name, rule in source.mapping.fields.items() if name not in meeting.busy}
        try:
            ours = profile_change({**nested(row.fields), "external_id": row.key}).fields()
        except InvalidPayload:
            return  # the push of this row names what is wrong with it
        merged = merge(
            rules,
            base=meeting.person.base,
            ours=ours,
            theirs=meeting.theirs,
            ours_at=row.changed_at,
            theirs_at=meeting.profile.updated or self._clock(),
        )
        for name in rules:
            agreed.pop(name, None)
        agreed |= merged.agreed
        total.conflicts += len(merged.conflicts)
        self._apply(source, row, merged, agreed, total)

    def _apply(
        self, source: WritableSource, row: SourceRow, merged: Merge, agreed: dict[str, Json], total: Pulled
    ) -> None:
        if merged.push:
            change = profile_change({**nested(merged.push), "external_id": row.key})
            total.pushed_back += self._outbox.add_changes(self._account, [change], priority=Priority.UPSERT).taken
        if not merged.pull:
            return
        if source.write(row, merged.pull):
            agreed |= merged.pull
            total.applied += 1
        else:
            total.postponed += 1

    def _record_consent(self, meetings: Sequence[_Meeting]) -> dict[int, dict[Channel, Consent]]:
        now = self._clock()
        records = {
            meeting.person.id: consent_from(meeting.profile.subscriptions, read_at=now)
            for meeting in meetings
            if meeting.profile.subscriptions
        }
        return self._people.record_consent(self._account, records)


def _identity(profile: RemoteProfile) -> Identity:
    """Who it is, as far as we can compare: what we would refuse as an identifier is left out."""
    known: dict[str, str] = {}
    for name in ("external_id", "email", "phone_number"):
        try:
            known |= profile_change({name: profile.attributes.get(name)}).identity.known()
        except InvalidPayload:
            continue
    return Identity(klaviyo_id=profile.id, **known)


def _tell_consent(source: WritableSource, row: SourceRow, consents: Mapping[Channel, Consent]) -> int:
    """Write what changed to the application's columns; returns how many."""
    told = 0
    for channel, consent in consents.items():
        allowed = consent.state is ConsentState.SUBSCRIBED
        if channel in row.consent and row.consent[channel] != allowed:
            told += source.write_consent(row.key, channel, allowed=allowed)
    return told
