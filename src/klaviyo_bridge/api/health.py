"""`/health/live`, `/health/ready` and `/health`: for probes and for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from klaviyo_bridge.bridge import Bridge
from klaviyo_bridge.services.health import worst

_SIMPLE: dict[int | str, dict[str, Any]] = {503: {"description": "Not ready; `problem` says why"}}


def health_routes(bridge: Bridge) -> APIRouter:
    """The health routes; an answer is reused for a second, so a probe costs nothing."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @router.get("/ready", responses=_SIMPLE)
    def ready() -> Response:
        """Rows are taken and sent."""
        report = bridge.health.report()
        body = {"status": "ready" if report.ready else "not ready", "problem": report.problem}
        return _json(body, ready=report.ready)

    @router.get("", responses=_SIMPLE)
    def parts() -> Response:
        """Counts and ages, and each part with its status (`ok`, `warn`, `fail`), a finding, and advice."""
        report, found = bridge.health.report(), bridge.health.parts()
        body = {"status": worst(found), **asdict(report), "parts": [asdict(part) for part in found]}
        return _json(body, ready=report.ready)

    return router


def _json(body: dict[str, Any], *, ready: bool) -> Response:
    return Response(orjson.dumps(body), 200 if ready else 503, media_type="application/json")
