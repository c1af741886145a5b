"""From a request's parts to Klaviyo's answer: authentication, revision, limits, body, operation.

No sockets here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from klaviyo_simulator import gate
from klaviyo_simulator.bodies import parse
from klaviyo_simulator.errors import TITLES, ApiError, Problem, invalid, not_found, not_implemented
from klaviyo_simulator.limits import Verdict
from klaviyo_simulator.log import RequestEntry
from klaviyo_simulator.query import Query, parse_query
from klaviyo_simulator.resources.catalogue import NOT_IMPLEMENTED
from klaviyo_simulator.routing import Call, Operation
from klaviyo_simulator.simulator import Simulator

Headers = list[tuple[bytes, bytes]]
JSON_API = (b"Content-Type", b"application/vnd.api+json")
DOCS = "https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling"


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list[tuple[bytes, bytes]])


@dataclass(slots=True, kw_only=True)
class Request:
    """What is known before the body is read; `passed` holds the checks already made."""

    method: str
    path: str
    raw_query: str
    headers: Mapping[str, str]
    base: str
    entry: RequestEntry
    caller: gate.Caller | None = None
    operation: Operation | None = None
    params: dict[str, str] = field(default_factory=dict[str, str])
    revision: str = ""
    refusal: ApiError | None = None


class Door:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def admit(self, request: Request) -> None:
        """Find caller and operation; a refusal is noted, to be answered after the body was read."""
        try:
            request.caller = self._authenticate(request)
            request.entry.account_id = request.caller.account.id
            request.operation, request.params = self._find(request)
            request.entry.operation = request.operation.id
            request.revision = self._revision(request)
            gate.check_scopes(request.caller, request.operation)
        except ApiError as refusal:
            request.refusal = refusal

    def answer(self, request: Request, raw: bytes) -> Answer:
        """Do what is asked. Limits are counted here, so a fault before leaves them alone."""
        if request.refusal is not None or request.caller is None or request.operation is None:
            return self._refuse(request)
        headers: Headers = []
        try:
            query = self._query(request)
            verdict = self._take(request, query)
            if verdict.retry_after is not None:
                return self.throttled(verdict.retry_after)
            headers = verdict.headers
            return self._perform(request, query, raw, headers)
        except ApiError as error:
            return self.error(error, headers or self._take(request, Query()).headers)

    def _refuse(self, request: Request) -> Answer:
        refusal = request.refusal or not_found("Not found.")
        known = request.operation is not None and refusal.status != 401
        return self.error(refusal, self._take(request, Query()).headers if known else [])

    def _perform(self, request: Request, query: Query, raw: bytes, headers: Headers) -> Answer:
        caller, operation = request.caller, request.operation
        assert caller is not None
        assert operation is not None
        call = Call(
            world=self._simulator.world,
            account=caller.account,
            operation=operation,
            params=request.params,
            query=query,
            raw_query=request.raw_query,
            data=self._body(request, operation, raw),
            raw=raw,
            base=request.base,
            path=request.path,
            revision=request.revision,
            request_id=request.entry.sequence,
            app=caller.credential.app if caller.credential else None,
        )
        reply = operation.handler(call)
        if reply.document is None:
            return Answer(reply.status, b"", headers)
        return Answer(reply.status, orjson.dumps(reply.document), [JSON_API, *headers])

    def _authenticate(self, request: Request) -> gate.Caller:
        if request.path.startswith("/client/"):
            return gate.company(self._simulator.accounts, request.raw_query)
        return gate.authenticate(self._simulator.directory, request.headers.get("authorization"))

    def _find(self, request: Request) -> tuple[Operation, dict[str, str]]:
        found = self._simulator.router.find(request.method, request.path)
        if found.operation is not None:
            return found.operation, found.params
        parts = request.path.strip("/").split("/")
        if len(parts) > 1 and parts[1] in NOT_IMPLEMENTED:
            raise not_implemented(f"{request.method} {request.path}")
        if found.methods:
            detail = f'Method "{request.method}" not allowed.'
            raise ApiError(405, Problem(detail=detail, code="method_not_allowed"))
        raise not_found(f"The path {request.path} does not exist.")

    def _revision(self, request: Request) -> str:
        return gate.check_revision(
            request.headers.get("revision"),
            self._simulator.world.now(),
            retired_answers_410=self._simulator.world.switches.revision_retired_answers_410,
            opted_out=request.headers.get("x-klaviyo-revision-fall-forward-opt-out") == "1",
        )

    def _query(self, request: Request) -> Query:
        operation = request.operation
        assert operation is not None
        return parse_query(
            request.raw_query, operation.query, strict=self._simulator.world.switches.strict_parameters
        )

    def _take(self, request: Request, query: Query) -> Verdict:
        caller, operation = request.caller, request.operation
        assert caller is not None
        assert operation is not None
        limit = (operation.lower(query) if operation.lower else None) or operation.limit
        return self._simulator.world.limiter.take(caller.quota, operation.id, limit)

    def _body(self, request: Request, operation: Operation, raw: bytes) -> object:
        if operation.body is None:
            return parse(raw) if raw and operation.method != "GET" else None
        gate.check_content_type(request.headers.get("content-type"))
        if not raw:
            raise invalid("The request body is missing.", pointer="/data")
        return operation.body.read(raw)["data"]

    def error(self, error: ApiError, headers: Headers) -> Answer:
        document = error.document(self._simulator.world.ids.uuid)
        return Answer(error.status, orjson.dumps(document), [JSON_API, *headers])

    def throttled(self, retry_after: int) -> Answer:
        """429 with Retry-After alone, as recorded."""
        unit = "second" if retry_after == 1 else "seconds"
        problem = Problem(
            detail=f"{TITLES['throttled']} Expected available in {retry_after} {unit}.",
            code="throttled",
            pointer="/data",
            links={"type": DOCS},
        )
        document = ApiError(429, problem).document(self._simulator.world.ids.uuid)
        return Answer(429, orjson.dumps(document), [(b"Retry-After", str(retry_after).encode())])
