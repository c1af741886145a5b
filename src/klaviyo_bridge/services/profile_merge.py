"""A profile that comes back from Klaviyo, merged into what the application has.

Each field is compared three ways (see `domain.merge`). Fields that a write on its way will still set are left
to that write, and the profile is read again later. Consent goes to the ledger, and from there to the
application's own columns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from klaviyo_bridge.domain.consent import Channel, Consent, ConsentState, consent_from
from klaviyo_bridge.domain.mapping import Direction, FieldRule, Owner, SourceRow, TableMapping
from klaviyo_bridge.domain.meeting import Applied, Decision, Encounter, Override, Standing
from klaviyo_bridge.domain.merge import Merge, Times, merge
from klaviyo_bridge.domain.outbox import Priority, Taken
from klaviyo_bridge.domain.profile import IDENTIFIERS, Identity, ProfileChange, identifier, klaviyo_fields
from klaviyo_bridge.domain.rows import Reading, change_of, read
from klaviyo_bridge.domain.values import Json, masked, same
from klaviyo_bridge.errors import Problem
from klaviyo_bridge.klaviyo.types import RemoteProfile

READ_MARGIN = timedelta(seconds=1)
"""How far the clocks of our own processes may differ when a read and a settlement are put in order."""
ROUNDS = 3  # merges of one page before a row that keeps changing is left to the next pull


class WritableSource(Protocol):
    """The application's table. `infra.source.reading.Source` is one."""

    @property
    def mapping(self) -> TableMapping: ...
    @property
    def writable(self) -> bool: ...
    def get(self, keys: Sequence[str]) -> dict[str, SourceRow]: ...
    def find(self, name: str, values: Sequence[str]) -> dict[str, list[SourceRow]]: ...
    def write(self, writes: Sequence[tuple[SourceRow, Mapping[str, Json]]]) -> Sequence[str | Problem]: ...
    def write_consent(self, key: str, channel: Channel, *, allowed: bool) -> bool: ...


class Meetings(Protocol):
    """What we know of persons. `infra.stores.meetings.MeetingStore` is one."""

    def external_ids(self, account: str, klaviyo_ids: Sequence[str]) -> dict[str, list[str]]: ...
    def klaviyo_ids(self, account: str, external_ids: Sequence[str]) -> dict[str, str]: ...
    def meet(
        self,
        account: str,
        encounters: Sequence[Encounter],
        decide: Callable[[int, Standing], Decision],
        *,
        read_at: datetime,
    ) -> list[int | None]: ...
    def applied(self, account: str, outcomes: Sequence[Applied]) -> None: ...


class ConsentLedger(Protocol):
    """Consent, and who was erased. `infra.stores.profiles.ProfileStore` is one."""

    def erased(self, account: str, identities: Sequence[Identity]) -> set[int]: ...
    def record_consent(
        self, account: str, records: Mapping[int, Sequence[Consent]]
    ) -> dict[int, dict[Channel, Consent]]: ...


class ChangeOutbox(Protocol):
    """Where writes of ours wait. `infra.stores.outbox.OutboxStore` is one."""

    def add_changes(self, account: str, changes: Sequence[ProfileChange], *, priority: Priority) -> Taken: ...


class Refusals(Protocol):
    """`infra.stores.sync_records.SyncRecords` is one."""

    def refuse(self, account: str, mapping: str, found: Mapping[tuple[str, str], Sequence[Problem]]) -> None: ...


class MergeRecorder(Protocol):
    """What counts merges. `infra.telemetry.Recorder` is one."""

    def merged(self, read: int, applied: int, conflicts: int) -> None: ...


@dataclass(slots=True)
class Pulled:
    """Counts of a pull. `unwritable`: the application's database refused Klaviyo's value (see `refused`).

    `postponed`: the application's row kept changing meanwhile; a later round settles it. `strangers`: profiles
    that are no row of the application's.
    """

    read: int = 0
    applied: int = 0
    pushed_back: int = 0
    consents: int = 0
    conflicts: int = 0
    postponed: int = 0
    unwritable: int = 0
    strangers: int = 0
    stopped: bool = False


