"""The ASGI application: reads requests, lets the door answer, carries out faults on the socket.

Writes the log.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from klaviyo_simulator.control import Control
from klaviyo_simulator.door import Answer, Door, Request
from klaviyo_simulator.faults import Rule
from klaviyo_simulator.log import BODY_LIMIT, RequestEntry
from klaviyo_simulator.mischief import AFTER, BEFORE, altered, delay_of, replacing
from klaviyo_simulator.pages import Pages
from klaviyo_simulator.simulator import Simulator

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

IDLE_SECONDS = 0.01
SMALLEST_GZIP = 2048
LARGEST_BODY = 64 * 1024 * 1024
LARGE_BODY = 1_000_000
MOST_LOAD = 20_000
PATIENCE = 2.0
LOG = logging.getLogger(__name__)
TRANSPORT = "klaviyo_simulator.transport"


class App:
    """Serves one simulator: /api, /client and /oauth as Klaviyo, /_simulator for control, / for people."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._door = Door(simulator)
        self._control = Control(simulator)
        self._pages = Pages(simulator)
        self._ticker: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(("/api/", "/client/", "/oauth/")):
                await self._serve(scope, receive, send)
            else:
                page = self._pages.answer(path) if scope["method"] == "GET" else None
                answer = page or self._control.answer(
                    scope["method"], path, scope["query_string"].decode(), await _read(receive)
                )
                await _send(send, answer)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.simulator.courier.call_soon = partial(_call_soon, asyncio.get_running_loop())
                self._ticker = asyncio.create_task(self._tick())
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._ticker is not None:
                    self._ticker.cancel()
                self.simulator.courier.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _tick(self) -> None:
        while True:
            more = self._run_due()
            await asyncio.sleep(0 if more else IDLE_SECONDS)

    def _run_due(self) -> bool:
        try:
            return self.simulator.world.scheduler.run_due()
        except Exception:
            LOG.exception("the simulator failed at accepted work")
            return True

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = self._open(scope)
        self._door.admit(request)
        faults = self.simulator.world.faults
        before = self._fire(request, BEFORE) if faults.rules else []
        if await self._interrupted(before, scope, receive, request.entry):
            return
        raw = await _read(receive)
        request.entry.body, request.entry.body_length = raw[:BODY_LIMIT], len(raw)
        if len(raw) > LARGE_BODY:
            await self._breathe()
        answer = self._answer(request, raw, before)
        if faults.rules:
            after = self._fire(request, AFTER)
            await asyncio.sleep(delay_of(before, faults.rng, after=True))
            self._close(request.entry, answer, started)
            await self._send_badly(scope, receive, send, altered(answer, after), after)
            return
        self._close(request.entry, answer, started)
        await _send(send, _compressed(answer, request.headers))

    async def _breathe(self) -> None:
        """Let earlier bulk jobs be applied first, so that bodies do not pile up; two seconds at most."""
        world, until = self.simulator.world, time.monotonic() + PATIENCE
        while world.scheduler.load > MOST_LOAD and world.clock.speed > 0 and time.monotonic() < until:
            await asyncio.sleep(IDLE_SECONDS / 5)

    def _open(self, scope: Scope) -> Request:
        log, world = self.simulator.world.log, self.simulator.world
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        raw_query = scope["query_string"].decode("latin-1")
        entry = RequestEntry(
            sequence=log.request_count + 1,
            time=world.now(),
            account_id=None,
            operation=None,
            method=scope["method"],
            path=scope["path"],
            query=raw_query,
            headers=scope["headers"],
            body=b"",
            body_length=0,
        )
        log.open(entry)
        return Request(
            method=scope["method"],
            path=scope["path"],
            raw_query=raw_query,
            headers=headers,
            base=f"{scope['scheme']}://{headers.get('host', 'localhost')}",
            entry=entry,
        )

    def _close(self, entry: RequestEntry, answer: Answer, started: float) -> None:
        entry.status = answer.status
        entry.duration = time.perf_counter() - started
        entry.answer = answer.body[:BODY_LIMIT]
        self.simulator.world.log.close(entry)

    def _fire(self, request: Request, kinds: tuple[str, ...]) -> list[Rule]:
        operation = request.operation.id if request.operation else "unknown"
        rules = self.simulator.world.faults.fire(operation, request.entry.account_id, kinds)
        if rules:
            names = [rule.kind for rule in rules]
            request.entry.fault = ",".join([request.entry.fault, *names] if request.entry.fault else names)
        return rules

    async def _interrupted(self, rules: list[Rule], scope: Scope, receive: Receive, entry: RequestEntry) -> bool:
        """Carry out what happens before the body is read; True when the request ends here."""
        if not rules:
            return False
        await asyncio.sleep(delay_of(rules, self.simulator.world.faults.rng, after=False))
        for rule in rules:
            if rule.kind in ("reset_before", "hang"):
                if rule.kind == "hang":
                    await asyncio.sleep(rule.number("seconds", 60.0))
                self.simulator.world.log.close(entry)
                await _reset(scope, receive)
                return True
        return False

    def _answer(self, request: Request, raw: bytes, rules: list[Rule]) -> Answer:
        new_id = self.simulator.world.ids.uuid
        instead = next((rule for rule in rules if rule.kind in ("status", "html", "body")), None)
        if instead is None:
            return self._answer_or_500(request, raw)
        if instead.params.get("effect"):
            self._door.answer(request, raw)
        return replacing(instead, new_id)

    def _answer_or_500(self, request: Request, raw: bytes) -> Answer:
        try:
            return self._door.answer(request, raw)
        except Exception:
            LOG.exception("the simulator failed on %s %s", request.method, request.path)
            return self._door.failed()

    async def _send_badly(self, scope: Scope, receive: Receive, send: Send, answer: Answer, rules: list[Rule]) -> None:
        bad = next((rule for rule in rules if rule.kind in _BAD_SENDERS), None)
        if bad is None:
            await _send(send, answer)
            return
        await _BAD_SENDERS[bad.kind](scope, receive, send, answer, bad)


