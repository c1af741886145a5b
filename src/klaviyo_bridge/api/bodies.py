"""Request bodies: bounded before they are read, and parsed once."""

from __future__ import annotations

from typing import Any, cast

import orjson
from starlette.requests import Request

from klaviyo_bridge.errors import InvalidPayload, Problem

MAX_BODY = 5_000_000  # bytes, as Klaviyo's own bound
MAX_ITEMS = 10_000
NDJSON = "application/x-ndjson"


class BodyTooLarge(InvalidPayload):
    """The body is larger than this route takes."""


async def read_body(request: Request, *, most: int = MAX_BODY) -> bytes:
    """The raw body; raises `BodyTooLarge` as soon as it is known to be larger than `most` bytes."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise BodyTooLarge(problems=[Problem("body", f"is larger than {most} bytes")])
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise BodyTooLarge(problems=[Problem("body", f"is larger than {most} bytes")])
        parts.append(part)
    return b"".join(parts)


async def read_items(request: Request, *, name: str) -> tuple[list[dict[str, Any]], bool]:
    """The objects in the body (one; an array of up to 10,000; or as many lines of `application/x-ndjson`), and
    whether there could have been several.

    Raises `InvalidPayload` for anything else.
    """
    body = await read_body(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == NDJSON:
        items, many = _lines(body), True
    else:
        document = _parsed(body, "body")
        many = isinstance(document, list)
        items = cast(list[Any], document if many else [document])
    if len(items) > MAX_ITEMS:
        raise InvalidPayload(problems=[Problem("body", f"holds {len(items)} {name}; at most {MAX_ITEMS} fit")])
    wrong = [index for index, item in enumerate(items) if not isinstance(item, dict)]
    if wrong:
        raise InvalidPayload(problems=[Problem(f"{name}[{index}]", "is not an object") for index in wrong[:100]])
    return items, many


def _lines(body: bytes) -> list[Any]:
    lines = [line for line in body.split(b"\n") if line.strip()]
    return [_parsed(line, f"line {number}") for number, line in enumerate(lines[: MAX_ITEMS + 1], start=1)]


def _parsed(text: bytes, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidPayload(problems=[Problem(where, f"is not JSON: {error.msg} at byte {error.pos}")]) from None
