"""The control API under /_simulator/: a table of routes, JSON in and out.

What they do is in `control_routes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import orjson

from klaviyo_simulator.control_routes import ROUTES, Command, Route
from klaviyo_simulator.door import Answer
from klaviyo_simulator.errors import ControlError, SimulatorError
from klaviyo_simulator.simulator import Simulator

PREFIX = "/_simulator"
JSON = (b"Content-Type", b"application/json")


class Control:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def answer(self, method: str, path: str, raw_query: str, body: bytes) -> Answer:
        """400 with a message for what makes no sense, 404 for an unknown path."""
        if not path.startswith(PREFIX):
            return _json(404, {"error": "The simulator serves /api/, /client/ and /_simulator/."})
        route, params = _find(method, path.removeprefix(PREFIX).strip("/"))
        if route is None:
            known = [f"{item.method} {PREFIX}/{item.path}" for item in ROUTES]
            return _json(404, {"error": f"There is no {method} {path}.", "routes": known})
        try:
            command = Command(self._simulator, params, dict(parse_qsl(raw_query)), _object(body))
            return _json(200, route.act(command))
        except SimulatorError as error:
            return _json(400, {"error": str(error)})
        except KeyError as error:
            return _json(404, {"error": f"There is no {error.args[0]!r} here."})


def _find(method: str, path: str) -> tuple[Route | None, Mapping[str, str]]:
    parts = path.split("/")
    for route in ROUTES:
        pattern = route.path.split("/")
        if route.method != method or len(pattern) != len(parts):
            continue
        pairs = list(zip(pattern, parts, strict=True))
        if all(expected.startswith("{") or expected == given for expected, given in pairs):
            return route, {name[1:-1]: given for name, given in pairs if name.startswith("{")}
    return None, {}


def _object(body: bytes) -> dict[str, object]:
    if not body:
        return {}
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ControlError(f"The body is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise ControlError("The body must be a JSON object.")
    return parsed  # pyright: ignore[reportUnknownVariableType]


def _json(status: int, document: object) -> Answer:
    return Answer(status, orjson.dumps(document), [JSON])
