"""Values between the application's columns, JSON, and stored positions.

On SQLite a column's declared type says little about what is in it, so values are read raw there and converted
here; other databases convert by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

import orjson
import sqlalchemy as sa

from klaviyo_bridge.domain.values import Json, iso, plain

COUNTER_OVERLAP = 1_000  # a cursor that counts may be committed out of order by so much
_EPOCH_SECONDS = range(10**8, 10**11)
_EPOCH_MILLISECONDS = range(10**11, 10**14)
_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})


class Kind(StrEnum):
    """What a column holds, as far as its type tells."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TIME = "time"
    DATE = "date"
    JSON = "JSON"
    UUID = "UUID"
    TEXT = "text"
    BYTES = "binary"
    OTHER = "unknown"


_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], Kind], ...] = (
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Integer, Kind.INTEGER),
    (sa.Float, Kind.NUMBER),
    (sa.Numeric, Kind.NUMBER),
    (sa.DateTime, Kind.TIME),
    (sa.Date, Kind.DATE),
    (sa.JSON, Kind.JSON),
    (sa.Uuid, Kind.UUID),
    (sa.String, Kind.TEXT),
    (sa.LargeBinary, Kind.BYTES),
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column as statements use it; `raw` when the database does not convert its values."""

    name: str
    kind: Kind
    expression: sa.ColumnElement[Any]
    raw: bool
    computed: bool = False
    nullable: bool = True


def kind_of(declared: sa.types.TypeEngine[Any]) -> Kind:
    return next((kind for cls, kind in _KINDS if isinstance(declared, cls)), Kind.OTHER)


def to_json(value: Any, kind: Kind, zone: tzinfo) -> Json:
    """A column's value as a profile's value; a naive time is one of `zone`."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return iso(value if value.tzinfo else value.replace(tzinfo=zone))
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if kind is Kind.BOOLEAN and not isinstance(value, bool):
        return str(value).lower() in _TRUE
    if kind is Kind.TIME and isinstance(value, str):
        found = moment(value, zone)
        return value if found is None else iso(found)
    if kind is Kind.JSON and isinstance(value, str):
        return _parsed(value)
    return plain(value)


def to_column(value: Json, column: Column, zone: tzinfo) -> Any:
    """A profile's value as the column holds it. Raises ValueError when it cannot hold it."""
    if value is None:
        return None
    if column.kind is Kind.JSON:
        return orjson.dumps(value).decode() if column.raw else value
    if column.kind is Kind.BOOLEAN:
        return _boolean(value)
    if column.kind in (Kind.INTEGER, Kind.NUMBER):
        return _numeric(value, column.kind, exact=not column.raw)
    if column.kind in (Kind.TIME, Kind.DATE):
        return _calendar(value, column, zone)
    if column.kind is Kind.UUID and not column.raw:
        return UUID(str(value))
    return value if isinstance(value, str) else _written_out(value)


def moment(value: Any, zone: tzinfo) -> datetime | None:
    """When that was, in UTC; None when it is no time. Numbers are seconds or milliseconds since 1970."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=zone).astimezone(UTC)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _epoch(int(value))
    return None


def position(value: Any) -> Json:
    """A cursor or key as JSON that `restored` turns back into the very same value."""
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, UUID):
        return {"uuid": str(value)}
    return value


def restored(stored: Any) -> Any:
    """The value that `position` stored."""
    if not isinstance(stored, dict):
        return stored
    kind, text = next(iter(cast(dict[str, str], stored).items()))
    makers: dict[str, Callable[[str], Any]] = {
        "time": datetime.fromisoformat,
        "date": date.fromisoformat,
        "decimal": Decimal,
        "uuid": UUID,
    }
    return makers[kind](text)


def earlier(value: Any, overlap: float) -> Any:
    """A cursor's value `overlap` seconds before `value`, in the same form; a counter goes back a fixed step."""
    step = timedelta(seconds=overlap)
    if isinstance(value, datetime):
        return value - step
    if isinstance(value, date):
        return value - timedelta(days=1) - step
    if isinstance(value, int | float | Decimal):
        whole = int(value)
        if whole in _EPOCH_SECONDS:
            return whole - int(overlap)
        return whole - (int(overlap * 1000) if whole in _EPOCH_MILLISECONDS else COUNTER_OVERLAP)
    return _earlier_text(value, step)


def _earlier_text(value: Any, step: timedelta) -> Any:
    """Text times compare as text, so the earlier one is written like the later one."""
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value
    return (parsed - step).replace(microsecond=0).isoformat("T" if "T" in value else " ")[: len(value)]


def _epoch(whole: int) -> datetime | None:
    if whole in _EPOCH_SECONDS:
        return datetime.fromtimestamp(whole, UTC)
    return datetime.fromtimestamp(whole / 1000, UTC) if whole in _EPOCH_MILLISECONDS else None


def _parsed(text: str) -> Json:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _boolean(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in {*_TRUE, "0", "f", "false", "n", "no", "off"}:
        return str(value).lower() in _TRUE
    raise ValueError("is not true or false")


def _numeric(value: Json, kind: Kind, *, exact: bool) -> int | float | Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("is not a number") from None
    if isinstance(value, bool) or not number.is_finite():
        raise ValueError("is not a number")
    if number == number.to_integral_value() and (kind is Kind.INTEGER or not exact):
        return int(number)
    if kind is Kind.INTEGER:
        raise ValueError("is not a whole number")
    return number if exact else float(number)


def _calendar(value: Json, column: Column, zone: tzinfo) -> Any:
    found = moment(value, zone) if isinstance(value, str) else None
    if found is None:
        raise ValueError("is not a time")
    if column.kind is Kind.DATE:
        day = found.astimezone(zone).date() if len(str(value)) > 10 else date.fromisoformat(str(value))
        return day.isoformat() if column.raw else day
    if column.raw:
        return found.astimezone(zone).replace(tzinfo=None).isoformat(" ")
    aware = getattr(column.expression.type, "timezone", False)
    return found if aware else found.astimezone(zone).replace(tzinfo=None)


def _written_out(value: Json) -> str:
    """A value of another type in a text column."""
    return orjson.dumps(value).decode()
