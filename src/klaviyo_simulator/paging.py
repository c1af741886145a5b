"""Pages of an ordering, and the opaque cursors between them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from urllib.parse import parse_qs, quote, urlsplit

import orjson

from klaviyo_simulator.errors import ApiError, invalid
from klaviyo_simulator.ordering import Key, Ordering
from klaviyo_simulator.query import Query


@dataclass(slots=True)
class Page:
    keys: list[Key]
    next: str | None = None
    prev: str | None = None


@dataclass(frozen=True, slots=True)
class _Position:
    key: Key
    backward: bool


def paginate(
    ordering: Ordering,
    query: Query,
    *,
    descending: bool = False,
    keep: Callable[[Key], bool] | None = None,
    after: Key | None = None,
    before: Key | None = None,
    strict: bool = True,
) -> Page:
    """One page. `after` and `before` bound the whole walk, in ascending terms and exclusively."""
    position = _position(query, strict=strict)
    backward = position is not None and position.backward
    descend = descending != backward
    if position is not None:
        after, before = (after, position.key) if descend else (position.key, before)
    walk = ordering.walk_back if descend else ordering.walk
    keys: Iterator[Key] = walk(after=after, before=before)
    chosen = list(islice(keys if keep is None else filter(keep, keys), query.size + 1))
    more = len(chosen) > query.size
    chosen = chosen[: query.size]
    if backward:
        chosen.reverse()
    has_next = more if not backward else True
    has_prev = more if backward else position is not None
    return Page(
        chosen,
        next=_cursor(chosen[-1], query, backward=False) if chosen and has_next else None,
        prev=_cursor(chosen[0], query, backward=True) if chosen and has_prev else None,
    )


def page_link(url: str, raw_query: str, cursor: str | None) -> str | None:
    """The absolute URL of another page: the request's own parameters with the cursor exchanged."""
    if cursor is None:
        return None
    kept = [
        part
        for part in raw_query.split("&")
        if part and not part.startswith(("page%5Bcursor%5D", "page[cursor]", "page%5bcursor%5d"))
    ]
    kept.append(f"page%5Bcursor%5D={quote(cursor, safe='')}")
    return f"{url}?{'&'.join(kept)}"


def _cursor(key: Key, query: Query, *, backward: bool) -> str:
    parts = [list(key), int(backward), _digest(query.fingerprint), _seal(list(key), query)]
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _seal(key: list[object], query: Query) -> str:
    """Ties a cursor to its operation, and shows that nobody made it up."""
    return _digest(f"{query.operation}:{orjson.dumps(key).decode()}")


def _position(query: Query, *, strict: bool) -> _Position | None:
    if query.cursor is None:
        return None
    cursor = bare_cursor(query.cursor)
    try:
        plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key, backward, digest, seal = orjson.loads(plain)
        position = _Position(tuple(key), bool(backward))
    except (ValueError, TypeError):
        raise wrong_cursor() from None
    forged = seal != _seal(key, query)
    if forged or (strict and digest != _digest(query.fingerprint)):
        raise wrong_cursor()
    return position


def bare_cursor(value: str) -> str:
    """The cursor itself: official clients send a stray leading `=`, or the whole URL."""
    if "page%5Bcursor%5D=" in value or "page[cursor]=" in value or value.startswith(("http:", "https:")):
        value = parse_qs(urlsplit(value).query).get("page[cursor]", [""])[0]
    return value.lstrip("=").rstrip("=")


def wrong_cursor() -> ApiError:
    return invalid("Invalid cursor provided.", parameter="page[cursor]")
