"""One authenticated call: breaker, gate, transport, and the error that stands for a bad answer.

Nothing else in the package sends anything to Klaviyo, so no call can forget its window or its breaker.
What an operation means is in `api`; this module knows operations by name only.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

import orjson
import stamina
import urllib3

from klaviyo_bridge.errors import BridgeError, OutcomeUnknown, RateLimited, Unavailable
from klaviyo_bridge.klaviyo.errors import error_from
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.limits import Limit, limit_for
from klaviyo_bridge.klaviyo.official import OfficialClient, Request
from klaviyo_bridge.klaviyo.transport import Transport

KLAVIYO = "https://a.klaviyo.com"
_EMPTY: Mapping[str, str] = MappingProxyType({})

T = TypeVar("T")


class WindowGate(Protocol):
    """What makes a call wait for its window. `gate.Gate` is one."""

    def acquire(
        self, operation: str, query: Sequence[tuple[str, str]], *, priority: Priority, deadline: float | None
    ) -> float:
        """Seconds waited. Raises RateLimited when the wait would be longer than `deadline` seconds."""
        ...

    def learn(
        self, operation: str, query: Sequence[tuple[str, str]], *, status: int, headers: Mapping[str, str]
    ) -> None:
        """Take note of an answer: a 429 pauses that operation."""
        ...


class CallBreaker(Protocol):
    """What stops calls while Klaviyo is down. `breaker.Breaker` is one."""

    def check(self) -> None:
        """Raise CircuitOpen if no call should be tried now."""
        ...

    def call(self, attempt: Callable[[], T]) -> T:
        """Run `attempt` and count how it ends. Raises CircuitOpen instead of running it."""
        ...


class CallRecorder(Protocol):
    """What counts calls. Called for every request, so it must be cheap."""

    def call(self, operation: str, status: int | None, seconds: float, waited: float) -> None:
        """One request ended; `status` is None when no answer came."""
        ...

    def throttled(self, operation: str, retry_after: float | None) -> None:
        """Klaviyo answered 429."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A 2xx answer. Header names are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The document. Raises Unavailable when it is no JSON object (a page of something in between)."""
        try:
            document: object = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise Unavailable(f"Klaviyo answered {self.status} without a JSON document")
        return cast("dict[str, Any]", document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How long a read, or a call that was never sent, is repeated on the spot. Minutes are the queue's."""

    attempts: int = 3
    first: float = 0.2
    longest: float = 2.0
    jitter: float = 0.2
    seconds: float = 15.0


class Session:
    """Calls to one account. Thread-safe; use as a context manager, or `close` it.

    Raises only errors of our tree, and they hold neither the key nor personal data.
    """

    def __init__(
        self,
        account: str,
        api_key: str,
        *,
        gate: WindowGate,
        breaker: CallBreaker,
        recorder: CallRecorder,
        host: str = KLAVIYO,
        pool: int = 32,
        retry: Retry | None = None,
        transport: Callable[..., Transport] = Transport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.account = account
        self._host = host
        self._gate = gate
        self._breaker = breaker
        self._recorder = recorder
        self._retry = retry or Retry()
        self._clock = clock
        self._official = OfficialClient(api_key, host=host, pool=pool, transport=transport)

    def call(
        self,
        operation: str,
        *,
        path: Mapping[str, str] = _EMPTY,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        priority: Priority = Priority.LIVE,
        deadline: float | None = None,
    ) -> Reply:
        """Call `operation` (a key of `LIMITS`) and return its 2xx answer.

        `deadline` bounds the wait for the window, in seconds; the gate has a default. Raises
        OutcomeUnknown for a write that may have happened; reads and calls that provably never left are
        repeated here for seconds, everything else goes back to the caller at once.
        """
        limit = limit_for(operation, query)
        request = self._official.request(limit, path, query, body)
        try:
            for attempt in stamina.retry_context(
                on=_Repeatable,
                attempts=self._retry.attempts,
                timeout=self._retry.seconds,
                wait_initial=self._retry.first,
                wait_max=self._retry.longest,
                wait_jitter=self._retry.jitter,
            ):
                with attempt:
                    return self._once(limit, query, request, priority, deadline)
        except _Repeatable as last:
            raise last.error from None
        raise AssertionError("stamina either returns or raises")

    def _once(
        self,
        limit: Limit,
        query: Sequence[tuple[str, str]],
        request: Request,
        priority: Priority,
        deadline: float | None,
    ) -> Reply:
        self._breaker.check()
        waited = self._gate.acquire(limit.operation, query, priority=priority, deadline=deadline)
        reply = self._breaker.call(lambda: self._send(limit, request, waited))
        self._gate.learn(limit.operation, query, status=reply.status, headers=reply.headers)
        if 200 <= reply.status <= 299:
            return reply
        raise self._refused(limit, reply)

    def _send(self, limit: Limit, request: Request, waited: float) -> Reply:
        """The answer, whatever its status below 500; raises for no answer and for 5xx."""
        started = self._clock()
        status = None
        try:
            answer = self._official.send(request)
            status = answer.status
        except urllib3.exceptions.HTTPError as error:
            raise _without_answer(limit, error) from None
        finally:
            self._recorder.call(limit.operation, status, self._clock() - started, waited)
        reply = Reply(answer.status, answer.headers, answer.body)
        if reply.status < 500 and reply.status not in (408, 410):
            return reply
        error = self._refused(limit, reply)
        raise _Repeatable(error) if limit.reads and self._soon(error) else error

    def _soon(self, error: BridgeError) -> bool:
        wait = error.retry_after if isinstance(error, Unavailable) else None
        return wait is None or wait <= self._retry.longest

    def _refused(self, limit: Limit, reply: Reply) -> BridgeError:
        error = error_from(reply.status, reply.headers, reply.body)
        if isinstance(error, RateLimited):
            self._recorder.throttled(limit.operation, error.retry_after)
            return error
        if isinstance(error, Unavailable) and not limit.reads and reply.status != 410:
            return OutcomeUnknown(f"{limit.operation}: {error}", retry_after=error.retry_after)
        return error

    def close(self) -> None:
        """Close the idle connections."""
        self._official.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session(account={self.account!r}, host={self._host!r})"


class _Repeatable(Exception):  # a signal to the retry above, never seen outside
    """The call may be repeated here and now: it never left, or repeating it changes nothing."""

    def __init__(self, error: BridgeError) -> None:
        super().__init__(str(error))
        self.error = error


def _without_answer(limit: Limit, error: urllib3.exceptions.HTTPError) -> Exception:
    """What to raise when no answer came. The texts of urllib3 hold the URL, hence only its class is named."""
    what = f"{limit.operation}: {type(error).__name__}"
    if _untrusted(error):
        return Unavailable(f"{what}: the certificate of the host is not trusted; nothing was sent")
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError | urllib3.exceptions.NewConnectionError):
        return _Repeatable(Unavailable(f"{what}: no connection; nothing was sent"))
    if limit.reads:
        return _Repeatable(Unavailable(f"{what}: no answer"))
    return OutcomeUnknown(f"{what}: no answer, so nobody knows whether it happened")


def _untrusted(error: urllib3.exceptions.HTTPError) -> bool:
    return isinstance(error, urllib3.exceptions.SSLError) and any(
        isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args
    )
