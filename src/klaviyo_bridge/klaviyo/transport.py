"""How bytes reach Klaviyo: one subclass of the official SDK's REST client, and the sockets below it.

Every call of every kind goes through here. The SDK's own client has no time-out, loads the certificate
bundle for each connection, lets urllib3 repeat reads and obey `Retry-After` behind our back, follows
redirects with the key in hand, and reads answers of any size. This one does none of that.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from typing import Any, cast

import orjson
import urllib3
from openapi_client.configuration import Configuration
from openapi_client.rest import RESTClientObject, RESTResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
UPLOAD_SECONDS = 10.0
UPLOAD_BYTES_PER_SECOND = 250_000
"""The slowest uplink we put up with: 5 MB may take 30 s."""
MAX_ANSWER_BYTES = 64_000_000
MAX_ERROR_BYTES = 1_000_000
_CHUNK = 65_536


class AnswerTooLarge(urllib3.exceptions.HTTPError):
    """The answer is longer than any that Klaviyo has reason to send."""


class Transport(RESTClientObject):
    """Sends bytes, reads the whole answer within its time and size, and decides nothing.

    Raises `urllib3.exceptions.HTTPError` when there is no answer. An error answer that is too long is cut.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        tls: ssl.SSLContext,
        pool: int,
        connect: float = CONNECT_SECONDS,
        read: float = READ_SECONDS,
        max_answer: int = MAX_ANSWER_BYTES,
    ) -> None:
        configuration.connection_pool_maxsize = pool
        super().__init__(configuration)
        self.pool_manager = urllib3.PoolManager(num_pools=2, maxsize=pool, retries=False, ssl_context=tls)
        self.pool_manager.pool_classes_by_scheme = dict[str, Any](http=_Pool, https=_TLSPool)
        self._connect = connect
        self._read = read
        self._max_answer = max_answer

    def request(  # pyright: ignore[reportIncompatibleMethodOverride]  # the base class has no annotations
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: object = None,
        post_params: object = None,
        _request_timeout: float | tuple[float, float] | None = None,
    ) -> RESTResponse:
        """One HTTP request, one answer. A number as `_request_timeout` bounds the wait for the answer."""
        if post_params:
            raise ValueError("forms are not sent")
        answer = self.pool_manager.urlopen(
            method,
            url,
            body=_bytes(body),
            headers=headers or {},
            timeout=self._timeout(_request_timeout),
            preload_content=False,
            redirect=False,
        )
        return self._whole(answer)

    def close(self) -> None:
        """Close the idle connections."""
        self.pool_manager.clear()

    def _timeout(self, asked: float | tuple[float, float] | None) -> urllib3.Timeout:
        connect, read = asked if isinstance(asked, tuple) else (self._connect, asked or self._read)
        return urllib3.Timeout(connect=min(connect, self._connect), read=min(read, self._read))

    def _whole(self, answer: urllib3.BaseHTTPResponse) -> RESTResponse:
        """The answer with its body read: a bomb stops at the limit, an error's body is cut there."""
        failed = not 200 <= answer.status <= 299
        limit = MAX_ERROR_BYTES if failed else self._max_answer
        body = bytearray()
        try:
            for chunk in answer.stream(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > limit:
                    break
        except urllib3.exceptions.HTTPError:
            answer.close()
            if not failed:
                raise
        if len(body) > limit:
            answer.close()
            if not failed:
                raise AnswerTooLarge(f"the answer is longer than {limit} bytes")
        answer.release_conn()
        whole = RESTResponse(answer)
        whole.data = bytes(body[:limit])
        return whole


def tls_context() -> ssl.SSLContext:
    """Certificates verified, TLS 1.2 or newer. Loading the bundle costs 17 ms: make one and share it."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _bytes(body: object) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else orjson.dumps(body)


class _TimedSocket:
    """A socket whose time-out covers everything until the next `settimeout`, not each single read.

    A server that sends one byte a second never trips an ordinary socket's time-out.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._end: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._sock.settimeout(seconds)

    def sendall(self, data: bytes, flags: int = 0) -> None:
        self.arm()
        self._sock.sendall(data, flags)

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        raw = self._sock.makefile("rb", buffering=0)
        return io.BufferedReader(_TimedReader(self, raw))

    def arm(self) -> None:
        """Give the next operation what is left of the time."""
        if self._end is None:
            return
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the answer is over")
        self._sock.settimeout(left)


class _TimedReader(io.RawIOBase):
    def __init__(self, timed: _TimedSocket, raw: io.RawIOBase) -> None:
        self._timed = timed
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._timed.arm()
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock = cast("socket.socket", _TimedSocket(cast("socket.socket", self.sock)))

    def send(self, data: Any) -> None:
        _time_upload(self, data)
        super().send(data)


class _TLSConnection(HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            # Whatever breaks a handshake, nothing was sent; urllib3 would let it look like a broken answer.
            raise NewConnectionError(self, "no TLS connection") from error
        self.sock = cast("socket.socket", _TimedSocket(cast("socket.socket", self.sock)))

    def send(self, data: Any) -> None:
        _time_upload(self, data)
        super().send(data)


def _time_upload(connection: HTTPConnection, data: object) -> None:
    """Connecting has a time of its own, and uploading as much as its size needs."""
    if connection.sock is None:
        connection.connect()
    size = len(data) if isinstance(data, bytes) else 0
    cast("_TimedSocket", connection.sock).settimeout(UPLOAD_SECONDS + size / UPLOAD_BYTES_PER_SECOND)


class _Pool(HTTPConnectionPool):
    ConnectionCls = cast("Any", _Connection)


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = cast("Any", _TLSConnection)
