"""A person as both sides see one: identifiers, attributes, properties; and how two writes become one.

A field that is absent stays as it is; a field that is None is cleared. The two are kept apart everywhere.
Consent is not a field of a profile (see `consent`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self, cast

import orjson
import phonenumbers

from klaviyo_bridge.domain.values import Json, plain, problems
from klaviyo_bridge.errors import InvalidPayload, Problem

ATTRIBUTES: Final = ("first_name", "last_name", "organization", "locale", "title", "image")
LOCATION: Final = (
    "address1",
    "address2",
    "city",
    "country",
    "region",
    "zip",
    "latitude",
    "longitude",
    "timezone",
    "ip",
)
IDENTIFIERS: Final = ("external_id", "email", "phone_number")
MAX_ROW_BYTES: Final = 100_000  # Klaviyo's bound for one profile
_EMAIL: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\_]{1,255}")
_E164: Final = re.compile(r"\+[1-9]\d{6,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What names a person; at least one is set. Emails are compared in lower case."""

    klaviyo_id: str | None = None
    external_id: str | None = None
    email: str | None = None
    phone_number: str | None = None

    def known(self) -> dict[str, str]:
        """The identifiers that are set, strongest first; without Klaviyo's own id."""
        return {name: value for name in IDENTIFIERS if (value := getattr(self, name)) is not None}

    @property
    def primary(self) -> str:
        """The strongest identifier as text: two writes with the same one may be merged."""
        if self.klaviyo_id:
            return f"klaviyo_id={self.klaviyo_id}"
        name, value = next(iter(self.known().items()))
        return f"{name}={value}"


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """One write of one profile, valid and normalised: this is what waits in the outbox."""

    identity: Identity
    attributes: Mapping[str, Json] = field(default_factory=dict[str, Json])
    location: Mapping[str, Json] = field(default_factory=dict[str, Json])
    properties: Mapping[str, Json] = field(default_factory=dict[str, Json])

    @property
    def clears(self) -> bool:
        """Whether an attribute is set to null, which only the single endpoint can do."""
        return None in self.attributes.values() or None in self.location.values()

    def fields(self) -> dict[str, Json]:
        """Every field written, under its flat name: `first_name`, `location.city`, `properties.plan`."""
        return {
            **{name: cast(Json, value) for name, value in self.identity.known().items()},
            **self.attributes,
            **{f"location.{name}": value for name, value in self.location.items()},
            **{f"properties.{name}": value for name, value in self.properties.items()},
        }

    def over(self, older: ProfileChange) -> ProfileChange:
        """Both writes as one: field by field the newer (self) wins, clears included."""
        return ProfileChange(
            Identity(**{**_set_of(older.identity), **_set_of(self.identity)}),
            {**older.attributes, **self.attributes},
            {**older.location, **self.location},
            {**older.properties, **self.properties},
        )

    def without(self, names: set[str]) -> ProfileChange:
        """The same write, less the fields named (flat names)."""
        return ProfileChange(
            self.identity,
            {name: value for name, value in self.attributes.items() if name not in names},
            {n: value for n, value in self.location.items() if f"location.{n}" not in names},
            {n: value for n, value in self.properties.items() if f"properties.{n}" not in names},
        )

    def beyond(self, base: Mapping[str, Json]) -> ProfileChange:
        """What of this write both sides do not agree on yet; the identifiers always stay."""
        return self.without({name for name, value in self.fields().items() if name in base and base[name] == value})

    @property
    def empty(self) -> bool:
        """Whether the write says nothing beyond who the person is."""
        return not (self.attributes or self.location or self.properties)

    def dump(self) -> bytes:
        return orjson.dumps([_set_of(self.identity), dict(self.attributes), dict(self.location), dict(self.properties)])

    @classmethod
    def load(cls, payload: bytes) -> Self:
        identity, attributes, location, properties = orjson.loads(payload)
        return cls(Identity(**identity), attributes, location, properties)


def _set_of(identity: Identity) -> dict[str, str]:
    known = identity.known()
    return {"klaviyo_id": identity.klaviyo_id, **known} if identity.klaviyo_id else known


@dataclass(frozen=True, slots=True)
class Person:
    """`base`: flat field -> value last agreed on. `written`: flat field -> outbox row that wrote it last.

    `incoming`: flat field -> value of Klaviyo's that is being written to the application. `seen_at`: Klaviyo's
    `updated` of the newest read that was merged.
    """

    id: int
    klaviyo_id: str | None
    base: Mapping[str, Any]
    written: Mapping[str, int]
    incoming: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seen_at: datetime | None = None


