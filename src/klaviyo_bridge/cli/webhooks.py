"""`klaviyo-bridge webhooks …`: Klaviyo's webhooks, a delivery of one's own to test with, and what arrives."""

from __future__ import annotations

import http.client
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import typer

from klaviyo_bridge.bridge import Bridge, open_bridge
from klaviyo_bridge.config import load_settings
from klaviyo_bridge.domain.webhook import event_payload
from klaviyo_bridge.errors import BridgeError, ConfigError
from klaviyo_bridge.services.webhook_subscriptions import Subscription
from klaviyo_bridge.webhooks.verify import sign

LOOK_EVERY = 0.2  # seconds between two looks into the inbox


@contextmanager
def a_bridge() -> Generator[Bridge]:
    """The bridge of the settings; one of our errors ends the command with its message and exit code 1."""
    try:
        with open_bridge(load_settings()) as bridge:
            yield bridge
    except ConfigError:
        raise
    except BridgeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def show(document: Any, *, as_json: bool, lines: Sequence[str]) -> None:
    """One JSON document, or lines for people."""
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() if as_json else "\n".join(lines)
    if text:
        typer.echo(text)


def show_subscriptions(found: Sequence[Subscription], *, as_json: bool) -> None:
    lines = [f"{one.id}  {'enabled ' if one.enabled else 'disabled'}  {one.name}  {one.endpoint_url}" for one in found]
    show([asdict(one) for one in found], as_json=as_json, lines=lines)


def trigger(topic: str, *, url: str | None, profile_id: str, properties: str) -> int:
    """Send one signed event to our own endpoint; the status it answered."""
    settings = load_settings()
    if not settings.klaviyo_webhook_signing_secret:
        raise ConfigError("KLAVIYO_WEBHOOK_SIGNING_SECRET is not set, so nothing can be signed")
    secret = settings.klaviyo_webhook_signing_secret[0].get_secret_value()
    body = a_delivery(topic, profile_id=profile_id, properties=orjson.loads(properties), now=datetime.now(UTC))
    target = url or f"http://{settings.host}:{settings.port}/webhooks/klaviyo"
    return _post(target, body, secret)


def a_delivery(topic: str, *, profile_id: str, properties: Any, now: datetime) -> bytes:
    """The body of a delivery with one event."""
    event_id = f"test-{uuid4().hex}"
    payload = event_payload(event_id, profile_id=profile_id, time=now, properties=properties)
    meta = {
        "timestamp": now.isoformat(),
        "klaviyo_webhook_id": "0" * 64,
        "klaviyo_account_id": load_settings().klaviyo_public_key or "TEST00",
        "version": "2024-06-28",
    }
    return orjson.dumps({"data": [{"external_id": event_id, "topic": topic, "payload": payload}], "meta": meta})


def _post(url: str, body: bytes, secret: str) -> int:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    timestamp = format_datetime(datetime.now(UTC), usegmt=True)
    headers = {
        "Content-Type": "application/json",
        "Klaviyo-Signature": sign(body, timestamp, secret),
        "Klaviyo-Timestamp": timestamp,
        "Klaviyo-Webhook-Id": "0" * 64,
    }
    connection = kind(parts.netloc, timeout=30)
    try:
        connection.request("POST", parts.path or "/", body=body, headers=headers)
        return connection.getresponse().status
    except OSError as error:
        raise ConfigError(f"{url} cannot be reached ({type(error).__name__}); is the service running?") from None
    finally:
        connection.close()


def listen(*, count: int | None, as_json: bool, payload: bool) -> None:
    """Print events as they arrive, until interrupted or `count` came."""
    with a_bridge() as bridge:
        last, left = bridge.inbox.newest(), count
        while left is None or left > 0:
            arrived = list(bridge.inbox.after(last, limit=left or 500))
            for last, state, at, event in arrived:
                shown = {"id": last, "at": at, "state": state, "topic": event.topic, "external_id": event.external_id}
                shown |= {"profile_id": event.profile_id} | ({"payload": event.payload} if payload else {})
                typer.echo(orjson.dumps(shown).decode() if as_json else _line(shown))
            left = None if left is None else left - len(arrived)
            if not arrived:
                time.sleep(LOOK_EVERY)


def _line(shown: dict[str, Any]) -> str:
    extra = f"  {orjson.dumps(shown['payload']).decode()}" if "payload" in shown else ""
    return f"{shown['at']:%H:%M:%S}  {shown['topic']}  {shown['external_id']}  {shown['profile_id'] or '-'}{extra}"