@dataclass(slots=True)
class Match:
    """A profile of theirs and the row of ours that it is, in each source that has one."""

    profile: RemoteProfile
    theirs: Mapping[str, Json]
    rows: dict[int, tuple[SourceRow, Reading]] = field(default_factory=dict[int, tuple[SourceRow, Reading]])
    merges: dict[int, Merge] = field(default_factory=dict[int, Merge])
    person: int | None = None

    @property
    def external_id(self) -> str | None:
        return next((reading.external_id for _, reading in self.rows.values()), None)


class ProfileMerge:
    """Applies Klaviyo's side of one account to the application. `gone` tells which profile ids are no more."""

    def __init__(
        self,
        account: str,
        meetings: Meetings,
        ledger: ConsentLedger,
        outbox: ChangeOutbox,
        refusals: Refusals,
        sources: Sequence[WritableSource],
        recorder: MergeRecorder,
        *,
        gone: Callable[[Sequence[str]], set[str]],
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._meetings = meetings
        self._ledger = ledger
        self._outbox = outbox
        self._refusals = refusals
        self._sources = sources
        self._recorder = recorder
        self._gone = gone
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._rules = [usable_rules(source) for source in sources]

    def absorb(self, profiles: Sequence[RemoteProfile], total: Pulled, *, read_at: datetime) -> None:
        """Merge these profiles, which were asked for at `read_at`, and add to `total`. Safe to repeat."""
        with self._one_at_a_time:
            before = (total.applied, total.conflicts)
            matches = self._living(self._matches(profiles))
            for round_number in range(1, ROUNDS + 1):
                again = self._merge(matches, total, read_at=read_at, last=round_number == ROUNDS)
                if not again:
                    break
                matches = self._matches([match.profile for match in again])
            total.read += len(profiles)
            self._recorder.merged(len(profiles), total.applied - before[0], total.conflicts - before[1])

    def _living(self, matches: Sequence[Match]) -> list[Match]:
        """Without people who were erased: nothing about them is kept."""
        erased = self._ledger.erased(self._account, [_identity(match) for match in matches])
        return [match for index, match in enumerate(matches) if index not in erased]

    def _merge(self, matches: list[Match], total: Pulled, *, read_at: datetime, last: bool) -> list[Match]:
        """One round; returns those whose row changed before it could be written."""
        encounters = [
            Encounter(identity=_identity(match), klaviyo_id=match.profile.id, updated=match.profile.updated)
            for match in matches
        ]
        since = read_at - READ_MARGIN
        persons = self._meetings.meet(
            self._account, encounters, lambda index, standing: self._decide(matches[index], standing), read_at=since
        )
        for match, person in zip(matches, persons, strict=True):
            match.person = person
        met = [match for match in matches if match.person is not None]
        total.strangers += sum(not match.rows for match in met)
        total.conflicts += sum(len(merged.conflicts) for match in met for merged in match.merges.values())
        total.pushed_back += self._push_back(met)
        moved = self._write_back(met, total, last=last)
        if not moved or last:
            self._settle_consent(met, total)
            return []
        self._settle_consent([match for match in met if match not in moved], total)
        return moved

    def _decide(self, match: Match, standing: Standing) -> Decision:
        """Pure but for keeping the merges: what to hold as agreed, and what comes in."""
        base = dict(standing.person.base)
        known = {*base, *(name for rules in self._rules for name in rules)} if match.rows else set(base)
        mapped = {name for index in match.rows for name in self._rules[index]}
        held = {name for name in standing.pending if not same(standing.pending[name], match.theirs.get(name))}
        agreed = {name: match.theirs.get(name) for name in known - mapped - standing.pending.keys()}
        incoming: dict[str, Json] = {}
        overrides: list[Override] = []
        for index, (row, reading) in match.rows.items():
            rules = {name: rule for name, rule in self._rules[index].items() if name not in standing.pending}
            times = Times(_not_ahead(row.changed_at, self._clock()), match.profile.updated)
            agreed_on = base if base.get("external_id") == reading.external_id else {}  # else they meet first now
            merged = merge(rules, base=agreed_on, ours=reading.values, theirs=match.theirs, times=times)
            match.merges[index] = merged
            agreed |= merged.agreed
            agreed |= {name: match.theirs.get(name) for name in merged.push}
            incoming |= merged.pull
            overrides += self._overrides(index, match, merged, times, winner=Owner.APP)
            unread = {name for name in rules if name not in reading.values}
            held |= {name for name in unread if not same(base.get(name), match.theirs.get(name))}
        return Decision(base=agreed, incoming=incoming, overrides=overrides, recheck=bool(held & mapped))

    def _overrides(self, index: int, match: Match, merged: Merge, times: Times, *, winner: Owner) -> list[Override]:
        row, reading = match.rows[index]
        return [
            Override(
                mapping=self._sources[index].mapping.name,
                key=row.key,
                field=conflict.name,
                winner=conflict.winner,
                because=conflict.because,
                ours=masked(reading.values.get(conflict.name)),
                theirs=masked(match.theirs.get(conflict.name)),
                times=times,
            )
            for conflict in merged.conflicts
            if conflict.winner is winner
        ]

    def _push_back(self, met: Sequence[Match]) -> int:
        changes = [
            change_of(match.rows[index][1].external_id, merged.push, klaviyo_id=match.profile.id)
            for match in met
            for index, merged in match.merges.items()
            if merged.push and not match.rows[index][0].deleted
        ]
        return self._outbox.add_changes(self._account, changes, priority=Priority.UPSERT).taken if changes else 0

    def _write_back(self, met: Sequence[Match], total: Pulled, *, last: bool) -> list[Match]:
        """Write what comes in, source by source; returns the matches whose row had moved."""
        moved: list[Match] = []
        for index, source in enumerate(self._sources):
            coming = [match for match in met if index in match.merges and match.merges[index].pull]
            if not coming:
                continue
            results = source.write([(match.rows[index][0], match.merges[index].pull) for match in coming])
            outcomes: list[Applied] = []
            for match, result in zip(coming, results, strict=True):
                outcomes.append(self._outcome(index, match, result, total, last=last))
                if result == "moved":
                    moved.append(match)
            self._meetings.applied(self._account, outcomes)
        return moved

    def _outcome(self, index: int, match: Match, result: str | Problem, total: Pulled, *, last: bool) -> Applied:
        merged, (row, reading) = match.merges[index], match.rows[index]
        assert match.person is not None
        if result == "written":
            total.applied += 1
            times = Times(row.changed_at, match.profile.updated)
            overrides = self._overrides(index, match, merged, times, winner=Owner.KLAVIYO)
            return Applied(person_id=match.person, base=merged.pull, overrides=overrides)
        if isinstance(result, Problem):
            total.unwritable += 1
            found = {(reading.key, "unwritable"): [result]}
            self._refusals.refuse(self._account, self._sources[index].mapping.name, found)
            return Applied(person_id=match.person)
        total.postponed += last
        return Applied(person_id=match.person, recheck=True)

    def _matches(self, profiles: Sequence[RemoteProfile]) -> list[Match]:
        """Each profile with its rows: by the key it carries, by what we knew, or by an email nobody else has."""
        found = [Match(profile, _comparable(klaviyo_fields(profile.attributes))) for profile in profiles]
        self._by_key(found)
        strangers = [match for match in found if not match.rows and match.theirs.get("email")]
        for index, source in enumerate(self._sources):
            if "email" in source.mapping.fields and strangers:
                self._by_email(index, source, strangers)
        return found

    def _by_key(self, matches: Sequence[Match]) -> None:
        links = self._meetings.external_ids(self._account, [match.profile.id for match in matches])
        for index, source in enumerate(self._sources):
            wanted: dict[str, list[str]] = {}
            for match in matches:
                named = [str(match.theirs.get("external_id") or ""), *links.get(match.profile.id, [])]
                keys = [key for name in named if name and (key := source.mapping.key_of(name)) is not None]
                wanted[match.profile.id] = keys
            rows = source.get(sorted({key for keys in wanted.values() for key in keys}))
            for match in matches:
                row = next((rows[key] for key in wanted[match.profile.id] if key in rows), None)
                if row is not None:
                    match.rows[index] = (row, read(row, source.mapping))

    def _by_email(self, index: int, source: WritableSource, strangers: Sequence[Match]) -> None:
        """An email names the row only if one row has it, and that row is no other living profile."""
        by_email = source.find("email", [str(match.theirs["email"]) for match in strangers])
        sole = {email: rows[0] for email, rows in by_email.items() if len(rows) == 1}
        names = {email: source.mapping.external_id(row.key) for email, row in sole.items()}
        linked = self._meetings.klaviyo_ids(self._account, list(names.values()))
        others = sorted(set(linked.values()) - {match.profile.id for match in strangers})
        gone = self._gone(others) if others else set[str]()
        for match in strangers:
            email = str(match.theirs["email"]).lower()
            if email in sole and linked.get(names[email], match.profile.id) in {match.profile.id, *gone}:
                match.rows[index] = (sole[email], read(sole[email], source.mapping))

    def _settle_consent(self, met: Sequence[Match], total: Pulled) -> None:
        now = self._clock()
        records = {
            match.person: consent_from(match.profile.subscriptions, read_at=now)
            for match in met
            if match.profile.subscriptions and match.person is not None
        }
        counts = self._ledger.record_consent(self._account, records)
        for match in met:
            for index, (row, _) in match.rows.items():
                total.consents += _tell_consent(self._sources[index], row, counts.get(match.person or 0, {}))


def usable_rules(source: WritableSource) -> dict[str, FieldRule]:
    """The mapping's rules; a source that cannot be written to is always the one that tells."""
    rules = source.mapping.fields
    if source.writable:
        return dict(rules)
    return {
        name: FieldRule(column=rule.column, owner=Owner.APP, direction=Direction.PUSH, invalid=rule.invalid)
        for name, rule in rules.items()
    }


def _not_ahead(moment: datetime | None, now: datetime) -> datetime | None:
    """A clock that runs ahead must not win every conflict."""
    return None if moment is None else min(moment, now)


def _comparable(theirs: Mapping[str, Json]) -> dict[str, Json]:
    """Identifiers as we compare them; what we would refuse as one is left as it is."""
    values = dict(theirs)
    for name in IDENTIFIERS:
        try:
            values[name] = identifier(name, values.get(name))
        except ValueError:
            continue
    return {name: value for name, value in values.items() if value is not None}


def _identity(match: Match) -> Identity:
    """Who it is: the row's key where there is a row, since another system's external id says nothing to us."""
    named: dict[str, str] = {}
    for name in IDENTIFIERS:
        try:
            value = identifier(name, match.theirs.get(name))
        except ValueError:
            continue
        if value is not None:
            named[name] = value
    if match.external_id is not None:
        named["external_id"] = match.external_id
    return Identity(klaviyo_id=match.profile.id, **named)


def _tell_consent(source: WritableSource, row: SourceRow, consents: Mapping[Channel, Consent]) -> int:
    """Write what changed to the application's columns; returns how many."""
    told = 0
    for channel, consent in consents.items():
        allowed = consent.state is ConsentState.SUBSCRIBED
        if channel in row.consent and row.consent[channel] != allowed:
            told += source.write_consent(row.key, channel, allowed=allowed)
    return told
