"""Errors as HTTP answers: one table from class to status, and `application/problem+json` bodies (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.requests import Request
from starlette.responses import Response

from klaviyo_bridge.api.bodies import BodyTooLarge
from klaviyo_bridge.errors import (
    BridgeError,
    ConsentRefused,
    DuplicateProfile,
    InvalidPayload,
    InvalidWebhook,
    NotAuthorized,
    NotFound,
    Overloaded,
    Rejected,
    Unavailable,
)

STATUS: dict[type[BridgeError], HTTPStatus] = {
    BridgeError: HTTPStatus.INTERNAL_SERVER_ERROR,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    Rejected: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidPayload: HTTPStatus.UNPROCESSABLE_ENTITY,
    BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    DuplicateProfile: HTTPStatus.CONFLICT,
    ConsentRefused: HTTPStatus.CONFLICT,
    NotFound: HTTPStatus.NOT_FOUND,
    NotAuthorized: HTTPStatus.BAD_GATEWAY,
    InvalidWebhook: HTTPStatus.UNAUTHORIZED,
}
MOST_PROBLEMS = 100


class NoApiKey(BridgeError):
    """The request carries no API key that is known here."""


STATUS[NoApiKey] = HTTPStatus.UNAUTHORIZED


def status_for(error: BridgeError) -> HTTPStatus:
    """The entry of the nearest ancestor."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


async def answer(_request: Request, error: Exception) -> Response:
    """The answer that stands for one of our errors."""
    assert isinstance(error, BridgeError)
    status = status_for(error)
    found = error.problems[:MOST_PROBLEMS] if isinstance(error, InvalidPayload) else ()
    body = {
        "type": f"urn:klaviyo-bridge:{type(error).__name__}",
        "title": status.phrase,
        "status": status.value,
        "detail": "one or more fields are wrong" if found else str(error),
        "problems": [{"where": problem.where, "what": problem.what} for problem in found],
    }
    return problem(status, body, retry_after=error.retry_after if isinstance(error, Unavailable) else None)


def problem(status: HTTPStatus, body: Mapping[str, object], *, retry_after: float | None = None) -> Response:
    """A problem document."""
    headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")
