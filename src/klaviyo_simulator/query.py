"""Query parameters: which an operation allows, and what a request asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from klaviyo_simulator.errors import ApiError, invalid
from klaviyo_simulator.filters import Allowed, Condition, parse_filter

Names = frozenset[str]


def names(text: str) -> Names:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySpec:
    """What may be asked. `page` is (default, maximum); None with `cursor` means a fixed page."""

    fields: Mapping[str, Names] = field(default_factory=dict[str, Names])
    additional: Mapping[str, Names] = field(default_factory=dict[str, Names])
    include: Names = frozenset()
    filters: Mapping[str, Allowed] = field(default_factory=dict[str, Allowed])
    filter_required: str | None = None
    sort: Names = frozenset()
    page: tuple[int, int] | None = None
    cursor: bool = False
    extra: Names = frozenset()
    free: bool = False


@dataclass(slots=True, kw_only=True)
class Query:
    """What was asked. `size` is filled with the operation's default."""

    fields: dict[str, Names] = field(default_factory=dict[str, Names])
    additional: dict[str, Names] = field(default_factory=dict[str, Names])
    include: tuple[str, ...] = ()
    conditions: list[Condition] = field(default_factory=list[Condition])
    sort: str | None = None
    size: int = 0
    cursor: str | None = None
    fingerprint: str = ""
    operation: str = ""
    extra: dict[str, str] = field(default_factory=dict[str, str])

    def condition(self, name: str) -> Condition | None:
        return next((item for item in self.conditions if item.field == name), None)


def parse_query(raw: str, spec: QuerySpec, *, operation: str = "", strict: bool = True, fixed_size: int = 200) -> Query:
    """ApiError 400 names the parameter that is wrong."""
    query = Query(size=spec.page[0] if spec.page else fixed_size, operation=operation)
    if not raw and spec.filter_required is None:
        return query
    for name, value in parse_qsl(raw, keep_blank_values=True):
        if not _read(query, spec, name, value) and strict and not spec.free:
            raise invalid(f"'{name}' is not a valid query parameter for this endpoint.", parameter=name)
    if spec.filter_required and query.condition(spec.filter_required) is None:
        detail = f"A filter on '{spec.filter_required}' is required for this endpoint."
        raise invalid(detail, parameter="filter")
    return query


def _read(query: Query, spec: QuerySpec, name: str, value: str) -> bool:
    """Take one parameter over; False when the operation does not know it."""
    if name.startswith("fields["):
        return _read_fields(query.fields, spec.fields, name, value)
    if name.startswith("additional-fields["):
        return _read_fields(query.additional, spec.additional, name, value)
    if name in _READERS:
        return _READERS[name](query, spec, value)
    if name in spec.extra or spec.free:
        query.extra[name] = value
        return True
    return False


def _read_fields(into: dict[str, Names], allowed: Mapping[str, Names], name: str, value: str) -> bool:
    kind = name[name.index("[") + 1 : -1]
    if kind not in allowed:
        return False
    wanted = frozenset(part for part in value.split(",") if part)
    for unknown in sorted(wanted - allowed[kind]):
        raise invalid(f"'{unknown}' is not a valid field for the resource '{kind}'.", parameter=name)
    into[kind] = wanted
    return True


def _read_include(query: Query, spec: QuerySpec, value: str) -> bool:
    wanted = tuple(part for part in value.split(",") if part)
    for part in wanted:
        if part not in spec.include:
            detail = f"'{part}' is not an allowed include parameter for this resource."
            raise invalid(detail, parameter="include")
    query.include = wanted
    return True


def _read_filter(query: Query, spec: QuerySpec, value: str) -> bool:
    if not spec.filters:
        return False
    query.conditions = parse_filter(value, spec.filters)
    query.fingerprint += f"filter={value};"
    return True


def _read_sort(query: Query, spec: QuerySpec, value: str) -> bool:
    if not spec.sort:
        return False
    if value.removeprefix("-") not in spec.sort:
        detail = f"'{value}' is not an allowed sort field for this resource."
        raise invalid(detail, parameter="sort")
    query.sort = value
    query.fingerprint += f"sort={value};"
    return True


def _read_size(query: Query, spec: QuerySpec, value: str) -> bool:
    if spec.page is None:
        return False
    if not value.isdecimal() or not 1 <= int(value) <= spec.page[1]:
        raise wrong_size(spec.page[1])
    query.size = int(value)
    return True


def wrong_size(most: int) -> ApiError:
    return invalid(f"Page size must be an integer between 1 and {most}.", parameter="page[size]")


def _read_cursor(query: Query, spec: QuerySpec, value: str) -> bool:
    if spec.page is None and not spec.cursor:
        return False
    query.cursor = value or None
    return True


_READERS = {
    "include": _read_include,
    "filter": _read_filter,
    "sort": _read_sort,
    "page[size]": _read_size,
    "page[cursor]": _read_cursor,
}
