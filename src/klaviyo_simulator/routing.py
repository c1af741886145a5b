"""Operations and the table that finds one by method and path. Handlers are in `resources`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from klaviyo_simulator.account import Account
from klaviyo_simulator.bodies import Body
from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.limits import Limit
from klaviyo_simulator.log import Cause
from klaviyo_simulator.query import Query, QuerySpec
from klaviyo_simulator.world import World


@dataclass(slots=True, kw_only=True)
class Call:
    """One request, checked as far as the table can: `data` is the body's `data` member."""

    world: World
    account: Account
    operation: Operation
    params: Mapping[str, str]
    query: Query
    raw_query: str
    data: Any
    raw: bytes
    base: str
    path: str
    revision: str
    request_id: int
    app: str | None = None

    @property
    def cause(self) -> Cause:
        return Cause(self.request_id)

    @property
    def attributes(self) -> JsonObject:
        return self.data.get("attributes") or {}


@dataclass(slots=True)
class Reply:
    status: int
    document: JsonObject | None = None


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`lower` gives the limit that applies instead when a query asks for something expensive."""

    id: str
    method: str
    path: str
    handler: Handler
    limit: Limit
    scopes: tuple[str, ...] = ()
    query: QuerySpec = field(default_factory=QuerySpec)
    body: Body | None = None
    lower: Callable[[Query], Limit | None] | None = None
    public: bool = False


class _Node:
    __slots__ = ("children", "operations")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.operations: dict[str, Operation] = {}


@dataclass(slots=True)
class Found:
    """`operation` None with `methods` empty: no such path; with methods: the method is not allowed."""

    operation: Operation | None
    params: dict[str, str]
    methods: tuple[str, ...] = ()


class Router:
    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self._root = _Node()
        for operation in operations:
            self._add(operation)

    def find(self, method: str, path: str) -> Found:
        """Paths work with and without a trailing slash."""
        node, values = self._root, list[str]()
        for segment in path.strip("/").split("/"):
            following = node.children.get(segment)
            if following is None:
                following = node.children.get("{}")
                values.append(segment)
            if following is None:
                return Found(None, {})
            node = following
        operation = node.operations.get(method)
        if operation is None:
            return Found(None, {}, tuple(node.operations))
        return Found(operation, dict(zip(_parameters(operation.path), values, strict=True)))

    def _add(self, operation: Operation) -> None:
        node = self._root
        for segment in operation.path.strip("/").split("/"):
            name = "{}" if segment.startswith("{") else segment
            node = node.children.setdefault(name, _Node())
        node.operations[operation.method] = operation


def _parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]
