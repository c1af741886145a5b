"""Klaviyo's filter language, built from values and never from strings glued together.

The result is the plain text of the filter; percent-encoding belongs to the request. The official SDK's
builder is not used: it removes all whitespace, also inside values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from klaviyo_bridge.errors import InvalidPayload, Problem

Scalar = str | bool | int | float | datetime
Value = Scalar | Sequence[Scalar]

_FIELD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.\-]*")


def equals(field: str, value: Value) -> str:
    """`equals(field,value)`; some collections want a list even for one value (names of lists)."""
    return _call("equals", field, value)


def any_of(field: str, values: Sequence[Scalar]) -> str:
    """`any(field,[...])`: one of these values."""
    return _call("any", field, values)


def contains(field: str, value: Scalar) -> str:
    """`contains(field,value)`."""
    return _call("contains", field, value)


def contains_any(field: str, values: Sequence[Scalar]) -> str:
    """`contains-any(field,[...])`."""
    return _call("contains-any", field, values)


def contains_all(field: str, values: Sequence[Scalar]) -> str:
    """`contains-all(field,[...])`."""
    return _call("contains-all", field, values)


def starts_with(field: str, value: str) -> str:
    """`starts-with(field,value)`."""
    return _call("starts-with", field, value)


def ends_with(field: str, value: str) -> str:
    """`ends-with(field,value)`."""
    return _call("ends-with", field, value)


def greater_than(field: str, value: Scalar) -> str:
    """`greater-than(field,value)`; the only way to say "since" for a profile's `updated`."""
    return _call("greater-than", field, value)


def greater_or_equal(field: str, value: Scalar) -> str:
    """`greater-or-equal(field,value)`."""
    return _call("greater-or-equal", field, value)


def less_than(field: str, value: Scalar) -> str:
    """`less-than(field,value)`."""
    return _call("less-than", field, value)


def less_or_equal(field: str, value: Scalar) -> str:
    """`less-or-equal(field,value)`."""
    return _call("less-or-equal", field, value)


def has(field: str) -> str:
    """`has(field)`."""
    return f"has({_field(field)})"


def all_of(*filters: str) -> str:
    """Every one of these; Klaviyo's ordinary reads know no "or"."""
    if not filters:
        raise _wrong("filter", "holds no condition")
    return filters[0] if len(filters) == 1 else f"and({','.join(filters)})"


def _call(operator: str, field: str, value: Value) -> str:
    return f"{operator}({_field(field)},{_literal(field, value)})"


def _field(field: str) -> str:
    if not _FIELD.fullmatch(field):
        raise _wrong("filter", "a field name holds characters that no field has")
    return field


def _literal(field: str, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(field, value)
    if isinstance(value, datetime):
        return _moment(field, value)
    if isinstance(value, int | float):
        return _number(field, value)
    if not value:
        raise _wrong(field, "is an empty list of values")
    return f"[{','.join(_literal(field, item) for item in value)}]"


def _text(field: str, value: str) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise _wrong(field, "is text that UTF-8 cannot hold") from None


def _moment(field: str, value: datetime) -> str:
    """Bare, because Klaviyo refuses a quoted time; in UTC, because an offset's `+` is one more trap."""
    if value.tzinfo is None:
        raise _wrong(field, "is a time without a zone")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _number(field: str, value: float) -> str:
    if not math.isfinite(value):
        raise _wrong(field, "is not a finite number")
    return repr(value)


def _wrong(where: str, what: str) -> InvalidPayload:
    return InvalidPayload(problems=[Problem(where, what)])
