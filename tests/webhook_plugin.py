"""What an installed package with webhook handlers may look like."""

from __future__ import annotations

from collections.abc import Sequence

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.webhooks.router import Router


def handler(_events: Sequence[WebhookEvent]) -> None: ...


HANDLERS = {"list.member.*": handler}


def register(router: Router) -> None:
    router.add("flow:*", handler)


def broken(_router: Router) -> None:
    raise RuntimeError
