"""Request bodies: small hand-written schemas, checked at once, problems told the way Klaviyo tells them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jsonschema_rs
import orjson

from klaviyo_simulator.errors import ApiError, JsonObject, Problem, invalid
from klaviyo_simulator.reading import within

Schema = dict[str, Any]
MOST_PROBLEMS = 200

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
FLAG: Schema = {"type": "boolean"}
FLAG_OR_NULL: Schema = {"type": ["boolean", "null"]}
FREE: Schema = {"type": "object"}
FREE_OR_NULL: Schema = {"type": ["object", "null"]}
COORDINATE: Schema = {"type": ["string", "number", "null"]}


def choice(*values: str | None) -> Schema:
    return {"enum": list(values)}


def array(items: Schema, *, most: int | None = None, least: int | None = None) -> Schema:
    schema: Schema = {"type": "array", "items": items}
    if most is not None:
        schema["maxItems"] = most
    if least is not None:
        schema["minItems"] = least
    return schema


def fields(required: dict[str, Schema] | None = None, **optional: Schema) -> Schema:
    """An object with exactly these members."""
    return members(required or {}, optional)


def members(required: dict[str, Schema], optional: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def resource(
    kind: str,
    *,
    attributes: Schema | None = None,
    optional_attributes: Schema | None = None,
    relationships: Schema | None = None,
    optional_relationships: Schema | None = None,
    needs_id: bool = False,
    may_have_id: bool = False,
    meta: Schema | None = None,
) -> Schema:
    """A JSON:API resource object of one type."""
    required: dict[str, Schema] = {"type": {"const": kind}}
    optional: dict[str, Schema] = {}
    if needs_id:
        required["id"] = TEXT
    if may_have_id:
        optional["id"] = TEXT_OR_NULL
    if attributes is not None:
        required["attributes"] = attributes
    if optional_attributes is not None:
        optional["attributes"] = optional_attributes
    if relationships is not None:
        required["relationships"] = relationships
    if optional_relationships is not None:
        optional["relationships"] = optional_relationships
    if meta is not None:
        optional["meta"] = meta
    return members(required, optional)


def data(inner: Schema) -> Schema:
    return fields({"data": inner})


def reference(kind: str) -> Schema:
    """`{"data": {"type", "id"}}`."""
    return data(resource(kind, needs_id=True))


def references(kind: str, *, most: int | None = None, least: int | None = None) -> Schema:
    return data(array(resource(kind, needs_id=True), most=most, least=least))


class Body:
    """A compiled schema with the largest size in bytes it accepts."""

    def __init__(self, schema: Schema, *, most_bytes: int = 5_000_000) -> None:
        self._validator = jsonschema_rs.Draft202012Validator(schema)
        self.most_bytes = most_bytes

    def read(self, raw: bytes) -> JsonObject:
        """The parsed body, or an ApiError with one problem per fault found."""
        if len(raw) > self.most_bytes:
            detail = f"The request body is {len(raw)} bytes; the limit is {self.most_bytes} bytes."
            raise ApiError(413, Problem(detail=detail, code="payload_too_large"))
        parsed = parse(raw)
        if not self._validator.is_valid(parsed):
            raise ApiError(400, *_problems(self._validator.iter_errors(parsed), parsed))
        return parsed


def parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise invalid("The payload provided in the request is invalid.", pointer="/data") from None


def _problems(errors: Iterable[jsonschema_rs.ValidationError], parsed: object) -> list[Problem]:
    problems: list[Problem] = []
    rows: set[tuple[str | int, ...]] = set()
    for error in errors:
        row = _row_of(error.instance_path)
        if row is not None and row in rows:
            continue
        if row is not None:
            rows.add(row)
        problems.extend(_translate(error, parsed))
        if len(problems) >= MOST_PROBLEMS:
            break
    return problems


def _row_of(path: list[str | int]) -> tuple[str | int, ...] | None:
    """The path of the bulk row an error is in: Klaviyo names each bad row once."""
    for index, step in enumerate(path):
        if isinstance(step, int):
            return tuple(path[: index + 1])
    return None


def _translate(error: jsonschema_rs.ValidationError, parsed: object) -> list[Problem]:
    path = error.instance_path
    kind = error.kind
    value: Any = kind.value
    owner = _owner(path, parsed)
    if kind.name == "additionalProperties":
        return [
            Problem(
                detail=f"'{name}' is not a valid field for the resource '{owner}'.",
                pointer=_pointer([*path, name]),
            )
            for name in value
        ]
    if kind.name == "required":
        detail = f"'{value}' is a required field for the resource '{owner}'."
        return [Problem(detail=detail, pointer=_pointer([*path, value]))]
    return [Problem(detail=_sentence(kind.name, value, path), pointer=_pointer(path))]


def _sentence(rule: str, value: Any, path: list[str | int]) -> str:
    name = path[-1] if path else "data"
    match rule:
        case "type":
            return f"Invalid type for '{name}': expected {' or '.join(_listed(value))}."
        case "enum":
            return f"'{name}' must be one of {', '.join(map(repr, value))}."
        case "const":
            return f"'{name}' must be '{value}'."
        case "maxItems":
            return f"'{name}' has too many items; the maximum is {value}."
        case "minItems":
            return f"'{name}' has too few items; the minimum is {value}."
        case "maxLength":
            return f"'{name}' is too long; the maximum is {value} characters."
        case "minLength":
            return f"'{name}' must have at least {value} characters."
        case _:
            return f"Invalid value for '{name}'."


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _owner(path: list[str | int], parsed: Any) -> str:
    """The `type` of the nearest resource object around the fault."""
    name = "request"
    around: Any = parsed
    for step in path:
        around = around[step]
        kind = within(around, "type")
        name = kind if isinstance(kind, str) else name
    return name


def _pointer(path: list[str | int]) -> str:
    return "".join(f"/{step}" for step in path) or "/data"
