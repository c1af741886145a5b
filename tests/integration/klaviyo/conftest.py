"""A server that says exactly what a test tells it to, byte by byte, and remembers what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.breaker import Breaker, MemoryBreakerStore
from klaviyo_bridge.klaviyo.gate import Gate, MemoryGateStore
from klaviyo_bridge.klaviyo.session import Retry, Session
from klaviyo_bridge.klaviyo.transport import Transport

KEY = "pk_canary_0123456789"


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Behaviour = Callable[[Asked, socket.socket], bytes | None]


def answer(
    status: int = 200, document: Any = None, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """The bytes of an HTTP answer."""
    body = body if body is not None else (b"" if document is None else orjson.dumps(document))
    fields = {"Content-Length": str(len(body)), "Content-Type": "application/vnd.api+json", **(headers or {})}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Stub:
    """Serves one scripted behaviour after the other; the last one for ever."""

    behaviours: list[Behaviour | bytes] = field(default_factory=list[Any])
    asked: list[Asked] = field(default_factory=list[Asked])
    answer: Callable[..., bytes] = answer
    url: str = ""

    def says(self, *behaviours: Behaviour | bytes) -> None:
        self.behaviours[:] = behaviours

    def next(self) -> Behaviour | bytes:
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


def _read(stream: Any) -> Asked | None:
    start = stream.readline()
    if not start.strip():
        return None
    method, target, _ = start.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(method, target, headers, stream.read(int(headers.get("content-length", 0))))


def _serve(stub: Stub, connection: socket.socket) -> None:
    with suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
        while (asked := _read(stream)) is not None:
            stub.asked.append(asked)
            behaviour = stub.next()
            reply = behaviour if isinstance(behaviour, bytes) else behaviour(asked, connection)
            if reply is None:
                return
            connection.sendall(reply)


@pytest.fixture
def stub() -> Iterator[Stub]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Stub(url=f"http://127.0.0.1:{listener.getsockname()[1]}")

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_serve, args=(server, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server
    listener.close()


@dataclass
class Recorded:
    """What was counted."""

    calls: list[tuple[str, int | None]] = field(default_factory=list[Any])
    throttles: list[tuple[str, float | None]] = field(default_factory=list[Any])

    def call(self, operation: str, status: int | None, seconds: float, waited: float) -> None:
        self.calls.append((operation, status))

    def throttled(self, operation: str, retry_after: float | None) -> None:
        self.throttles.append((operation, retry_after))


@dataclass
class Client:
    """A session over the stub, with all its parts at hand."""

    session: Session
    api: KlaviyoAPI
    recorder: Recorded
    gate: Gate
    breaker: Breaker


Connect = Callable[..., Client]


@pytest.fixture
def connect(stub: Stub) -> Iterator[Connect]:
    """Build clients of the stub; `attempts` is how often a read is tried, the time-outs are seconds."""
    sessions: list[Session] = []

    def build(
        *,
        attempts: int = 1,
        read: float = 5.0,
        max_answer: int = 4_000_000,
        failures: int = 100,
        host: str | None = None,
        **options: Any,
    ) -> Client:
        def transport(configuration: Any, *, tls: Any, pool: int) -> Transport:
            return Transport(configuration, tls=tls, pool=pool, connect=2.0, read=read, max_answer=max_answer)

        recorder = Recorded()
        gate = Gate("acc", MemoryGateStore())
        breaker = Breaker("acc", MemoryBreakerStore(), failures=failures, stale_seconds=0)
        session = Session(
            "acc",
            KEY,
            gate=gate,
            breaker=breaker,
            recorder=recorder,
            host=host or stub.url,
            retry=Retry(attempts=attempts, first=0.01, longest=0.05, jitter=0.01),
            transport=transport,
            **options,
        )
        sessions.append(session)
        return Client(session, KlaviyoAPI(session), recorder, gate, breaker)

    yield build
    for session in sessions:
        session.close()


def errors(*items: Sequence[str | Mapping[str, Any]]) -> dict[str, Any]:
    """A JSON:API error document from (code, title, detail, pointer) tuples."""
    keys = ("code", "title", "detail")
    return {
        "errors": [{**dict(zip(keys, item, strict=False)), "id": "e", "source": {"pointer": item[3]}} for item in items]
    }
