"""`/metrics`: the numbers for Prometheus. No label names a person, so it is as open as `/health`."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import Response

from klaviyo_bridge.api.errors import problem
from klaviyo_bridge.bridge import Bridge


def metrics_routes(bridge: Bridge) -> APIRouter:
    """The route; without the extra `otel` it answers 501 and says what to install."""
    router = APIRouter(tags=["health"])
    expose = bridge.telemetry.expose

    @router.get("/metrics", responses={501: {"description": "The extra `otel` is not installed"}})
    def metrics() -> Response:
        """Every metric of docs/reference/metrics.md, in Prometheus's text format."""
        if expose is None:
            return _not_installed()
        exposition = expose()
        return Response(exposition.body, headers={"content-type": exposition.content_type})

    return router


def _not_installed() -> Response:
    status = HTTPStatus.NOT_IMPLEMENTED
    body: dict[str, object] = {
        "type": "urn:klaviyo-bridge:NotInstalled",
        "title": status.phrase,
        "status": status.value,
        "detail": "metrics need the extra otel: pip install 'klaviyo-bridge[otel]'",
        "problems": [],
    }
    return problem(status, body)