def _call_soon(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(work)


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts, length = [body], len(body)
    while message.get("more_body") and length < LARGEST_BODY:
        message = await receive()
        parts.append(message.get("body", b""))
        length += len(parts[-1])
    return b"".join(parts)


def _compressed(answer: Answer, headers: dict[str, str] | Any) -> Answer:
    if len(answer.body) < SMALLEST_GZIP or "gzip" not in headers.get("accept-encoding", ""):
        return answer
    body = gzip.compress(answer.body, 1, mtime=0)
    return Answer(answer.status, body, [*answer.headers, (b"Content-Encoding", b"gzip")])


async def _start(send: Send, answer: Answer) -> None:
    length = (b"Content-Length", str(len(answer.body)).encode())
    headers = answer.headers if answer.status == 204 else [*answer.headers, length]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _send(send: Send, answer: Answer) -> None:
    await _start(send, answer)
    await send({"type": "http.response.body", "body": answer.body})


async def _reset(scope: Scope, receive: Receive) -> None:
    """Close the connection with RST instead of FIN, and wait until the server has noticed."""
    transport = scope.get(TRANSPORT)
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reset_after(scope: Scope, receive: Receive, send: Send, answer: Answer, rule: Rule) -> None:
    await _reset(scope, receive)


async def _reset_during(scope: Scope, receive: Receive, send: Send, answer: Answer, rule: Rule) -> None:
    await _start(send, answer)
    half = answer.body[: max(1, len(answer.body) // 2)]
    await send({"type": "http.response.body", "body": half, "more_body": True})
    await asyncio.sleep(0.05)
    await _reset(scope, receive)


async def _truncate(scope: Scope, receive: Receive, send: Send, answer: Answer, rule: Rule) -> None:
    await _start(send, answer)
    kept = answer.body[: int(len(answer.body) * rule.number("fraction", 0.5))]
    await send({"type": "http.response.body", "body": kept, "more_body": True})
    transport = scope.get(TRANSPORT)
    if transport is not None:
        transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _slowly(scope: Scope, receive: Receive, send: Send, answer: Answer, rule: Rule) -> None:
    await _start(send, answer)
    size, pause = max(1, int(rule.number("chunk", 16))), rule.number("seconds", 0.05)
    for at in range(0, len(answer.body), size):
        await send({"type": "http.response.body", "body": answer.body[at : at + size], "more_body": True})
        await asyncio.sleep(pause)
    await send({"type": "http.response.body", "body": b""})


_BAD_SENDERS = {
    "reset_after": _reset_after,
    "reset_during": _reset_during,
    "truncate": _truncate,
    "slow_body": _slowly,
}
