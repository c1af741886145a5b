"""Reading Klaviyo's documents: resources, pages and cursors. And the query of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

from klaviyo_bridge.errors import InvalidPayload, Problem, Unavailable
from klaviyo_bridge.klaviyo.limits import PAGE_SIZES
from klaviyo_bridge.klaviyo.session import Reply
from klaviyo_bridge.klaviyo.types import Page

T = TypeVar("T")
Parse = Callable[[Mapping[str, Any]], T]
Query = list[tuple[str, str]]


def resource(reply: Reply) -> Mapping[str, Any]:
    """The one resource of the answer. Raises Unavailable if there is none: what was asked for is not known."""
    data: object = reply.json().get("data")
    if not isinstance(data, dict):
        raise Unavailable(f"Klaviyo answered {reply.status} without a resource")
    return cast("Mapping[str, Any]", data)


def accepted(reply: Reply) -> Mapping[str, Any]:
    """The resource of a write that Klaviyo took, or an empty one: it must not look refused for what it says."""
    try:
        return resource(reply)
    except Unavailable:
        return {}


def page(reply: Reply, parse: Parse[T]) -> Page[T]:
    """One page. Its cursor is taken from `links.next` by us, bare.

    Raises Unavailable for a document without a list: it must not look like the end of all pages.
    """
    document = reply.json()
    data: object = document.get("data")
    if not isinstance(data, list):
        raise Unavailable(f"Klaviyo answered {reply.status} without a page")
    resources = [cast("Mapping[str, Any]", item) for item in cast("list[object]", data) if isinstance(item, dict)]
    return Page([parse(item) for item in resources], next_cursor(document))


def next_cursor(document: Mapping[str, Any]) -> str | None:
    """The bare cursor of the next page; the SDK would send it with an `=` in front, or a whole URL."""
    return _next(document, "page[cursor]")


def next_page_cursor(document: Mapping[str, Any]) -> str | None:
    """The same for reports, which spell it `page_cursor`."""
    return _next(document, "page_cursor") or _next(document, "page[cursor]")


def _next(document: Mapping[str, Any], parameter: str) -> str | None:
    links: object = document.get("links")
    link: object = cast("Mapping[str, object]", links).get("next") if isinstance(links, dict) else None
    if not isinstance(link, str):
        return None
    found = parse_qs(urlsplit(link).query).get(parameter)
    # Base64 knows `+` and no space, and a query that was not encoded turns one into the other.
    return found[0].replace(" ", "+") if found else None


def page_query(
    operation: str,
    *,
    filter: str | None = None,  # noqa: A002  # Klaviyo's word
    sort: str | None = None,
    cursor: str | None = None,
    size: int | None = None,
) -> Query:
    """The query of a page, of what is given. Raises InvalidPayload for a page larger than Klaviyo's largest."""
    _check_size(operation, size)
    known = {
        "filter": filter,
        "sort": sort,
        "page[size]": str(size) if size else None,
        "page[cursor]": cursor,
    }
    return [(name, value) for name, value in known.items() if value]


def every(read: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """All items of all pages. A cursor that comes twice ends the walk instead of repeating it for ever."""
    cursor: str | None = None
    seen: set[str | None] = set()
    while cursor not in seen:
        seen.add(cursor)
        found = read(cursor)
        yield from found.items
        if found.next_cursor is None:
            return
        cursor = found.next_cursor


def _check_size(operation: str, size: int | None) -> None:
    largest = PAGE_SIZES.get(operation, 0)
    if size is not None and not 1 <= size <= largest:
        raise InvalidPayload(problems=[Problem("page[size]", f"must be between 1 and {largest}")])
