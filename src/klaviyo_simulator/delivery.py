"""Sending deliveries over HTTP with retries, away from the server's loop. No redirects, as Klaviyo has it."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from klaviyo_simulator.account import Account
from klaviyo_simulator.log import Cause
from klaviyo_simulator.scheduler import DELIVERY
from klaviyo_simulator.times import iso_micro
from klaviyo_simulator.webhooks import Delivery

RETRIED = frozenset({408, 425, 429}) | frozenset(range(500, 600))


def post_once(delivery: Delivery, *, timeout: float) -> int:
    """The status the receiver answered. OSError or HTTPException when there was none."""
    parts = urlsplit(delivery.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=timeout)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        connection.request("POST", path, body=delivery.body, headers=delivery.headers)
        answer = connection.getresponse()
        answer.read(65536)
        return answer.status
    finally:
        connection.close()


class Courier:
    """Posts in a few threads; what happened is handed back to the loop by `call_soon`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="webhook")
        self.call_soon: Callable[[Callable[[], None]], None] = lambda work: work()

    def post(self, account: Account, delivery: Delivery) -> None:
        timeout = account.world.switches.webhook_timeout_seconds
        self._pool.submit(self._attempt, account, delivery, timeout)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _attempt(self, account: Account, delivery: Delivery, timeout: float) -> None:
        try:
            outcome: int | str = post_once(delivery, timeout=timeout)
        except (OSError, http.client.HTTPException) as error:
            outcome = f"{type(error).__name__}: {error}"
        self.call_soon(lambda: self._note(account, delivery, outcome))

    def _note(self, account: Account, delivery: Delivery, outcome: int | str) -> None:
        delivery.attempts.append({"time": iso_micro(account.now()), "outcome": outcome})
        if isinstance(outcome, int) and 200 <= outcome < 300:
            delivery.status = "delivered"
            account.effect("webhook.delivered", Cause(), values={"delivery": delivery.id, "events": delivery.events})
            return
        switches = account.world.switches
        again = isinstance(outcome, str) or outcome in RETRIED
        if not again or len(delivery.attempts) > switches.webhook_retries:
            delivery.status = "failed"
            account.effect("webhook.failed", Cause(), values={"delivery": delivery.id, "outcome": outcome})
            return
        delay = switches.webhook_retry_seconds * 2.0 ** (len(delivery.attempts) - 1)
        account.world.scheduler.after(delay, lambda: self.post(account, delivery), kind=DELIVERY)
