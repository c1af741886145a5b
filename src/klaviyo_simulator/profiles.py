"""Profiles as stored: compact, found by any identifier, read in several orders.

What a write means is in `people`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from klaviyo_simulator.consent import Consent
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.ordering import Key, Ordering

IDENTIFIERS = ("email", "phone_number", "external_id", "anonymous_id", "_kx")
PLAIN_FIELDS = ("first_name", "last_name", "organization", "locale", "title", "image")
LOCATION_FIELDS = (
    "address1",
    "address2",
    "city",
    "country",
    "latitude",
    "longitude",
    "region",
    "zip",
    "timezone",
    "ip",
)
EMPTY = b"{}"
ORDERS = ("id", "created", "updated", "email")


class Profile:
    """`body` is the JSON of everything but identifiers and times: about 1 kB a profile in all."""

    __slots__ = (
        "anonymous_id",
        "body",
        "consent",
        "created",
        "email",
        "external_id",
        "id",
        "kx",
        "last_event",
        "phone",
        "updated",
    )

    def __init__(self, profile_id: str, now: float) -> None:
        self.id = profile_id
        self.created = now
        self.updated = now
        self.email: str | None = None
        self.phone: str | None = None
        self.external_id: str | None = None
        self.anonymous_id: str | None = None
        self.kx: str | None = None
        self.last_event: float | None = None
        self.body: bytes = EMPTY
        self.consent: Consent | None = None

    def read_body(self) -> JsonObject:
        return orjson.loads(self.body)

    def write_body(self, values: JsonObject) -> None:
        # Copied, because orjson's buffer is a kilobyte whose unused end is lost to fragmentation.
        self.body = bytes(memoryview(orjson.dumps(values))) if values else EMPTY

    def consent_state(self) -> Consent:
        """The consent record, made when there is none yet."""
        if self.consent is None:
            self.consent = Consent()
        return self.consent

    def identifier(self, name: str) -> str | None:
        return getattr(self, _SLOTS[name])

    def snapshot(self) -> tuple[str | None, str | None, str | None, bytes]:
        """What the effect log keeps; see `log.effect_values`."""
        return (self.email, self.phone, self.external_id, self.body)


_SLOTS = {
    "email": "email",
    "phone_number": "phone",
    "external_id": "external_id",
    "anonymous_id": "anonymous_id",
    "_kx": "kx",
}


class ProfileStore:
    """All profiles of one account, with an index per identifier and orderings built when first asked for."""

    def __init__(self) -> None:
        self.by_id: dict[str, Profile] = {}
        self.aliases: dict[str, str] = {}
        self._index: dict[str, dict[str, Profile]] = {name: {} for name in IDENTIFIERS}
        self._orderings: dict[str, Ordering] = {}
        self.fold_email = True
        self.precedence: tuple[str, ...] = IDENTIFIERS

    def __len__(self) -> int:
        return len(self.by_id)

    def __iter__(self) -> Iterator[Profile]:
        return iter(self.by_id.values())

    def get(self, profile_id: str) -> Profile | None:
        """By id; the id of a merged profile leads to the profile that took it over."""
        found = self.by_id.get(profile_id)
        if found is None and (alias := self.aliases.get(profile_id)):
            return self.get(alias)
        return found

    def find(self, identifier: str, value: str) -> Profile | None:
        if identifier == "email" and self.fold_email:
            value = value.lower()
        return self._index[identifier].get(value)

    def fold(self, identifier: str, value: str) -> str:
        return value.lower() if identifier == "email" and self.fold_email else value

    def add(self, profile: Profile) -> None:
        self.by_id[profile.id] = profile
        for name, ordering in self._orderings.items():
            ordering.add(_key(profile, name))

    def identify(self, profile: Profile, identifier: str, value: str | None) -> None:
        """Set or clear an identifier; the caller has made sure that nobody else has it."""
        index = self._index[identifier]
        old = profile.identifier(identifier)
        if old is not None and index.get(self.fold(identifier, old)) is profile:
            del index[self.fold(identifier, old)]
        setattr(profile, _SLOTS[identifier], value)
        if value is not None:
            index[self.fold(identifier, value)] = profile
        if identifier == "email":
            self._moved(profile, "email")

    def identify_new(self, profile: Profile, identifier: str, value: str) -> None:
        """As `identify`, for a profile that is not added yet and has no such identifier."""
        if identifier == "email" and self.fold_email:
            value = value.lower()
        setattr(profile, _SLOTS[identifier], value)
        self._index[identifier][value] = profile

    def touch(self, profile: Profile, now: float) -> None:
        """Move `updated` on."""
        profile.updated = now
        self._moved(profile, "updated")

    def remove(self, profile: Profile) -> None:
        for name in IDENTIFIERS:
            if profile.identifier(name) is not None:
                self.identify(profile, name, None)
        del self.by_id[profile.id]

    def ordered(self, name: str) -> Ordering:
        """By id, created, updated or email; built at the first use."""
        if name not in self._orderings:
            keys = (_key(profile, name) for profile in self.by_id.values())
            self._orderings[name] = Ordering(keys, current=lambda key: self._is_current(name, key))
        return self._orderings[name]

    def _moved(self, profile: Profile, name: str) -> None:
        ordering = self._orderings.get(name)
        if ordering is not None and profile.id in self.by_id:
            ordering.note_stale()
            ordering.add(_key(profile, name))

    def _is_current(self, name: str, key: Key) -> bool:
        profile = self.by_id.get(key[-1])
        return profile is not None and _key(profile, name) == key


def _key(profile: Profile, name: str) -> Key:
    if name == "id":
        return (profile.id,)
    value: Any = getattr(profile, name)
    return (value if value is not None else "", profile.id)
