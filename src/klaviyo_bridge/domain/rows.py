"""A row of the application's table as a profile: each field normalised by itself, so that one bad phone number
does not hide what the others say.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from klaviyo_bridge.domain.mapping import Invalid, SourceRow, TableMapping
from klaviyo_bridge.domain.profile import (
    IDENTIFIERS,
    MAX_ROW_BYTES,
    Identity,
    ProfileChange,
    identifier,
    phone_number,
)
from klaviyo_bridge.domain.values import MAX_KEYS, Json, plain, problems
from klaviyo_bridge.errors import Problem

_COORDINATES = ("location.latitude", "location.longitude")


@dataclass(frozen=True, slots=True)
class Reading:
    """`values`: flat field -> what Klaviyo may be told (None where the row has nothing).

    `refused`: why the row cannot go at all. `omitted`: fields that stay behind, and why.
    """

    key: str
    external_id: str
    values: Mapping[str, Json] = field(default_factory=dict[str, Json])
    refused: tuple[Problem, ...] = ()
    omitted: tuple[Problem, ...] = ()

    def change(self, names: Mapping[str, object] | None = None, *, klaviyo_id: str | None = None) -> ProfileChange:
        """The write of all values, or of the named ones."""
        chosen = {name: value for name, value in self.values.items() if names is None or name in names}
        return change_of(self.external_id, chosen, klaviyo_id=klaviyo_id)


def read(row: SourceRow, mapping: TableMapping) -> Reading:
    """What `row` says about the person, every field checked."""
    where = f"{mapping.place}[{row.key}]"
    values: dict[str, Json] = {}
    refused: list[Problem] = []
    omitted: list[Problem] = []
    for name, rule in mapping.fields.items():
        value, wrong = _field(name, row.fields.get(name), f"{where}.{rule.column}", mapping.country)
        if wrong:
            (omitted if rule.invalid is Invalid.OMIT or not rule.pushes else refused).extend(wrong)
        else:
            values[name] = value
    external_id = mapping.external_id(row.key)
    refused += _whole(values, mapping, where, external_id)
    return Reading(row.key, external_id, values, tuple(refused), tuple(omitted))


def change_of(external_id: str, values: Mapping[str, Json], *, klaviyo_id: str | None = None) -> ProfileChange:
    """The write that sets these flat, checked values. An identifier is never cleared."""
    named = {name: str(values[name]) for name in IDENTIFIERS if values.get(name) is not None}
    parts: dict[str, dict[str, Json]] = {"": {}, "location": {}, "properties": {}}
    for name, value in values.items():
        part, _, rest = name.partition(".")
        if rest:
            parts[part][rest] = value
        elif name not in IDENTIFIERS:
            parts[""][name] = value
    identity = Identity(**{**named, "external_id": external_id}, klaviyo_id=klaviyo_id)
    return ProfileChange(identity, parts[""], parts["location"], parts["properties"])


def _field(name: str, value: object, where: str, country: str | None) -> tuple[Json, list[Problem]]:
    if name in IDENTIFIERS:
        return _checked_identifier(name, value, where, country)
    content = plain(value)
    if not name.startswith("properties.") and name not in _COORDINATES:
        content = _text(content)
    return content, list(problems(content, where))


def _checked_identifier(name: str, value: object, where: str, country: str | None) -> tuple[Json, list[Problem]]:
    try:
        if name == "phone_number" and isinstance(value, str | int) and str(value).strip():
            return phone_number(unicodedata.normalize("NFKC", str(value)).strip(), country), []
        return identifier(name, value), []
    except ValueError as error:
        return None, [Problem(where, str(error))]


def _text(value: Json) -> Json:
    """Klaviyo's own attributes are text: numbers (such as zip codes) are written out, blank is nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value if value is None else str(value)
    text = value.strip() if isinstance(value, str) else str(value)
    return text or None


def _whole(values: Mapping[str, Json], mapping: TableMapping, where: str, external_id: str) -> list[Problem]:
    """What is wrong with the row as a whole."""
    reachable = [name for name in ("email", "phone_number") if name in mapping.fields]
    if reachable and not any(values.get(name) for name in reachable):
        return [Problem(where, "has no usable email or phone number, so nobody could be written to")]
    if len(external_id) > 255:
        return [Problem(where, "has a key of more than 255 characters")]
    if sum(name.startswith("properties.") for name in values) > MAX_KEYS:
        return [Problem(where, f"has more than {MAX_KEYS} properties")]
    if all(not list(problems(value, where)) for value in values.values()):
        size = len(change_of(external_id, values).dump())
        if size > MAX_ROW_BYTES - 1_000:
            return [Problem(where, f"is {size} bytes; Klaviyo takes {MAX_ROW_BYTES}")]
    return []
