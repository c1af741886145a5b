"""`/v1/consent/…`: subscribe, unsubscribe, suppress, unsuppress, erase; who said what, and what was refused."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from klaviyo_bridge.api.auth import Check
from klaviyo_bridge.api.bodies import read_items
from klaviyo_bridge.api.schemas import answers, body_of
from klaviyo_bridge.bridge import Bridge
from klaviyo_bridge.domain.outbox import Kind

_PERSON: dict[str, Any] = {
    "email": {"type": ["string", "null"], "format": "email"},
    "phone_number": {"type": ["string", "null"], "description": "E.164, such as +15005550006"},
    "external_id": {"type": ["string", "null"], "maxLength": 255},
    "klaviyo_id": {"type": ["string", "null"]},
}
_SOURCE: dict[str, Any] = {"source": {"type": ["string", "null"], "maxLength": 64}}
_EVIDENCE: dict[str, Any] = {"evidence": {"type": ["string", "null"], "maxLength": 2_000}}
_SCOPE: dict[str, Any] = {
    "channels": {"type": "array", "items": {"enum": ["email", "sms", "whatsapp"]}, "minItems": 1},
    "list_id": {"type": ["string", "null"], "maxLength": 64},
}
_DATED: dict[str, Any] = {
    "consented_at": {"type": ["string", "null"], "format": "date-time"},
    "historical_import": {"type": "boolean"},
}


def _schema(kind: Kind, properties: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "title": kind.value,
        "properties": {**_PERSON, **properties},
        "additionalProperties": False,
        "example": {"email": "ann@example.com", **example},
    }


_FORM = {"source": "checkout", "evidence": "newsletter box ticked, form 7"}
SCHEMAS: dict[Kind, dict[str, Any]] = {
    Kind.SUBSCRIBE: _schema(
        Kind.SUBSCRIBE,
        {**_SOURCE, **_EVIDENCE, **_SCOPE, **_DATED},
        {"channels": ["email"], "list_id": "Y6nRLr", "consented_at": "2026-10-20T12:00:00Z", **_FORM},
    ),
    Kind.UNSUBSCRIBE: _schema(Kind.UNSUBSCRIBE, {**_SOURCE, **_EVIDENCE, **_SCOPE}, {"source": "account page"}),
    Kind.SUPPRESS: _schema(Kind.SUPPRESS, {**_SOURCE, **_EVIDENCE}, {"source": "support"}),
    Kind.UNSUPPRESS: _schema(Kind.UNSUPPRESS, {**_SOURCE, **_EVIDENCE}, {"source": "support"}),
    Kind.ERASE: _schema(Kind.ERASE, _SOURCE, {"source": "privacy request"}),
}
_WHAT: dict[Kind, str] = {
    Kind.SUBSCRIBE: "Subscribe people. Against a newer opt-out only `consented_at` after it helps; else refused.",
    Kind.UNSUBSCRIBE: "Unsubscribe people, everywhere or from one list, and never wider than asked.",
    Kind.SUPPRESS: "Send these people no email.",
    Kind.UNSUPPRESS: "Lift suppressions made by hand or by `suppress`.",
    Kind.ERASE: "Forget these people, at Klaviyo and here. What comes for them later is refused.",
}
_TAKEN: dict[str, Any] = {
    "description": "On disk and on its way, but for the refused",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["accepted", "refused"],
                "properties": {
                    "accepted": {"type": "integer"},
                    "refused": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["index", "reason"],
                            "properties": {"index": {"type": "integer"}, "reason": {"type": "string"}},
                        },
                    },
                },
            },
            "example": {"accepted": 1, "refused": [{"index": 1, "reason": "unsubscribed"}]},
        }
    },
}


def consent_routes(bridge: Bridge, authorized: Check) -> APIRouter:
    """The routes about consent."""
    router = APIRouter(prefix="/v1/consent", dependencies=[Depends(authorized)], tags=["consent"])
    for kind in SCHEMAS:
        _add_request(router, bridge, kind)

    @router.get("/refusals", responses=answers(401, 422))
    def refusals(
        after: Annotated[int, Query(ge=0, le=2**53)] = 0, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
    ) -> list[dict[str, Any]]:
        """What consent forbade, oldest first; `after` is the last `id` of the page before."""
        return bridge.consent.refusals(after=after, limit=limit)

    @router.get("", responses=answers(401, 422))
    def history(
        email: str | None = None, phone_number: str | None = None, external_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Every record about the person, oldest first."""
        named = {"email": email, "phone_number": phone_number, "external_id": external_id}
        return [asdict(record) for record in bridge.consent.history(named)]

    return router


def _add_request(router: APIRouter, bridge: Bridge, kind: Kind) -> None:
    async def ask(request: Request) -> Response:
        items, many = await read_items(request, name="requests")
        asked = await run_in_threadpool(bridge.consent.ask, kind, items, many=many)
        body = {"accepted": asked.queued, "refused": [asdict(refusal) for refusal in asked.refused]}
        return Response(orjson.dumps(body), 202, media_type="application/json")

    router.add_api_route(
        f"/{kind.value}",
        ask,
        methods=["POST"],
        status_code=202,
        name=kind.value,
        description=_WHAT[kind],
        responses={202: _TAKEN, **answers(401, 413, 422, 503)},
        openapi_extra=body_of(SCHEMAS[kind]),
    )
