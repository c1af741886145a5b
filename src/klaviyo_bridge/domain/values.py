"""JSON values as Klaviyo takes them: what is refused, and where exactly.

Klaviyo answers 400 for a whole batch when one value is bad, so a value is looked at before it is taken.
Bounds are Klaviyo's own (events API overview): strings of 100 KB, 10 levels, arrays of 4,000 elements.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, TypeAlias, cast
from uuid import UUID

from klaviyo_bridge.errors import Problem

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

MAX_STRING_BYTES: Final = 100_000
MAX_DEPTH: Final = 10
MAX_ELEMENTS: Final = 4_000
MAX_KEYS: Final = 400
_INT64: Final = 2**63


def plain(value: object) -> Json:
    """`value` as JSON: decimals become numbers, dates and times ISO 8601 text (times in UTC).

    Anything else that JSON does not know is left for `problems` to name.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        items = cast(Mapping[str, object], value).items()
        return {key: plain(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast(Sequence[object], value)]
    return cast(Json, value)


def _number(value: Decimal) -> int | float:
    """Whole numbers stay whole. A number of more than about 15 digits is rounded: JSON has no decimals."""
    if not value.is_finite():
        return math.nan if value.is_nan() else math.copysign(math.inf, value)
    return int(value) if value == value.to_integral_value() and abs(value) < _INT64 else float(value)


def same(one: Json, other: Json) -> bool:
    """Whether two values are one to Klaviyo: 1 is 1.0 but not true, and text is compared in one Unicode form."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        return one == other or unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def masked(value: Json) -> str | None:
    """Enough of a value to recognise it by, and no more: its first character, or its kind."""
    if value is None:
        return None
    if not isinstance(value, str):
        return type(value).__name__
    name, at, host = value.partition("@")
    return f"{name[:1]}…@{host}" if at else f"{value[:1]}… ({len(value)} characters)"


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with seconds (or microseconds where there are any); a naive time is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat()


def problems(value: object, where: str, *, depth: int = 0) -> Iterator[Problem]:
    """Everything in `value` that Klaviyo would refuse or silently change, with its path."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        yield from _text_problems(value, where)
    elif isinstance(value, int | float):
        yield from _number_problems(value, where)
    elif depth >= MAX_DEPTH:
        yield Problem(where, f"is nested more than {MAX_DEPTH} levels deep")
    elif isinstance(value, Mapping):
        yield from _mapping_problems(cast(Mapping[object, object], value), where, depth)
    elif isinstance(value, list | tuple):
        yield from _sequence_problems(cast(Sequence[object], value), where, depth)
    else:
        yield Problem(where, f"is a {type(value).__name__}, which JSON does not know")


def _text_problems(text: str, where: str) -> Iterator[Problem]:
    if "\x00" in text:
        yield Problem(where, "holds a NUL character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        yield Problem(where, "holds half of a surrogate pair, which is not text")
        return
    if size > MAX_STRING_BYTES:
        yield Problem(where, f"is {size} bytes long; Klaviyo takes {MAX_STRING_BYTES}")


def _number_problems(number: float, where: str) -> Iterator[Problem]:
    if isinstance(number, float) and not math.isfinite(number):
        yield Problem(where, f"is {number}, which is not a JSON number")
    elif isinstance(number, int) and not -_INT64 <= number < _INT64:
        yield Problem(where, "is an integer of more than 64 bits")


def _mapping_problems(mapping: Mapping[object, object], where: str, depth: int) -> Iterator[Problem]:
    if len(mapping) > MAX_KEYS:
        yield Problem(where, f"has {len(mapping)} keys; Klaviyo takes {MAX_KEYS}")
    for key, item in mapping.items():
        if not isinstance(key, str):
            yield Problem(where, f"has a key that is a {type(key).__name__}, not text")
            continue
        path = f"{where}.{key[:64]}" if key.isprintable() else f"{where}.?"
        yield from _text_problems(key, path)
        yield from problems(item, path, depth=depth + 1)


def _sequence_problems(sequence: Sequence[object], where: str, depth: int) -> Iterator[Problem]:
    if len(sequence) > MAX_ELEMENTS:
        yield Problem(where, f"has {len(sequence)} elements; Klaviyo takes {MAX_ELEMENTS}")
    for index, item in enumerate(sequence):
        yield from problems(item, f"{where}[{index}]", depth=depth + 1)