def profile_change(fields: Mapping[str, object], *, where: str = "") -> ProfileChange:
    """A write from what the application gives: Klaviyo's attribute names, `location` and `properties`.

    Raises `InvalidPayload` naming every field that is wrong; nothing is half taken.
    """
    prefix = f"{where}." if where else ""
    found = list(_unknown(fields, prefix))
    identity, trouble = _identity(fields, prefix)
    found += trouble
    attributes = {name: plain(fields[name]) for name in ATTRIBUTES if name in fields}
    location = _part(fields, "location", prefix, found)
    properties = _part(fields, "properties", prefix, found)
    found += _wrong_attributes(attributes, prefix)
    found += [
        Problem(f"{prefix}location.{name}", "is not a part of a location") for name in location if name not in LOCATION
    ]
    found += problems(location, f"{prefix}location")
    found += problems(properties, f"{prefix}properties")
    if found:
        raise InvalidPayload(problems=found)
    change = ProfileChange(identity, attributes, location, properties)
    if (size := len(change.dump())) > MAX_ROW_BYTES - 1_000:
        raise InvalidPayload(problems=[Problem(where or "profile", f"is {size} bytes; Klaviyo takes {MAX_ROW_BYTES}")])
    return change


def _unknown(fields: Mapping[str, object], prefix: str) -> Iterator[Problem]:
    allowed = {*ATTRIBUTES, *IDENTIFIERS, "klaviyo_id", "location", "properties"}
    for name in fields:
        if name == "subscriptions":
            yield Problem(f"{prefix}{name}", "is consent, not a profile field; subscribe or unsubscribe instead")
        elif name not in allowed:
            yield Problem(f"{prefix}{name[:64]}", "is not a profile field; put your own values into properties")


def _part(fields: Mapping[str, object], name: str, prefix: str, found: list[Problem]) -> dict[str, Json]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        found.append(Problem(f"{prefix}{name}", "must be an object"))
        return {}
    return cast(dict[str, Json], plain(cast(Mapping[str, object], value)))


def _wrong_attributes(attributes: Mapping[str, Json], prefix: str) -> Iterator[Problem]:
    for name, value in attributes.items():
        if value is not None and not isinstance(value, str):
            yield Problem(f"{prefix}{name}", "must be text or null")
        else:
            yield from problems(value, f"{prefix}{name}")


def _identity(fields: Mapping[str, object], prefix: str) -> tuple[Identity, list[Problem]]:
    found: list[Problem] = []
    values: dict[str, str] = {}
    for name in (*IDENTIFIERS, "klaviyo_id"):
        try:
            value = identifier(name, fields.get(name))
        except ValueError as error:
            found.append(Problem(f"{prefix}{name}", str(error)))
            continue
        if value is not None:
            values[name] = value
    if not values and not found:
        found.append(Problem(f"{prefix}email", "or phone_number or external_id is needed: nothing names the person"))
    return Identity(**values), found


def identifier(name: str, value: object) -> str | None:
    """An identifier as both sides compare it (trimmed, email in lower case); None when there is nothing in it.

    Raises ValueError, which says what is wrong in words that may be shown.
    """
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("must be text")  # collected as a problem, not a bug
    text = unicodedata.normalize("NFC", value).strip()
    if not text:
        return None
    if next(problems(text, name), None) or not text.isprintable():
        raise ValueError("holds characters that cannot be part of it")
    return {"email": _email, "phone_number": phone_number}.get(name, _bounded)(text)


def _email(text: str) -> str:
    address = text.lower()
    if not _EMAIL.fullmatch(address) or "." not in address.rpartition("@")[2]:
        raise ValueError("is not an email address")
    return address


def phone_number(text: str, country: str | None = None) -> str:
    """The number in E.164 form, as Klaviyo wants it; `country` (such as "DE") reads national forms.

    Raises ValueError, which says what is wrong in words that may be shown.
    """
    number = re.sub(r"[\s().-]", "", text)
    if _E164.fullmatch(number):
        return number
    if country is None:
        raise ValueError("is not a phone number in E.164 form, such as +15005550006")
    try:
        parsed = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        raise ValueError(f"is not a phone number in {country}") from None
    if parsed.extension or not phonenumbers.is_possible_number(parsed):
        raise ValueError(f"is not a whole phone number in {country}")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _bounded(text: str) -> str:
    if len(text) > 255:
        raise ValueError("is longer than 255 characters")
    return text


def klaviyo_fields(attributes: Mapping[str, Any]) -> dict[str, Json]:
    """A profile as Klaviyo returns it, under the same flat names as `ProfileChange.fields`.

    Values Klaviyo reports as null are left out, so that "cleared" and "never set" look alike.
    """
    flat: dict[str, Json] = {
        name: attributes[name] for name in (*IDENTIFIERS, *ATTRIBUTES) if attributes.get(name) is not None
    }
    for part in ("location", "properties"):
        values = cast(dict[str, Json], attributes.get(part) or {})
        flat |= {f"{part}.{name}": value for name, value in values.items() if value is not None}
    return flat
